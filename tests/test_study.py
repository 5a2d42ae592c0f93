"""A study runs each common stage once, goes on where it stopped, names what is missing, and pairs by query within a seed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from uvrlab.config import ConfigError
from uvrlab.evaluation import results
from uvrlab.runs import RunError
from uvrlab.stages import STAGES
from uvrlab.study import cells, load_study, run_study

N = 200


def _evaluate(config: Any, inputs: dict[str, Path], out: Path) -> None:
    """R@1 of N queries: 0.5 + 100 x the trained learning rate; query i of a seed is as hard for every variant."""
    trained = yaml.safe_load((inputs["model"] / "payload.txt").read_text().splitlines()[0])
    hardness = np.random.default_rng(config.run.seed).random(N)
    rows = [
        {"dataset": "d", "ability": "CG", "query_id": f"q{i}", "mode": "disc", "metric": "R@1", "n_candidates": N}
        | {"value": float(hardness[i] < 0.5 + 100 * trained), "model_digest": "m", "benchmark_digest": "b", "top_ids": []}
        for i in range(N)
    ]
    results.write(out, results.summarise(rows, chances={("d", "R@1"): 1 / N}, seed=config.run.seed, bootstrap=200))


@pytest.fixture
def stages(planted: Any) -> Any:
    for name in STAGES:
        planted.put(name, sources=("data/schema.py",))
    planted.put("sft", lambda c, i, out: (out / "payload.txt").write_text(f"{c.own.learning_rate}\n"), ("data/schema.py",))
    for name in ("grpo", "grounding", "fusion", "curriculum"):
        planted.put(name, lambda c, i, out: shutil.copyfile(i["model"] / "payload.txt", out / "payload.txt"), ("data/schema.py",))
    planted.put("evaluate", _evaluate, ("data/schema.py",))
    return planted


def _study(tmp_path: Path, **changes: Any) -> Path:
    tree: dict[str, Any] = {
        "question": "Does a higher rate help?",
        "seeds": [0, 1],
        "baseline": "slow",
        "variants": {
            "slow": ["sft.learning_rate=0.001"],
            "fast": ["sft.learning_rate=0.003"],
            "same": ["sft.learning_rate=0.001", "sft.save_steps=7"],
        },
    }
    path = tmp_path / "study.yaml"
    path.write_text(yaml.safe_dump(tree | changes, sort_keys=False))
    return path


def test_common_stages_run_once_a_seed_register_never_and_a_finished_study_runs_nothing(tmp_path: Path, stages: Any) -> None:
    first = run_study(_study(tmp_path), tmp_path / "out")
    counts = {name: stages.calls.count(name) for name in STAGES}
    trained = dict.fromkeys(("sft", "grpo", "grounding", "fusion", "curriculum", "evaluate"), 6)
    assert counts == {"ingest": 1, "synthesize": 2, "validate": 2, **trained, "register": 0}
    stages.calls.clear()
    assert run_study(_study(tmp_path), tmp_path / "out") == first
    assert stages.calls == []


def test_the_effect_is_the_paired_difference_with_its_interval(tmp_path: Path, stages: Any) -> None:
    """0.5 + 0.3 against 0.5 + 0.1: the share of queries with hardness in [0.6, 0.8) turns from miss to hit."""
    text = run_study(_study(tmp_path), tmp_path / "out")
    found = json.loads((tmp_path / "out" / "study.json").read_text())["effects"]
    fast, same = (next(e for e in found if e["variant"] == name) for name in ("fast", "same"))
    hard = [np.random.default_rng(seed).random(N) for seed in (0, 1)]
    by_seed = [float(((h >= 0.6) & (h < 0.8)).mean()) for h in hard]
    assert fast["by_seed"] == pytest.approx(by_seed)
    assert fast["difference"] == pytest.approx(np.mean(by_seed))
    assert fast["low"] < fast["difference"] < fast["high"] and fast["verdict"] == "moved"
    assert fast["n"] == 2 * N and fast["seeds"] == [0, 1] and fast["minimum_detectable"] > 0
    assert same["difference"] == 0 and same["verdict"] == "not shown"
    assert "| fast | slow | d | R@1 | disc |" in text and "6 of 6 cells" in text
    assert "<svg" in (tmp_path / "out" / "study.html").read_text()


def test_a_variant_is_held_against_its_controls_too(tmp_path: Path, stages: Any) -> None:
    """`same` differs from the baseline in nothing that is measured, so `fast` is as far from it."""
    run_study(_study(tmp_path, controls={"fast": ["same", "slow"]}), tmp_path / "out")
    found = json.loads((tmp_path / "out" / "study.json").read_text())["effects"]
    rows = {(e["variant"], e["against"]): e["difference"] for e in found if e["dataset"] == "d"}
    assert list(rows) == [("fast", "slow"), ("same", "slow"), ("fast", "same")]
    assert rows["fast", "same"] == rows["fast", "slow"] > 0


def test_a_budget_stops_the_study_and_the_next_call_goes_on(tmp_path: Path, stages: Any) -> None:
    study, out = _study(tmp_path), tmp_path / "out"
    text = run_study(study, out, max_minutes=0.0)
    assert "1 of 6 cells" in text and "- fast-seed0: not run yet" in text
    assert [f.name for f in (out / "cells").iterdir()] == ["slow-seed0.json"]
    run_study(study, out, max_minutes=0.0)
    assert "6 of 6 cells" in run_study(study, out)


def test_a_changed_variant_makes_only_its_cells_missing(tmp_path: Path, stages: Any) -> None:
    run_study(_study(tmp_path), tmp_path / "out")
    stages.calls.clear()
    variants = {"slow": ["sft.learning_rate=0.001"], "fast": ["sft.learning_rate=0.004"]}
    run_study(_study(tmp_path, variants=variants), tmp_path / "out")
    assert stages.calls == ["sft", "grpo", "grounding", "fusion", "curriculum", "evaluate"] * 2


def test_a_failing_cell_is_named_and_the_others_still_run(tmp_path: Path, stages: Any) -> None:
    def sft(config: Any, inputs: Any, out: Path) -> None:
        if config.own.learning_rate == 0.003 and config.run.seed == 0:
            raise FloatingPointError("loss is NaN at step 3")
        (out / "payload.txt").write_text(f"{config.own.learning_rate}\n")

    stages.put("sft", sft)
    with pytest.raises(RunError, match="fast-seed0: FloatingPointError: loss is NaN at step 3"):
        run_study(_study(tmp_path), tmp_path / "out")
    text = (tmp_path / "out" / "study.md").read_text()
    assert "5 of 6 cells" in text and "- fast-seed0: FloatingPointError" in text
    effect = next(e for e in json.loads((tmp_path / "out" / "study.json").read_text())["effects"] if e["variant"] == "fast")
    assert effect["seeds"] == [1] and effect["n"] == N


def test_another_benchmark_is_not_compared(tmp_path: Path, stages: Any) -> None:
    def evaluate(config: Any, inputs: dict[str, Path], out: Path) -> None:
        _evaluate(config, inputs, out)
        found = results.read(out)
        digest = (inputs["model"] / "payload.txt").read_text()[:5]
        rows = [{**row, "benchmark_digest": digest} for row in found.rows]
        results.write(out, results.summarise(rows, chances={}, seed=0, bootstrap=200))

    stages.put("evaluate", evaluate)
    text = run_study(_study(tmp_path), tmp_path / "out")
    assert "Note: fast against slow, seed 0: benchmark" in text and "| fast |" not in text and "| same |" in text


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"baseline": "none"}, "baseline 'none' is no variant; expected one of"),
        ({"controls": {"fast": ["none"]}}, "controls name 'none', which is no variant; expected some of slow, fast, same"),
        ({"seeds": [1, 1]}, "a seed stands twice"),
        ({"variants": {"slow": [], "a/b": []}}, "a name is letters"),
        ({"metric": "R@1"}, "metric"),
    ],
)
def test_a_faulty_study_file_is_explained(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        load_study(_study(tmp_path, **changes))


@pytest.mark.parametrize("file", sorted((Path(__file__).parents[1] / "configs" / "studies").glob("*.yaml")), ids=lambda p: p.stem)
def test_every_shipped_study_loads_with_all_its_cells(file: Path) -> None:
    study = load_study(file)
    planned = list(cells(study, file.parent))
    assert len(planned) == len(study.variants) * len(study.seeds)
    assert len({cell.key for cell in planned}) == len(planned), "no two variants are the same run"
