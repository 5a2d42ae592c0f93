"""The engines agree on the real stages: one small recipe, from rendered media to a registered model, run in four places.

Minutes of CPU, so it runs by `make long`; on stages of milliseconds test_dvc.py, test_zenml.py and test_kubeflow.py say the same
each time.
"""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.tools import house
from uvrlab.stages import graph

SMALLER = ("ingest.world={train: 16, val: 6, test: 6}", "sft.steps=2", "sft.batch_size=8", "evaluate.bootstrap=20")
ROOTS = {"cli": "runs", "dvc": "dvc-runs", "zenml": "runs/zenml", "kfp": "runs/kfp"}


@pytest.fixture(scope="module")
def found(tmp_path_factory) -> dict[str, dict[str, str]]:
    """{engine: {stage: run digest}}, each from a copy of the project with a work folder and stores of its own."""
    digests = {}
    for engine, root in ROOTS.items():
        folder = house.copy(tmp_path_factory.mktemp(engine))
        command = [sys.executable, "-m", "pipelines.run", engine, "--config", "configs/tiny.yaml", "--out", "runs"]
        command += [f"--set={pair}" for pair in SMALLER]
        done = subprocess.run(command, cwd=folder, env=house.environment(folder), capture_output=True, text=True)
        assert done.returncode == 0, f"{engine}: {done.stdout[-3000:]}{done.stderr[-3000:]}"
        manifests = {name: folder / root / name / "manifest.json" for name in graph("full")}
        digests[engine] = {name: json.loads(file.read_text())["digest"] for name, file in manifests.items()}
    return digests


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_every_engine_ends_with_the_run_digests_of_the_plain_command(found: dict[str, dict[str, str]]) -> None:
    """The four folders have different names, so this also shows that no payload depends on where it was made."""
    assert found["dvc"] == found["cli"]
    assert found["zenml"] == found["cli"]
    assert found["kfp"] == found["cli"]
