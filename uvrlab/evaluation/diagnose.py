"""A diagnosis from tables of scores: what moves together, what predicts the whole, what is weak, what to synthesise next.

Every figure names its coefficient, its models and its average, because the published ones depend on all three (GVE section 3).
Correlations over a handful of models are wide: read the interval.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from uvrlab.evaluation import uvrb
from uvrlab.evaluation.correlations import Cell, Correlation, Method, correlate, matrix
from uvrlab.evaluation.score_tables import ScoreTable

TASKS = ("TXT", "CMP", "VIS")
ABILITIES = (*TASKS, "CG", "FG", "LC", "S", "T", "PR")
AVERAGES = ("AVG_A", "AVG_D")
WHOLE = "mean(TXT, CMP, VIS)"

# The kinds of UVRD pairs (task, caption style) that train an ability, and their shares within it. PR is UVRB's single events,
# themes and keywords.
PAIRS_FOR: dict[str, dict[tuple[str, str], float]] = {
    "CG": {("T2V", "concise"): 1},
    "S": {("T2V", "rich"): 1},
    "T": {("T2V", "rich"): 1},
    "FG": {("T2V", "rich"): 1},
    "PR": {("T2V", "partial"): 1 / 3, ("T2V", "abstract"): 1 / 3, ("T2V", "keywords"): 1 / 3},
    "LC": {("T2V", "rich"): 1},
    "CMP": {("TI2V", ""): 1 / 2, ("TV2V", ""): 1 / 2},
    "VIS": {("I2V", ""): 1 / 2, ("V2V", ""): 1 / 2},
}


@dataclass(frozen=True)
class Predictor:
    """How well one column predicts the whole; `rest` is a dataset against the mean of the other datasets."""

    column: str
    whole: Correlation
    rest: Correlation | None = None


@dataclass(frozen=True)
class Weakness:
    """An ability's mean score over the models in question, and the best model of the tables."""

    ability: str
    mean: float
    best: float
    best_model: str


@dataclass(frozen=True)
class Diagnosis:
    """All that `uvr diagnose` says. `focus` are the models whose weakness the mix answers; shares of the mix sum to 1."""

    method: Method
    models: tuple[str, ...]
    columns: tuple[str, ...]
    cells: tuple[Cell, ...]
    datasets: tuple[Predictor, ...]  # best first
    abilities: tuple[Predictor, ...]  # best first
    focus: tuple[str, ...]
    weak: tuple[Weakness, ...]  # weakest first
    mix: Mapping[tuple[str, str], float]
    notes: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """{"method", "models", "n", "cells": [{"row", "column", "value", "low", "high"}]}; a cell an ordered pair of columns."""
        return {
            "method": self.method,
            "models": list(self.models),
            "n": len(self.models),
            "cells": [asdict(cell) for cell in self.cells],
        }


def diagnose(table: ScoreTable, method: Method = "spearman", models: Sequence[str] = ()) -> Diagnosis:
    """Diagnose the tables over `models` (all by default) and over the columns that all of these have.

    Raises TableFault for an unknown model and for fewer than two shared columns.
    """
    chosen = table.select(models)
    columns = {name: chosen.column(name) for name in chosen.columns}
    focus = chosen.own or list(chosen.scores)
    weak = weaknesses({m: leaf_abilities(row) for m, row in chosen.scores.items()}, focus)
    return Diagnosis(
        method,
        tuple(chosen.scores),
        tuple(columns),
        tuple(matrix(columns, method)),
        tuple(_dataset_predictors(columns, method)),
        tuple(_ability_predictors(columns, method)),
        tuple(focus),
        tuple(weak),
        synthesis_mix({w.ability: w.mean for w in weak}),
        tuple(chosen.notes),
    )


def _dataset_predictors(columns: Mapping[str, list[float]], method: Method) -> list[Predictor]:
    names = [name for name in columns if name not in (*ABILITIES, *AVERAGES)]
    if len(names) < 3:
        return []
    values = np.array([columns[name] for name in names])  # (datasets, models)
    whole = values.mean(axis=0)
    rest = (values.sum(axis=0) - values) / (len(names) - 1)
    found = [
        Predictor(name, correlate(own, whole.tolist(), method), correlate(own, others, method))
        for name, own, others in zip(names, values.tolist(), rest.tolist(), strict=True)
    ]
    return sorted(found, key=lambda p: -(p.rest.value if p.rest and p.rest.value is not None else -2))


def _ability_predictors(columns: Mapping[str, list[float]], method: Method) -> list[Predictor]:
    if not all(task in columns for task in TASKS):
        return []
    whole = np.mean([columns[task] for task in TASKS], axis=0).tolist()
    found = [Predictor(name, correlate(columns[name], whole, method)) for name in ABILITIES if name in columns]
    return sorted(found, key=lambda p: -(p.whole.value if p.whole.value is not None else -2))


def leaf_abilities(row: Mapping[str, float]) -> dict[str, float]:
    """{ability: score} of one model: as its table says, else from UVRB's datasets where all of an ability's are there."""
    found: dict[str, float] = {}
    for ability in uvrb.ABILITIES:
        parts = [name for name, d in uvrb.DATASETS.items() if d.ability == ability]
        if ability in row:
            found[ability] = row[ability]
        elif all(name in row for name in parts):
            found[ability] = sum(row[name] for name in parts) / len(parts)
    if "FG" in row and not {"S", "T"} & set(found):
        found["FG"] = row["FG"]
    return found


def weaknesses(scores: Mapping[str, Mapping[str, float]], focus: Sequence[str]) -> list[Weakness]:
    """The abilities that every model has ({model: {ability: score}}), lowest mean over `focus` first."""
    found = []
    for ability in (a for a in uvrb.LEAVES if all(a in row for row in scores.values())):
        best = max(scores, key=lambda model: scores[model][ability])
        mean = sum(scores[model][ability] for model in focus) / len(focus)
        found.append(Weakness(ability, mean, scores[best][ability], best))
    return sorted(found, key=lambda w: w.mean)


def synthesis_mix(means: Mapping[str, float]) -> dict[tuple[str, str], float]:
    """{(task, style): share} of pairs to synthesise for a model with these ability scores; sums to 1.

    An ability gets pairs in proportion to its weight in AVG_A times its headroom, 1 - score: to what closing the gap would add to
    the average. Where an ability of AVG_A is missing all weigh the same; without headroom the mix is empty. T2T and T2I serve
    no ability that UVRB measures.
    """
    weights = uvrb.weights({a: a for a in means}).get("AVG_A") or dict.fromkeys(means, 1.0)
    need = {ability: weights[ability] * (1 - score) for ability, score in means.items() if score < 1}
    total, shares = sum(need.values()), dict[tuple[str, str], float]()
    for ability, amount in need.items():
        for cell, part in PAIRS_FOR[ability].items():
            shares[cell] = shares.get(cell, 0.0) + part * amount / total
    return dict(sorted(shares.items(), key=lambda entry: -entry[1]))
