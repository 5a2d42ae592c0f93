"""The table of a study: each variant against the baseline, paired by query within a seed, seeds as strata.

The interval speaks of the queries, under the seeds that were run; the differences of single seeds stand beside it, as the reader's
measure of what another seed might do.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from uvrlab.evaluation import results
from uvrlab.evaluation.metrics import paired_bootstrap, stratified_mean
from uvrlab.report import Report
from uvrlab.runs import Metric, write_json

if TYPE_CHECKING:
    from uvrlab.study import Study

MEAN = "mean of all"
At = tuple[str, int]  # variant, seed
Samples = dict[str, tuple[np.ndarray, np.ndarray]]  # stratum -> values of variant and baseline on the same queries


@dataclass(frozen=True)
class StudyEffect:
    """One variant against the baseline on one dataset, metric and mode; values and differences are shares in [0, 1]."""

    variant: str
    dataset: str
    metric: str
    mode: str
    baseline_value: float
    value: float
    difference: float
    low: float
    high: float
    p_value: float
    n: int  # queries, summed over seeds
    seeds: tuple[int, ...]
    by_seed: tuple[float, ...]
    minimum_detectable: float
    verdict: str


def read_cell(out: Path, name: str) -> dict[str, Any] | None:
    """The JSON of a finished cell, or None."""
    file = out / "cells" / f"{name}.json"
    return json.loads(file.read_text()) if file.is_file() else None


def study_effects(study: Study, folders: Mapping[At, Path]) -> tuple[list[StudyEffect], list[str]]:
    """Effects of every variant over the seeds that both it and the baseline have, and notes on what cannot be compared."""
    notes: list[str] = []
    loaded = {at: results.read(folder) for at, folder in folders.items()}
    tables = {at: _chosen(results.tabulate(found.rows)[0], study) for at, found in loaded.items()}
    effects = []
    for variant in (name for name in study.variants if name != study.baseline):
        seeds = []
        for seed in study.seeds:
            ours, theirs = (variant, seed), (study.baseline, seed)
            if ours not in loaded or theirs not in loaded:
                continue
            if why := _differs(loaded[ours], loaded[theirs], tables[ours], tables[theirs]):
                notes.append(f"{variant}, seed {seed}: {why}; not compared")
            else:
                seeds.append(seed)
        if seeds:
            effects += _effects_of(study, variant, seeds, tables)
    return effects, notes


def _chosen(table: results.Table, study: Study) -> results.Table:
    return {
        (mode, metric, dataset): values
        for (mode, metric, dataset), values in table.items()
        if metric in study.metrics
        and (not study.datasets or dataset in study.datasets)
        and (not study.modes or mode in study.modes)
    }


def _differs(a: results.Evaluation, b: results.Evaluation, ours: results.Table, theirs: results.Table) -> str:
    if a.results.benchmark_digest != b.results.benchmark_digest:
        return f"benchmark {a.results.benchmark_digest[:12]} against {b.results.benchmark_digest[:12]}"
    for key in sorted(ours.keys() & theirs.keys()):
        if ours[key].keys() != theirs[key].keys():
            return f"{key[2]} was asked {len(ours[key])} queries against {len(theirs[key])}"
    return "" if ours.keys() & theirs.keys() else f"no common dataset, metric and mode among {sorted(ours)} and {sorted(theirs)}"


def _effects_of(study: Study, variant: str, seeds: Sequence[int], tables: Mapping[At, results.Table]) -> list[StudyEffect]:
    shared = set.intersection(*(set(tables[name, seed]) for name in (variant, study.baseline) for seed in seeds))
    effects = []
    for mode, metric in sorted({key[:2] for key in shared}):
        keys = sorted(key for key in shared if key[:2] == (mode, metric))
        for named, group in [*((key[2], [key]) for key in keys), *([(MEAN, keys)] if len(keys) > 1 else [])]:
            samples = {
                f"{seed} {key[2]}": _paired(tables[variant, seed][key], tables[study.baseline, seed][key])
                for seed in seeds
                for key in group
            }
            effects.append(_effect(study, variant, named, metric, mode, seeds, samples))
    return effects


def _paired(ours: Mapping[str, float], theirs: Mapping[str, float]) -> tuple[np.ndarray, np.ndarray]:
    queries = sorted(ours)
    return np.array([ours[q] for q in queries]), np.array([theirs[q] for q in queries])


def _effect(
    study: Study, variant: str, dataset: str, metric: str, mode: str, seeds: Sequence[int], samples: Samples
) -> StudyEffect:
    a, b = (np.concatenate([pair[side] for pair in samples.values()]) for side in (0, 1))
    strata = [name for name, pair in samples.items() for _ in pair[0]]
    found = paired_bootstrap(a, b, strata, seed=study.seeds[0], n=study.bootstrap)
    by_seed = [
        float(np.mean([(x - y).mean() for name, (x, y) in samples.items() if name.split(" ")[0] == str(seed)])) for seed in seeds
    ]
    return StudyEffect(
        variant=variant,
        dataset=dataset,
        metric=metric,
        mode=mode,
        baseline_value=stratified_mean(b, strata),
        value=stratified_mean(a, strata),
        difference=found.difference,
        low=found.low,
        high=found.high,
        p_value=found.p_value,
        n=found.n,
        seeds=tuple(seeds),
        by_seed=tuple(by_seed),
        minimum_detectable=found.minimum_detectable,
        verdict=found.verdict,
    )


COLUMNS = (
    *("variant", "dataset", "metric", "mode", "baseline, %", "variant, %", "difference, points [95 %]"),
    *("by seed, points", "n", "minimum detectable, points", "verdict"),
)


def _row(effect: StudyEffect) -> list[str]:
    e = effect
    return [
        *(e.variant, e.dataset, e.metric, e.mode, f"{100 * e.baseline_value:.1f}", f"{100 * e.value:.1f}"),
        f"{100 * e.difference:+.1f} [{100 * e.low:+.1f}, {100 * e.high:+.1f}]",
        ", ".join(f"{100 * d:+.1f}" for d in e.by_seed),
        f"{e.n} queries, {len(e.seeds)} seeds",
        f"{100 * e.minimum_detectable:.1f}",
        e.verdict,
    ]


@dataclass(frozen=True)
class Outcome:
    """What a study has so far: effects, the JSON of finished cells, why others are missing, and notes."""

    study: Study
    effects: Sequence[StudyEffect]
    records: Mapping[At, Mapping[str, Any]]
    missing: Mapping[str, str]
    notes: Sequence[str]

    def write(self, out: Path) -> str:
        """Write `study.json`, `study.md` and `study.html`; the markdown is returned."""
        out.mkdir(parents=True, exist_ok=True)
        summary = {
            "study": json.loads(self.study.model_dump_json()),
            "effects": [asdict(effect) for effect in self.effects],
            "cells": [dict(record) for record in self.records.values()],
            "missing": dict(self.missing),
            "notes": list(self.notes),
        }
        write_json(out / "study.json", summary)
        (out / "study.md").write_text(text := self.markdown())
        self.page().write(out / "study.html")
        return text

    @property
    def subtitle(self) -> str:
        total = len(self.records) + len(self.missing)
        return f"Baseline: {self.study.baseline}. {len(self.records)} of {total} cells, seeds {list(self.study.seeds)}."

    def markdown(self) -> str:
        """The table of effects, the missing cells by name, the notes."""
        lines = [f"# {self.study.question}", "", self.subtitle, ""]
        if self.effects:
            lines += [f"| {' | '.join(COLUMNS)} |", "|" + " --- |" * len(COLUMNS)]
            lines += [*(f"| {' | '.join(_row(effect))} |" for effect in self.effects), ""]
        if self.missing:
            lines += ["Missing cells:", "", *(f"- {name}: {why}" for name, why in self.missing.items()), ""]
        return "\n".join([*lines, *(f"Note: {note}." for note in self.notes)]).rstrip() + "\n"

    def page(self) -> Report:
        """The same as a report, with the effects drawn."""
        report = Report(self.study.question, self.subtitle)
        for words in (*(f"{name} is missing: {why}" for name, why in self.missing.items()), *self.notes):
            report.warning(words)
        for metric, mode in dict.fromkeys((e.metric, e.mode) for e in self.effects):
            chosen = [e for e in self.effects if (e.metric, e.mode) == (metric, mode)]
            report.section(f"{metric}, {mode}", "Paired by query within a seed, seeds as strata; whiskers are 95 % intervals.")
            report.effects({f"{e.variant}: {e.dataset}": _points(e) for e in chosen}, "points")
            report.table([dict(zip(COLUMNS, _row(e), strict=True)) for e in chosen])
        return report


def _points(effect: StudyEffect) -> Metric:
    return Metric(value=100 * effect.difference, unit="points", low=100 * effect.low, high=100 * effect.high, n=effect.n)
