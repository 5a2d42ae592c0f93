"""Thoughts: think, answer, and the state at <gen_emb>, greedy or sampled, with one prefill a prompt that its completions share.

Tokens that stand for media, delimit it, or read the disc vector are never emitted: a young policy does so, and the next forward
pass then fails. Probabilities are those of the remaining tokens. A completion ends at its <gen_emb>, whose state is its read-out
and need not foretell a turn end as well, or at a turn end; then it has none.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from uvrlab.data.collate import Batch
from uvrlab.data.prompts import TextEncoder
from uvrlab.data.spec import DISC_TOKEN, GEN_TOKEN, Backbone
from uvrlab.models import towers

Choose = Callable[[Any, Any, int], Any]  # logits (rows, vocabulary), their row numbers, step -> token ids (rows,)


@dataclass(frozen=True)
class Thought:
    """One completion: its token ids, whether it ended by itself, and the unit gen vector (D,) or None without <gen_emb>.

    It holds the token that ended it, <gen_emb> or the turn end. `logps` are the log-probabilities of its tokens among those that
    may be emitted, at the temperature of sampling.
    """

    ids: list[int]
    ended: bool
    vector: np.ndarray | None
    logps: list[float] = field(default_factory=list)


def words(text: TextEncoder, thought: Thought) -> str:
    """A completion as text without a turn end, control tokens as they are spelled."""
    ids = thought.ids[:-1] if thought.ids[-1:] == [text.id(text.turn_end)] else thought.ids
    return str(text.core.decode(ids, skip_special_tokens=False))


def banned_ids(spec: Backbone, text: TextEncoder) -> list[int]:
    """Ids that a completion must never hold."""
    names = (*spec.tokens.media(), DISC_TOKEN, spec.tokens.turn_start, spec.tokens.pad)
    return sorted({text.id(name) for name in names})


def think(model: Any, spec: Backbone, text: TextEncoder, batch: Batch, max_new_tokens: int = 96) -> list[Thought]:
    """Greedy completions of a left-padded batch that ends in the generation prompt, one a row.

    A row goes on until <gen_emb>, its turn end or `max_new_tokens`. Raises ValueError for a right-padded batch.
    """
    return _decode(model, spec, text, batch, 1, lambda logits, _rows, _t: logits.argmax(-1), max_new_tokens, 1.0)


def sample(
    model: Any,
    spec: Backbone,
    text: TextEncoder,
    batch: Batch,
    seeds: Sequence[int],
    samples: int,
    *,
    temperature: float = 1.0,
    max_new_tokens: int = 96,
) -> list[list[Thought]]:
    """`samples` completions of every row of a left-padded batch; the row is prefilled once and its cache repeated.

    `seeds` holds one seed a row: what is drawn for a row depends on its seed alone, not on its neighbours.
    """
    if len(seeds) != len(batch.input_ids) or samples < 1 or temperature <= 0:
        raise ValueError(
            f"found {len(seeds)} seeds for {len(batch.input_ids)} rows, {samples} samples, temperature {temperature}; "
            "expected a seed a row, at least one sample, temperature above 0"
        )
    draws = uniforms(seeds, samples, max_new_tokens).to(batch.input_ids.device)
    found = _decode(
        model, spec, text, batch, samples, lambda logits, rows, t: draw(logits, draws[rows, t]), max_new_tokens, temperature
    )
    return [found[i : i + samples] for i in range(0, len(found), samples)]


def uniforms(seeds: Sequence[int], samples: int, steps: int) -> Any:
    """(rows * samples, steps) float64 numbers in [0, 1), those of a row from its own seed."""
    import torch

    rows = [torch.rand(samples, steps, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)) for seed in seeds]
    return torch.cat(rows)


def seed_of(*parts: object) -> int:
    """A seed in [0, 2**63) that follows from names and numbers, equal on every machine."""
    digest = hashlib.sha256("\0".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def draw(logits: Any, uniform: Any) -> Any:
    """Token ids (rows,) of softmax(logits) by inverse distribution function: one uniform number a row, no zero probability."""
    import torch

    total = logits.double().softmax(-1).cumsum(-1)
    return torch.searchsorted(total, (uniform * total[:, -1])[:, None], right=True)[:, 0]


def _decode(
    model: Any,
    spec: Backbone,
    text: TextEncoder,
    batch: Batch,
    copies: int,
    choose: Choose,
    max_new_tokens: int,
    temperature: float,
) -> list[Thought]:
    """Prefill once, then a token a step for `copies` completions of every row; those that ended leave when they are the most."""
    import torch
    import torch.nn.functional as F

    if batch.padding_side != "left":
        raise ValueError("found a right-padded batch, expected left padding: completions must follow the prompt directly")
    stop, gen = text.id(spec.tokens.turn_end), text.id(GEN_TOKEN)
    banned = torch.tensor(banned_ids(spec, text), device=batch.input_ids.device)
    found = [_Row() for _ in range(len(batch.input_ids) * copies)]
    with torch.inference_mode():
        hidden, cache = towers.prefill(model, batch)
        cache.batch_repeat_interleave(copies)
        state = hidden[:, -1].repeat_interleave(copies, 0)
        mask = batch.attention_mask.repeat_interleave(copies, 0)
        position = batch.position_ids[:, :, -1:].repeat_interleave(copies, 1)
        rows = torch.arange(len(found), device=state.device)
        for t in range(max_new_tokens):
            logits = towers.head(model, state).float() / temperature
            logits[:, banned] = float("-inf")
            token = choose(logits, rows, t)
            logp = F.log_softmax(logits, -1).gather(1, token[:, None])[:, 0]
            for row, emitted, value in zip(rows.tolist(), token.tolist(), logp.tolist(), strict=True):
                found[row].take(emitted, value, stop, gen)
            live = torch.tensor([not found[row].ended or found[row].unread for row in rows.tolist()], device=rows.device)
            if not live.any():
                break
            if 2 * int(live.sum()) <= len(live):
                rows, token, mask, position = rows[live], token[live], mask[live], position[:, live]
                cache.batch_select_indices(live.nonzero()[:, 0])
            mask = torch.cat([mask, mask.new_ones(len(rows), 1)], dim=1)
            position = position + 1
            state = towers.step(model, token, mask, position, cache)
            for place, row in enumerate(found[i] for i in rows.tolist()):
                if row.unread:
                    row.vector = F.normalize(state[place].float(), dim=-1).cpu().numpy()
                    row.unread = False
    return [Thought(row.ids, row.ended, row.vector, row.logps) for row in found]


class _Row:
    def __init__(self) -> None:
        self.ids: list[int] = []
        self.logps: list[float] = []
        self.ended = self.unread = False
        self.vector: np.ndarray | None = None

    def take(self, token: int, logp: float, stop: int, gen: int) -> None:
        if not self.ended:
            self.ids.append(token)
            self.logps.append(logp)
            self.unread = token == gen
            self.ended = self.unread or token == stop
