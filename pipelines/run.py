"""`make demo ENGINE=...`: the same recipe under one of the engines, each ending with the same closing table."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from uvrlab.config import Config, load_config
from uvrlab.runs import StageReport
from uvrlab.stages import graph

Overrides = Sequence[str]


def main(argv: Sequence[str] | None = None) -> int:
    """Exit status: 0 done, 1 the engine failed."""
    parser = argparse.ArgumentParser(prog="python -m pipelines.run", description=__doc__)
    parser.add_argument("engine", choices=ENGINES)
    parser.add_argument("--config", type=Path, default=Path("configs/demo.yaml"))
    parser.add_argument("--out", type=Path, default=Path("runs"), help="run directories, or links to them")
    parser.add_argument("--set", action="append", default=[], metavar="A.B=C")
    args = parser.parse_args(argv)
    return ENGINES[args.engine](args.config, args.out, args.set)


def _cli(path: Path, out: Path, overrides: Overrides) -> int:
    from uvrlab.cli import main as uvr

    return uvr(["demo", "--config", str(path), "--out", str(out), *(f"--set={pair}" for pair in overrides)])


def _zenml(path: Path, out: Path, overrides: Overrides) -> int:
    os.environ.setdefault("ZENML_ANALYTICS_OPT_IN", "false")
    from zenml.client import Client

    if not Client.is_repository_directory(Path.cwd()):
        Client.initialize(Path.cwd())
    from pipelines.training import training

    run = training(config=str(path), overrides=list(overrides))
    assert run is not None, "the pipeline was compiled but not run"
    config, root = load_config(path, overrides), out / "zenml"
    root.mkdir(parents=True, exist_ok=True)
    for name in graph(config.profile):
        link = root / name
        link.unlink(missing_ok=True)
        link.symlink_to(run.steps[name].outputs[name][0].load().path)
    return _close(config, root)


def _dvc(path: Path, out: Path, overrides: Overrides) -> int:
    from pipelines import dvc

    config = load_config(path, overrides)
    dvc.write(config, Path())
    if status := subprocess.run([sys.executable, "-m", "dvc", "repro"]).returncode:
        return status
    return _close(config, Path(dvc.ROOT))


def _kfp(path: Path, out: Path, overrides: Overrides) -> int:
    from pipelines.kfp_local import run_compiled
    from pipelines.kfp_pods import Cluster
    from pipelines.kubeflow import compile_to
    from pipelines.recipe import absolute_recipe

    config, root = absolute_recipe(path, overrides), out / "kfp"
    compile_to(config, Cluster(), root / "pipeline.yaml")
    for name, run in run_compiled(root / "pipeline.yaml", root / "pods").items():
        link = root / name
        link.unlink(missing_ok=True)
        link.symlink_to(run.path)
    return _close(config, root)


def _close(config: Config, root: Path) -> int:
    from uvrlab.cli import summary

    files = {name: root / name / "stage_report.json" for name in graph(config.profile)}
    reports = {name: StageReport.model_validate_json(file.read_text()) for name, file in files.items()}
    sys.stdout.write(summary(config, reports, root) + "\n")
    return 0


ENGINES: dict[str, Callable[[Path, Path, Overrides], int]] = {"cli": _cli, "zenml": _zenml, "dvc": _dvc, "kfp": _kfp}

if __name__ == "__main__":
    sys.exit(main())
