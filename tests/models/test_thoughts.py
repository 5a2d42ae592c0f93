"""Parts of completions, whole and broken."""

from __future__ import annotations

import pytest

from uvrlab.models.thoughts import parts


@pytest.mark.parametrize(
    ("completion", "expected"),
    [
        ("<think>a ball</think><answer>ball</answer><gen_emb>", ("a ball", "ball")),
        ("<think> a ball </think>\n<answer>ball<gen_emb>", ("a ball", "ball")),  # as the authors' data: never closed
        ("<think>a ball and then", ("a ball and then", "")),
        ("<think>a ball<answer>ball</answer>", ("a ball", "ball")),
        ("a ball", ("", "")),
        ("<think>one</think><think>two</think><answer></answer>", ("one", "")),
        ("<think>two\nlines</think><answer>x", ("two\nlines", "x")),
    ],
)
def test_each_part_is_read_as_far_as_it_came(completion: str, expected: tuple[str, str]) -> None:
    assert parts(completion) == expected
