"""Traces in a loop, too long or with tags are told apart from sound ones; every trace of the world is sound."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from uvrlab.data.world import sample_scene, stable_rng, trace
from uvrlab.synthesis.traces import fault, repeated


@pytest.mark.parametrize(
    ("think", "answer", "reason"),
    [
        ("A dog runs over a meadow.", "A dog runs.", None),
        ("", "A dog runs.", "format"),
        ("A dog runs.", " \n", "format"),
        ("<think>A dog runs.", "A dog runs.", "format"),
        ("A dog runs.", "A dog runs.</answer><gen_emb>", "format"),
        (" ".join(f"w{i}" for i in range(401)), "A dog runs.", "length"),
        ("A dog runs.", " ".join(f"w{i}" for i in range(201)), "length"),
        ("A dog runs.", "Red triangle moves left, red triangle moves left, red triangle moves right, beep.", None),
        ("the dog runs and " * 20, "A dog runs.", "repetition"),
    ],
)
def test_the_first_fault_is_named(think: str, answer: str, reason: str | None) -> None:
    found = fault(think, answer)
    assert (found[0] if found else None) == reason


def test_repetition_by_hand() -> None:
    """a b c d a b c d has the runs abcd, bcda, cdab, dabc, abcd: one of five came before."""
    assert repeated("a b c d a b c d") == pytest.approx(0.2)
    assert repeated("a b c d") == repeated("") == 0.0


@given(st.integers(0, 500), st.floats(0, 1))
def test_every_trace_of_the_world_is_sound(index: int, error_rate: float) -> None:
    think, answer, _ = trace(sample_scene("train", index), stable_rng("trace", index), error_rate=error_rate)
    assert fault(think, answer) is None
