"""Retrieval metrics, exact under ties, and the statistics that judge them. numpy only; any module may import this one.

A metric of a query is its expected value when tied candidates are ordered at random (McSherry & Najork, ECIR 2008), so
neither the order of a corpus nor a sort's whim moves a score. Every metric needs just a `Ranking`: where the positives
of one query stand among the candidates. Relevance is binary. It is not an evaluator: tasks.py turns queries and vectors
into rankings.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


class MetricError(ValueError):
    """Scores, relevance or a metric's name that no number can honestly be computed from."""


@dataclass(frozen=True)
class Ranking:
    """The tie groups that hold positives, best first: candidates strictly above, candidates in the group, positives in
    the group.
    """

    above: tuple[int, ...]
    size: tuple[int, ...]
    relevant: tuple[int, ...]
    n_candidates: int

    @property
    def n_positives(self) -> int:
        return sum(self.relevant)


def rank(scores: Array, relevant: Array, query: str = "?") -> Ranking:
    """The ranking of one query from its candidates' `scores` (n,), higher is better, and `relevant` (n,) bool.

    Raises MetricError naming `query` when shapes differ, nothing is relevant, or a score is not finite.
    """
    scores, relevant = np.asarray(scores), np.asarray(relevant, dtype=bool)
    if scores.ndim != 1 or scores.shape != relevant.shape:
        raise MetricError(f"query {query!r}: scores {scores.shape} and relevance {relevant.shape} must be (n,) and equal")
    if not relevant.any():
        raise MetricError(
            f"query {query!r} has no positive among its {scores.size} candidates; correct the benchmark or drop the query"
        )
    if not np.isfinite(scores).all():
        at = int(np.flatnonzero(~np.isfinite(scores))[0])
        raise MetricError(
            f"query {query!r}: the score of candidate {at} is {scores[at]}, expected a finite number; check its vectors"
        )
    values, counts = np.unique(scores[relevant], return_counts=True)
    ordered = np.sort(scores)
    first, past = np.searchsorted(ordered, values, "left"), np.searchsorted(ordered, values, "right")
    above, size = (scores.size - past)[::-1].tolist(), (past - first)[::-1].tolist()
    return Ranking(tuple(above), tuple(size), tuple(counts[::-1].tolist()), int(scores.size))


def recall_at_k(ranking: Ranking, k: int) -> float:
    """Expected share of the positives within the first k places, in [0, 1]; with one positive, the chance of a hit."""
    return _expected_positives(ranking, k) / ranking.n_positives


def precision_at_k(ranking: Ranking, k: int) -> float:
    """Expected share of the first k places that positives hold, in [0, 1]; k places count even where there are fewer
    candidates.
    """
    return _expected_positives(ranking, k) / k


def hit_at_k(ranking: Ranking, k: int) -> float:
    """Probability that at least one positive is within the first k places."""
    above, size, relevant = ranking.above[0], ranking.size[0], ranking.relevant[0]
    places = min(max(k - above, 0), size)
    return 1.0 - math.comb(size - relevant, places) / math.comb(size, places)


def mrr(ranking: Ranking, k: int | None = None) -> float:
    """Expected reciprocal of the first positive's rank, in [0, 1]; 0 beyond place k where k is given."""
    above = ranking.above[0]
    return sum(p / (above + j) for j, p in _first_place(ranking) if k is None or above + j <= k)


def ndcg_at_k(ranking: Ranking, k: int) -> float:
    """Expected DCG@k over the ideal DCG@k, gain 1 for a positive, discount 1 / log2(1 + place)."""
    gained = sum(
        relevant / size * _discounts(above, min(above + size, k))
        for above, size, relevant in zip(ranking.above, ranking.size, ranking.relevant, strict=True)
    )
    return gained / _discounts(0, min(ranking.n_positives, k))


def first_relevant_rank(ranking: Ranking) -> float:
    """Expected rank of the first positive, 1 is best: above + (ties + 1) / (positives among them + 1)."""
    return ranking.above[0] + (ranking.size[0] + 1) / (ranking.relevant[0] + 1)


def _expected_positives(ranking: Ranking, k: int) -> float:
    groups = zip(ranking.above, ranking.size, ranking.relevant, strict=True)
    return sum(relevant * min(max(k - above, 0), size) / size for above, size, relevant in groups)


def _first_place(ranking: Ranking) -> list[tuple[int, float]]:
    """(j, P(the first positive takes place j of the top tie group)): C(size - j, relevant - 1) / C(size, relevant), by
    recurrence.
    """
    size, relevant = ranking.size[0], ranking.relevant[0]
    places, probability = [], relevant / size
    for j in range(1, size - relevant + 2):
        places.append((j, probability))
        if j < size:
            probability *= (size - j - relevant + 1) / (size - j)
    return places


def _discounts(start: int, stop: int) -> float:
    return float(sum(1.0 / math.log2(2 + place) for place in range(start, stop)))


# The name before "@", and what it computes. Bare "MRR" has no cut-off.
METRICS: dict[str, Callable[[Ranking, int], float]] = {
    "R": recall_at_k,
    "P": precision_at_k,
    "hit": hit_at_k,
    "MRR": mrr,
    "nDCG": ndcg_at_k,
}


def score(metric: str, ranking: Ranking) -> float:
    """One metric by name: `R@1`, `P@1`, `hit@5`, `MRR`, `MRR@10`, `nDCG@10`. Raises MetricError with the nearest known
    name.
    """
    if metric == "MRR":
        return mrr(ranking)
    name, _, cut = metric.partition("@")
    if name not in METRICS or not cut.isdecimal() or int(cut) < 1:
        near = difflib.get_close_matches(name.lower(), [m.lower() for m in METRICS], 1, 0.0)
        nearest = next(m for m in METRICS if m.lower() == near[0])
        raise MetricError(f"unknown metric {metric!r}; expected NAME@K with K >= 1, such as {nearest}@10, or MRR")
    return METRICS[name](ranking, int(cut))


@lru_cache(maxsize=4096)
def chance(metric: str | int, n_candidates: int, n_positives: int = 1) -> float:
    """The exact expected metric of a random order (all candidates tied); an int k stands for `R@k`."""
    if not 1 <= n_positives <= n_candidates:
        raise MetricError(f"chance needs 1 <= positives <= candidates, found {n_positives} of {n_candidates}")
    name = f"R@{metric}" if isinstance(metric, int) else metric
    return score(name, Ranking((0,), (n_candidates,), (n_positives,), n_candidates))


# --- statistics over queries ---


@dataclass(frozen=True)
class PairedEffect:
    """Mean of a - b over the same queries, in the metric's unit, with its bootstrap interval and two-sided p."""

    difference: float
    low: float
    high: float
    p_value: float
    sd: float  # of the differences of single queries, inside strata
    n: int
    minimum_detectable: float  # at power 0.8, alpha 0.05

    @property
    def verdict(self) -> str:
        return "moved" if self.low > 0 or self.high < 0 else "not shown"


def bootstrap_interval(
    values: Sequence[float] | Array,
    seed: int,
    n: int = 2000,
    *,
    strata: Sequence[str] | None = None,
    weights: Mapping[str, float] | None = None,
    level: float = 0.95,
) -> tuple[float, float]:
    """Percentile bootstrap interval of a mean over queries; `strata` and `weights` as in `stratified_mean`.

    Where all values are 0, or all 1, resampling sees no variation: the outer end is then the exact (Clopper-Pearson)
    one, not the value.
    """
    groups = _groups(values, strata, weights)
    means = _resampled_means(groups, seed, n)
    tail = (1 - level) / 2
    low, high = (float(q) for q in np.quantile(means, (tail, 1 - tail)))
    everything = np.concatenate([group for group, _ in groups])
    exact = tail ** (1 / everything.size)
    if (everything == 0).all():
        return 0.0, 1 - exact
    if (everything == 1).all():
        return exact, 1.0
    return low, high


def stratified_mean(
    values: Sequence[float] | Array, strata: Sequence[str] | None = None, weights: Mapping[str, float] | None = None
) -> float:
    """The mean of all values; with `strata` (one label a value) the weighted mean of the strata's means, equal weights
    by default.
    """
    return float(sum(weight * group.mean() for group, weight in _groups(values, strata, weights)))


def paired_bootstrap(
    a: Sequence[float] | Array,
    b: Sequence[float] | Array,
    strata: Sequence[str] | None = None,
    *,
    seed: int = 0,
    n: int = 2000,
    weights: Mapping[str, float] | None = None,
    level: float = 0.95,
) -> PairedEffect:
    """Is `a` better than `b` on the same queries? Resamples the differences of single queries, inside strata.

    p is two-sided from the bootstrap distribution shifted to zero, with the +1 correction (Davison & Hinkley 1997,
    section 4.4).
    """
    a, b = np.asarray(a, dtype=float), np.asarray(b, dtype=float)
    if a.shape != b.shape:
        raise MetricError(f"paired values differ in shape: {a.shape} and {b.shape}; expected the same queries in the same order")
    groups = _groups(a - b, strata, weights)
    difference = float(sum(weight * group.mean() for group, weight in groups))
    means = _resampled_means(groups, seed, n)
    tail = (1 - level) / 2
    low, high = (float(q) for q in np.quantile(means, (tail, 1 - tail)))
    extreme = int((np.abs(means - difference) >= abs(difference) - 1e-12).sum())
    size = int(a.size)
    # the sd that a plain mean over `size` queries would need for the same standard error: one formula, with and without strata
    variance = sum(weight**2 * group.var(ddof=1) / group.size for group, weight in groups if group.size > 1)
    sd = math.sqrt(float(variance) * size)
    return PairedEffect(difference, low, high, (extreme + 1) / (n + 1), sd, size, minimum_detectable_effect(sd, size))


def minimum_detectable_effect(sd_of_differences: float, n: int, power: float = 0.8, alpha: float = 0.05) -> float:
    """The smallest true difference that a two-sided paired test on n queries finds with probability `power` (normal
    approximation).
    """
    normal = NormalDist()
    return (normal.inv_cdf(1 - alpha / 2) + normal.inv_cdf(power)) * sd_of_differences / math.sqrt(n)


def _groups(
    values: Sequence[float] | Array, strata: Sequence[str] | None, weights: Mapping[str, float] | None
) -> list[tuple[Array, float]]:
    """(values of a stratum, its weight), in the strata's sorted order."""
    array = np.asarray(values, dtype=float)
    if array.ndim != 1 or array.size == 0 or not np.isfinite(array).all():
        raise MetricError(
            f"statistics need a non-empty list of finite values, found shape {array.shape} with {_not_finite(array)} not finite"
        )
    if strata is None:
        return [(array, 1.0)]
    labels = np.asarray(strata)
    if labels.shape != array.shape:
        raise MetricError(f"{array.size} values but {labels.size} strata; expected one stratum a value")
    names = sorted(set(labels.tolist()))
    weights = weights if weights is not None else dict.fromkeys(names, 1 / len(names))
    if set(weights) != set(names):
        raise MetricError(f"weights name {sorted(weights)}, strata are {names}; expected the same names")
    return [(array[labels == name], weights[name]) for name in names]


def _resampled_means(groups: list[tuple[Array, float]], seed: int, n: int) -> Array:
    """(n,) weighted means of resamples. Drawing counts of distinct values is the same law as drawing queries, and far
    fewer draws.
    """
    generator, total = np.random.default_rng(seed), np.zeros(n)
    for group, weight in groups:
        distinct, counts = np.unique(group, return_counts=True)
        draws = generator.multinomial(group.size, counts / group.size, size=n)
        total += weight * (draws @ distinct) / group.size
    return total


def _not_finite(array: Array) -> int:
    return int((~np.isfinite(array)).sum())
