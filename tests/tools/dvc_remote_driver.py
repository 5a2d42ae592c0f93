"""Two clones, one remote, and experiments, for tests/test_dvc_remote.py: leaves what happened in told.json.

It runs inside the copy that tests/tools/house.py built, in one process because each `dvc` command spends a second on its start.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

from dvc.cli import main as dvc
from dvc.repo import Repo

from pipelines.dvc import ROOT, write
from uvrlab.config import load_config
from uvrlab.runs import RunDir
from uvrlab.stages import graph

ONE = Path.cwd()
TWO = ONE.parent / "two"
RECIPE = ["ingest.source.kind=folder", "ingest.source.path=videos"]


def run(*command: str) -> None:
    status = dvc([*command, "--quiet"])
    assert status == 0, f"dvc {' '.join(command)} ended with {status}"


def git(*command: str) -> None:
    author = ["-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", *author, *command], check=True, capture_output=True)


def repro() -> list[str]:
    """The stages that `dvc repro` calls."""
    calls = Path("calls.txt")
    calls.write_text("")
    run("repro")
    return calls.read_text().split()


def digests() -> dict[str, str]:
    found = {name: RunDir(Path(ROOT) / name) for name in graph()}
    for made in found.values():
        made.verify()
    return {name: made.digest for name, made in found.items()}


def first() -> dict[str, Any]:
    """Run and push in the first clone."""
    Path(".gitignore").write_text("__pycache__\n/work/\n/registry/\ncalls.txt\ntold.json\n")
    (ONE / "videos").mkdir()
    (ONE / "videos" / "a.mp4").write_text("a")
    git("init", "--quiet")
    if not Path(".dvc").exists():
        run("init")
    write(load_config(ONE / "configs" / "tiny.yaml", RECIPE), ONE)
    told = {"called": repro(), "digests": digests()}
    run("remote", "add", "--default", "store", str(ONE.parent / "store"))
    git("add", "--all")
    git("commit", "--quiet", "--message", "all of it")
    run("push")
    return told


def second() -> dict[str, Any]:
    """Clone, pull, and find nothing to do."""
    git("clone", "--quiet", str(ONE), str(TWO))
    os.chdir(TWO)
    before = sorted(p.name for p in Path().glob(f"{ROOT}/*/"))
    run("pull")
    return {"before": before, "digests": digests(), "called": repro()}


def experiments() -> dict[str, Any]:
    """A grown source folder in the metrics' difference, a changed value as an experiment, and the plots."""
    calls = Path("calls.txt")
    calls.write_text("")
    run("exp", "run", "--name", "short", "-S", "sft.steps=3")
    told: dict[str, Any] = {"experiment": calls.read_text().split(), "steps": load_config(Path("params.yaml")).sft.steps}
    told["experiments"] = [e.name for e in Repo().experiments.ls().get("refs", [])] or str(Repo().experiments.ls())
    Path("videos", "b.mp4").write_text("b")
    told["grown"] = repro()
    told["diff"] = Repo().metrics.diff()
    run("plots", "show", "--out", "shown")
    told["plots"] = Path("shown", "index.html").read_text()
    return told


def main() -> None:
    told = {"first": first(), "second": second(), "experiments": experiments()}
    (ONE / "told.json").write_text(json.dumps(told, default=str))


if __name__ == "__main__":
    main()
