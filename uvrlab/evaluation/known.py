"""Evaluations of earlier runs on the same benchmark, kept in the work folder for the report alone: no result depends on them."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from uvrlab import runs
from uvrlab.evaluation import results
from uvrlab.evaluation.results import Evaluation, Results

KEPT = 20  # models a benchmark


def _folder(benchmark_digest: str) -> Path:
    return runs.work_dir() / "evaluations" / benchmark_digest


def _models(benchmark_digest: str, besides: str) -> list[Path]:
    """Folders of other models, oldest first; one that was never finished has no summary and does not count."""
    found = [f for f in _folder(benchmark_digest).glob(f"*/{results.RESULTS}") if f.parent.name != besides]
    return [f.parent for f in sorted(found, key=lambda f: f.stat().st_mtime_ns)]


def earlier(benchmark_digest: str, besides: str) -> list[Results]:
    """Summaries of every remembered model but `besides`, oldest first."""
    read = (Results.model_validate_json((f / results.RESULTS).read_text()) for f in _models(benchmark_digest, besides))
    return [r for r in read if r.schema_ == results.RESULTS_SCHEMA]


def last(benchmark_digest: str, besides: str) -> Evaluation | None:
    """The newest remembered evaluation of another model than `besides`; None where there is none."""
    found = _models(benchmark_digest, besides)
    return results.read(found[-1]) if found else None


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
