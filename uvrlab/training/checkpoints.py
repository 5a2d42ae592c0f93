"""Checkpoints of a Trainer that hold what trains and no more, and count only when all of them is written."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from uvrlab.runs import process, write_json
from uvrlab.training import distributed

COMPLETE = "complete"


class AdapterCheckpoints:
    """Mixed into a transformers Trainer, before it: its weights are the parameters with gradients, in one safetensors file."""

    accelerator: Any
    args: Any
    model: Any

    def _trained(self) -> dict[str, Tensor]:
        return {name: p for name, p in self.accelerator.unwrap_model(self.model).named_parameters() if p.requires_grad}

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        folder = Path(output_dir or str(self.args.output_dir))
        folder.mkdir(parents=True, exist_ok=True)
        whole = self._trained() if state_dict is None else state_dict  # DeepSpeed hands over what it had cut, put together
        save_file({name: whole[name].detach().cpu().contiguous() for name in self._trained()}, folder / "adapter.safetensors")

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        saved = load_file(Path(resume_from_checkpoint) / "adapter.safetensors")
        with torch.no_grad():
            for name, p in self._trained().items():
                p.copy_(saved[name])


def mark_complete(output_dir: str, step: int) -> None:
    """To be called when a checkpoint is written."""
    (Path(output_dir) / f"checkpoint-{step}" / COMPLETE).touch()


def newest_checkpoint(folder: Path) -> str | None:
    """The newest complete checkpoint; half-written ones do not count."""
    found = [p.parent for p in folder.glob(f"checkpoint-*/{COMPLETE}")]
    return str(max(found, key=lambda p: int(p.name.split("-")[1]))) if found else None


def once(file: Path, make: Callable[[], Any]) -> Any:
    """What `make` gives as plain JSON values: made by the first process unless `file` holds it already, then read by all."""
    if process() == 0 and not file.is_file():
        write_json(file, make())
    distributed.barrier()
    return json.loads(file.read_text())
