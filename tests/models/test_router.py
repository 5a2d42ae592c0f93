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


def test_each_query_thinks_by_the_threshold_of_the_queries_between():
    """Of three even queries one is unsure, of three odd ones too; only who is less sure than the others' median thinks."""
    disc = [SURE, SURE, UNSURE, UNSURE, SURE, SURE]
    gen = [SURE, UNSURE, SURE, np.array([0.4, 0.4, 0.4]), UNSURE, SURE]
    found = routes(disc, gen, budget=0.5, temperature=0.05)
    assert [route.thinks for route in found] == [False, False, True, True, False, False]
    assert [route.takes_think for route in found] == [False, False, True, False, False, False]
    assert found[0].gen is None and found[2].gen > found[2].disc


@pytest.mark.parametrize(("budget", "thinking", "off"), [(0.0, 0, 0), (0.5, 100, 12), (1.0, 200, 0)])
def test_about_the_budget_thinks(budget: float, thinking: int, off: int):
    disc = list(np.random.default_rng(0).normal(size=(200, 9)) * 0.1)
    found = routes(disc, disc, budget=budget, temperature=0.05)
    assert abs(sum(route.thinks for route in found) - thinking) <= off
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
