"""What the step files share: how a stage runs inside a ZenML step, and what its cache key depends on."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

from zenml import log_metadata
from zenml.config.cache_policy import CachePolicy
from zenml.types import HTMLString

import materializers.run_dir  # noqa: F401  (registers how a RunDir is stored)
from steps import trainjob
from uvrlab import runs
from uvrlab.config import StageConfig, parse_stage_config
from uvrlab.runs import RunDir, StageReport
from uvrlab.stages import STAGES, current_run_key, run_stage


def _without_numbers(record: logging.LogRecord) -> bool:
    """ZenML prints every extra of a record behind its line; the line says the numbers already."""
    record.__dict__.pop("numbers", None)
    return True


logging.getLogger("uvrlab.progress").addFilter(_without_numbers)


def sources(stage: str) -> CachePolicy:
    """ZenML's cache key holds only the step's own file; this adds every library file that can change the stage's result."""
    root = runs.PACKAGE_ROOT.parent
    files = [file.relative_to(root).as_posix() for file in runs.source_files(STAGES[stage].sources)]
    return CachePolicy(file_dependencies=files)


def execute(stage: str, config: str, **inputs: RunDir) -> tuple[RunDir, HTMLString]:
    """Run the stage, log what it reports, and return its run directory with its report.

    A cached step also takes a `listing` of the folders outside that its stage reads. The step itself makes no use of it: as a
    part of the cache key it runs the step again when such a folder changed.
    The scratch folder is named by the run key: a killed step that is started again finds what it had already finished.
    """
    resolved = parse_stage_config(config, stage)
    paths = {name: run.path for name, run in inputs.items()}
    out = runs.work_dir() / "zenml" / stage / current_run_key(resolved, paths)
    report = _run(resolved, paths, out)
    log_metadata(_facts(report))
    return RunDir(out), _page(report, out)


def _run(config: StageConfig[Any], inputs: Mapping[str, Path], out: Path) -> StageReport:
    """The stage in this process; on a cluster a training stage as a TrainJob of the runtime `$UVR_TRAINJOB`."""
    runtime = os.environ.get("UVR_TRAINJOB")
    if not runtime:
        return run_stage(config, inputs, out)
    out.parent.mkdir(parents=True, exist_ok=True)
    own = config.own.model_dump(mode="json", by_alias=True)
    recipe = out.with_name(f"{out.name}.yaml")
    runs.write_json(recipe, {"run": config.run.model_dump(mode="json"), "backbone": config.backbone, config.stage: own})
    row, image = STAGES[config.stage].resources, os.environ["UVR_IMAGE"]
    job = trainjob.trainjob(config.stage, recipe, inputs, out, row, image, runtime)
    trainjob.run(job, trainjob.cluster_api())
    return StageReport.model_validate_json((out / "stage_report.json").read_text())


def _facts(report: StageReport) -> dict[str, Any]:
    numbers = {f"{name} ({metric.unit})": metric.value for name, metric in report.metrics.items()}
    return {"digest": report.digest, **numbers, **report.counts, **{f"cost/{k}": v for k, v in report.cost.items()}}


def _page(report: StageReport, out: Path) -> HTMLString:
    page = out / "report.html"
    if page.is_file():
        return HTMLString(page.read_text())
    return HTMLString(f"<!doctype html><title>{report.stage}</title><pre>{escape(report.model_dump_json(indent=1))}</pre>")
