"""The router by hand: how sure scores are, who thinks, and what vectors side by side are ranked by."""

from __future__ import annotations

import numpy as np
import pytest

from uvrlab.models.router import Router, certainty, side_by_side, who_thinks

SURE, UNSURE = np.array([0.9, 0.1, 0.1]), np.array([0.5, 0.5, 0.1])


def test_certainty_is_the_softmax_probability_of_the_best():
    """e^(0.1/0.05) = e^2 times as probable as the other: e^2 / (e^2 + 1)."""
    assert certainty(np.array([0.6, 0.5])) == pytest.approx(np.exp(2) / (np.exp(2) + 1))
    assert certainty(np.array([[0.3, 0.3, 0.3, 0.3], [1.0, -1.0, -1.0, -1.0]])).tolist() == pytest.approx([0.25, 1.0])


def test_each_query_thinks_by_the_threshold_of_the_queries_between():
    """Of three even queries one is unsure, of three odd ones too; only who is less sure than the others' median thinks."""
    found = who_thinks([SURE, SURE, UNSURE, UNSURE, SURE, SURE], budget=0.5, temperature=0.05)
    assert found.tolist() == [False, False, True, True, False, False]


@pytest.mark.parametrize(("budget", "thinking", "off"), [(0.0, 0, 0), (0.5, 100, 12), (1.0, 200, 0)])
def test_about_the_budget_thinks(budget: float, thinking: int, off: int):
    disc = list(np.random.default_rng(0).normal(size=(200, 9)) * 0.1)
    assert abs(who_thinks(disc, budget=budget, temperature=0.05).sum() - thinking) <= off


def test_vectors_side_by_side_rank_by_disc_or_by_the_mean_of_both_cosines():
    rng = np.random.default_rng(0)
    disc, gen, speed, think = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in rng.normal(size=(4, 5, 8)))
    thinks = np.array([True, False, True, False, False])
    scores = side_by_side(disc, gen, thinks) @ side_by_side(speed, think).T
    both = (disc @ speed.T + gen @ think.T) / 2
    np.testing.assert_allclose(scores, np.where(thinks[:, None], both, disc @ speed.T / 2**0.5), atol=1e-6)


def test_a_router_over_vectors_decides_as_over_scores():
    corpus = np.eye(3, dtype=np.float32)
    router = Router(corpus, corpus)
    assert router.unsure(np.array([[1, 0, 0], [0.6, 0.6, 0.529]], np.float32)).tolist() == [False, True]
    np.testing.assert_allclose(np.linalg.norm(router.candidates, axis=1), 1.0, rtol=1e-6)
    with pytest.raises(ValueError, match="expected both of each candidate"):
        Router(corpus, corpus[:2])
