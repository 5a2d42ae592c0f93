"""InfoNCE over unit vectors, with the masks of the released GVE encoder.

Deliberately not here: pooling, similarity heads, gradient caching. B is the batch, D the width, M the number of hard negatives.
"""

from __future__ import annotations

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
        query, target: (B, D) unit vectors; row i of one belongs to row i of the other.
        temperature: divides the cosines; above 0.
        hard_negatives: (M, D) unit vectors, extra keys of every query; they never act as rows.
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
