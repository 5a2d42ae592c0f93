"""The table of a study: variants against the baseline and their controls, paired by query; each seed's datasets are strata.

UVRB's averages stand first, nested as its paper has them, each dataset by its own metric; then single datasets. The interval speaks
of the queries, under the seeds that were run; the differences of single seeds stand beside it, as the reader's measure of what
another seed might do.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from uvrlab.evaluation import results, uvrb
from uvrlab.evaluation.metrics import paired_bootstrap, stratified_mean
from uvrlab.evaluation.results import MAIN, Evaluation, Key, Table
from uvrlab.report import Report
from uvrlab.runs import Metric, write_json

if TYPE_CHECKING:
    from uvrlab.study import Study

MEAN = "mean of all"
At = tuple[str, int]  # variant, seed


@dataclass(frozen=True)
class Line:
    """What a row measures: the weighted sum of some datasets' metrics in one mode. The weights sum to 1."""

    name: str
    metric: str
    mode: str
    weights: Mapping[Key, float]


@dataclass(frozen=True)
class StudyEffect:
    """One variant against another on one dataset or average, metric and mode; values and differences are shares in [0, 1]."""

    variant: str
    against: str
    dataset: str
    metric: str
    mode: str
    value: float
    against_value: float
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
    """Effects of every comparison over the seeds that both variants have, averages first; notes on what is not compared."""
    notes: list[str] = []
    loaded = {at: results.read(folder) for at, folder in folders.items()}
    tables = {at: _chosen(results.tabulate(found.rows)[0], study) for at, found in loaded.items()}
    effects = []
    for variant, against in study.comparisons:
        seeds = []
        for seed in study.seeds:
            ours, theirs = (variant, seed), (against, seed)
            if ours not in loaded or theirs not in loaded:
                continue
            if why := _differs(study, loaded[ours], loaded[theirs], tables[ours], tables[theirs]):
                notes.append(f"{variant} against {against}, seed {seed}: {why}; not compared")
            else:
                seeds.append(seed)
        if seeds:
            shared = set.intersection(*(set(tables[name, seed]) for name in (variant, against) for seed in seeds))
            lines = _lines(study, shared, loaded[variant, seeds[0]])
            effects += [_effect(study, variant, against, line, seeds, tables) for line in lines]
    return sorted(effects, key=lambda effect: effect.metric != MAIN), notes


def _chosen(table: Table, study: Study) -> Table:
    return {
        (mode, metric, dataset): values
        for (mode, metric, dataset), values in table.items()
        if (not study.datasets or dataset in study.datasets) and (not study.modes or mode in study.modes)
    }


def _asks(study: Study, evaluation: Evaluation, key: Key) -> bool:
    """Whether a dataset has a row of its own under this metric."""
    return key[1] in study.metrics or (MAIN in study.metrics and key[1] == evaluation.results.main[key[2]])


def _differs(study: Study, a: Evaluation, b: Evaluation, ours: Table, theirs: Table) -> str:
    if a.results.benchmark_digest != b.results.benchmark_digest:
        return f"benchmark {a.results.benchmark_digest[:12]} against {b.results.benchmark_digest[:12]}"
    shared = sorted(ours.keys() & theirs.keys())
    for key in shared:
        if ours[key].keys() != theirs[key].keys():
            return f"{key[2]} was asked {len(ours[key])} queries against {len(theirs[key])}"
    if any(_asks(study, a, key) for key in shared):
        return ""
    metrics = sorted({key[1] for key in (*ours, *theirs)})
    return f"no common dataset and mode with {', '.join(study.metrics)}; found {', '.join(metrics)}"


def _lines(study: Study, shared: set[Key], evaluation: Evaluation) -> list[Line]:
    """For each mode UVRB's averages, the widest first, then what the study asks of single datasets.

    The mean of all stands where one metric judges all of them, and where it is not AVG_D once more.
    """
    own, found = evaluation.results.main, list[Line]()
    abilities = {s.dataset: str(s.ability) for s in evaluation.results.scores if s.ability in uvrb.LEAVES}
    averages = uvrb.weights({d: ability for d, ability in abilities.items() if not study.datasets or d in study.datasets})
    for mode in sorted({mode for mode, _, _ in shared}):
        sums = [(name, {(mode, own[d], d): w for d, w in parts.items()}) for name, parts in reversed(averages.items())]
        nested = [Line(name, MAIN, mode, weights) for name, weights in sums if weights and weights.keys() <= shared]
        found += nested
        asked = sorted(key for key in shared if key[0] == mode and _asks(study, evaluation, key))
        datasets = {dataset for of, _, dataset in shared if of == mode}
        for metric in sorted({key[1] for key in asked}):
            keys = [key for key in asked if key[1] == metric]
            found += [Line(key[2], metric, mode, {key: 1.0}) for key in keys]
            judged_alike = len(keys) == len(datasets) > 1 and len({own[d] for d in datasets}) == 1
            if judged_alike and all(line.weights.keys() != set(keys) for line in nested):
                found.append(Line(MEAN, metric, mode, dict.fromkeys(keys, 1 / len(keys))))
    return found


def _effect(study: Study, variant: str, against: str, line: Line, seeds: Sequence[int], tables: Mapping[At, Table]) -> StudyEffect:
    samples = {
        (seed, key): _paired(tables[variant, seed][key], tables[against, seed][key]) for seed in seeds for key in line.weights
    }
    a, b = (np.concatenate([pair[side] for pair in samples.values()]) for side in (0, 1))
    strata = [f"{seed} {key[2]}" for (seed, key), pair in samples.items() for _ in pair[0]]
    weights = {f"{seed} {key[2]}": line.weights[key] / len(seeds) for seed, key in samples}
    found = paired_bootstrap(a, b, strata, seed=study.seeds[0], n=study.bootstrap, weights=weights)
    return StudyEffect(
        variant=variant,
        against=against,
        dataset=line.name,
        metric=line.metric,
        mode=line.mode,
        value=stratified_mean(a, strata, weights),
        against_value=stratified_mean(b, strata, weights),
        difference=found.difference,
        low=found.low,
        high=found.high,
        p_value=found.p_value,
        n=found.n,
        seeds=tuple(seeds),
        by_seed=tuple(sum(w * float(np.subtract(*samples[seed, key]).mean()) for key, w in line.weights.items()) for seed in seeds),
        minimum_detectable=found.minimum_detectable,
        verdict=found.verdict,
    )


def _paired(ours: Mapping[str, float], theirs: Mapping[str, float]) -> tuple[np.ndarray, np.ndarray]:
    """(n,) values of both on the same queries."""
    queries = sorted(ours)
    return np.array([ours[q] for q in queries]), np.array([theirs[q] for q in queries])


COLUMNS = (
    *("variant", "against", "dataset", "metric", "mode", "against, %", "variant, %", "difference, points [95 %]"),
    *("by seed, points", "n", "minimum detectable, points", "verdict"),
)


def _row(effect: StudyEffect) -> list[str]:
    e = effect
    return [
        *(e.variant, e.against, e.dataset, e.metric, e.mode, f"{100 * e.against_value:.1f}", f"{100 * e.value:.1f}"),
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
            lines += [f"Metric {MAIN}: an average of UVRB, each dataset by its own metric.", ""]
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
            title = f"UVRB's averages, {mode}" if metric == MAIN else f"{metric}, {mode}"
            report.section(title, "Paired by query; each seed's datasets are strata. Whiskers are 95 % intervals.")
            report.effects({f"{e.variant} - {e.against}: {e.dataset}": _points(e) for e in chosen}, "points")
            report.table([dict(zip(COLUMNS, _row(e), strict=True)) for e in chosen])
        return report


def _points(effect: StudyEffect) -> Metric:
    return Metric(value=100 * effect.difference, unit="points", low=100 * effect.low, high=100 * effect.high, n=effect.n)
