"""A training step of ZenML on a cluster is a TrainJob: a valid one, whose command is the stage, waited for, adopted, replaced."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from kubernetes.client.exceptions import ApiException

from steps import _stage, trainjob
from tests.tools import manifests
from uvrlab import cli
from uvrlab.config import Config
from uvrlab.runs import RunError
from uvrlab.stages import STAGES, current_run_key, graph

TRAINING = [name for name, stage in STAGES.items() if "model" in stage.kinds]


def _job(stage: str, out: Path, **inputs: Path) -> dict[str, Any]:
    return trainjob.trainjob(
        stage, out.with_suffix(".yaml"), inputs, out, STAGES[stage].resources, "r/uvrlab@sha256:1", "uvr-torch"
    )


@pytest.mark.parametrize("stage", TRAINING)
def test_the_manifest_is_one_that_the_trainer_takes(stage, shared, tmp_path):
    job, crds = _job(stage, tmp_path / "abc", clips=tmp_path), shared / "data" / "crds"
    assert manifests.problems(job, crds) == []
    job["spec"]["trainer"]["numProcsPerNode"] = 1
    assert manifests.problems(job, crds)
    assert job["spec"]["trainer"]["numProcPerNode"] == STAGES[stage].resources.gpus


class Cluster:
    """An API server with one kind, whose TrainJobs run at once, as one process, in this one; it counts what it was asked."""

    def __init__(self, reason: str = "") -> None:
        self.jobs: dict[str, Any] = {}
        self.reason, self.created = reason, 0

    def get_namespaced_custom_object(self, group: str, version: str, namespace: str, plural: str, name: str) -> Any:
        if name not in self.jobs:
            raise ApiException(status=404, reason="Not Found")
        return self.jobs[name]

    def create_namespaced_custom_object(self, group: str, version: str, namespace: str, plural: str, job: Any) -> None:
        self.created += 1
        ended = 1 if self.reason else cli.main(job["spec"]["trainer"]["args"])
        condition = {"type": "Failed" if ended else "Complete", "status": "True", "reason": self.reason, "message": "see its pods"}
        self.jobs[job["metadata"]["name"]] = {**job, "status": {"conditions": [condition]}}

    def delete_namespaced_custom_object(self, *where: str, propagation_policy: str) -> None:
        del self.jobs[where[-1]]


@pytest.fixture
def prepared(tmp_path, planted, monkeypatch) -> dict[str, Path]:
    """Input runs of `sft`, and the environment of its step's pod."""
    from uvrlab.stages import run_stage

    for name in ("ingest", "synthesize", "validate", "sft"):
        planted.put(name)
    for name in ("ingest", "synthesize", "validate"):
        run_stage(Config().for_stage(name), {label: tmp_path / made for label, made in graph()[name].items()}, tmp_path / name)
    monkeypatch.setenv("UVR_TRAINJOB", "uvr-torch")
    monkeypatch.setenv("UVR_IMAGE", "r/uvrlab@sha256:1")
    return {label: tmp_path / made for label, made in graph()["sft"].items()}


def test_a_step_submits_its_stage_and_takes_over_the_finished_run(tmp_path, prepared, monkeypatch):
    config, cluster = Config().for_stage("sft"), Cluster()
    monkeypatch.setattr(trainjob, "cluster_api", lambda: cluster)
    out = tmp_path / "volume" / current_run_key(config, prepared)
    report = _stage._run(config, prepared, out)
    assert (report.stage, cluster.created) == ("sft", 1)
    assert _stage._run(config, prepared, out).digest == report.digest and cluster.created == 1, "a retried step adopts its job"


def test_a_failed_job_is_told_and_replaced_by_the_next_try(tmp_path, prepared):
    cluster, out = Cluster("DeadlineExceeded"), tmp_path / "out"
    job = _job("sft", out, **prepared)
    with pytest.raises(RunError, match=r"TrainJob uvr-sft-out failed: DeadlineExceeded: see its pods"):
        trainjob.run(job, cluster, poll_s=0.0)
    cluster.reason = ""
    out.with_suffix(".yaml").write_text("run: {seed: 0}\n")
    trainjob.run(job, cluster, poll_s=0.0)
    assert cluster.created == 2


def test_a_refusal_of_the_api_server_names_the_remedy():
    class Shut(Cluster):
        def get_namespaced_custom_object(self, *where: str) -> Any:
            raise ApiException(status=403, reason="Forbidden")

    with pytest.raises(RunError, match=r"403 Forbidden; is infra/zenml/trainjobs.yaml applied"):
        trainjob.run(_job("sft", Path("/v/out")), Shut())
