"""What a cluster gives each task of the Kubeflow graph, from the stage's `Resources`: CPU, memory, GPUs, volumes, retries, time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from kfp import kubernetes

from uvrlab.config import Config
from uvrlab.stages import STAGES, Resources

ROOT = "/var/uvr"
USER = 10001  # the one of infra/Dockerfile


@dataclass(frozen=True)
class Cluster:
    """What differs between clusters. Artifacts go to the object store behind the pipeline root; the volume outlives pods."""

    image: str = "uvrlab:0.1.0"
    volume: str = "uvr"  # claim for checkpoints, caches, the registry and source folders
    gpu: str = "nvidia.com/gpu"
    gpu_node: tuple[str, str] | None = ("nvidia.com/gpu.present", "true")  # a label of the nodes with GPUs
    retries: int = 2
    keys: str = "uvr-keys"  # secret with `api-key`, for a captioner behind an API; may be absent


def needs(stage: str, config: Config) -> Resources:
    """The table's row; on `run.device: cpu` a pod of the default size, because no GPU is then used however many would serve."""
    row = STAGES[stage].resources
    return Resources(cpu=min(row.cpu, 4), hours=row.hours) if config.run.device == "cpu" else row


def place(task: Any, stage: str, config: Config, cluster: Cluster) -> None:
    """Give one task its pod."""
    row = needs(stage, config)
    task.set_cpu_request(str(row.cpu)).set_cpu_limit(str(row.cpu))
    task.set_memory_request(f"{row.memory_gib}Gi").set_memory_limit(f"{row.memory_gib}Gi")
    task.set_env_variable("UVR_ROOT", ROOT).set_env_variable("UVR_HOME", f"{ROOT}/home").set_env_variable("UVR_LOG", "json")
    if row.gpus:
        _on_gpus(task, row.gpus, cluster)
    # Workers hand tensors over through /dev/shm, whose default of 64 MiB ends in a bus error; it counts as memory of the pod.
    kubernetes.empty_dir_mount(task, "shm", "/dev/shm", medium="Memory", size_limit=f"{row.memory_gib // 2}Gi")
    kubernetes.mount_pvc(task, cluster.volume, ROOT)
    kubernetes.set_timeout(task, row.hours * 3600)
    kubernetes.set_security_context(task, run_as_user=USER, run_as_group=USER, run_as_non_root=True)
    kubernetes.add_pod_label(task, "app.kubernetes.io/part-of", "uvrlab")
    kubernetes.add_pod_label(task, "uvrlab/stage", stage)
    section = config.section(stage)
    if captioner := getattr(section, "captioner", None) or getattr(getattr(section, "judge", None), "endpoint", None):
        kubernetes.add_pod_label(task, "uvrlab/calls-omni", "true")  # infra/k8s/omni lets these pods in
        kubernetes.use_secret_as_env(task, cluster.keys, {"api-key": captioner.api_key_env}, optional=True)
    if cluster.retries:
        task.set_retry(num_retries=cluster.retries, backoff_duration="60s", backoff_factor=2.0, backoff_max_duration="900s")


def _on_gpus(task: Any, count: int, cluster: Cluster) -> None:
    task.set_accelerator_type(cluster.gpu).set_accelerator_limit(count)
    kubernetes.add_toleration(task, key=cluster.gpu, operator="Exists", effect="NoSchedule")
    if cluster.gpu_node:
        kubernetes.add_node_selector(task, *cluster.gpu_node)
