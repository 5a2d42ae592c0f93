"""Training by several processes, and under DeepSpeed: the result of one process with the same global batch.

Gradients are averaged in another order, so weights agree to float32 rounding and not bit for bit; each test says its tolerance.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from uvrlab import runs, stages
from uvrlab.config import Config, load_config
from uvrlab.runs import RunError
from uvrlab.training import distributed

REPO = Path(__file__).resolve().parents[1]
ZERO = {stage: REPO / "configs" / "deepspeed" / f"zero{stage}.json" for stage in (2, 3)}


def _train(out: Path, processes: int, *overrides: str, stage: str = "sft") -> dict[str, Any]:
    """Adapter and facts of a run of tests/tools/processes.py under torchrun."""
    out.mkdir()
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    command += ["-m", "tests.tools.processes", stage, str(out), *(f"--set={pair}" for pair in overrides)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPO), "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(command, cwd=REPO, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-4000:]
    return {"adapter": load_file(out / "adapter.safetensors"), **json.loads((out / "told.json").read_text())}


def _farthest(one: dict[str, Any], other: dict[str, Any]) -> float:
    """The largest difference between two adapters, as a share of the largest weight."""
    assert one["adapter"].keys() == other["adapter"].keys()
    largest = max(float(x.abs().max()) for x in one["adapter"].values())
    return max(float((x - other["adapter"][name]).abs().max()) for name, x in one["adapter"].items()) / largest


@pytest.fixture(scope="module")
def one(tmp_path_factory) -> dict[str, Any]:
    return _train(tmp_path_factory.mktemp("one") / "run", 1)


@pytest.mark.long
@pytest.mark.parametrize("chunk", ["null", "1"])
def test_two_processes_train_as_one_with_the_same_global_batch(one, tmp_path, chunk):
    """Four steps of AdamW at rate 1e-2: weights to 1e-3 of the largest, losses to 1e-4. With the gradient cache too (chunk 1).

    Negatives of the other process included: a disc loss over the 2 pairs of one process would be near log 2, over all 4 near log 4.
    """
    two = _train(tmp_path / "two", 2, f"sft.chunk_pairs={chunk}")
    assert (one["share"], two["share"]) == (4, 2)
    assert _farthest(one, two) < 1e-3
    for before, after in zip(one["history"], two["history"], strict=True):
        assert after == pytest.approx(before, rel=1e-4)


@pytest.mark.long
def test_two_processes_go_through_the_epochs_of_one(tmp_path):
    """Probing and mining by the first, negatives of both: scores and losses to 1e-3, weights to 1e-2 of the largest."""
    one, two = (_train(tmp_path / str(n), n, "curriculum.chunk_pairs=2", stage="curriculum") for n in (1, 2))
    assert len(one["scores"]) == 2
    for before, after in zip([*one["scores"], *one["history"]], [*two["scores"], *two["history"]], strict=True):
        assert after == pytest.approx(before, rel=1e-3)
    assert _farthest(one, two) < 1e-2


@pytest.mark.long
@pytest.mark.parametrize("stage", ZERO)
def test_the_curriculum_trains_under_deepspeed(tmp_path, stage):
    """Probing at the epochs' starts by a real engine, ZeRO-3 with its parameters gathered, and the losses of plain AdamW."""
    plain = _train(tmp_path / "plain", 1, stage="curriculum")
    found = _train(tmp_path / "zero", 1, f"curriculum.deepspeed={ZERO[stage]}", stage="curriculum")
    assert found["engine"] == "DeepSpeedEngine" and found["zero_stage"] == stage
    for before, after in zip([*plain["scores"], *plain["history"]], [*found["scores"], *found["history"]], strict=True):
        assert after == pytest.approx(before, rel=1e-2)


@pytest.mark.long
@pytest.mark.parametrize("stage", ZERO)
def test_sft_trains_under_deepspeed(one, tmp_path, stage):
    """A real engine, and in float32 the weights of plain AdamW to 1e-3 of the largest."""
    found = _train(tmp_path / "zero", 1, f"sft.deepspeed={ZERO[stage]}")
    assert found["engine"] == "DeepSpeedEngine" and found["zero_stage"] == stage
    assert (found["cut"] > 0) == (stage == 3), "ZeRO-3 alone cuts the parameters"
    assert _farthest(one, found) < 1e-3
    checkpoint = max((tmp_path / "zero" / "checkpoints").glob("checkpoint-*/adapter.safetensors"))
    assert {name.removeprefix("model.") for name in load_file(checkpoint)} == set(found["adapter"])


@pytest.mark.long
def test_grpo_takes_a_step_under_deepspeed(tmp_path):
    """A generation, its scoring and an update by a real ZeRO-2 engine, KL 0 at the start."""
    found = _train(tmp_path / "grpo", 1, f"grpo.deepspeed={ZERO[2]}", "grpo.steps=2", stage="grpo")
    assert found["engine"] == "DeepSpeedEngine" and found["zero_stage"] == 2
    assert found["history"][0]["kl"] == pytest.approx(0.0, abs=1e-6) and found["moved"] > 0


@pytest.mark.long
def test_the_command_under_torchrun_writes_one_run_directory(tmp_path):
    """`torchrun -m uvrlab.cli run sft`: the whole stage by two processes, owned by the first."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPO), "UVR_WORK": str(tmp_path / "work")}
    uvr = ["-m", "uvrlab.cli", "run"]
    recipe = ["--config", str(REPO / "configs" / "tiny.yaml"), "--set=sft.steps=2", "--set=sft.bf16=false"]
    wiring = {name: stages.graph()[name] for name in ("ingest", "synthesize", "validate", "sft")}
    for name, inputs in wiring.items():
        launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"] if name == "sft" else []
        wired = [f"--in={label}={tmp_path / producer}" for label, producer in inputs.items()]
        command = [sys.executable, *launcher, *uvr, name, *recipe, *wired, f"--out={tmp_path / name}"]
        done = subprocess.run(command, cwd=REPO, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-4000:]
    run = runs.RunDir(tmp_path / "sft", stage="sft")
    run.verify()
    assert json.loads((tmp_path / "sft" / "status.json").read_text())["state"] == "done"
    assert done.stdout.count("sft   ") == 1, "the second process has nothing to report"


def test_a_stage_that_is_one_process_refuses_torchrun(tmp_path, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(RunError, match="start it without torchrun"):
        stages.run_stage(Config().for_stage("ingest"), {}, tmp_path / "ingest")


def test_processes_other_than_the_first_write_nothing_that_counts(tmp_path, monkeypatch, planted):
    for name in ("ingest", "synthesize", "validate", "sft"):
        planted.put(name)
    config = Config()
    for name in ("ingest", "synthesize", "validate"):
        wired = {label: tmp_path / producer for label, producer in stages.graph()[name].items()}
        stages.run_stage(config.for_stage(name), wired, tmp_path / name)
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    wired = {label: tmp_path / producer for label, producer in stages.graph()["sft"].items()}
    stages.run_stage(config.for_stage("sft"), wired, tmp_path / "sft")
    assert planted.calls[-1] == "sft" and not (tmp_path / "sft").exists()


def test_the_parts_of_a_batch_are_the_batch(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "3")
    assert [distributed.share(list("abcdef"), part) for part in range(3)] == [["a", "b"], ["c", "d"], ["e", "f"]]
    assert [list(distributed.share(range(7), part)) for part in range(3)] == [[0, 1], [2, 3], [4, 5]]
    with pytest.raises(ValueError, match="2 cannot be shared by 3"):
        distributed.share([1, 2], 0)


@pytest.mark.parametrize("stage", ZERO)
def test_the_shipped_deepspeed_files_are_their_stage_and_leave_the_recipe_in_charge(stage):
    told = json.loads(ZERO[stage].read_text())
    assert told["zero_optimization"]["stage"] == stage
    assert {told[name] for name in ("train_batch_size", "train_micro_batch_size_per_gpu", "gradient_clipping")} == {"auto"}
    assert told["bf16"] == {"enabled": "auto"} and "optimizer" not in told, "the stage's own optimizer and rates"


def test_a_limit_of_tokens_without_a_chunk_size_is_refused():
    with pytest.raises(ValueError, match="set both or neither"):
        load_config(None, ["sft.chunk_tokens=100"])


def test_deepspeed_and_the_gradient_cache_exclude_each_other():
    with pytest.raises(ValueError, match="set one of them to null"):
        load_config(None, ["sft.deepspeed=zero2.json", "sft.chunk_pairs=4"])
