"""Runs the DVC scenarios of tests/test_dvc.py in one process and leaves what happened in told.json.

One process, because each `dvc` command spends a second on its start. It runs inside the copy that tests/tools/house.py built.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from dvc.cli import main as dvc
from dvc.repo import Repo

from pipelines.dvc import ROOT, write
from uvrlab.config import load_config
from uvrlab.stages import graph, run_graph

HERE = Path.cwd()
RECIPE = HERE / "configs" / "tiny.yaml"
FOLDER = ["ingest.source.kind=folder", "ingest.source.path=videos"]


def repro(*overrides: str, target: str | None = None) -> dict[str, Any]:
    """`make dvc` and `dvc repro [target]`: which stage functions were called."""
    (HERE / "calls.txt").write_text("")
    write(load_config(RECIPE, overrides), HERE)
    status = dvc(["repro", "--quiet", *([target] if target else [])])
    assert status == 0, f"dvc repro ended with {status}"
    return {"called": (HERE / "calls.txt").read_text().split()}


def digests(root: str) -> dict[str, str]:
    return {name: json.loads((HERE / root / name / "manifest.json").read_text())["digest"] for name in graph("full")}


def main() -> None:
    told: dict[str, Any] = {"first": repro(), "again": repro(), "status": json.dumps(Repo().status())}
    run_graph(load_config(RECIPE), HERE / "runs")
    told |= {"dvc_digests": digests(ROOT), "plain_digests": digests("runs")}
    shown = Repo().metrics.show()[""]["data"]
    told["metrics"] = {name: found["data"] for name, found in shown.items()}
    with (HERE / "uvrlab" / "losses" / "contrastive.py").open("a") as source:
        source.write("# edited\n")
    told["losses"] = repro()
    (HERE / "weights").mkdir()
    for name in ("one", "two"):
        (HERE / "weights" / "model.safetensors").write_text(name)
        told[f"weights_{name}"] = repro("backbone=weights")
    (HERE / "videos").mkdir()
    (HERE / "videos" / "a.mp4").write_text("a")
    told["folder"] = repro(*FOLDER, target="ingest")
    (HERE / "videos" / "a.mp4").touch()
    told["touched"] = repro(*FOLDER, target="ingest")
    (HERE / "videos" / "b.mp4").write_text("b")
    told["grown"] = repro(*FOLDER, target="ingest")
    (HERE / "told.json").write_text(json.dumps(told))


if __name__ == "__main__":
    main()
