"""DVC runs the table of stages: `dvc repro` again does nothing, and a change runs what depends on it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipelines import dvc
from tests.tools import house
from uvrlab.config import Config, load_config
from uvrlab.stages import STAGES, graph

REPO = Path(__file__).resolve().parents[1]


def _inputs(stage: dict[str, Any]) -> dict[str, str]:
    """{input: producing stage} as the command of a DVC stage says it."""
    words = stage["cmd"].split()
    named = [words[i + 1].partition("=") for i, word in enumerate(words) if word == "--in"]
    return {label: folder.removeprefix("dvc-runs/") for label, _, folder in named}


def test_the_committed_files_are_what_the_demo_recipe_gives():
    """Where this fails: `make dvc`."""
    recipe = REPO / "configs" / "demo.yaml"
    if not recipe.exists():
        pytest.skip("no configs/demo.yaml yet")
    config = load_config(recipe)
    assert (REPO / "dvc.yaml").read_text() == dvc.dvc_yaml(config)
    assert (REPO / "params.yaml").read_text() == dvc.params_yaml(config)


def test_the_graph_is_the_table_of_stages():
    stages = yaml.safe_load(dvc.dvc_yaml(Config()))["stages"]
    assert {name: _inputs(stage) for name, stage in stages.items()} == graph("full")
    for name, stage in stages.items():
        assert stage["cmd"].startswith(f"uvr run {name} ") and stage["cmd"].endswith(f"--out dvc-runs/{name}")
        upstream = {f"dvc-runs/{producer}/manifest.json" for producer in graph("full")[name].values()}
        assert upstream == {dep for dep in stage["deps"] if dep.startswith("dvc-runs/")}
        for source in STAGES[name].sources:
            assert any(f"uvrlab/{source}" == dep or f"uvrlab/{source}".startswith(dep + "/") for dep in stage["deps"])


def test_the_parameters_of_a_stage_are_the_values_that_enter_its_digest():
    stages = yaml.safe_load(dvc.dvc_yaml(Config()))["stages"]
    params = yaml.safe_load(dvc.params_yaml(Config()))

    def leaves(tree: dict[str, Any], names: list[str]) -> dict[str, Any]:
        return {name: _at(tree, name) for name in names}

    for name, stage in stages.items():
        view = Config().for_stage(name).digest_view()
        own = [key for key in stage["params"] if key.startswith(f"{name}.")]
        assert leaves(params, own) == leaves(view, own)
        assert {"run.seed", "backbone"} <= set(stage["params"])
        assert len(own) == len(set(own)) and set(view[name]) == {key.split(".")[1] for key in own}


def _at(tree: Any, dotted: str) -> Any:
    for part in dotted.split("."):
        tree = tree[part]
    return tree


def test_a_source_folder_is_a_dependency_of_ingest_and_the_world_is_not():
    folder = load_config(
        None, ["ingest.source.kind=folder", "ingest.source.path=videos", "ingest.source.captions=videos/captions.csv"]
    )
    assert "${ingest.source.path}" in yaml.safe_load(dvc.dvc_yaml(folder))["stages"]["ingest"]["deps"]
    assert not any("${" in dep for dep in yaml.safe_load(dvc.dvc_yaml(Config()))["stages"]["ingest"]["deps"])


def test_folders_of_benchmarks_and_weights_are_dependencies_of_the_stages_that_read_them(tmp_path):
    config = load_config(None, [f"backbone={tmp_path}", "ingest.benchmark_sources=[{kind: msrvtt, path: films}]"])
    stages = yaml.safe_load(dvc.dvc_yaml(config))["stages"]
    outside = {name: [dep for dep in stage["deps"] if "${" in dep] for name, stage in stages.items()}
    assert outside["ingest"] == ["${ingest.benchmark_sources[0].path}"]
    assert {name for name, deps in outside.items() if "${backbone}" in deps} == {
        "sft",
        "grpo",
        "grounding",
        "fusion",
        "curriculum",
        "evaluate",
    }


@pytest.fixture(scope="session")
def told(tmp_path_factory) -> dict[str, Any]:
    """What happened in a copy of the project under git and DVC; every `dvc` command ran in one process."""
    folder = house.build(tmp_path_factory.mktemp("dvc"))
    shutil.copyfile(Path(__file__).parent / "tools" / "dvc_driver.py", folder / "driver.py")
    done = subprocess.run([sys.executable, "driver.py"], cwd=folder, env=house.environment(folder), capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return json.loads((folder / "told.json").read_text())


CALLED = [name for name in STAGES if name != "register"]


def test_repro_runs_every_stage_and_a_second_one_does_nothing(told):
    assert told["first"]["called"] == CALLED
    assert told["again"]["called"] == [] and told["status"] == "{}"


def test_dvc_and_the_plain_command_end_with_the_same_run_digests(told):
    assert told["dvc_digests"] == told["plain_digests"]


def test_a_change_of_one_library_file_runs_just_the_stages_that_depend_on_it(told):
    assert told["losses"]["called"] == ["sft", "grpo", "grounding", "fusion", "curriculum", "evaluate"]


def test_changed_weights_at_the_same_path_run_the_stages_again_that_read_them(told):
    assert told["weights_two"]["called"] == ["sft", "grpo", "grounding", "fusion", "curriculum", "evaluate"]


def test_a_source_folder_runs_ingest_again_when_its_content_changed(told):
    assert told["folder"]["called"] == ["ingest"]
    assert told["touched"]["called"] == []
    assert told["grown"]["called"] == ["ingest"]


def test_metrics_are_declared(told):
    assert told["metrics"]["dvc-runs/register/metrics.json"] == {"world/disc/R@1": 0.5}
