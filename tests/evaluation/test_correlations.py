"""Coefficients and intervals against textbook definitions, and against their own promise."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from uvrlab.evaluation.correlations import correlate, interval, matrix, ranks

VALUES = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=3, max_size=9)


@given(VALUES)
def test_coefficients_equal_scipys_with_ties(pairs: list[tuple[int, int]]) -> None:
    x, y = (list(map(float, column)) for column in zip(*pairs, strict=True))
    for method, reference in (("pearson", stats.pearsonr), ("spearman", stats.spearmanr)):
        found = correlate(x, y, method).value
        if len(set(x)) == 1 or len(set(y)) == 1:
            assert found is None
        else:
            assert found == pytest.approx(reference(x, y)[0], abs=1e-12)


def test_ties_share_their_mean_rank() -> None:
    assert ranks([0.3, 0.1, 0.3, 0.9]).tolist() == [2.5, 1.0, 2.5, 4.0]


def test_intervals_by_hand() -> None:
    """r = tanh(1), n = 7: Fisher's error is 1/2, so the ends are tanh(1 -+ 0.98); Bonett-Wright widens it by sqrt(1 + r^2/2)."""
    r = math.tanh(1)
    z = stats.norm.ppf(0.975)
    assert interval(r, 7, "pearson") == pytest.approx((math.tanh(1 - z / 2), math.tanh(1 + z / 2)))
    wide = z / 2 * math.sqrt(1 + r * r / 2)
    assert interval(r, 7, "spearman") == pytest.approx((math.tanh(1 - wide), math.tanh(1 + wide)))


def test_three_models_have_a_coefficient_without_an_interval() -> None:
    found = correlate([1, 2, 3], [1, 3, 2])
    assert (found.value, found.low, found.high, found.n) == (0.5, None, None, 3)
    assert correlate([1, 2, 3, 4], [1, 3, 2, 4]).low is not None
    assert correlate([1], [1]).value is None


def test_a_perfect_order_is_one_and_not_nearly_one() -> None:
    found = correlate([0.1, 0.2, 0.3, 0.4, 0.7], [1, 2, 3, 4, 5])
    assert (found.value, found.low, found.high) == (1, 1, 1)


@pytest.mark.parametrize("method", ["pearson", "spearman"])
def test_intervals_cover_the_truth_as_often_as_they_say(method: str) -> None:
    """2,000 samples of 16 from a normal pair with r = 0.6; Spearman's truth is 6/pi * asin(r/2)."""
    rng = np.random.default_rng(0)
    x, e = rng.standard_normal((2, 2000, 16))
    y = 0.6 * x + 0.8 * e
    truth = 0.6 if method == "pearson" else 6 / math.pi * math.asin(0.3)
    found = [correlate(a, b, method) for a, b in zip(x, y, strict=True)]
    assert 0.93 <= np.mean([c.low <= truth <= c.high for c in found]) <= 0.975


def test_the_matrix_has_both_orders_of_every_pair() -> None:
    cells = {(c.row, c.column): c.value for c in matrix({"a": [1, 2, 3], "b": [3, 2, 1], "c": [1, 3, 2]})}
    assert cells == {("a", "b"): -1, ("b", "a"): -1, ("a", "c"): 0.5, ("c", "a"): 0.5, ("b", "c"): -0.5, ("c", "b"): -0.5}


def test_wrong_methods_and_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="unknown method 'kendall'"):
        correlate([1, 2], [1, 2], "kendall")
    with pytest.raises(ValueError, match="columns of 2 and 3 models"):
        correlate([1, 2], [1, 2, 3])
