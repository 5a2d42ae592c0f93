"""The form of a thought against a parser that walks it by hand, and the cost of its length."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from uvrlab.rewards.text import TAGS, format_reward, length_cost

THOUGHT = "<think>a red star rises</think><answer>a red star</answer><gen_emb>"


def walked(text: str) -> float:
    """Cuts the text at its five tags, one after the other, and looks at what is left between them."""
    rest, pieces = text, []
    for tag in TAGS:
        before, found, rest = rest.partition(tag)
        if not found:
            return 0.0
        pieces.append(before)
    before, think, between, answer, gap = pieces
    clean = not any(tag in piece for tag in TAGS for piece in (*pieces, rest))
    spaces = all(not piece or piece.isspace() for piece in (between, gap))
    return float(clean and spaces and not before and not rest and bool(think.strip()) and bool(answer.strip()))


@pytest.mark.parametrize(
    "text",
    [
        THOUGHT,
        "<think>\nwhy\n</think>\n\n<answer> what </answer> \t<gen_emb>",
        "<think>..</think>\u00a0<answer>..</answer>\u3000<gen_emb>",  # white space of any script
        "<think>a < b > c, <b>bold</b>, </thought></think><answer>1 < 2</answer><gen_emb>",  # other angle brackets are text
    ],
)
def test_a_well_formed_thought_is_paid(text: str) -> None:
    assert format_reward(text) == 1.0


@pytest.mark.parametrize(
    "text",
    [
        "",
        THOUGHT.removesuffix("<gen_emb>"),
        THOUGHT.replace("</answer>", ""),  # the form of the released data
        THOUGHT.removeprefix("<think>"),
        "<think></think><answer>a</answer><gen_emb>",
        "<think>a</think><answer> \n\u00a0</answer><gen_emb>",
        THOUGHT + "<gen_emb>",
        THOUGHT + " more",
        THOUGHT + "\n",
        "\n" + THOUGHT,
        "Sure: " + THOUGHT,
        THOUGHT.replace("</think><answer>", "</think> so <answer>"),
        THOUGHT.replace("rises", "rises <gen_emb>"),
        THOUGHT.replace("rises", "<think>rises</think>"),
        THOUGHT.replace("</answer>", "</answer><answer>b</answer>"),
        THOUGHT.replace("a red star</answer>", "</answer>a red star"),
        "<answer>a</answer><think>b</think><gen_emb>",
        THOUGHT.upper(),
        THOUGHT + THOUGHT,
    ],
)
def test_anything_else_is_not(text: str) -> None:
    assert format_reward(text) == 0.0


@settings(max_examples=1000)
@given(st.lists(st.sampled_from([*TAGS, "a", "thing", " ", "\n", "<", "/think>", "\u00a0"]) | st.text(max_size=3), max_size=12))
def test_every_string_is_judged_as_by_hand(pieces: list[str]) -> None:
    assert format_reward("".join(pieces)) == walked("".join(pieces))


@settings(max_examples=200)
@given(st.lists(st.sampled_from(["", " ", "x", "\n\n", "x y", "<gen_emb>", "</think>"]), min_size=6, max_size=6))
def test_near_misses_are_judged_as_by_hand(gaps: list[str]) -> None:
    text = "".join(itertools.chain(*zip(gaps, [*TAGS, ""], strict=True)))
    assert format_reward(text) == walked(text)


def test_length_costs_nothing_then_rises_evenly_to_one() -> None:
    """Free 10, limit 30: 20 tokens are halfway, (20 - 10) / (30 - 10) = 0.5."""
    assert [length_cost(n, free_tokens=10, limit_tokens=30) for n in (0, 10, 15, 20, 30, 99)] == [0, 0, 0.25, 0.5, 1, 1]
    for faulty in ({"free_tokens": 30, "limit_tokens": 30}, {"free_tokens": -1, "limit_tokens": 3}):
        with pytest.raises(ValueError, match="expected 0 <= free < limit"):
            length_cost(1, **faulty)
