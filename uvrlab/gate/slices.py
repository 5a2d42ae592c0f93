"""Slices of a paired comparison: their difference, its one-sided bounds, and the smallest margin that their size can decide.

Non-inferiority on every slice is an intersection-union test (Berger 1982): each slice is tested at the full level, without a
correction for their number. Their number does count for power: an equal candidate must pass all of them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from statistics import NormalDist
from typing import Any, NamedTuple

import numpy as np

from uvrlab.evaluation import uvrb
from uvrlab.evaluation.metrics import paired_bootstrap
from uvrlab.gate.policy import GatePolicy


class Paired(NamedTuple):
    """The queries of one dataset: their ids, and (n, 2) values of candidate and incumbent."""

    ids: Sequence[str]
    values: np.ndarray


Pairs = Mapping[str, Paired]  # dataset -> its queries


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
    decidable: float  # the smallest margin that these queries can decide for an equal candidate
    n_needed: int  # queries that decide `margin` also where a model truly moved by it, all datasets of the slice growing alike
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
        found += [_weighted(a, "ability", pairs, averages[a]) for a in sorted(set(abilities.values()) & averages.keys())]
    if "dataset" in policy.slices:
        found += [_weighted(d, "dataset", pairs, {d: 1.0}) for d in sorted(pairs)]
    for tag, patterns in policy.tags.items():
        chosen = {d: p for d in pairs if (p := _tagged(d, pairs[d], patterns)).ids}
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
    reached = quantiles(policy, None if headline else n_slices)
    decidable = reached * equal_error(wanted)
    planned = reached * equal_error(wanted, policy.margin)
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
        n_needed=math.ceil(wanted.n * (planned / policy.margin) ** 2),
        decision=_word(low, high, decidable, policy.margin, headline),
    )


def _word(low: float, high: float, decidable: float, margin: float, headline: bool) -> str:
    if high < -margin:  # even the friendliest value is beyond the margin: more queries would not save it
        return "dropped"
    if decidable > margin:
        return "under-powered"
    if low > 0:
        return "better"
    if headline:
        return "worse" if high < 0 else "not better"
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


def equal_error(wanted: Slice, moved: float = 0.0) -> float:
    """The standard error that an equal candidate would show: only as many wins count as there are losses, or the reverse.

    The rest of what differs is a true change, which makes a slice no harder to decide. `moved` adds queries that differ by a true
    change of that share: the size planned with it leaves room for candidates that moved.
    """
    variance = 0.0
    for dataset, weight in wanted.weights.items():
        d = wanted.values[dataset][:, 0] - wanted.values[dataset][:, 1]
        wins, losses, n = float((d[d > 0] ** 2).sum()), float((d[d < 0] ** 2).sum()), d.size + 2
        variance += weight**2 * ((2 * min(wins, losses) + 2) / n + moved) / n
    return math.sqrt(variance)


def _weighted(name: str, kind: str, pairs: Pairs, weights: Mapping[str, float]) -> Slice:
    return Slice(name, kind, {d: pairs[d].values for d in weights}, weights)


def _tagged(dataset: str, queries: Paired, patterns: tuple[str, ...]) -> Paired:
    chosen = [i for i, q in enumerate(queries.ids) if any(fnmatchcase(f"{dataset}/{q}", pattern) for pattern in patterns)]
    return Paired([queries.ids[i] for i in chosen], queries.values[chosen])
