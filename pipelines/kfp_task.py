"""What a task of the Kubeflow graph runs: `python3 -m pipelines.kfp_task STAGE --executor-input JSON`.

It turns KFP's ExecutorInput into the plain command `uvr run STAGE ...`, and the finished run directory into typed artifacts.
"""

from __future__ import annotations

import argparse
import html
import json
import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pipelines.kfp_knobs import overrides
from uvrlab import runs
from uvrlab.config import Config, ConfigError, parse_config
from uvrlab.launch import launch
from uvrlab.runs import RunDir, RunError, StageReport
from uvrlab.stages import STAGES

BUCKETS = {"gs://": "/gcs/", "s3://": "/s3/", "minio://": "/minio/", "oci://": "/oci/"}


def main(argv: Sequence[str] | None = None) -> int:
    """Exit status: the child's, 128 + n where signal n ended it; 1 where the compiled graph and this image do not fit."""
    parser = argparse.ArgumentParser(prog="python -m pipelines.kfp_task", description=__doc__)
    parser.add_argument("stage", choices=STAGES)
    parser.add_argument("--processes", type=int, default=1, help="for training; more than 1 start under torchrun")
    parser.add_argument("--executor-input", type=json.loads, required=True)
    args = parser.parse_args(argv)
    if root := os.environ.get("UVR_ROOT"):
        os.chdir(root)  # relative paths of a recipe, work folder and registry are on the volume
    try:
        return _task(args.stage, args.executor_input, args.processes)
    except (ConfigError, RunError) as error:
        sys.stderr.write(f"{args.stage}: {error}\n")
        return 1


def _task(stage: str, told: Mapping[str, Any], processes: int) -> int:
    given = told["inputs"]["parameterValues"]
    if (code := runs.code_digest(STAGES[stage].sources)) != given["code"]:
        raise RunError(f"the graph was compiled from code {given['code'][:12]}, this image holds {code[:12]}; compile it again")
    inputs = {name: _path(found) for name, found in told["inputs"].get("artifacts", {}).items()}
    for name, path in inputs.items():
        digest, wanted = RunDir(path).digest, given[f"{name}_digest"]
        if digest != wanted:
            raise RunError(f"input {name!r} at {path} is run {digest[:12]}, expected {wanted[:12]}; run its stage again")
    tree, changes = recipe_of(stage, given)
    out = _path(told["outputs"]["artifacts"]["run"])
    status = launch(stage, tree, changes, inputs, out, processes)
    if not status:
        _publish(RunDir(out), told["outputs"])
    return status


def recipe_of(stage: str, given: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """The recipe that the stage was compiled from, and the `a.b=c` that this run's parameters change in it."""
    shared = {"device": given["device"], "workers": int(given["workers"]), "seed": int(given.get("seed", 0))}
    tree = {"run": shared, "backbone": given.get("backbone", Config().backbone), stage: json.loads(given["recipe"])}
    values = {name.removeprefix("set_"): value for name, value in given.items() if name.startswith("set_")}
    changes = overrides(stage, parse_config(tree).section(stage), values)
    return tree, changes + [f"{stage}.{pair}" for pair in shlex.split(given.get("overrides", ""))]


def _path(artifacts: Mapping[str, Any]) -> Path:
    """Where the launcher put, or will look for, an artifact's files."""
    uri: str = artifacts["artifacts"][0]["uri"]
    return Path(next((local + uri.removeprefix(scheme) for scheme, local in BUCKETS.items() if uri.startswith(scheme)), uri))


def _publish(run: RunDir, outputs: Mapping[str, Any]) -> None:
    """Fill the digest, the metrics, the HTML report and the summary, and tell KFP of them."""
    report = StageReport.model_validate_json((run.path / "stage_report.json").read_text())
    page = run.path / "report.html"
    texts = {"report": page.read_text() if page.is_file() else f"<pre>{html.escape(_markdown(report))}</pre>"}
    for name, text in {**texts, "summary": _markdown(report), "metrics": json.dumps(_numbers(report))}.items():
        file = _path(outputs["artifacts"][name])
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    digest = Path(outputs["parameters"]["digest"]["outputFile"])
    digest.parent.mkdir(parents=True, exist_ok=True)
    digest.write_text(run.digest)
    notes = {"run": {"digest": run.digest, "stage": report.stage}, "metrics": _numbers(report)}
    told = {
        name: {"artifacts": [{**a["artifacts"][0], "metadata": notes.get(name, {})}]} for name, a in outputs["artifacts"].items()
    }
    answer = Path(outputs["outputFile"])
    answer.parent.mkdir(parents=True, exist_ok=True)
    answer.write_text(json.dumps({"artifacts": told, "parameterValues": {"digest": run.digest}}))


def _numbers(report: StageReport) -> dict[str, float]:
    return {f"{name} ({metric.unit})": metric.value for name, metric in report.metrics.items()} | {
        f"cost/{name}": value for name, value in report.cost.items()
    }


def _markdown(report: StageReport) -> str:
    rows = [f"| {name} | {metric.value:.4g} | {metric.unit} |" for name, metric in report.metrics.items()]
    rows += [f"| {name} | {value:.4g} | |" for name, value in (report.counts | report.cost).items()]
    warnings = [f"- warning: {text}" for text in report.warnings]
    return "\n".join(
        [f"# {report.stage} {report.digest[:12]}", "", "| number | value | unit |", "|---|---|---|", *rows, "", *warnings]
    )


if __name__ == "__main__":
    sys.exit(main())
