"""Trains a tiny model on pairs of texts as one of the processes that torchrun started: for tests/test_distributed.py.

`torchrun ... -m tests.tools.processes sft|curriculum|grpo OUT [--set A.B=C]...` leaves in OUT the adapter, the loss history and
facts about the engine of process 0.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import Any

os.environ.setdefault("DS_ACCELERATOR", "cpu")

import pytest
from safetensors.torch import save_file

from tests.training import test_contrastive, test_curriculum_loop, test_grpo
from uvrlab.config import CurriculumConfig, GrpoConfig, RunConfig, SftConfig, load_config
from uvrlab.runs import process
from uvrlab.training import contrastive, curriculum_loop, distributed, grpo_loop

SFT = ["sft.steps=4", "sft.batch_size=4", "sft.save_steps=2", "sft.bf16=false", "sft.learning_rate=1e-2"]
CURRICULUM = [
    f"curriculum.{name}={json.dumps(value)}" for name, value in test_curriculum_loop.OWN.model_dump(exclude_defaults=True).items()
]
GRPO = [f"grpo.{name}={value}" for name, value in test_grpo.SMALL.model_dump(exclude_defaults=True).items()]


def sft(own: SftConfig, out: Path) -> tuple[Any, Any, dict[str, Any]]:
    """(model, trainer, facts) after training."""
    model, batches = test_contrastive.build(own.steps)
    batches.collation.chunk_pairs = own.chunk_pairs
    trainer = contrastive.make_trainer(model, batches, own, RunConfig(), out / "checkpoints")
    model.train()
    trainer.train()
    history = [row for row in trainer.state.log_history if "disc" in row]
    return model, trainer, {"history": history, "share": len(batches[0]["target_ids"])}


def grpo(own: GrpoConfig, out: Path) -> tuple[Any, Any, dict[str, Any]]:
    """The same; every rollout has a reward of its own, as a policy this young learns nothing from its true ones."""
    made: list[Any] = []

    class Kept(grpo_loop.PairGRPO):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            made.append(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(grpo_loop, "PairGRPO", Kept)
        test_grpo.noisy(patch)
        roller = test_grpo.start(own)
        before = {name: p.detach().clone() for name, p in roller.model.named_parameters() if p.requires_grad}
        history = grpo_loop.train(roller, test_grpo.PAIRS, own, RunConfig(), out / "checkpoints")
    with distributed.whole(roller.model):
        found = dict(roller.model.named_parameters())
        moved = max(float((found[name].detach() - p).abs().max()) for name, p in before.items())
    return roller.model, made[0], {"history": history, "moved": moved}


def curriculum(own: CurriculumConfig, out: Path) -> tuple[Any, Any, dict[str, Any]]:
    """The same of a curriculum over two tasks of texts, with what its epochs found."""
    model, steps = test_curriculum_loop.build(own, out / "checkpoints")
    trainer: Any = contrastive.make_trainer(
        model, curriculum_loop.Numbers(own.steps), own, RunConfig(), out / "checkpoints", curriculum_loop.CurriculumTrainer
    )
    trainer.steps = steps
    history = contrastive.run_through(trainer, out / "checkpoints")
    return model, trainer, {"history": history, "scores": [epoch.scores for epoch in steps.epochs.made]}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("stage", choices=["sft", "curriculum", "grpo"])
    parser.add_argument("out", type=Path)
    parser.add_argument("--set", action="append", default=[])
    args = parser.parse_args()
    config = load_config(None, [*SFT, *CURRICULUM, *GRPO, *args.set])
    distributed.begin("cpu")
    run: Any = {"sft": sft, "curriculum": curriculum, "grpo": grpo}[args.stage]
    model, trainer, facts = run(config.section(args.stage), args.out)
    engine = trainer.model_wrapped
    stage = engine.zero_optimization_stage() if hasattr(engine, "zero_optimization_stage") else 0
    cut = sum(hasattr(p, "ds_id") and p.numel() < p.ds_numel for p in model.parameters())
    with distributed.whole(model):
        adapter = {name: p.detach().clone().contiguous() for name, p in model.named_parameters() if p.requires_grad}
    if process() == 0:
        save_file(adapter, args.out / "adapter.safetensors")
        facts |= {"engine": type(engine).__name__, "zero_stage": stage, "cut": cut}
        (args.out / "told.json").write_text(json.dumps(facts, default=float))


if __name__ == "__main__":
    main()
