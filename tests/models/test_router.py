"""The router by hand: how sure scores are, who thinks, and whose vector is taken."""

from __future__ import annotations

import numpy as np
import pytest

from uvrlab.models.router import Router, certainty, routes

SURE, UNSURE = np.array([0.9, 0.1, 0.1]), np.array([0.5, 0.5, 0.1])


def test_certainty_is_the_softmax_probability_of_the_best():
    """e^(0.1/0.05) = e^2 times as probable as the other: e^2 / (e^2 + 1)."""
    assert certainty(np.array([0.6, 0.5])) == pytest.approx(np.exp(2) / (np.exp(2) + 1))
    assert certainty(np.array([[0.3, 0.3, 0.3, 0.3], [1.0, -1.0, -1.0, -1.0]])).tolist() == pytest.approx([0.25, 1.0])


def test_each_half_thinks_by_the_threshold_of_the_other():
    """Half A is sure but for one query, half B too; with a budget of a half only what is less sure than the other's median thinks."""
    disc = [SURE, UNSURE, SURE, SURE, UNSURE, SURE]
    gen = [SURE, SURE, UNSURE, UNSURE, np.array([0.4, 0.4, 0.4]), SURE]
    found = routes(disc, gen, [True] * 3 + [False] * 3, budget=0.5, temperature=0.05)
    assert [route.thinks for route in found] == [False, True, False, False, True, False]
    assert [route.takes_think for route in found] == [False, True, False, False, False, False]
    assert found[0].gen is None and found[1].gen > found[1].disc


@pytest.mark.parametrize(("budget", "thinking"), [(0.0, 0), (0.5, 100), (1.0, 200)])
def test_about_the_budget_thinks(budget: float, thinking: int):
    rng = np.random.default_rng(0)
    disc = list(rng.normal(size=(200, 9)) * 0.1)
    found = routes(disc, disc, [bool(i % 2) for i in range(200)], budget=budget, temperature=0.05)
    assert abs(sum(route.thinks for route in found) - thinking) <= 12
    assert not any(route.takes_think for route in found)  # equal scores: nothing is gained by the thought


def test_a_router_over_vectors_decides_as_over_scores():
    corpus = np.eye(3, dtype=np.float32)
    router = Router(corpus, corpus)
    disc = np.array([[1, 0, 0], [0.6, 0.6, 0.529]], np.float32)
    assert router.unsure(disc).tolist() == [False, True]
    assert router.choose(disc[1:], np.array([[0, 1, 0]], np.float32)).tolist() == [True]
    assert router.choose(disc[1:], disc[1:]).tolist() == [False]
    with pytest.raises(ValueError, match="expected both of each candidate"):
        Router(corpus, corpus[:2])
