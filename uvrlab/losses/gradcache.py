"""Gradient caching: the gradient of one big contrastive batch in the memory of one chunk (Gao et al., arXiv 2101.06983).

The one engine of this kind. It knows neither models nor losses: an encode function and a loss function go in.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

Encode = Callable[[Any], tuple[Tensor, ...]]


def cached_backward(
    encode: Encode,
    sides: Sequence[Sequence[Any]],
    loss: Callable[..., Tensor],
    *,
    no_sync: Callable[[], AbstractContextManager[Any]] = nullcontext,
) -> Tensor:
    """Backward through `loss` of the whole batch, one chunk's graph in memory at a time; returns the loss, detached.

    Every chunk is encoded twice: first without a graph, then again, with the same random state (dropout), to carry the loss's
    gradient into the parameters. Gradients equal those of `loss(...).backward()` over all chunks at once; they accumulate in
    `.grad`, and the random state is left where that would leave it.

    Args:
        encode: a chunk -> its tensors, each with rows first: (b, D) vectors; a term of the loss that is a sum over chunks, such
            as a next-token loss, may come along as a (1,) tensor.
        sides: the chunks of each side of the pairs, as queries and targets; each side at least one chunk.
        loss: takes one tuple of tensors a side, each tensor concatenated over that side's chunks; returns a scalar.
        no_sync: entered for all chunks but the last, where data-parallel training must not average gradients yet.
    """
    states: list[list[_Random]] = []
    outputs: list[list[tuple[Tensor, ...]]] = []
    for side in sides:
        states.append([])
        outputs.append([])
        for chunk in side:
            states[-1].append(_Random.now())
            with torch.no_grad():
                outputs[-1].append(encode(chunk))
    leaves = [[tuple(x.detach().requires_grad_() for x in parts) for parts in chunks] for chunks in outputs]
    joined = [tuple(torch.cat(column) for column in zip(*chunks, strict=True)) for chunks in leaves]
    value = loss(*joined)
    todo = [again for side in zip(sides, states, leaves, strict=True) for again in zip(*side, strict=True)]
    with no_sync():
        value.backward()
    end = _Random.now()
    for place, (chunk, state, cached) in enumerate(todo):
        with no_sync() if place < len(todo) - 1 else nullcontext():
            state.restore()
            fresh = encode(chunk)
            used = [(x, leaf.grad) for x, leaf in zip(fresh, cached, strict=True) if leaf.grad is not None and x.requires_grad]
            torch.autograd.backward([x for x, _ in used], [grad for _, grad in used])
    end.restore()
    return value.detach()


@dataclass(frozen=True)
class _Random:
    """The random state of the CPU and of every GPU in use."""

    cpu: Tensor
    cuda: Sequence[Tensor]

    @classmethod
    def now(cls) -> _Random:
        return cls(torch.get_rng_state(), torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else [])

    def restore(self) -> None:
        torch.set_rng_state(self.cpu)
        if self.cuda:
            torch.cuda.set_rng_state_all(list(self.cuda))
