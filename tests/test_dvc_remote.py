"""What one clone pushes another pulls and need not run; experiments, metrics and plots follow a changed value."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.tools import house
from uvrlab.stages import STAGES, graph

MODELS = [name for name, stage in STAGES.items() if "model" in stage.kinds]
AFTER_SFT = list(STAGES)[list(STAGES).index("sft") :]


@pytest.fixture(scope="module")
def told(tmp_path_factory) -> dict[str, Any]:
    folder = house.build(tmp_path_factory.mktemp("dvc-remote") / "one")
    curve = '    (out / "history.json").write_text(\'[{"step": 1, "loss": 2.0}, {"step": 2, "loss": 1.0}]\')\n'
    for name in MODELS:  # as training stages do
        file = folder / (STAGES[name].target.partition(":")[0].replace(".", "/") + ".py")
        file.write_text(file.read_text().replace("    return StageReport", f"{curve}    return StageReport"))
    shutil.copyfile(Path(__file__).parent / "tools" / "dvc_remote_driver.py", folder / "driver.py")
    environment = {**house.environment(folder), "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_SYSTEM": "/dev/null"}
    done = subprocess.run([sys.executable, "driver.py"], cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return json.loads((folder / "told.json").read_text())


def test_a_pulled_clone_holds_the_same_verified_runs_and_has_nothing_to_run(told):
    assert told["first"]["called"] == [name for name in STAGES if name != "register"]
    assert told["second"]["before"] == [] and list(told["second"]["digests"]) == list(graph())
    assert told["second"]["digests"] == told["first"]["digests"]
    assert told["second"]["called"] == []


def test_an_experiment_runs_what_its_value_reaches(told):
    found = told["experiments"]
    assert found["steps"] == 3 and "short" in str(found["experiments"])
    assert found["experiment"] == [name for name in AFTER_SFT if name != "register"]


def test_metrics_diff_shows_what_a_change_did(told):
    """A second file in the source folder: one line more of `ingest`'s payload."""
    assert told["experiments"]["grown"][0] == "ingest"
    (lines,) = [v for k, v in told["experiments"]["diff"]["diff"]["dvc-runs/ingest/metrics.json"].items() if k == "lines"]
    assert (lines["old"], lines["new"], lines["diff"]) == (1.0, 2.0, 1.0)


def test_plots_show_the_curve_of_every_stage_that_trains(told):
    assert all(f"{name}: loss" in told["experiments"]["plots"] for name in MODELS)
