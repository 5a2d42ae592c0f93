"""Grounded responses: the table of edge cases under both rules, fuzzed strings, the world's own responses, and answers."""

from __future__ import annotations

import itertools
import math
import time
from collections import Counter
from typing import get_args

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from uvrlab.data.world import grounded_response, questions, sample_scene
from uvrlab.rewards.grounding import (
    MAX_SPANS,
    GroundedResponse,
    Reason,
    ResponseFault,
    answer_reward,
    first_answer,
    format_reward,
    parse_response,
)

END = "<thinking>so</thinking><answer>B. red star</answer>"


def pair(time: str, caption: str = "a star") -> str:
    return f"<time>{time}</time><caption>{caption}</caption>"


TWO = pair("0.0-1.5", "A bell is heard.") + pair("2.0-3.5", "A star rises.") + END

# text, published reward, reason of the strict fault (None: strict accepts it); the clip lasts 10 s
EDGE_CASES = {
    "well formed": (TWO, 1.0, None),
    "white space between": (TWO.replace("><", ">\n <") + "\n", 1.0, None),
    "white space in times": (pair(" 1.0 - 2.0 ") + END, 1.0, None),
    "whole seconds": (pair("1-2") + END, 1.0, None),
    "spans that touch": (pair("1.0-2.0") + pair("2.0-3.0") + END, 1.0, None),
    "end within rounding": (pair("1.0-10.05") + END, 1.0, None),
    "overlap": (pair("1.0-3.0") + pair("2.0-4.0") + END, 1.0, "overlap"),
    "span inside a span": (pair("1.0-5.0") + pair("2.0-4.0") + END, 1.0, "overlap"),
    "out of order": (pair("5.0-6.0") + pair("1.0-2.0") + END, 1.0, "out of order"),
    "reversal": (pair("5.0-1.0") + END, 1.0, "reversed"),
    "zero length": (pair("2.0-2.0") + END, 1.0, "zero length"),
    "past the end": (pair("9.0-12.0") + END, 1.0, "past the end"),
    "a tenth past the end": (pair("9.0-10.1") + END, 1.0, "past the end"),
    "starts at the end": (pair("10.0-10.04") + END, 1.0, "past the end"),
    "far out of range": (pair("100.0-200.0") + END, 1.0, "past the end"),
    "20 identical spans": (pair("1.0-2.0") * 20 + END, 1.0, "too many spans"),
    "2 identical spans": (pair("1.0-2.0") * 2 + END, 1.0, "overlap"),
    "9 spans": ("".join(pair(f"{i}.0-{i}.5") for i in range(9)) + END, 1.0, "too many spans"),
    "8 spans": ("".join(pair(f"{i}.0-{i}.5") for i in range(8)) + END, 1.0, None),
    "minutes and seconds": (pair("0:10-0:15") + END, 0.0, "bad time"),
    "en dash": (pair("1.0–2.0") + END, 0.0, "bad time"),
    "em dash": (pair("1.0—2.0") + END, 0.0, "bad time"),
    "unit": (pair("1.0s-2.0s") + END, 0.0, "bad time"),
    "words": (pair("one to two") + END, 0.0, "bad time"),
    "negative": (pair("-1.0-2.0") + END, 0.0, "bad time"),
    "exponent": (pair("1e0-2e0") + END, 0.0, "bad time"),
    "no time": (pair("") + END, 0.0, "empty part"),
    "number beyond floats": (pair("1.0-" + "9" * 400) + END, 1.0, "bad time"),
    "digits of another script": (pair("١-٢") + END, 1.0, "bad time"),
    "bare point": (pair("1.-2.") + END, 1.0, "bad time"),
    "nested time": (pair("<time>1.0-2.0</time>") + END, 0.0, "nested tag"),
    "time within a caption": (pair("1.0-2.0", "a <time>3.0-4.0</time> b") + END, 0.0, "nested tag"),
    "caption within a caption": (pair("1.0-2.0", "a <caption>b</caption>") + END, 1.0, "nested tag"),
    "thinking within thinking": (
        pair("1.0-2.0") + "<thinking><thinking>a</thinking></thinking><answer>b</answer>",
        1.0,
        "nested tag",
    ),
    "answer within thinking": (pair("1.0-2.0") + "<thinking><answer>a</answer></thinking><answer>b</answer>", 1.0, "nested tag"),
    "two answers": (TWO + "<answer>C. ring</answer>", 1.0, "second answer"),
    "two thoughts": (pair("1.0-2.0") + "<thinking>a</thinking>" + END, 1.0, "template"),
    "a pair after the answer": (TWO + pair("5.0-6.0"), 1.0, "template"),
    "empty caption": (pair("1.0-2.0", "") + END, 1.0, "empty part"),
    "blank caption": (pair("1.0-2.0", " \n") + END, 1.0, "empty part"),
    "empty thinking": (pair("1.0-2.0") + "<thinking></thinking><answer>b</answer>", 1.0, "empty part"),
    "empty answer": (pair("1.0-2.0") + "<thinking>a</thinking><answer> </answer>", 1.0, "empty part"),
    "no pair": (END, 0.0, "template"),
    "time without caption": (pair("1.0-2.0") + "<time>3.0-4.0</time>" + END, 0.0, "template"),
    "caption without time": (pair("1.0-2.0") + "<caption>b</caption>" + END, 0.0, "template"),
    "caption before time": ("<caption>a</caption><time>1.0-2.0</time>" + END, 0.0, "template"),
    "no thinking": (pair("1.0-2.0") + "<answer>b</answer>", 0.0, "template"),
    "no answer": (pair("1.0-2.0") + "<thinking>a</thinking>", 0.0, "template"),
    "cut short": (TWO[:-4], 0.0, "template"),
    "text between thinking and answer": (TWO.replace("</thinking>", "</thinking>hence"), 0.0, "text outside tags"),
    "text before": ("Sure! " + TWO, 1.0, "text outside tags"),
    "text after": (TWO + " Done.", 1.0, "text outside tags"),
    "text between pairs": (pair("1.0-2.0") + "and" + pair("3.0-4.0") + END, 1.0, "text outside tags"),
    "capital tags": (TWO.replace("time", "Time"), 0.0, "template"),
    "nothing": ("", 0.0, "template"),
}


@pytest.mark.parametrize("name", EDGE_CASES)
def test_edge_case(name: str) -> None:
    text, published, reason = EDGE_CASES[name]
    assert format_reward(text, rules="published", duration_s=10.0) == published
    assert format_reward(text, duration_s=10.0) == float(reason is None)
    if reason is None:
        parse_response(text, 10.0)
    else:
        with pytest.raises(ResponseFault, match=f"^{reason}: found ") as caught:
            parse_response(text, 10.0)
        assert caught.value.reason == reason


def test_the_table_shows_every_reason() -> None:
    assert {reason for _, _, reason in EDGE_CASES.values() if reason} == set(get_args(Reason))


def test_a_response_is_read_as_written() -> None:
    assert parse_response(TWO, 10.0) == GroundedResponse(
        ((0.0, 1.5), (2.0, 3.5)), ("A bell is heard.", "A star rises."), "so", "B. red star"
    )


def test_an_end_that_was_rounded_up_is_the_end_of_the_clip() -> None:
    text = pair("1.0-4.0") + END
    assert parse_response(text, 3.96).spans == ((1.0, 3.96),)
    assert parse_response(text).spans == ((1.0, 4.0),)
    assert format_reward(pair("100.0-200.0") + END) == 1.0  # nothing is past the end of a clip of unknown length


def test_of_two_answers_the_first_counts() -> None:
    assert first_answer(TWO + "<answer>C. ring</answer>") == "B. red star"
    assert first_answer("<answer> a\nb </answer>") == "a\nb"
    assert first_answer("<answer>cut sho") is None


def test_a_caller_s_fault_is_no_fault_of_the_response() -> None:
    with pytest.raises(ValueError, match="found rules 'lenient'; expected strict or published"):
        format_reward(TWO, rules="lenient")  # type: ignore[arg-type]
    for duration_s in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(ValueError, match="expected positive seconds"):
            format_reward(TWO, duration_s=duration_s)


TAGS = [f"<{slash}{name}>" for name in ("time", "caption", "thinking", "answer") for slash in ("", "/")]
noise = st.sampled_from([*TAGS, "1.0-2.0", "2.5-1", "9-9", "x", " ", "\n", "-", "–", pair("0.5-1.0"), END]) | st.text(max_size=4)
responses = st.lists(noise, max_size=16).map("".join)


@st.composite
def nearly_right(draw: st.DrawFn) -> str:
    """A right response with up to two pieces dropped, doubled or replaced."""
    times = [f"{i}.0-{i + draw(st.integers(0, 2))}.{draw(st.integers(0, 9))}" for i in range(draw(st.integers(1, 4)))]
    pieces = [p for t in times for p in ("<time>", t, "</time>", "<caption>", "a", "</caption>")]
    pieces += ["<thinking>", "b", "</thinking>", "<answer>", "c", "</answer>"]
    for at, what in draw(st.lists(st.tuples(st.integers(0, len(pieces) - 1), noise | st.none()), max_size=2)):
        pieces[at] = "" if what is None else draw(st.sampled_from([what, what + pieces[at], pieces[at] * 2]))
    return "".join(pieces)


@settings(max_examples=1000)
@given(responses | nearly_right(), st.none() | st.floats(0.1, 20))
@example("<time>" * 500 + "</caption>" * 500, None)
def test_any_string_parses_or_is_a_fault_with_a_reason_and_strict_implies_published(text: str, duration_s: float | None) -> None:
    published = format_reward(text, rules="published")
    assert published in (0.0, 1.0)
    try:
        response = parse_response(text, duration_s)
    except ResponseFault as fault:
        assert fault.reason in get_args(Reason)
        assert format_reward(text, duration_s=duration_s) == 0.0
        return
    assert format_reward(text, duration_s=duration_s) == published == 1.0
    assert 1 <= len(response.spans) == len(response.captions) <= MAX_SPANS
    assert all(part.strip() for part in (*response.captions, response.thinking, response.answer))
    edges = list(itertools.chain(*response.spans))
    assert edges == sorted(edges)
    assert all(start < end for start, end in response.spans)
    assert edges[0] >= 0
    assert edges[-1] <= (duration_s or math.inf)
    assert first_answer(text) == response.answer


@pytest.mark.parametrize(
    "text",
    [
        "<time>" * 5000,
        f"<time>{'1' * 20_000}-{'2' * 20_000}<caption>",
        "<thinking></thinking><answer>" * 2000,
        pair("1-2").removesuffix("</caption>") * 2000,
        "</thinking>" + " " * 20_000,
        "<answer>" * 5000,
    ],
    ids=["times", "digits", "turns", "pairs", "spaces", "answers"],
)
def test_a_rambling_rollout_is_judged_at_once(text: str) -> None:
    """Patterns that backtrack would need minutes for these."""
    start = time.process_time()
    assert format_reward(text) == format_reward(text, rules="published") == 0.0
    assert first_answer(text) is None
    assert time.process_time() - start < 2


def test_the_responses_of_the_world_are_strict() -> None:
    """200 scenes, every question, without and with a sloppy annotator's jitter; the answer is right by construction."""
    seen: Counter[str] = Counter()
    for index in range(200):
        scene = sample_scene(("train", "rl", "test")[index % 3], index, duration_s=(2.0, 4.0, 8.0)[index % 3 - 1])
        rng = np.random.default_rng(index)
        for question in questions(scene, rng):
            for jitter_s in (0.0, 0.4):
                text = grounded_response(scene, question, rng, jitter_s=jitter_s)
                response = parse_response(text, scene.duration_s)
                assert format_reward(text, rules="published") == 1.0
                assert answer_reward(response.answer, question.answer, question.options) == 1.0
                seen[question.needs] += 1
    assert min(seen["picture"], seen["sound"], seen["both"]) > 100


OPTIONS = ("red star", "green star", "the ring, then a bell", "Red  Ring")


@pytest.mark.parametrize(
    ("answer", "reward"),
    [
        ("B. green star", 1),
        ("B", 1),
        (" b ", 1),
        ("(B)", 1),
        ("B) whatever", 1),
        ("B. red star", 1),  # the letter counts
        ("Green star!", 1),
        ("a green star", 1),
        ("the green star", 1),
        ("A. green star", 0),
        ("A", 0),
        ("a red star", 0),  # an article, no letter
        ("Beautiful", 0),  # the released code reads its first letter
        ("E. green star", 0),
        ("star", 0),
        ("green star or red star", 0),
        ("", 0),
        ("...", 0),
    ],
)
def test_a_multiple_choice_is_right_or_wrong(answer: str, reward: float) -> None:
    lettered = [f"{letter}. {option}" for letter, option in zip("ABCD", OPTIONS, strict=True)]
    for options in (OPTIONS, lettered):
        for reference in ("B. green star", "B", "green star"):
            assert answer_reward(answer, reference, options) == reward


def test_a_reference_that_names_no_option_is_a_fault_of_the_question() -> None:
    for reference in ("E. green star", "", "blue star"):
        with pytest.raises(ValueError, match="names none of the options"):
            answer_reward("A", reference, OPTIONS)
    with pytest.raises(ValueError, match="names none"):
        answer_reward("A", "star", ("star", "Star."))  # two options of the same words
    with pytest.raises(ValueError, match="empty reference"):
        answer_reward("A", " ")


@pytest.mark.parametrize(
    ("answer", "reference", "reward"),
    [
        ("The green star.", "green star", 1.0),
        ("ＧＲＥＥＮ star", "green star", 1.0),  # compatibility forms are equal
        ("green ring", "green star", 0.5),  # 1 common of 2 and 2: 2 / 4
        ("a big green star", "green star", 0.8),  # 2 common of 3 and 2: 4 / 5
        ("bell then buzz", "buzz then bell", 1 / 3),  # in order only one word is common: 2 / 6
        ("", "green star", 0.0),
        ("ring", "green star", 0.0),
        ("the", "the", 1.0),
        ("+", "+", 1.0),
        ("-", "+", 0.0),
    ],
)
def test_an_open_answer_is_scored_by_its_words_in_order(answer: str, reference: str, reward: float) -> None:
    assert answer_reward(answer, reference, ()) == pytest.approx(reward)


@settings(max_examples=200)
@given(*[st.lists(st.sampled_from("uvwxyz"), min_size=1, max_size=5)] * 2)
def test_common_words_in_order_equal_brute_force(given_words: list[str], wanted: list[str]) -> None:
    def subsequences(words: list[str]) -> set[tuple[str, ...]]:
        return {c for n in range(len(words) + 1) for c in itertools.combinations(words, n)}

    common = max(map(len, subsequences(given_words) & subsequences(wanted)))
    expected = 2 * common / (len(given_words) + len(wanted))
    assert answer_reward(" ".join(given_words), " ".join(wanted), ()) == pytest.approx(expected)
