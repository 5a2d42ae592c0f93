"""Slices of a paired comparison: their difference, its one-sided bounds, and the smallest margin that their size can decide.

Non-inferiority on every slice is an intersection-union test (Berger 1982): each slice is tested at the full level, without a
correction for their number. Their number does count for power: an equal candidate must pass all of them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from statistics import NormalDist
from typing import Any

import numpy as np

from uvrlab.evaluation import uvrb
from uvrlab.evaluation.metrics import paired_bootstrap
from uvrlab.gate.policy import GatePolicy

Pairs = dict[str, dict[str, tuple[float, float]]]  # dataset -> {query_id: (candidate, incumbent)}


@dataclass(frozen=True)
class Slice:
    """Queries that are judged together: {dataset: (n, 2) values} and the weight of each dataset; weights sum to 1."""

    name: str
    kind: str  # headline | ability | dataset | tag
    values: Mapping[str, np.ndarray]
    weights: Mapping[str, float]

    @property
    def n(self) -> int:
        return sum(len(v) for v in self.values.values())


@dataclass(frozen=True)
class Decision:
    """How one slice was decided. Shares; bounds are one-sided: the wider of bootstrap and adjusted Wald (Bonett & Price 2012)."""

    slice: str
    kind: str
    n: int
    candidate: float
    incumbent: float
    difference: float
    low: float
    high: float
    standard_error: float
    margin: float
    decidable: float  # the smallest margin that these queries can decide
    n_needed: int  # queries at which `margin` is decidable, all datasets of the slice growing alike
    decision: str

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def headline_slice(pairs: Pairs, abilities: Mapping[str, str], name: str) -> Slice:
    """The slice of an average, an ability or a dataset. Raises ValueError naming what there is."""
    averages = uvrb.weights(abilities)
    if name not in averages and name not in pairs:
        raise ValueError(
            f"no average or dataset {name!r} in these results; expected one of {', '.join([*averages, *sorted(pairs)])}"
        )
    return _weighted(name, "headline", pairs, averages.get(name, {name: 1.0}))


def slices(pairs: Pairs, abilities: Mapping[str, str], policy: GatePolicy) -> list[Slice]:
    """Every slice that the policy asks for. Raises ValueError for an own tag that no query carries."""
    averages, found = uvrb.weights(abilities), []
    if "ability" in policy.slices:
        found += [_weighted(a, "ability", pairs, averages[a]) for a in sorted(set(abilities.values()))]
    if "dataset" in policy.slices:
        found += [_weighted(d, "dataset", pairs, {d: 1.0}) for d in sorted(pairs)]
    for tag, patterns in policy.tags.items():
        chosen = {d: {q: v for q, v in values.items() if _matches(f"{d}/{q}", patterns)} for d, values in pairs.items()}
        chosen = {d: values for d, values in chosen.items() if values}
        if not chosen:
            raise ValueError(f"no query matches the tag {tag!r} ({', '.join(patterns)}); patterns are of dataset/query_id")
        found.append(_weighted(tag, "tag", chosen, dict.fromkeys(chosen, 1 / len(chosen))))
    return found


def decide(wanted: Slice, policy: GatePolicy, n_slices: int) -> Decision:
    """Judge one slice: superiority for the headline, non-inferiority for the rest, where its size allows either."""
    values = np.concatenate([wanted.values[d] for d in wanted.weights])
    strata = [d for d in wanted.weights for _ in range(len(wanted.values[d]))]
    effect = paired_bootstrap(
        values[:, 0],
        values[:, 1],
        strata,
        seed=policy.seed,
        n=policy.bootstrap,
        weights=wanted.weights,
        level=2 * policy.confidence - 1,
    )
    a, b = (sum(w * float(wanted.values[d][:, side].mean()) for d, w in wanted.weights.items()) for side in (0, 1))
    centre, error = adjusted(wanted)
    headline = wanted.kind == "headline"
    reach = NormalDist().inv_cdf(policy.confidence) * error  # the bootstrap is too sure of a handful of queries: take the wider
    low, high = min(effect.low, centre - reach), max(effect.high, centre + reach)
    decidable = error * quantiles(policy, None if headline else n_slices)
    judged = _superior if headline else _inferior
    return Decision(
        slice=wanted.name,
        kind=wanted.kind,
        n=wanted.n,
        candidate=a,
        incumbent=b,
        difference=effect.difference,
        low=low,
        high=high,
        standard_error=error,
        margin=policy.margin,
        decidable=decidable,
        n_needed=math.ceil(wanted.n * (decidable / policy.margin) ** 2),
        decision=judged(low, high, decidable, policy.margin),
    )


def _superior(low: float, high: float, decidable: float, margin: float) -> str:
    if low > 0:
        return "better"
    return "worse" if high < 0 else "under-powered" if decidable > margin else "not better"


def _inferior(low: float, high: float, decidable: float, margin: float) -> str:
    """A slice that is shown to have gained, or to have dropped beyond the margin, is decided whatever its size."""
    if low > 0:
        return "better"
    if high < -margin:
        return "dropped"
    if decidable > margin:
        return "under-powered"
    return "not inferior" if low > -margin else "may have dropped"


def distinct(wanted: list[Slice]) -> int:
    """How many different sets of queries the slices are: an ability with one dataset is that dataset."""
    return len({(s.name,) if s.kind == "tag" else tuple(sorted(s.weights)) for s in wanted})


def quantiles(policy: GatePolicy, n_slices: int | None) -> float:
    """Standard errors between a true effect and its bound: z(confidence) + z(power).

    For the headline (`n_slices` None) the power is that of showing a gain of `margin`; `false_block` is shared by all slices
    (Bonferroni), so that equal candidates pass all of them with probability 1 - false_block or more, however they correlate.
    """
    normal, missed = NormalDist(), policy.missed_gain if n_slices is None else policy.false_block / n_slices
    return normal.inv_cdf(policy.confidence) + normal.inv_cdf(1 - missed)


def adjusted(wanted: Slice) -> tuple[float, float]:
    """(weighted mean difference, its standard error) with one win and one loss added to each dataset (Bonett & Price 2012).

    Without them a handful of queries that happen not to differ would look infinitely exact.
    """
    centre, variance = 0.0, 0.0
    for dataset, weight in wanted.weights.items():
        d = wanted.values[dataset][:, 0] - wanted.values[dataset][:, 1]
        n, mean = d.size + 2, float(d.sum()) / (d.size + 2)
        centre += weight * mean
        variance += weight**2 * ((float((d**2).sum()) + 2) / n - mean**2) / n
    return centre, math.sqrt(variance)


def _weighted(name: str, kind: str, pairs: Pairs, weights: Mapping[str, float]) -> Slice:
    values = {d: np.asarray([pairs[d][q] for q in sorted(pairs[d])], dtype=float) for d in weights}
    return Slice(name, kind, values, weights)


def _matches(name: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)
