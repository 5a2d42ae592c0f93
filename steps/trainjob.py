"""A training stage of a ZenML step as a Kubeflow TrainJob: what the step submits, and how it waits for it.

The step's own pod asks for no GPU. Its inputs and its output lie on the volume that the TrainJob's pods mount too, so nothing is
copied; volumes and security come from the TrainingRuntime (infra/k8s/base/runtime.yaml), the image is the step's.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from uvrlab.runs import RunError
from uvrlab.stages import Resources

API = ("trainer.kubeflow.org", "v1alpha1")
NAMESPACE, QUEUE, PRIORITY, GPU = "uvrlab", "uvr", "uvr-training", "nvidia.com/gpu"
log = logging.getLogger("uvrlab.trainjob")


def trainjob(stage: str, recipe: Path, inputs: Mapping[str, Path], out: Path, row: Resources, image: str, runtime: str) -> Any:
    """The manifest: `uvr run STAGE` under torchrun, one process a GPU. Named by `out`, a run key, so that a retry finds it."""
    asked = {"cpu": row.cpu, "memory": f"{row.memory_gib}Gi", GPU: row.gpus}
    args = ["run", stage, f"--config={recipe}", *(f"--in={name}={path}" for name, path in inputs.items()), f"--out={out}"]
    node = {"nodeSelector": {f"{GPU}.present": "true"}, "tolerations": [{"key": GPU, "operator": "Exists", "effect": "NoSchedule"}]}
    jobs = [{"name": "node", "template": {"spec": {"template": {"spec": node}}}}]
    labels = {"kueue.x-k8s.io/queue-name": QUEUE, "kueue.x-k8s.io/priority-class": PRIORITY, "uvrlab/stage": stage}
    return {
        "apiVersion": "/".join(API),
        "kind": "TrainJob",
        "metadata": {"name": f"uvr-{stage}-{out.name[:12]}", "namespace": NAMESPACE, "labels": labels},
        "spec": {
            "runtimeRef": {"apiGroup": API[0], "kind": "TrainingRuntime", "name": runtime},
            "activeDeadlineSeconds": row.hours * 3600,
            "trainer": {
                "image": image,
                "numNodes": 1,
                "numProcPerNode": row.gpus,
                "command": ["torchrun", "-m", "uvrlab.cli"],
                "args": args,
                "resourcesPerNode": {"requests": asked, "limits": asked},
            },
            "runtimePatches": [
                {"manager": "uvrlab.io/gpu", "trainingRuntimeSpec": {"template": {"spec": {"replicatedJobs": jobs}}}},
            ],
        },
    }


def run(job: Mapping[str, Any], api: Any, poll_s: float = 15.0) -> None:
    """Submit a TrainJob by a `kubernetes.client.CustomObjectsApi` and wait until it is complete.

    One of the same name is waited for, as after a lost step pod; a failed one is replaced. Raises RunError with what the job says.
    """
    where, name = (*API, job["metadata"]["namespace"], "trainjobs"), job["metadata"]["name"]
    if _state(api, where, name, missing=True)[0] == "Failed":
        log.info("%s failed before and is submitted again", name)
        api.delete_namespaced_custom_object(*where, name, propagation_policy="Foreground")
        while _state(api, where, name, missing=True)[0] != "absent":
            time.sleep(poll_s)
    if _state(api, where, name, missing=True)[0] == "absent":
        api.create_namespaced_custom_object(*where, dict(job))
    while (told := _state(api, where, name))[0] == "going on":
        time.sleep(poll_s)
    if told[0] == "Failed":
        raise RunError(f"TrainJob {name} failed: {told[1]}; kubectl -n {where[2]} logs -l uvrlab/role=training, then run it again")


def _state(api: Any, where: tuple[str, ...], name: str, *, missing: bool = False) -> tuple[str, str]:
    """(Complete, Failed, going on, or where it may be `missing` absent; what the job says)."""
    from kubernetes.client.exceptions import ApiException

    try:
        found = api.get_namespaced_custom_object(*where, name)
    except ApiException as error:
        if missing and error.status == 404:
            return "absent", ""
        raise RunError(
            f"TrainJob {name}: the API server says {error.status} {error.reason}; is infra/zenml/trainjobs.yaml applied?"
        ) from error
    for condition in found.get("status", {}).get("conditions", ()):
        if condition["type"] in ("Complete", "Failed") and condition["status"] == "True":
            return condition["type"], f"{condition.get('reason', '')}: {condition.get('message', '')}"
    return "going on", ""


def cluster_api() -> Any:
    """The API server of the cluster in which this pod runs."""
    from kubernetes import client, config

    config.load_incluster_config()
    return client.CustomObjectsApi()
