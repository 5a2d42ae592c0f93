"""Runs the steps of all epochs in one trainer. A step is collated when it comes, not before: its epoch may not exist until then."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from uvrlab.config import CurriculumConfig, RunConfig
from uvrlab.runs import processes
from uvrlab.training import contrastive, distributed
from uvrlab.training.batches import Collation
from uvrlab.training.curriculum_epochs import Epochs
from uvrlab.training.curriculum_mining import filled
from uvrlab.training.curriculum_replay import Answer
from uvrlab.training.pairs import Pair


class Numbers(Dataset):
    """The numbers of the items: a data loader fetches ahead, and a step of the next epoch cannot be made before this one ends."""

    def __init__(self, steps: int) -> None:
        self.steps = steps

    def __len__(self) -> int:
        return self.steps * processes()

    def __getitem__(self, item: int) -> dict[str, Tensor]:
        return {"item": torch.tensor(item)}


class Steps:
    """The inputs of one step and process, by item number as in `batches.PairBatches`."""

    def __init__(self, epochs: Epochs, pairs: Sequence[Pair], answers: Sequence[Answer], collation: Collation) -> None:
        self.epochs, self.pairs, self.answers, self.collation = epochs, pairs, answers, collation
        self.known = {pair.pair_id: pair for pair in pairs}

    def __getitem__(self, item: int) -> dict[str, Any]:
        number, part = divmod(item, processes())
        epoch, step = self.epochs.step(number)
        mine = distributed.share(step.rows, part)
        if step.kind == "grounding":
            some = [self.answers[i] for i in mine]
            return self.collation.said([answer.item for answer in some], [answer.text for answer in some])
        if step.kind == "generative":
            return self.collation.pairs([self.pairs[i] for i in mine])
        any_mined = any(self.pairs[i].pair_id in epoch.negatives for i in step.rows)
        rows, size = [self.pairs[i] for i in mine], self.epochs.own.mining.negatives
        hard = filled(rows, epoch.negatives, self.known, size) if any_mined else None
        return self.collation.pairs(rows, written=False, negatives=hard)


class CurriculumTrainer(contrastive.ContrastiveTrainer):
    """Takes numbers of items, and what they stand for when their turn has come."""

    steps: Steps

    def training_step(self, model: Any, inputs: Any, num_items_in_batch: Any = None) -> Tensor:
        return super().training_step(model, self.steps[int(inputs["item"])], num_items_in_batch)


def train(model: Any, steps: Steps, own: CurriculumConfig, run: RunConfig, checkpoints: Path) -> list[dict[str, float]]:
    """Train the adapter through all epochs, resuming from the newest complete checkpoint; returns the loss history."""
    trainer: Any = contrastive.make_trainer(model, Numbers(own.steps), own, run, checkpoints, CurriculumTrainer)
    trainer.steps = steps
    return contrastive.run_through(trainer, checkpoints)
