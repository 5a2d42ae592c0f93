"""ZenML on a cluster: stacks that its flavors take, and for every step the resources and the pod that the table asks for.

ZenML ignores unknown fields, so each name is compared with its own models, and pods are validated as Kubernetes pods.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from pipelines.kfp_pods import Cluster, needs
from pipelines.zenml_cluster import run_configuration
from tests.tools import manifests
from uvrlab.config import load_config
from uvrlab.stages import STAGES, graph

REPO = Path(__file__).resolve().parents[1]
STACKS = yaml.safe_load((REPO / "infra" / "zenml" / "stacks.yaml").read_text())


@pytest.fixture(scope="module", params=["cpu", "cuda"])
def made(request):
    config = load_config(REPO / "configs" / "tiny.yaml", [f"run.device={request.param}"])
    return config, run_configuration("configs/tiny.yaml", config, Cluster())


def test_the_run_configuration_is_one_that_zenml_reads(made):
    from zenml.config.pipeline_run_configuration import PipelineRunConfiguration
    from zenml.config.resource_settings import ResourceSettings
    from zenml.integrations.kubernetes.flavors import KubernetesOrchestratorSettings
    from zenml.integrations.kubernetes.pod_settings import KubernetesPodSettings

    _, told = made
    assert set(told) <= set(PipelineRunConfiguration.model_fields)
    PipelineRunConfiguration(**told)
    for step in told["steps"].values():
        settings = step["settings"]
        assert set(settings["resources"]) <= set(ResourceSettings.model_fields)
        assert set(settings["orchestrator.kubernetes"]) <= set(KubernetesOrchestratorSettings.model_fields)
        assert set(settings["orchestrator.kubernetes"]["pod_settings"]) <= set(KubernetesPodSettings.model_fields)
        KubernetesOrchestratorSettings(**settings["orchestrator.kubernetes"])


def test_each_step_gets_what_the_table_asks_for(made):
    config, told = made
    assert list(told["steps"]) == list(graph())
    for name, step in told["steps"].items():
        row, settings = needs(name, config), step["settings"]
        assert settings["resources"] == {"cpu_count": row.cpu, "memory": f"{row.memory_gib}GiB", "gpu_count": row.gpus}
        assert settings["orchestrator.kubernetes"]["active_deadline_seconds"] == STAGES[name].resources.hours * 3600
        environment = {e["name"]: e["value"] for e in settings["orchestrator.kubernetes"]["pod_settings"]["env"]}
        assert environment["UVR_PROCESSES"] == str(max(1, row.gpus))


def test_the_pods_are_strictly_valid(made, tmp_path):
    _, told = made
    for name, step in told["steps"].items():
        pod = step["settings"]["orchestrator.kubernetes"]["pod_settings"]
        container = {"name": "main", "image": "uvrlab", "env": pod["env"], "volumeMounts": pod["volume_mounts"]}
        container["securityContext"] = pod["container_security_context"]
        spec = {"containers": [container], "volumes": pod["volumes"], "tolerations": pod.get("tolerations", [])}
        spec["nodeSelector"] = pod.get("node_selectors", {})
        manifest = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": pod["labels"]}, "spec": spec}
        assert manifests.problems(manifest, tmp_path) == []
        pod_with_mistake = {**manifest, "spec": {**spec, "node_selector": {}}}
        assert manifests.problems(pod_with_mistake, tmp_path)


def test_the_stacks_are_ones_that_zenmls_flavors_take():
    from zenml.container_registries.default_container_registry import DefaultContainerRegistryFlavor
    from zenml.integrations.kubernetes.flavors import KubernetesOrchestratorFlavor
    from zenml.integrations.s3.flavors import S3ArtifactStoreFlavor

    offered = (KubernetesOrchestratorFlavor(), S3ArtifactStoreFlavor(), DefaultContainerRegistryFlavor())
    flavors = {flavor.name: flavor.config_class for flavor in offered}
    for part in STACKS["kubernetes"].values():
        config = flavors[part["flavor"]]
        assert set(part["configuration"]) <= set(config.model_fields)
        config(**part["configuration"])


def test_the_local_stack_is_registered_once(tmp_path):
    environment = {**os.environ, "ZENML_CONFIG_PATH": str(tmp_path / "c"), "ZENML_LOCAL_STORES_PATH": str(tmp_path / "s")}
    driver = tmp_path / "driver.py"
    driver.write_text(f"""
import json, runpy, sys
register = runpy.run_path({str(REPO / "infra" / "zenml" / "register.py")!r})["main"]
register("local"), register("local")
from zenml.client import Client
stacks = Client().list_stacks(name="uvr-local")
print(json.dumps([{{kind.value: c[0].name for kind, c in s.components.items()}} for s in stacks]))
""")
    done = subprocess.run([sys.executable, str(driver)], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    wanted = {kind: part["name"] for kind, part in STACKS["local"].items()}
    assert json.loads(done.stdout.splitlines()[-1]) == [wanted]
