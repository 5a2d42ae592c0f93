"""Log-probabilities of completions under a policy: the G completions of a prompt stand packed behind it in one row.

The prompt with its media is computed once a group instead of once a completion. A packed row equals its completions one by one
(tested): same position ids, and a mask that hides the other completions. Probabilities are those of the tokens that sampling may
emit (`generate.banned_ids`), at the temperature of sampling.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from uvrlab.data.batch import IGNORED, Batch
from uvrlab.data.packing import PackedBatch
from uvrlab.models import towers


@dataclass(frozen=True)
class Packed:
    """Rows of prompts with their completions, and where in them each completion token is predicted.

    rows, columns, tokens (K,): token k of all completions, in order, is predicted at `columns[k]` of row `rows[k]`; `lengths`:
    tokens of each completion.
    """

    batch: PackedBatch
    rows: Tensor
    columns: Tensor
    tokens: Tensor
    lengths: list[int]


def pack_completions(prompts: Batch, completions: Sequence[Sequence[Sequence[int]]], pad: int) -> Packed:
    """One row a prompt of the right-padded batch `prompts`, behind it its completions; their last tokens predict nothing."""
    if prompts.padding_side != "right":
        raise ValueError("found a left-padded batch, expected right padding: completions are packed behind the prompt")
    starts = prompts.attention_mask.sum(1).tolist()
    tails = [[token for one in group for token in one[:-1]] for group in completions]
    width = max(start + len(tail) for start, tail in zip(starts, tails, strict=True))
    n, old = len(starts), prompts.input_ids.shape[1]
    ids = prompts.input_ids.new_full((n, width), pad)
    segments = torch.full_like(ids, -1)
    positions = prompts.position_ids.new_ones((3, n, width))
    kept = min(old, width)
    ids[:, :kept], positions[:, :, :kept] = prompts.input_ids[:, :kept], prompts.position_ids[:, :, :kept]
    rows, columns, tokens, lengths = list[int](), list[int](), list[int](), list[int]()
    for r, (start, group) in enumerate(zip(starts, completions, strict=True)):
        segments[r, :start] = 0
        first, at = positions[0, r, start - 1] + 1, start
        for number, one in enumerate(group, 1):
            end = at + len(one) - 1
            ids[r, at:end] = ids.new_tensor(one[:-1])
            segments[r, at:end] = number
            positions[:, r, at:end] = first + torch.arange(end - at, dtype=positions.dtype, device=ids.device)
            rows += [r] * len(one)
            columns += [start - 1, *range(at, end)]
            tokens += one
            lengths.append(len(one))
            at = end
    none = torch.full_like(prompts.disc_positions, -1)
    batch = replace(
        prompts,
        input_ids=ids,
        attention_mask=(segments >= 0).long(),
        position_ids=positions,
        labels=torch.full_like(ids, IGNORED),
        disc_positions=none,
        gen_positions=none,
    )
    where, columns_at, wanted = (ids.new_tensor(part) for part in (rows, columns, tokens))
    return Packed(PackedBatch(batch, segments), where, columns_at, wanted, lengths)


def log_probs(model: Any, packed: Packed, banned: Tensor, temperature: float, width: int) -> tuple[Tensor, Tensor]:
    """(R, width) log-probabilities of the completions' tokens, with gradient, and (R, width) entropies in nats, without."""
    hidden = towers.forward(model, packed.batch.batch, mask=packed.batch.mask())
    logits = towers.head(model, hidden[packed.rows, packed.columns]).float() / temperature  # (K, vocabulary)
    logp = logits.index_fill(1, banned, float("-inf")).log_softmax(-1)
    entropy = torch.special.entr(logp.detach().exp()).sum(-1)
    return _spread(logp.gather(1, packed.tokens[:, None])[:, 0], packed.lengths, width), _spread(entropy, packed.lengths, width)


def _spread(values: Tensor, lengths: Sequence[int], width: int) -> Tensor:
    """(K,) values of completions one after the other as (R, width), 0 behind their ends."""
    inside = torch.arange(width, device=values.device) < torch.tensor(lengths, device=values.device)[:, None]
    return values.new_zeros(inside.shape).masked_scatter(inside, values)
