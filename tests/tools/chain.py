"""A whole chain of small runs, from media to results, as the stages leave them; nothing in it is ever trained or decoded."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from uvrlab import runs, upstream
from uvrlab.config import load_config
from uvrlab.data import schema
from uvrlab.evaluation import results as results_file
from uvrlab.runs import RunDir
from uvrlab.stages import run_stage

QUERIES = 600
Chain = dict[str, Path]  # stage -> its run directory


def seal(folder: Path, stage: str, inputs: Mapping[str, Path], config: Mapping[str, Any] | None = None) -> None:
    """Finish a run over the payload in `folder`."""
    digests = {name: RunDir(path).digest for name, path in inputs.items()}
    manifest = runs.seal(
        folder, stage=stage, config={"seed": 5, stage: dict(config or {})}, inputs=digests, code=f"code of {stage}"
    )
    upstream.carry(folder, inputs)
    runs.finish(folder, manifest)


def sources(root: Path, *, green: bool = True, name: str = "bell") -> Chain:
    """ingest, synthesize and validate under `root`: one packed clip and one that is only referred to, its bytes by `name`."""
    chain = {stage: root / stage for stage in ("ingest", "synthesize", "validate")}
    for folder in (chain["ingest"], chain["synthesize"]):
        runs.clear(folder)
    outside = root / "raw" / "bell.mp4"
    outside.parent.mkdir()
    outside.write_bytes(f"bytes of a {name}".encode())
    packed = chain["ingest"] / "media" / "shard-00000.tar"
    packed.parent.mkdir()
    packed.write_bytes(b"bytes of a ball")
    clips = [_clip("ball", "media/shard-00000.tar", packed), _clip("bell", str(outside), outside)]
    schema.write_table("clips", clips, chain["ingest"] / "clips")
    schema.write_table("clips", [_clip("test", "media/shard-00000.tar", packed)], chain["ingest"] / "benchmark" / "clips")
    seal(chain["ingest"], "ingest", {})
    side = {"text": None, "image_uri": None, "clip_id": "bell", "start_s": 0.0, "end_s": 1.0, "modalities": ["video"]}
    pair = {"pair_id": "p", "task": "V2V", "split": "train", "query": side, "target": side, "negatives": []}
    schema.write_table("pairs", [pair], chain["synthesize"] / "pairs")
    schema.write_table("questions", [], chain["synthesize"] / "questions")
    seal(chain["synthesize"], "synthesize", {"clips": chain["ingest"]})
    validate(chain["validate"], chain, green=green)
    return chain


def validate(folder: Path, base: Chain, *, green: bool = True) -> Path:
    """A validate run on the training data of `base` and its `benchmark`, by default its own."""
    runs.clear(folder)
    check = {"table": "leakage", "name": "no judged clip leaks", "passed": green, "checked": 1, "failed": int(not green)}
    runs.write_json(folder / "verdict.json", {"passed": green, "checks": [check]})
    inputs = {"clips": base["ingest"], "uvrd": base["synthesize"], "benchmark": base.get("benchmark", base["ingest"])}
    seal(folder, "validate", inputs)
    return folder


def model(
    root: Path, base: Chain, name: str, *, wins: int = 0, losses: int = 0, benchmark: str = "b", start: Path | None = None
) -> Chain:
    """sft and evaluate under `root/name`: of a model that differs from every other by these hits and misses.

    `start` is the model that it continues.
    """
    chain = {**base, "sft": root / name / "sft", "evaluate": root / name / "evaluate"}
    for stage in ("sft", "evaluate"):
        runs.clear(chain[stage])
    (chain["sft"] / "model").mkdir()
    (chain["sft"] / "model" / "adapter_model.safetensors").write_text(f"weights of {name}")
    inputs = {"clips": base["ingest"], "uvrd": base["synthesize"], "checks": base["validate"]}
    seal(chain["sft"], "sft", inputs | ({"model": start} if start else {}), {"steps": 7, "rate": 1e-05})
    row = {"dataset": "world", "ability": "CG", "mode": "speed", "metric": "R@1", "model_digest": _digest(name)}
    row |= {"benchmark_digest": benchmark * 64, "first_relevant_rank": 1, "top_ids": [], "n_candidates": 4, "n_tokens": 0}
    hits = set(range(losses, 300)) | set(range(300, 300 + wins))
    rows = [{**row, "query_id": f"q{i}", "value": float(i in hits), "latency_ms": 0.0} for i in range(QUERIES)]
    results_file.write(chain["evaluate"], results_file.summarise(rows, chances={("world", "R@1"): 0.01}, seed=0, bootstrap=20))
    seal(chain["evaluate"], "evaluate", {"model": chain["sft"], "benchmark": base.get("benchmark", base["ingest"])})
    return chain


def _clip(clip_id: str, uri: str, media: Path) -> dict[str, Any]:
    times = {"start_s": 0.0, "end_s": 1.0, "duration_s": 1.0, "split": "train", "source": "folder", "licence": "CC0-1.0"}
    return {"clip_id": clip_id, "parent_id": clip_id, "uri": uri, "media_sha256": runs.sha256_file(media), **times}


def _digest(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """The registry's folder of the model name."""
    return tmp_path / "registry" / "uvr"


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Register models by name: `lab("better", wins=30)` returns the digest of its version."""
    monkeypatch.setenv("UVR_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("UVR_WHO", "ada")
    base = sources(tmp_path)

    def register(name: str, **counts: int) -> str:
        made = model(tmp_path, base, name, **counts)
        config = load_config(None, [f"register.registry_dir={tmp_path / 'registry'}"]).for_stage("register")
        run_stage(config, {"model": made["sft"], "results": made["evaluate"]}, tmp_path / name / "register")
        return str(json.loads((tmp_path / name / "register" / "entry.json").read_text())["digest"])

    return register
