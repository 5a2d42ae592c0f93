"""ZenML runs the table of stages: cached where nothing changed, and only there; verified artifacts; a registry that it follows."""

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

CACHED = [name for name, stage in STAGES.items() if stage.cached]


@pytest.fixture(scope="session")
def told(tmp_path_factory) -> dict[str, Any]:
    """What happened in a copy of the project: one run by ZenML's own command, then many more in the same process."""
    folder = house.build(tmp_path_factory.mktemp("zenml"))
    shutil.copyfile(Path(__file__).parent / "tools" / "zenml_driver.py", folder / "driver.py")
    done = subprocess.run([sys.executable, "driver.py"], cwd=folder, env=house.environment(folder), capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return json.loads((folder / "told.json").read_text())


def test_zenmls_own_command_runs_every_stage_on_a_fresh_store(told):
    assert told["first"] == CACHED


def test_a_second_run_is_cached_but_for_the_stage_with_an_outside_effect(told):
    assert told["again"]["cached"] == CACHED and told["again"]["called"] == []


def test_a_change_of_one_library_file_runs_just_the_stages_that_depend_on_it(told):
    assert told["losses"]["cached"] == ["ingest", "synthesize", "validate"]
    assert told["losses"]["called"] == ["sft", "grpo", "grounding", "fusion", "curriculum", "evaluate"]
    assert told["schema"]["called"] == CACHED


def test_an_operational_value_moves_no_digest_and_calls_no_stage_function(told):
    assert told["operational"]["called"] == []
    assert told["operational"]["digests"] == told["schema"]["digests"]


def test_a_bit_equal_rerun_keeps_every_later_step_cached(told):
    assert told["folder"]["touched"]["called"] == ["ingest"]
    assert told["folder"]["touched"]["cached"] == [name for name in CACHED if name != "ingest"]
    assert told["folder"]["touched"]["digests"] == told["folder"]["first"]["digests"]


def test_a_changed_source_folder_runs_ingest_again_and_an_unchanged_one_does_not(told):
    assert told["folder"]["first"]["called"] == told["folder"]["grown"]["called"] == CACHED
    assert told["folder"]["again"]["cached"] == CACHED
    assert told["folder"]["grown"]["digests"]["ingest"] != told["folder"]["first"]["digests"]["ingest"]


def test_changed_weights_at_the_same_path_run_the_stages_again_that_read_them(told):
    assert told["backbone"]["first"]["called"] == ["sft", "grpo", "grounding", "fusion", "curriculum", "evaluate"]
    assert told["backbone"]["again"]["called"] == []
    assert told["backbone"]["changed"]["called"] == ["sft", "grpo", "grounding", "fusion", "curriculum", "evaluate"]


def test_an_absent_source_folder_is_named_before_any_step_runs(told):
    assert "nowhere" in told["missing"] and "ingest.source.path" in told["missing"]


def test_a_tampered_artifact_is_refused(told):
    assert "failure in step(s): synthesize" in told["tampered"] and "payload.txt was altered" in told["tampered"]


def test_artifacts_are_run_directories_stored_as_they_are(told):
    artifact = told["artifact"]
    assert artifact["types"] == ["RunDir"]
    assert {"manifest.json", "payload.txt", "metrics.json", "report.html"} <= set(artifact["stored"])
    assert artifact["digest"] == artifact["metadata"]["digest"] == told["again"]["digests"]["sft"]


def test_each_step_carries_its_metrics_and_its_report(told):
    assert told["artifact"]["step_metadata"]["lines (lines)"] == "3.0"
    assert told["artifact"]["visualizations"] == ["report.html"] and told["artifact"]["report"] == "<h1>sft</h1>"


def test_the_graph_that_zenml_stored_is_the_table_of_stages(told):
    assert told["wiring"] == graph("full")


def test_registering_the_same_run_again_adds_no_version(told):
    assert len(told["registry_after_one"]) == 1


def test_the_model_control_plane_follows_the_registry_directory(told):
    registry = told["registry"]
    assert sorted(registry["in_step"]) == registry["digests"]
    assert sorted(registry["in_step"].values()) == ["archived"] * (len(registry["digests"]) - 1) + ["staging"]
    assert registry["right"] == registry["settled"] == []


def test_differences_between_zenml_and_the_registry_directory_are_repaired(told):
    registry = told["registry"]
    assert [change.split()[0] for change in registry["repaired"][:3]] == ["removed", "added", "described"]
    assert [change.split()[0] for change in registry["described"]] == ["described"]
    assert registry["promoted"][1] == "production"
    assert registry["metadata"]["digest"] in registry["digests"] and registry["metadata"]["world/disc/R@1"] == "0.5"
