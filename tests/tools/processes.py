"""Trains a tiny model on pairs of texts as one of the processes that torchrun started: for tests/test_distributed.py.

`torchrun ... -m tests.tools.processes OUT [--set A.B=C]...` leaves the adapter and the loss history of process 0 in OUT.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

os.environ.setdefault("DS_ACCELERATOR", "cpu")

from safetensors.torch import save_file

from tests.training.test_contrastive import build
from uvrlab.config import RunConfig, load_config
from uvrlab.runs import process
from uvrlab.training import contrastive, distributed

RECIPE = ["sft.steps=4", "sft.batch_size=4", "sft.save_steps=2", "sft.bf16=false", "sft.learning_rate=1e-2"]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("out", type=Path)
    parser.add_argument("--set", action="append", default=[])
    args = parser.parse_args()
    own = load_config(None, [*RECIPE, *args.set]).sft
    distributed.begin("cpu")
    model, batches = build(own.steps)
    batches.chunk_pairs = own.chunk_pairs
    trainer = contrastive.make_trainer(model, batches, own, RunConfig(), args.out / "checkpoints")
    model.train()
    trainer.train()
    engine = type(trainer.model_wrapped).__name__
    stage = trainer.model_wrapped.zero_optimization_stage() if hasattr(trainer.model_wrapped, "zero_optimization_stage") else 0
    cut = sum(hasattr(p, "ds_id") and p.numel() < p.ds_numel for p in model.parameters())
    with distributed.whole(model):
        adapter = {name: p.detach().clone().contiguous() for name, p in model.named_parameters() if p.requires_grad}
    if process() == 0:
        history = [row for row in trainer.state.log_history if "disc" in row]
        save_file(adapter, args.out / "adapter.safetensors")
        facts = {"history": history, "engine": engine, "zero_stage": stage, "cut": cut, "share": len(batches[0]["target_ids"])}
        (args.out / "told.json").write_text(json.dumps(facts))


if __name__ == "__main__":
    main()
