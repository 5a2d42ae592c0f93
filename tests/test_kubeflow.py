"""The compiled Kubeflow graph is the table of stages, its pods are what the table asks for, and it runs to the same digests."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from google.protobuf import json_format
from kfp.kubernetes import kubernetes_executor_config_pb2 as pods_pb
from kfp.pipeline_spec import pipeline_spec_pb2 as pipeline_pb

from pipelines import kfp_task, kubeflow
from pipelines.kfp_knobs import Knob, knobs, overrides
from pipelines.kfp_pods import Cluster, needs
from tests.tools import house
from uvrlab import runs
from uvrlab.config import Config, load_config
from uvrlab.stages import PROFILES, STAGES, graph

REPO = Path(__file__).resolve().parents[1]


def _compiled(config: Config, folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    file = folder / "pipeline.yaml"
    kubeflow.compile_to(config, Cluster(image="python-like"), file)
    pipeline, platform = yaml.safe_load_all(file.read_text())
    return pipeline, platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]


@pytest.fixture(scope="module", params=["cpu", "cuda"])
def compiled(request, tmp_path_factory):
    config = load_config(REPO / "configs" / "tiny.yaml", [f"run.device={request.param}"])
    return config, *_compiled(config, tmp_path_factory.mktemp("kfp"))


@pytest.mark.parametrize("profile", PROFILES)
def test_the_compiled_graph_is_the_table_of_stages(profile, tmp_path):
    pipeline, _ = _compiled(Config(profile=profile), tmp_path)
    tasks = pipeline["root"]["dag"]["tasks"]
    wiring = {
        name: {label: i["taskOutputArtifact"]["producerTask"] for label, i in task["inputs"].get("artifacts", {}).items()}
        for name, task in tasks.items()
    }
    assert wiring == graph(profile)
    assert {n for n, t in tasks.items() if t["cachingOptions"].get("enableCache")} == {
        n for n in graph(profile) if STAGES[n].cached
    }


def test_both_documents_are_valid_and_a_planted_mistake_is_not(compiled):
    _, pipeline, pods = compiled
    json_format.ParseDict(pipeline, pipeline_pb.PipelineSpec())
    with pytest.raises(json_format.ParseError):
        json_format.ParseDict({**pipeline, "deploymentSpek": {}}, pipeline_pb.PipelineSpec())
    for pod in pods.values():
        json_format.ParseDict(pod, pods_pb.KubernetesExecutorConfig())
    with pytest.raises(json_format.ParseError):
        json_format.ParseDict({"tolerationz": []}, pods_pb.KubernetesExecutorConfig())


def test_pods_get_what_the_table_asks_for(compiled):
    config, pipeline, pods = compiled
    for name in STAGES:
        row, pod = needs(name, config), json_format.ParseDict(pods[f"exec-{name}"], pods_pb.KubernetesExecutorConfig())
        container = pipeline["deploymentSpec"]["executors"][f"exec-{name}"]["container"]
        assert container["command"] == ["python3", "-m", "pipelines.kfp_task", name, "--processes", str(max(1, row.gpus))]
        asked = container["resources"]
        assert (asked["resourceCpuLimit"], asked["resourceMemoryLimit"]) == (str(row.cpu), f"{row.memory_gib}Gi")
        assert asked.get("accelerator", {}).get("resourceCount", "0") == str(row.gpus)
        assert pod.active_deadline_seconds == row.hours * 3600
        assert [(m.mount_path, m.medium, m.size_limit) for m in pod.empty_dir_mounts] == [
            ("/dev/shm", "Memory", f"{row.memory_gib // 2}Gi")
        ]
        assert [(m.constant, m.mount_path) for m in pod.pvc_mount] == [("uvr", "/var/uvr")]
        assert pod.security_context.run_as_non_root and pod.security_context.run_as_user == 10001
        assert [t.key for t in pod.tolerations] == ["nvidia.com/gpu"] * bool(row.gpus)
        assert bool(pod.node_selector.labels) == bool(row.gpus)
        assert pipeline["root"]["dag"]["tasks"][name]["retryPolicy"]["maxRetryCount"] == 2


def test_a_recipe_for_the_cpu_asks_for_no_gpu():
    assert {needs(name, Config()).gpus for name in STAGES} == {0}
    asked = {name: needs(name, load_config(None, ["run.device=cuda"])).gpus for name in STAGES}
    assert asked == {name: stage.resources.gpus for name, stage in STAGES.items()}


def test_every_scalar_knob_is_a_pipeline_parameter_with_the_recipes_value(compiled):
    config, pipeline, _ = compiled
    given = pipeline["root"]["inputDefinitions"]["parameters"]
    assert given["sft_steps"] == {"defaultValue": 6.0, "isOptional": True, "parameterType": "NUMBER_INTEGER"}
    for name in STAGES:
        assert given[f"{name}_overrides"]["parameterType"] == "STRING"
        for knob in knobs(name, config.section(name)):
            assert given[f"{name}_{knob.name}"]["defaultValue"] == knob.default, knob


def test_the_cache_key_of_a_task_holds_its_code_and_the_digests_of_its_inputs(compiled):
    """KFP's own key holds names of input artifacts, not their content, and an image's name, not what is in it."""
    _, pipeline, _ = compiled
    for name, task in pipeline["root"]["dag"]["tasks"].items():
        taken = task["inputs"]["parameters"]
        assert taken["code"]["runtimeValue"]["constant"] == runs.code_digest(STAGES[name].sources)
        assert {f"{label}_digest" for label in graph()[name]} == {p for p in taken if "taskOutputParameter" in taken[p]}
        foreign = [p["componentInputParameter"] for p in taken.values() if "componentInputParameter" in p]
        assert not [p for p in foreign if p.partition("_")[0] in set(STAGES) - {name}], (
            "a change of another stage would run it again"
        )


@pytest.mark.parametrize("stage", STAGES)
def test_the_recipe_that_a_task_rebuilds_is_the_one_it_was_compiled_from(stage, tmp_path):
    config = load_config(REPO / "configs" / "tiny.yaml", ["synthesize.styles={concise: 1.0}", "run.seed=5"])
    given = {
        **{f"set_{k.name}": float(k.default) if k.type is int else k.default for k in knobs(stage, config.section(stage))},
        **{"recipe": config.for_stage(stage).own.model_dump_json(by_alias=True), "overrides": ""},
        **{"device": "cpu", "workers": 2.0, "seed": 5.0, "backbone": config.backbone},
    }
    tree, changes = kfp_task.recipe_of(stage, given)
    assert changes == []
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(json.dumps(tree))
    assert load_config(recipe, changes).for_stage(stage) == config.for_stage(stage)


def test_parameters_become_overrides_of_the_right_type():
    section = Config().validate_
    changed = {"near_duplicate_bits": "null", "min_pairs": 3.0, "drift_alpha": 0.01, "word_ranges": False}
    assert overrides("validate", section, changed) == [
        "validate.min_pairs=3",
        "validate.word_ranges=false",
        "validate.near_duplicate_bits=null",
    ]
    assert Knob("ingest", "source.path", (str, type(None)), None).override("2024") == 'ingest.source.path="2024"'
    assert Knob("validate", "bits", (float, type(None)), None).override("4.5") == "validate.bits=4.5"


def _executor_input(folder: Path, code: str) -> str:
    names = ("run", "metrics", "report", "summary")
    artifacts = {n: {"artifacts": [{"name": n, "uri": str(folder / n), "type": {"schemaTitle": "system.Artifact"}}]} for n in names}
    told = {
        "recipe": Config().ingest.model_dump_json(),
        "code": code,
        "listing": "",
        "overrides": "",
        "device": "cpu",
        "workers": 1,
    }
    outputs = {"artifacts": artifacts, "parameters": {"digest": {"outputFile": str(folder / "digest")}}}
    return json.dumps({"inputs": {"parameterValues": told}, "outputs": outputs | {"outputFile": str(folder / "out.json")}})


def test_a_graph_compiled_from_other_code_than_the_image_holds_is_refused(tmp_path, capsys):
    assert kfp_task.main(["ingest", "--executor-input", _executor_input(tmp_path, "0" * 64)]) == 1
    assert "compiled from code 000000000000" in capsys.readouterr().err


def test_a_child_killed_for_its_memory_leaves_its_cause(tmp_path, monkeypatch):
    killed = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
    monkeypatch.setattr("uvrlab.launch._python", lambda _: [sys.executable, "-c", killed])
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "status.json").write_text('{"stage": "ingest", "state": "running"}')
    code = runs.code_digest(STAGES["ingest"].sources)
    assert kfp_task.main(["ingest", "--executor-input", _executor_input(tmp_path, code)]) == 137
    status = json.loads((tmp_path / "run" / "status.json").read_text())
    assert status["state"] == "killed" and "137" in status["cause"] and "memory" in status["cause"]


def test_uris_of_buckets_are_the_paths_that_kfp_mounts_them_at():
    at = {uri: str(kfp_task._path({"artifacts": [{"uri": uri}]})) for uri in ("s3://b/k", "gs://b/k", "minio://b/k", "/a/k")}
    assert list(at.values()) == ["/s3/b/k", "/gcs/b/k", "/minio/b/k", "/a/k"]


@pytest.fixture(scope="module")  # about 25 CPU seconds, most of them imports of twelve small processes
def told(tmp_path_factory) -> dict[str, Any]:
    """The compiled graph, executed task by task with changed parameters in a copy of the project with stages of milliseconds."""
    folder = house.build(tmp_path_factory.mktemp("kfp-run"))
    shutil.copyfile(Path(__file__).parent / "tools" / "kfp_driver.py", folder / "driver.py")
    done = subprocess.run([sys.executable, "driver.py"], cwd=folder, env=house.environment(folder), capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return json.loads((folder / "told.json").read_text())


def test_the_executed_graph_ends_with_the_digests_of_the_plain_command(told):
    assert list(told["pods"]) == list(graph()) and told["pods"] == told["plain"]


def test_each_task_shows_its_metrics_report_and_summary(told):
    shown = told["shown"]
    types = {name: found["type"] for name, found in shown["artifacts"].items()}
    assert types == {"run": "system.Model", "metrics": "system.Metrics", "report": "system.HTML", "summary": "system.Markdown"}
    assert shown["artifacts"]["metrics"]["metadata"]["lines (lines)"] == 3.0
    assert shown["artifacts"]["run"]["metadata"]["digest"] == told["pods"]["sft"]
    assert shown["report"] == "<h1>sft</h1>" and "| lines | 3 | lines |" in shown["summary"]
