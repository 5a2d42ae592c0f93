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
from pipelines.zenml_cluster import ACCOUNT, LABELS, SUBMITTER, run_configuration
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


def test_each_step_gets_what_the_table_asks_for_and_a_training_step_submits_a_trainjob(made):
    config, told = made
    assert list(told["steps"]) == list(graph())
    for name, step in told["steps"].items():
        row, submits = needs(name, config), needs(name, config).gpus > 1
        settings, orchestrator = step["settings"], step["settings"]["orchestrator.kubernetes"]
        own = SUBMITTER if submits else row
        assert settings["resources"] == {"cpu_count": own.cpu, "memory": f"{own.memory_gib}GiB", "gpu_count": own.gpus}
        assert orchestrator["active_deadline_seconds"] >= STAGES[name].resources.hours * 3600
        environment = {e["name"]: e["value"] for e in orchestrator["pod_settings"]["env"]}
        assert environment.get("UVR_TRAINJOB") == ("uvr-torch" if submits else None)
        assert orchestrator.get("step_pod_service_account_name") == ("uvr-trainjobs" if submits else None)
    trained = {name for name, step in told["steps"].items() if "UVR_TRAINJOB" in json.dumps(step)}
    kinds = {name for name in graph() if "model" in STAGES[name].kinds}
    assert trained == (kinds if config.run.device == "cuda" else set())


def _pod(settings: dict) -> dict:
    """The pod that ZenML makes of pod settings, by its own code."""
    from kubernetes.client import ApiClient
    from zenml.integrations.kubernetes.manifest_utils import build_pod_manifest
    from zenml.integrations.kubernetes.pod_settings import KubernetesPodSettings

    pod = build_pod_manifest("uvr", "uvrlab", ["python"], ["-m", "x"], False, KubernetesPodSettings(**settings))
    made = ApiClient().sanitize_for_serialization(pod)
    for container in made["spec"]["containers"]:  # ZenML leaves the unset fields in it, as nulls under their Python names
        container["securityContext"] = {k: v for k, v in container["securityContext"].items() if v is not None}
    return made


def test_the_pods_that_zenml_makes_are_strictly_valid_and_meet_the_restricted_standard(made, tmp_path):
    _, told = made
    own = [step["settings"]["orchestrator.kubernetes"]["pod_settings"] for step in told["steps"].values()]
    for settings in (*own, told["settings"]["orchestrator.kubernetes"]["orchestrator_pod_settings"]):
        manifest = _pod(settings)
        assert manifests.problems(manifest, tmp_path) == []
        assert manifests.problems({**manifest, "spec": {**manifest["spec"], "node_selector": {}}}, tmp_path)
        (container,) = manifest["spec"]["containers"]
        context = container["securityContext"]
        assert context["runAsNonRoot"] and context["allowPrivilegeEscalation"] is False and not context.get("privileged")
        assert context["capabilities"] == {"drop": ["ALL"]} and context["seccompProfile"] == {"type": "RuntimeDefault"}
        assert manifest["metadata"]["labels"]["uvrlab/engine"] == "zenml", "the network policy selects it"


def test_what_the_steps_need_in_the_cluster_is_strictly_valid_and_named_alike(tmp_path):
    found = {m["kind"]: m for m in yaml.safe_load_all((REPO / "infra" / "zenml" / "trainjobs.yaml").read_text())}
    for manifest in found.values():
        assert manifests.problems(manifest, tmp_path) == []
        assert manifests.problems({**manifest, "plantd": 1}, tmp_path)
    assert {m["metadata"]["name"] for kind, m in found.items() if kind != "NetworkPolicy"} == {ACCOUNT}
    assert found["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"].items() <= LABELS.items()
    (rule,) = found["Role"]["rules"]
    assert rule == {"apiGroups": ["trainer.kubeflow.org"], "resources": ["trainjobs"], "verbs": ["get", "create", "delete"]}


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
