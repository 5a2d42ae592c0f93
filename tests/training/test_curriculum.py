"""The pyramid's arithmetic against closed forms."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from uvrlab.training.curriculum import SCHEDULES, alignment, probabilities, sigma_at, task_probabilities

SCORES = st.dictionaries(st.text(max_size=4), st.floats(-1e3, 1e3), min_size=1, max_size=6)


def test_two_tasks_by_hand() -> None:
    """A difference of sigma * log 3 makes the better task three times as likely."""
    found = task_probabilities({"T2V": 0.5 + 0.1 * math.log(3), "V2V": 0.5}, 0.1)
    assert found == pytest.approx({"T2V": 0.75, "V2V": 0.25})


@given(SCORES, st.floats(1e-3, 1e3))
def test_probabilities_sum_to_one_and_keep_the_order_of_scores(scores: dict[str, float], sigma: float) -> None:
    found = task_probabilities(scores, sigma)
    assert sum(found.values()) == pytest.approx(1)
    ordered = sorted(scores, key=scores.__getitem__)
    assert all(found[a] <= found[b] for a, b in itertools.pairwise(ordered))


def test_a_tiny_sigma_does_not_overflow_and_a_large_one_is_uniform() -> None:
    assert task_probabilities({"a": 1.0, "b": 0.0}, 1e-9) == {"a": 1.0, "b": 0.0}
    assert task_probabilities({"a": 1.0, "b": 0.0}, 1e9)["a"] == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("scores", "sigma", "said"),
    [
        ({}, 0.1, "no task"),
        ({"a": float("nan")}, 0.1, "task 'a' is nan"),
        ({"a": float("inf")}, 0.1, "task 'a' is inf"),
        ({"a": 0.1}, 0.0, "above 0, found 0.0"),
        ({"a": 0.1}, -1.0, "above 0"),
        ({"a": 0.1}, float("nan"), "above 0"),
    ],
)
def test_faulty_scores_and_sigmas_are_refused(scores: dict[str, float], sigma: float, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        task_probabilities(scores, sigma)


def test_sigma_is_linear_from_the_first_to_the_last_epoch() -> None:
    assert [sigma_at(e, 4) for e in range(4)] == pytest.approx([0.1, 0.4, 0.7, 1.0])
    assert sigma_at(0, 1) == 0.1
    assert sigma_at(1, 3, 2.0, 1.0) == 1.5
    for epoch in (-1, 3):
        with pytest.raises(ValueError, match="from 0 to 2"):
            sigma_at(epoch, 3)


def test_schedules_differ_as_they_say() -> None:
    first, second = {"easy": 0.8, "hard": 0.2}, {"easy": 0.9, "hard": 0.5}
    sizes = {"easy": 10, "hard": 30}
    found = {name: probabilities(name, [first, second], sizes, epochs=3) for name in SCHEDULES}
    assert found["pyramid"] == task_probabilities(second, 0.55)
    assert found["reversed"]["hard"] == pytest.approx(found["pyramid"]["easy"])
    assert found["static"] == task_probabilities(first, 0.55) == probabilities("static", [first], sizes, epochs=3)
    assert found["proportional"] == {"easy": 0.25, "hard": 0.75}


@pytest.mark.parametrize(
    ("schedule", "history", "sizes", "said"),
    [
        ("pyramids", [{"a": 0.1}], {"a": 1}, "unknown schedule 'pyramids'"),
        ("pyramid", [], {"a": 1}, "history is empty"),
        ("pyramid", [{"a": 0.1}], {"a": 1, "b": 2}, "'b' has a size but no score"),
        ("proportional", [{"a": 0.1}], {"a": 0}, "sum above 0"),
    ],
)
def test_faulty_schedules_are_refused(schedule, history, sizes, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        probabilities(schedule, history, sizes, epochs=2)


def test_raw_cosine_moves_with_the_probers_scale_and_rank_does_not() -> None:
    """Adding one common direction to every vector lifts each cosine and leaves each query's order of targets alone."""
    rng = np.random.default_rng(0)
    query, target = rng.standard_normal((2, 20, 8))
    target += query
    wide = [np.hstack([x / np.linalg.norm(x, axis=1, keepdims=True), np.full((20, 1), c)]) for x in (query, target) for c in (0, 2)]
    plain, lifted = (wide[0], wide[2]), (wide[1] / math.sqrt(5), wide[3] / math.sqrt(5))
    assert alignment(*lifted) > alignment(*plain) + 0.1
    assert alignment(*lifted, "rank") == pytest.approx(alignment(*plain, "rank"))


def test_rank_score_by_hand() -> None:
    """Query 0 puts its own target above the other: 1. Query 1 ties its own with the other: 1/2. Mean 3/4."""
    query, target = np.array([[1.0, 0.0], [1.0, 1.0]]), np.eye(2)
    assert alignment(query, target, "rank") == 0.75
    assert alignment(np.ones((5, 3)), np.ones((5, 3)), "rank") == 0.5


def test_faulty_probes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"must both be \(N, D\)"):
        alignment(np.ones((2, 3)), np.ones((3, 3)))
    with pytest.raises(ValueError, match="NaN"):
        alignment(np.full((2, 3), np.nan), np.ones((2, 3)))
    with pytest.raises(ValueError, match="at least two"):
        alignment(np.ones((1, 3)), np.ones((1, 3)), "rank")
