"""Several processes of one training stage, as torchrun or accelerate start them: who they are, and what only the first may do.

Process 0 owns the run directory and computes shared features; the others take part in training and write nothing that counts
(`stages.run_stage`). Losses over the pairs of all processes are in `losses/contrastive.py`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist

from uvrlab.runs import process, processes

T = TypeVar("T")


def begin(device: str) -> None:
    """Meet the other processes, by gloo on the CPU and by NCCL on GPUs; `$UVR_DIST_TIMEOUT_S` is how long to wait for them."""
    if processes() == 1 or dist.is_initialized():
        return
    if device != "cpu":
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    patience = timedelta(seconds=int(os.environ.get("UVR_DIST_TIMEOUT_S", "3600")))
    dist.init_process_group("gloo" if device == "cpu" else "nccl", timeout=patience)


@contextmanager
def first_alone() -> Iterator[None]:
    """Process 0 goes through the block, then the others do."""
    if process() > 0:
        barrier()
    yield
    if process() == 0:
        barrier()


def barrier() -> None:
    if processes() > 1:
        dist.barrier()


def share(rows: Sequence[T], part: int) -> Sequence[T]:
    """Part `part` of a batch: equal parts in order, so that gathered they are the batch; a remainder falls off.

    Raises ValueError for a batch of fewer rows than processes.
    """
    size = len(rows) // processes()
    if not size:
        raise ValueError(f"a batch of {len(rows)} cannot be shared by {processes()} processes; start fewer, or ingest more clips")
    return rows[part * size : (part + 1) * size]


def mean(values: Mapping[str, float]) -> dict[str, float]:
    """The means of some numbers over all processes."""
    if processes() == 1:
        return dict(values)
    total = torch.tensor(list(values.values()), device=_device())
    dist.all_reduce(total)
    return dict(zip(values, (total / processes()).tolist(), strict=True))


def _device() -> str:
    return "cpu" if dist.get_backend() == "gloo" else "cuda"


@contextmanager
def whole(model: Any) -> Iterator[None]:
    """Inside, the parameters that DeepSpeed ZeRO-3 has cut are whole in every process, to measure or save the model."""
    cut = [p for p in model.parameters() if hasattr(p, "ds_id")]
    if not cut:
        yield
        return
    import deepspeed

    with deepspeed.zero.GatheredParameters(cut):
        yield
