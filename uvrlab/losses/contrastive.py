"""InfoNCE over unit vectors, with the masks of the released GVE encoder, and its Matryoshka form.

Deliberately not here: pooling, similarity heads, gradient caching. B is the batch, D the width, M the number of hard negatives.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor


def info_nce(
    query: Tensor,
    target: Tensor,
    *,
    temperature: float,
    hard_negatives: Tensor | None = None,
    target_ids: Tensor | None = None,
    false_negative_margin: float | None = None,
    duplicate_tolerance: float | None = None,
) -> Tensor:
    """Symmetric InfoNCE, the mean of query-to-target and target-to-query cross-entropies (GVE section 4; UME-R1 section 3.2).

    Args:
        query, target: (B, D) unit vectors; row i of one belongs to row i of the other. With several processes all arguments are
            those of the whole batch: see `gather_with_grad`.
        temperature: divides the cosines; above 0.
        hard_negatives: (M, D) unit vectors, extra keys of every query; never keys of a target, never rows.
        target_ids: (B,) integers; a key with the row's own id is another positive and leaves the row.
        false_negative_margin: a key that scores more than positive + margin leaves the row (released code: 0.1).
        duplicate_tolerance: a key whose cosine with the positive key is 1 within this leaves the row (released code: 1e-5).

    Returns:
        A scalar; log B for indistinguishable vectors without masks.

    Raises:
        ValueError: shapes that do not match, or a temperature that is not positive.
    """
    if query.shape != target.shape or query.ndim != 2:
        raise ValueError(f"query {tuple(query.shape)} and target {tuple(target.shape)} must both be (B, D)")
    if temperature <= 0:
        raise ValueError(f"temperature must be above 0, found {temperature}")
    if hard_negatives is not None and (hard_negatives.ndim != 2 or hard_negatives.shape[1] != query.shape[1]):
        raise ValueError(f"hard_negatives {tuple(hard_negatives.shape)} must be (M, {query.shape[1]})")
    if target_ids is not None and target_ids.shape != query.shape[:1]:
        raise ValueError(f"target_ids {tuple(target_ids.shape)} must be ({len(query)},), one a row")
    keys = target if hard_negatives is None else torch.cat([target, hard_negatives])  # (B + M, D)
    forward = _one_way(query, keys, temperature, target_ids, false_negative_margin, duplicate_tolerance)
    backward = _one_way(target, query, temperature, target_ids, false_negative_margin, duplicate_tolerance)
    return (forward + backward) / 2


def _one_way(
    rows: Tensor, keys: Tensor, temperature: float, target_ids: Tensor | None, margin: float | None, tolerance: float | None
) -> Tensor:
    cosine = rows @ keys.T  # (B, B + M)
    b = len(rows)
    label = torch.arange(b, device=rows.device)
    drop = torch.zeros_like(cosine, dtype=torch.bool)
    if target_ids is not None:
        drop[:, :b] |= target_ids[:, None] == target_ids[None, :]
    if margin is not None:
        drop |= cosine.detach() > cosine.detach().diagonal()[:, None] + margin
    if tolerance is not None:
        drop |= (keys[:b].detach() @ keys.detach().T) >= 1 - tolerance
    drop[label, label] = False
    return F.cross_entropy((cosine / temperature).masked_fill(drop, float("-inf")), label)


def matryoshka(loss: Callable[..., Tensor], dims: Sequence[int], weights: Sequence[float] | None = None) -> Callable[..., Tensor]:
    """`loss` as the weighted mean of itself over the first `dims` entries of every vector, each cut made unit again
    (Kusupati et al., arXiv 2205.13147).

    The result takes what `loss` takes; `query`, `target` and `hard_negatives` are cut, everything else is passed on. `weights`
    default to equal ones. Raises ValueError for a dim below 1, or above the width when the loss is called.
    """
    if not dims or min(dims) < 1:
        raise ValueError(f"dims {list(dims)} must be at least one width, each at least 1")
    shares = list(weights) if weights is not None else [1.0] * len(dims)
    if len(shares) != len(dims) or sum(shares) <= 0:
        raise ValueError(f"{len(shares)} weights for {len(dims)} dims, sum {sum(shares):g}; expected one each, with a sum above 0")

    def nested(query: Tensor, target: Tensor, *, hard_negatives: Tensor | None = None, **options: Any) -> Tensor:
        if max(dims) > query.shape[1]:
            raise ValueError(f"dim {max(dims)} is above the width {query.shape[1]} of the vectors")
        parts = []
        for dim, share in zip(dims, shares, strict=True):
            cut = [x if x is None else F.normalize(x[:, :dim], dim=-1) for x in (query, target, hard_negatives)]
            parts.append(share * loss(cut[0], cut[1], hard_negatives=cut[2], **options))
        return torch.stack(parts).sum() / sum(shares)

    return nested


def gather_with_grad(x: Tensor) -> Tensor:
    """(B, D) of every process as (W * B, D) in rank order, differentiable; `x` itself in a single process.

    Every process must then compute the same loss over the whole batch: gradients are summed here and averaged by data-parallel
    training, so W processes give the gradient of one process with the same global batch.
    """
    if not (dist.is_available() and dist.is_initialized()) or dist.get_world_size() == 1:
        return x
    return _Gather.apply(x)


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:
        ctx.rows = len(x)
        parts = [torch.empty_like(x) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, x.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx, grad: Tensor) -> Tensor:
        grad = grad.contiguous()
        dist.all_reduce(grad)
        start = dist.get_rank() * ctx.rows
        return grad[start : start + ctx.rows]
