"""Greedy thoughts: think, answer, and the state at <gen_emb>, with one prefill a batch and a cache.

Tokens that stand for media, delimit it, or read the disc vector are never emitted: a young policy does so, and the next forward
pass then fails. The read-out is taken from the completion alone; a row that never emits <gen_emb> has none.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from uvrlab.data.collate import Batch
from uvrlab.data.prompts import TextEncoder
from uvrlab.data.spec import DISC_TOKEN, GEN_TOKEN, Backbone
from uvrlab.models import towers


@dataclass(frozen=True)
class Thought:
    """One completion: its token ids, whether it ended by itself, and the unit gen vector (D,) or None without <gen_emb>."""

    ids: list[int]
    ended: bool
    vector: np.ndarray | None


def banned_ids(spec: Backbone, text: TextEncoder) -> list[int]:
    """Ids that a completion must never hold."""
    names = (*spec.tokens.media(), DISC_TOKEN, spec.tokens.turn_start, spec.tokens.pad)
    return sorted({text.id(name) for name in names})


def think(model: Any, spec: Backbone, text: TextEncoder, batch: Batch, max_new_tokens: int = 96) -> list[Thought]:
    """Greedy completions of a left-padded batch that ends in the generation prompt, one a row.

    A row goes on until its turn end or `max_new_tokens`. Raises ValueError for a right-padded batch.
    """
    import torch

    if batch.padding_side != "left":
        raise ValueError("found a right-padded batch, expected left padding: completions must follow the prompt directly")
    stop, gen = text.id(spec.tokens.turn_end), text.id(GEN_TOKEN)
    banned = torch.tensor(banned_ids(spec, text), device=batch.input_ids.device)
    rows, found = len(batch.input_ids), [_Row() for _ in batch.input_ids]
    with torch.inference_mode():
        hidden, cache = towers.prefill(model, batch)
        mask, position = batch.attention_mask, batch.position_ids[:, :, -1:]
        state = hidden[:, -1]
        for _ in range(max_new_tokens):
            logits = towers.head(model, state).float()
            logits[:, banned] = float("-inf")
            token = logits.argmax(-1)
            for row, emitted in zip(found, token.tolist(), strict=True):
                row.take(emitted, stop)
            if all(row.ended for row in found):
                break
            mask = torch.cat([mask, mask.new_ones(rows, 1)], dim=1)
            position = position + 1
            state = towers.step(model, token, mask, position, cache)
            for row, emitted, vector in zip(found, token.tolist(), state, strict=True):
                if emitted == gen and not row.ended:
                    row.vector = torch.nn.functional.normalize(vector.float(), dim=-1).cpu().numpy()
    return [Thought(row.ids, row.ended, row.vector) for row in found]


class _Row:
    def __init__(self) -> None:
        self.ids: list[int] = []
        self.ended = False
        self.vector: np.ndarray | None = None

    def take(self, token: int, stop: int) -> None:
        if not self.ended:
            self.ids.append(token)
            self.ended = token == stop
