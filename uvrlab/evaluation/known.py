"""Evaluations of earlier runs on the same benchmark, kept in the work folder for the report alone: no result depends on them."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from uvrlab import runs
from uvrlab.evaluation import results
from uvrlab.evaluation.results import Evaluation, Results

T = TypeVar("T")
log = logging.getLogger("uvrlab.evaluation")
KEPT = 20  # models a benchmark


def _folder(benchmark_digest: str) -> Path:
    return runs.work_dir() / "evaluations" / benchmark_digest


def _models(benchmark_digest: str, besides: str) -> list[Path]:
    """Folders of other models, oldest first; one that was never finished has no summary and does not count."""
    found = [f for f in _folder(benchmark_digest).glob(f"*/{results.RESULTS}") if f.parent.name != besides]
    return [f.parent for f in sorted(found, key=_written_ns)]


def _written_ns(file: Path) -> int:
    """When; first of all where another process has just removed it."""
    try:
        return file.stat().st_mtime_ns
    except OSError:
        return 0


def earlier(benchmark_digest: str, besides: str, prompts: bool | None = None) -> list[Results]:
    """Summaries of every remembered model but `besides` that was asked with or without UVRB's `prompts` alike, oldest first."""
    read = (_tried(_summary, folder) for folder in _models(benchmark_digest, besides))
    return [r for r in read if r is not None and r.sampling.get("prompts") == prompts]


def last(benchmark_digest: str, besides: str, prompts: bool | None = None) -> Evaluation | None:
    """The newest of the same as an evaluation; None where there is none."""
    read = (_tried(results.read, folder) for folder in reversed(_models(benchmark_digest, besides)))
    return next((e for e in read if e is not None and e.results.sampling.get("prompts") == prompts), None)


def _summary(folder: Path) -> Results:
    found = Results.model_validate_json((folder / results.RESULTS).read_text())
    if found.schema_ != results.RESULTS_SCHEMA:
        raise results.ResultsError(f"found schema {found.schema_}, expected {results.RESULTS_SCHEMA}")
    return found


def _tried(read: Callable[[Path], T], folder: Path) -> T | None:
    """None, and a line in the log, for what other code wrote or what another process removed meanwhile."""
    try:
        return read(folder)
    except (ValueError, OSError) as error:
        log.warning("earlier evaluation of model %s is left out of the report: %s", folder.name[:12], error)
        return None


def remember(evaluation: Evaluation) -> None:
    """Keep an evaluation, in place of an earlier one of the same model; the oldest beyond KEPT go."""
    own = evaluation.results
    folder = _folder(own.benchmark_digest) / own.model_digest
    partial = folder.with_name(f".{folder.name}.{os.getpid()}")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    results.write(partial, evaluation)
    shutil.rmtree(folder, ignore_errors=True)
    partial.rename(folder)
    for old in _models(own.benchmark_digest, own.model_digest)[: -KEPT + 1]:
        shutil.rmtree(old, ignore_errors=True)
