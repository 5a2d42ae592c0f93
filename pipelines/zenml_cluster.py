"""The run configuration of the ZenML pipeline on a cluster, from the same table of stages as every other engine's.

`python -m pipelines.zenml_cluster --config configs/demo.yaml --image IMAGE --out FILE` writes what `zenml pipeline run
pipelines.training.training -c FILE -s uvr-kubernetes` reads: the recipe, the image, and the resources and the pod of each step.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from pipelines.kfp_pods import ROOT, USER, Cluster, needs
from uvrlab.config import Config, load_config
from uvrlab.stages import Resources, graph

RUNTIME, ACCOUNT = "uvr-torch", "uvr-trainjobs"  # infra/k8s/base/runtime.yaml, infra/zenml/trainjobs.yaml
SUBMITTER = Resources(cpu=1, memory_gib=4)
QUEUED_HOURS = 48  # that a step may wait for its TrainJob to be admitted
LABELS = {"app.kubernetes.io/part-of": "uvrlab", "uvrlab/engine": "zenml"}
SECURITY = {  # what the namespace's restricted standard asks of a container
    "runAsNonRoot": True,
    "runAsUser": USER,
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "seccompProfile": {"type": "RuntimeDefault"},
}


def run_configuration(recipe: str, config: Config, cluster: Cluster, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """The file's content. The image holds the code, so ZenML builds none; a registry at a relative path lies on the volume.

    A stage of several GPUs becomes a TrainJob: its step's pod only submits it and waits (steps/trainjob.py).
    """
    home = config.register_.registry_dir
    at = home if home.is_absolute() else Path(ROOT) / home
    return {
        "parameters": {"config": recipe, "overrides": [*overrides, f"register.registry_dir={at}"]},
        "settings": {
            "docker": {"parent_image": cluster.image, "skip_build": True},
            "orchestrator.kubernetes": {"orchestrator_pod_settings": {"labels": LABELS, "container_security_context": SECURITY}},
        },
        "steps": {name: {"settings": _settings(name, config, cluster)} for name in graph(config.profile)},
    }


def _settings(stage: str, config: Config, cluster: Cluster) -> dict[str, Any]:
    row, submits = needs(stage, config), needs(stage, config).gpus > 1
    environment = {"UVR_WORK": f"{ROOT}/work", "UVR_HOME": f"{ROOT}/home"} | (
        {"UVR_TRAINJOB": RUNTIME, "UVR_IMAGE": cluster.image} if submits else {}
    )
    own = SUBMITTER if submits else row
    shm = {"medium": "Memory", "sizeLimit": f"{own.memory_gib // 2}Gi"}
    pod: dict[str, Any] = {
        "labels": LABELS | {"uvrlab/stage": stage},
        "volumes": [{"name": "uvr", "persistentVolumeClaim": {"claimName": cluster.volume}}, {"name": "shm", "emptyDir": shm}],
        "volume_mounts": [{"name": "uvr", "mountPath": ROOT}, {"name": "shm", "mountPath": "/dev/shm"}],
        "env": [{"name": name, "value": value} for name, value in environment.items()],
        "container_security_context": SECURITY,
        "additional_pod_spec_args": {"security_context": {"fsGroup": USER}},  # or the volume is root's
    }
    if own.gpus:
        pod["tolerations"] = [{"key": cluster.gpu, "operator": "Exists", "effect": "NoSchedule"}]
        pod["node_selectors"] = dict([cluster.gpu_node]) if cluster.gpu_node else {}
    orchestrator = {"pod_settings": pod, "active_deadline_seconds": (row.hours + (QUEUED_HOURS if submits else 0)) * 3600}
    if submits:
        orchestrator["step_pod_service_account_name"] = ACCOUNT
    resources = {"cpu_count": own.cpu, "memory": f"{own.memory_gib}GiB", "gpu_count": own.gpus}
    return {"resources": resources, "orchestrator.kubernetes": orchestrator}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m pipelines.zenml_cluster", description=__doc__)
    parser.add_argument("--config", type=Path, default=Path("configs/demo.yaml"))
    parser.add_argument("--set", action="append", default=[], metavar="A.B=C")
    parser.add_argument("--image", default=Cluster.image)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    recipe = run_configuration(str(args.config), load_config(args.config, args.set), Cluster(image=args.image), args.set)
    args.out.write_text(yaml.safe_dump(recipe, sort_keys=False))
