"""Reading RESULTS for the gate: what is faulty in one evaluation, and what makes two of them incomparable."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from uvrlab.evaluation import results as results_file
from uvrlab.evaluation.results import AUTO, Evaluation, ResultsError, Table
from uvrlab.runs import MANIFEST, RunDir, RunError
from uvrlab.upstream import hints

SHOWN = 3  # examples in a reason


@dataclass(frozen=True)
class Evidence:
    """One evaluation, tabulated; `run` where it is a run directory and not bare files."""

    evaluation: Evaluation
    table: Table  # (mode, metric, dataset) -> {query_id: value}
    abilities: dict[str, str]
    run: RunDir | None
    folder: Path

    def identity(self) -> dict[str, str | None]:
        summary = self.evaluation.results
        return {
            "results": self.run.digest if self.run else None,
            "model": summary.model_digest,
            "benchmark": summary.benchmark_digest,
        }

    def modes(self) -> list[str]:
        return sorted({mode for mode, _, _ in self.table})


def results_folder(path: Path) -> Path:
    """The folder behind RESULTS: a run directory, a folder or one of its two files, a registered version, or a registry's model."""
    if path.is_file():
        return path.parent
    if (path / "production.json").is_file():
        path = path / "versions" / _in_production(path / "production.json")
    return path / "results" if (path / "entry.json").is_file() and (path / "results").is_dir() else path


def _in_production(pointer: Path) -> str:
    try:
        digest = json.loads(pointer.read_text())["digest"]
        known = isinstance(digest, str) and digest in {version.name for version in (pointer.parent / "versions").iterdir()}
    except (ValueError, KeyError, TypeError):
        known = False
    if not known:
        raise RunError(f"{pointer} names no version of this registry: altered, or its version was removed; restore it")
    return str(digest)


def is_vacant(path: Path) -> bool:
    """A registry in which nothing was promoted yet."""
    return (path / "versions").is_dir() and not (path / "production.json").is_file()


def open_results(path: Path) -> Evidence:
    """Read and check one evaluation. Raises RunError or ResultsError that lists what is wrong, before any score is looked at."""
    folder = results_folder(path)
    run = RunDir(folder) if (folder / MANIFEST).is_file() else None
    if run:
        run.verify()
    evaluation = results_file.read(folder)
    table, abilities = results_file.tabulate(evaluation.rows)
    if found := [*_bad_values(table), *_against_summary(evaluation, table)]:
        raise ResultsError(f"{folder}: {'; '.join(found)}; evaluate the model again")
    if run and (judged := run.manifest.inputs.get("model")) is None:
        raise RunError(f"{folder}: stage {run.manifest.stage!r} judged no model (inputs {judged}); expected an evaluate run")
    return Evidence(evaluation, table, abilities, run, folder)


def _bad_values(table: Table) -> list[str]:
    bad = [
        f"{dataset}/{query} {metric} {mode} is {value}"
        for (mode, metric, dataset), values in table.items()
        for query, value in values.items()
        if value is None or not math.isfinite(value) or not 0 <= value <= 1
    ]
    return [f"{len(bad)} values are no share in [0, 1]: {', '.join(bad[:SHOWN])}"] if bad else []


def _against_summary(evaluation: Evaluation, table: Table) -> list[str]:
    """Rows that results.json counts but per_query.parquet lacks, and the other way round."""
    scores = {(s.mode, s.metric, s.dataset): s for s in evaluation.results.scores}
    found = []
    for key in sorted(scores.keys() | table.keys()):
        n, told = len(table.get(key, ())), scores[key].n if key in scores else 0
        name = f"{key[2]} {key[1]} {key[0]}"
        if n != told:
            found.append(f"rows are missing or added: {name} has {n}, results.json says {told}")
        elif abs(_mean(table[key]) - scores[key].value) > 1e-9:
            found.append(f"{name}: the mean of the rows is {_mean(table[key]):.4f}, results.json says {scores[key].value:.4f}")
    wanted = {(key[0], metric, dataset) for key in scores for dataset, metric in evaluation.results.main.items()}
    found += [f"no rows of {dataset} {metric} {mode}" for mode, metric, dataset in sorted(wanted - table.keys())]
    return found[:SHOWN]


def _mean(values: dict[str, float]) -> float:
    numbers = [v for v in values.values() if v is not None]
    return sum(numbers) / len(numbers) if numbers else math.nan


def differences(candidate: Evidence, incumbent: Evidence, mode: str) -> list[str]:
    """What makes a comparison meaningless: another benchmark, other prompts or sampling, other metrics, modes or queries."""
    a, b = candidate.evaluation.results, incumbent.evaluation.results
    ours, theirs = _reading(a.sampling, mode), _reading(b.sampling, mode)
    if a.benchmark_digest != b.benchmark_digest:
        return [f"benchmark digests differ: {a.benchmark_digest[:12]} (candidate), {b.benchmark_digest[:12]} (incumbent)"]
    found = [
        f"{'prompts' if key in ('template', 'prompts') else 'sampling'} differ: {key} is {ours.get(key)!r} (candidate), "
        f"{theirs.get(key)!r} (incumbent)"
        for key in sorted(ours.keys() | theirs.keys())
        if ours.get(key) != theirs.get(key)
    ]
    found += [
        f"own metric of {d} differs: {a.main.get(d)} (candidate), {b.main.get(d)} (incumbent)"
        for d in sorted(a.main.keys() | b.main.keys())
        if a.main.get(d) != b.main.get(d)
    ]
    if mode not in incumbent.modes():
        found.append(f"modes differ: the incumbent was not evaluated in mode {mode!r}, only in {', '.join(incumbent.modes())}")
    if found:
        return found
    return [
        f"query sets of {d} differ: {odd[0]!r} of the candidate is unknown to the incumbent ({len(odd)} such)"
        for d, metric in sorted(a.main.items())
        if (odd := sorted(_queries(candidate, mode, metric, d) - _queries(incumbent, mode, metric, d)))
    ]


def _reading(sampling: Mapping[str, Any], mode: str) -> dict[str, Any]:
    """The settings that scores of one mode depend on: a disc vector does not know how thoughts are made."""
    beside = {"thinking"} if mode == "speed" else set()
    beside |= {"router"} if mode != AUTO else set()
    return {key: value for key, value in sampling.items() if key not in beside}


def missing_queries(candidate: Evidence, incumbent: Evidence, mode: str) -> list[str]:
    """Queries of the same benchmark that the incumbent answered and the candidate did not: a fault of the candidate."""
    a, b = candidate.evaluation.results, incumbent.evaluation.results
    if a.benchmark_digest != b.benchmark_digest or a.main != b.main:
        return []
    return [
        f"rows are missing: {d} lacks {odd[0]!r} ({len(odd)} such), which the incumbent answered on the same benchmark"
        for d, metric in sorted(a.main.items())
        if (odd := sorted(_queries(incumbent, mode, metric, d) - _queries(candidate, mode, metric, d)))
    ]


def _queries(one: Evidence, mode: str, metric: str, dataset: str) -> set[str]:
    return set(one.table.get((mode, metric, dataset), ()))


def remedy(candidate: Evidence, incumbent: Evidence) -> str:
    """The command that evaluates the incumbent as the candidate was; a folder that is not known here is named by its run."""
    beside = incumbent.folder.parent / "model"  # in a registered version
    model = str(beside) if (beside / MANIFEST).is_file() else _input(incumbent, "model")
    return (
        f"uvr run evaluate --config RECIPE --in benchmark={_input(candidate, 'benchmark')} --in model={model} "
        "--out runs/incumbent-again"
    )


def _input(one: Evidence, name: str) -> str:
    digest = one.run.manifest.inputs.get(name, "") if one.run else ""
    path = hints(one.run.path).get(digest) if one.run else None
    return str(path) if path and path.is_dir() else f"DIR_OF_{name.upper()}" + (f"_RUN_{digest[:12]}" if digest else "")
