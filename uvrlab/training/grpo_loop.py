"""Runs PairGRPO over its plan, keeps what it made step by step, and resumes it exactly on a generation boundary."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from transformers import TrainerCallback

from uvrlab.config import GrpoConfig, RunConfig
from uvrlab.data import schema
from uvrlab.models.thoughts import FAULTS
from uvrlab.progress import Progress
from uvrlab.training.checkpoints import mark_complete, newest_checkpoint
from uvrlab.training.grpo_heldout import greedy
from uvrlab.training.grpo_trainer import PairGRPO
from uvrlab.training.heldout import encode
from uvrlab.training.pairs import Pair
from uvrlab.training.rollouts import Roller, plan_pairs

LOSS_METRICS = {
    "kl": "kl",
    "entropy": "entropy",
    "clip_ratio/low_mean": "clipped_low",
    "clip_ratio/high_mean": "clipped_high",
    "sampling_difference": "sampling_difference",
}
SHOWN = ("reward", "embedding", "answer", "format", "kl")
COUNTED = (*FAULTS, "unscored", "rank 0", "negative", "equal target")


def train(roller: Roller, pairs: Sequence[Pair], own: GrpoConfig, run: RunConfig, checkpoints: Path) -> list[dict[str, float]]:
    """Train the roller's model in place; returns a row of numbers a step. Rollouts are kept under `checkpoints/rollouts`."""
    spare = own.pairs * own.dynamic_sampling
    near = encode(roller.model, [pair.target for pair in pairs], roller.cache) if own.negatives == "near" else None
    plan = plan_pairs(pairs, own.steps // own.iterations, own.pairs, run.seed, spare, near)
    watch = Watch("grpo", own.steps, checkpoints / "rollouts", COUNTED)
    vectors = target_vectors(roller, [pairs[i] for chosen in plan for i in chosen]) if own.target_cache else None
    trainer = PairGRPO(roller, pairs, plan, own, run, checkpoints, target_vectors=vectors, on_rollouts=watch.keep)
    trainer.add_callback(watch)
    watch.trainer = trainer
    roller.model.train()
    trainer.train(resume_from_checkpoint=newest_checkpoint(checkpoints))
    roller.model.eval()
    return [row for row in trainer.state.log_history if "flat_groups" in row]


def target_vectors(roller: Roller, pairs: Sequence[Pair]) -> dict[str, np.ndarray]:
    """pair_id -> gen vector of the start model's greedy thought about the target; NaN where that is not well-formed."""
    bare = {pair.pair_id: replace(pair.target, item_id="") for pair in pairs}
    targets = {item: pair.target for pair in pairs for item in [bare[pair.pair_id]]}
    thoughts = dict(zip(targets, greedy(roller, list(targets.values())), strict=True))
    nothing = np.full(int(roller.model.config.get_text_config().hidden_size), np.nan, np.float32)
    read = {item: nothing if t.vector is None or roller.faults(t) else t.vector for item, t in thoughts.items()}
    return {pair_id: read[item] for pair_id, item in bare.items()}


class Watch(TrainerCallback):
    """Progress lines, the history inside the trainer's own state (so that it survives a kill), rollouts and complete-marks."""

    def __init__(self, stage: str, steps: int, folder: Path, counted: Sequence[str]) -> None:
        self.folder, self.counted = folder, counted
        self.progress = Progress(stage, steps, "steps")
        self.trainer: Any = None
        self._made: dict[str, float] = {}

    def keep(self, step: int, table: list[dict[str, Any]], numbers: dict[str, float]) -> None:
        """Write a step's rollouts; a step that is run again after a kill writes the same file."""
        self.folder.mkdir(parents=True, exist_ok=True)
        schema.write_file("rollouts", table, self.folder / f"step-{step:06d}.parquet")
        self._made = {**summary(table, self.counted), **numbers}

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.progress.resume(state.global_step)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        metrics = self.trainer._metrics["train"]
        loss = {ours: float(np.mean(metrics[theirs])) for theirs, ours in LOSS_METRICS.items() if metrics[theirs]}
        row = {"step": state.global_step, "loss": float(np.sum(metrics["loss"])), **self._made, **loss}
        metrics.clear()
        state.log_history.append(row)
        shown = {name: row[name] for name in SHOWN if name in row}
        self.progress.step(1, step=str(state.global_step), **shown)

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        mark_complete(args.output_dir, state.global_step)


def summary(table: Sequence[dict[str, Any]], counted: Sequence[str]) -> dict[str, float]:
    """Means over one step's rollouts; `reward` and its parts over those that were scored, shares of each flag over all."""
    rewards = [json.loads(row["rewards"]) for row in table]
    names = {"total": "reward", **{name: name for name in rewards[0] if name != "total"}}
    means = {ours: [value for reward in rewards if (value := reward[name]) is not None] for name, ours in names.items()}
    found = {name: float(np.mean(values)) if values else 0.0 for name, values in means.items()}
    found["tokens"] = float(np.mean([row["n_tokens"] for row in table]))
    return found | {flag: float(np.mean([flag in row["flags"] for row in table])) for flag in counted}
