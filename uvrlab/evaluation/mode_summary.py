"""What modes cost, and how much of the oracle's gain the router realises."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from uvrlab.evaluation import uvrb
from uvrlab.evaluation.metrics import PairedEffect, paired_bootstrap
from uvrlab.evaluation.modes import SINGLES, Scored
from uvrlab.evaluation.results import AUTO, ORACLE, ModeCost, Routing, Table
from uvrlab.runs import Metric

Array = np.ndarray[Any, Any]


def costs(scored: Sequence[Scored], candidate_tokens: Mapping[str, float]) -> tuple[ModeCost, ...]:
    """One record a mode, over all datasets. `candidate_tokens` by the mode that candidates are read in."""
    found = []
    for mode in dict.fromkeys(one.mode for one in scored):
        mine = [one for one in scored if one.mode == mode]
        tokens = np.concatenate([np.asarray(one.n_tokens, float) for one in mine])
        thinks = np.concatenate([np.asarray(one.thinks, float) for one in mine])
        corpus = 0.0 if mode in ("speed", "think/speed") else candidate_tokens.get("think", 0.0)
        found.append(
            ModeCost(
                mode=mode,
                n=len(tokens),
                query_tokens=float(tokens.mean()),
                candidate_tokens=corpus,
                thinks=float(thinks.mean()),
                fallbacks=sum(one.fallbacks for one in mine),
            )
        )
    return tuple(found)


def milliseconds(scored: Sequence[Scored]) -> dict[str, float]:
    """{mode: mean milliseconds of model time a query}; what was measured, so never part of a digest."""
    return {
        mode: float(np.mean([ms for one in scored if one.mode == mode for ms in one.milliseconds]))
        for mode in dict.fromkeys(one.mode for one in scored)
    }


def effect(table: Table, weights: Mapping[str, float], main: Mapping[str, str], mode: str, other: str, seed: int) -> PairedEffect:
    """One mode over another: the mean over datasets of their own metrics, on the same queries."""
    sides: tuple[list[float], list[float]] = ([], [])
    strata: list[str] = []
    for dataset in weights:
        for side, name in zip(sides, (mode, other), strict=True):
            side += _in_order(table[name, main[dataset], dataset])
        strata += [dataset] * (len(sides[0]) - len(strata))
    return paired_bootstrap(*sides, strata, seed=seed, weights=weights)


def routing(
    table: Table, abilities: Mapping[str, str], main: Mapping[str, str], scored: Sequence[Scored], seed: int, bootstrap: int
) -> Routing | None:
    """From `results.tabulate`, over the datasets of AVG_D alone; None unless speed, think, oracle and auto were all evaluated.

    Resamples queries inside datasets.
    """
    weights = uvrb.weights(abilities)["AVG_D"]
    modes = (*SINGLES, ORACLE, AUTO)
    if any((mode, main[dataset], dataset) not in table for mode in modes for dataset in weights):
        return None
    values = {d: np.array([_in_order(table[mode, main[d], d]) for mode in modes]) for d in weights}  # (4, n)
    means = _averages(values, weights, None)
    single = int(np.argmax(means[:2]))
    rng = np.random.default_rng(seed)
    draws = np.array([_averages(values, weights, rng) for _ in range(bootstrap)])  # (bootstrap, 4)
    gains, resampled = means[2:] - means[single], draws[:, 2:] - draws[:, [single]]
    cost = {one.mode: one for one in costs([one for one in scored if one.task.dataset in weights], {})}
    think, n = cost["think"].query_tokens, cost[AUTO].n
    return Routing(
        n=n,
        better_single=SINGLES[single],
        single=means[single],
        oracle=means[2],
        auto=means[3],
        oracle_if_independent=sum(w * _either(values[d]) for d, w in weights.items()),
        oracle_gain=_interval(gains[0], resampled[:, 0], "points", n),
        auto_gain=_interval(gains[1], resampled[:, 1], "points", n),
        realised=_interval(gains[1] / gains[0], _ratio(resampled), "share of the oracle's gain", n) if gains[0] > 0 else None,
        thinks=cost[AUTO].thinks,
        token_share=cost[AUTO].query_tokens / think if think else None,
    )


def _either(values: Array) -> float:
    """What the oracle would get if thinking hit or missed without regard to whether the disc vector did, from values in [0, 1]."""
    disc, gen = values[0].mean(), values[1].mean()
    return float(disc + gen - disc * gen)


def _in_order(values: Mapping[str, float]) -> list[float]:
    return [values[name] for name in sorted(values)]


def _averages(values: Mapping[str, Array], weights: Mapping[str, float], rng: np.random.Generator | None) -> Array:
    """(4,) weighted means over datasets, of all queries or of a resample of them."""
    total = np.zeros(4)
    for dataset, own in values.items():
        chosen = own if rng is None else own[:, rng.integers(own.shape[1], size=own.shape[1])]
        total += weights[dataset] * chosen.mean(axis=1)
    return total


def _ratio(gains: Array) -> Array:
    some = gains[:, 0] > 0
    return gains[some, 1] / gains[some, 0]


def _interval(value: float, draws: Array, unit: str, n: int) -> Metric:
    low, high = np.quantile(draws, (0.025, 0.975))
    return Metric(value=float(value), unit=unit, low=float(low), high=float(high), n=n)
