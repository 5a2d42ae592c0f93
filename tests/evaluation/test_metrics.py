"""Metrics against brute force over every tie order, hand-worked cases, and the statistics against closed forms."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import ndcg_score

from uvrlab.evaluation import metrics
from uvrlab.evaluation.metrics import MetricError, Ranking, rank

NAMES = ("R@1", "R@3", "P@1", "P@4", "hit@2", "MRR", "MRR@3", "nDCG@3", "nDCG@10")


def plain(name: str, flags: tuple[bool, ...]) -> float:
    """A metric of one strict order, from its textbook definition."""
    kind, _, cut = name.partition("@")
    k = int(cut) if cut else len(flags)
    top, positives = flags[:k], sum(flags)
    if kind == "R":
        return sum(top) / positives
    if kind == "P":
        return sum(top) / k
    if kind == "hit":
        return float(any(top))
    if kind == "MRR":
        return 1 / (top.index(True) + 1) if any(top) else 0.0
    gain = sum(1 / math.log2(i + 2) for i, flag in enumerate(top) if flag)
    return gain / sum(1 / math.log2(i + 2) for i in range(min(k, positives)))


def orders(scores: list[int], relevant: list[bool]) -> list[tuple[bool, ...]]:
    """The relevance flags of every order that sorts by falling score, each equally likely."""
    groups = [[r for s, r in zip(scores, relevant, strict=True) if s == value] for value in sorted(set(scores), reverse=True)]
    return [tuple(itertools.chain(*choice)) for choice in itertools.product(*(list(itertools.permutations(g)) for g in groups))]


@settings(max_examples=150)
@given(st.lists(st.tuples(st.integers(0, 3), st.booleans()), min_size=1, max_size=6).filter(lambda rows: any(r for _, r in rows)))
def test_every_metric_is_its_mean_over_all_orders_of_the_ties(rows: list[tuple[int, bool]]) -> None:
    scores, relevant = [s for s, _ in rows], [r for _, r in rows]
    ranking, possible = rank(np.array(scores), np.array(relevant)), orders(scores, relevant)
    for name in NAMES:
        assert metrics.score(name, ranking) == pytest.approx(np.mean([plain(name, flags) for flags in possible]), abs=1e-12), name
    first = np.mean([flags.index(True) + 1 for flags in possible])
    assert metrics.first_relevant_rank(ranking) == pytest.approx(first)


def test_ndcg_equals_scikit_learns_on_random_data_with_ties() -> None:
    """An implementation of another house that also averages over ties: 200 queries, 1-5 positives of 20-80 candidates."""
    generator = np.random.default_rng(0)
    for _ in range(200):
        n = int(generator.integers(20, 80))
        scores = generator.integers(0, 12, n).astype(float)
        relevant = np.isin(np.arange(n), generator.permutation(n)[: generator.integers(1, 6)])
        for k in (1, 5, 10, 100):
            assert metrics.score(f"nDCG@{k}", rank(scores, relevant)) == pytest.approx(ndcg_score([relevant], [scores], k=k))


def test_hand_worked_tie() -> None:
    """Scores 9 7 7 7 1, positives the second and the last: one of three tied places 2-4, then place 5.

    R@1 = 0; R@2 = (1/3) / 2; P@2 = (1/3) / 2; MRR = (1/2 + 1/3 + 1/4) / 3 = 13/36; expected first rank 1 + 4/2 = 3.
    """
    ranking = rank(np.array([9, 7, 7, 7, 1.0]), np.array([0, 1, 0, 0, 1]))
    assert ranking == Ranking((1, 4), (3, 1), (1, 1), 5)
    assert metrics.recall_at_k(ranking, 1) == 0
    assert metrics.recall_at_k(ranking, 2) == pytest.approx(1 / 6)
    assert metrics.precision_at_k(ranking, 2) == pytest.approx(1 / 6)
    assert metrics.mrr(ranking) == pytest.approx(13 / 36)
    assert metrics.first_relevant_rank(ranking) == 3


def test_collapsed_vectors_score_exactly_chance() -> None:
    ranking = rank(np.zeros(1000), np.arange(1000) == 0)
    assert metrics.recall_at_k(ranking, 10) == pytest.approx(0.01)
    assert metrics.chance("R@10", 1000) == metrics.chance(10, 1000) == pytest.approx(0.01)


def test_chance_equals_textbook_formulas() -> None:
    """R: k/n; hit: 1 - C(n-p, k)/C(n, k); P@1 of 3 positives in 10: 0.3; MRR of one positive in 4: (1 + 1/2 + 1/3 + 1/4) / 4."""
    assert metrics.chance("R@5", 20, 3) == pytest.approx(0.25)
    assert metrics.chance("hit@5", 20, 3) == pytest.approx(1 - math.comb(17, 5) / math.comb(20, 5))
    assert metrics.chance("P@1", 10, 3) == pytest.approx(0.3)
    assert metrics.chance("MRR", 4) == pytest.approx((1 + 1 / 2 + 1 / 3 + 1 / 4) / 4)
    assert metrics.chance("R@50", 20) == 1
    with pytest.raises(MetricError, match="found 3 of 2"):
        metrics.chance("R@1", 2, 3)


def test_faults_name_the_query() -> None:
    with pytest.raises(MetricError, match=r"'q7' has no positive"):
        rank(np.array([1.0, 2.0]), np.array([0, 0]), "q7")
    with pytest.raises(MetricError, match=r"'q7': the score of candidate 1 is nan"):
        rank(np.array([1.0, np.nan]), np.array([1, 0]), "q7")
    with pytest.raises(MetricError, match=r"'q7': scores \(2,\) and relevance \(3,\)"):
        rank(np.array([1.0, 2.0]), np.array([1, 0, 0]), "q7")


@pytest.mark.parametrize("name", ["ndcg@10", "R@0", "recall@5", "MRR@", "R"])
def test_an_unknown_metric_is_answered_with_the_nearest(name: str) -> None:
    with pytest.raises(MetricError, match=r"expected NAME@K with K >= 1, such as \w+@10"):
        metrics.score(name, Ranking((0,), (1,), (1,), 1))


def test_bootstrap_interval_agrees_with_resampling_queries_one_by_one() -> None:
    values = np.random.default_rng(0).choice([0.0, 0.25, 1.0], 200)
    resampled = values[np.random.default_rng(1).integers(0, 200, (20_000, 200))].mean(1)
    found = metrics.bootstrap_interval(values, seed=2, n=20_000)
    assert found == pytest.approx(tuple(np.quantile(resampled, (0.025, 0.975))), abs=0.006)
    assert found == metrics.bootstrap_interval(np.sort(values), seed=2, n=20_000)  # the order of queries does not matter


def test_a_perfect_score_still_has_an_interval() -> None:
    """64 hits of 64: the exact lower end is 0.025^(1/64) = 0.944, not 1."""
    assert metrics.bootstrap_interval([1.0] * 64, seed=0) == pytest.approx((0.025 ** (1 / 64), 1.0))
    assert metrics.bootstrap_interval([0.0] * 64, seed=0) == pytest.approx((0.0, 1 - 0.025 ** (1 / 64)))
    assert metrics.bootstrap_interval([0.5] * 64, seed=0) == pytest.approx((0.5, 0.5))


def test_interval_covers_the_truth_as_often_as_it_says() -> None:
    """400 studies of 100 queries at p = 0.4: 95 % intervals cover about 95 %."""
    generator = np.random.default_rng(3)
    ends = [metrics.bootstrap_interval(generator.random(100) < 0.4, seed=i, n=400) for i in range(400)]
    assert 0.91 <= np.mean([low <= 0.4 <= high for low, high in ends]) <= 0.98


def test_strata_weigh_datasets_not_queries() -> None:
    """Dataset a: 90 hits of 90; b: 0 of 10. The mean of datasets is 0.5, of queries 0.9."""
    values, strata = [1.0] * 90 + [0.0] * 10, ["a"] * 90 + ["b"] * 10
    assert metrics.stratified_mean(values) == 0.9
    assert metrics.stratified_mean(values, strata) == 0.5
    assert metrics.stratified_mean(values, strata, {"a": 0.25, "b": 0.75}) == 0.25
    with pytest.raises(MetricError, match="expected the same names"):
        metrics.stratified_mean(values, strata, {"a": 1.0})


def test_paired_bootstrap_sees_what_unpaired_intervals_hide() -> None:
    """b = a but for 12 of 400 queries that b misses: 3 points, while each interval alone is 9.8 points wide."""
    a = np.tile([1.0, 0.0], 200)
    b = a.copy()
    b[:24:2] = 0
    effect = metrics.paired_bootstrap(a, b, seed=1)
    assert effect.difference == pytest.approx(0.03)
    assert 0 < effect.low < 0.03 < effect.high
    assert effect.verdict == "moved"
    assert effect.p_value < 0.01
    low, high = metrics.bootstrap_interval(a, seed=1)
    assert high - low > 0.09


def test_no_difference_is_not_shown_and_p_values_are_uniform_enough() -> None:
    same = metrics.paired_bootstrap([1.0, 0, 1], [1.0, 0, 1])
    assert (same.difference, same.low, same.high, same.p_value, same.verdict) == (0, 0, 0, 1, "not shown")
    generator = np.random.default_rng(5)
    ps = [metrics.paired_bootstrap(*generator.random((2, 80)), seed=i, n=300).p_value for i in range(300)]
    assert 0.02 <= np.mean(np.array(ps) < 0.05) <= 0.09


def test_paired_standard_error_is_the_textbook_one() -> None:
    """sd * 2.8016 / sqrt(n) without strata; with two strata of weight 1/2 the variance is the mean of sd_i^2 / (2 n_i)."""
    generator = np.random.default_rng(6)
    a, b = generator.random((2, 60))
    plain_effect = metrics.paired_bootstrap(a, b)
    assert plain_effect.sd == pytest.approx((a - b).std(ddof=1))
    assert plain_effect.minimum_detectable == pytest.approx(2.80158 * (a - b).std(ddof=1) / math.sqrt(60), rel=1e-4)
    strata = ["x"] * 20 + ["y"] * 40
    stratified = metrics.paired_bootstrap(a, b, strata)
    d = a - b
    expected = math.sqrt(0.25 * d[:20].var(ddof=1) / 20 + 0.25 * d[20:].var(ddof=1) / 40)
    assert stratified.sd / math.sqrt(60) == pytest.approx(expected)


def test_minimum_detectable_effect_is_found_with_the_stated_power() -> None:
    """Normal differences with sd 1, n = 100: mean shift 0.2802 is significant in about 80 % of studies."""
    shift = metrics.minimum_detectable_effect(1.0, 100)
    assert shift == pytest.approx(0.28016, abs=1e-4)
    means = np.random.default_rng(7).normal(shift, 0.1, 20_000)
    assert np.mean(np.abs(means) / 0.1 > 1.96) == pytest.approx(0.8, abs=0.015)


@pytest.mark.parametrize("values", [[], [0.5, float("nan")], [[0.5]]])
def test_statistics_refuse_what_is_no_list_of_numbers(values: list[float]) -> None:
    with pytest.raises(MetricError, match="non-empty list of finite values"):
        metrics.bootstrap_interval(values, seed=0)
