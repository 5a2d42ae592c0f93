"""What every training stage measures on held-out pairs before and after: retrieval by the disc vector, query by query."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from uvrlab.evaluation import metrics
from uvrlab.training.pairs import Pair


@dataclass(frozen=True)
class HeldOut:
    """R@1 of each held-out pair among all distinct held-out targets, in pair order, and the mean chance level."""

    hits: np.ndarray
    groups: tuple[str, ...]
    chance: float


def retrieval(model: Any, held_out: Sequence[Pair], cache: Any, batch_size: int = 64) -> HeldOut | None:
    """Rank the held-out targets for every held-out query; None where there are fewer than two targets."""
    targets = {pair.target_id: pair.target for pair in held_out}
    if len(targets) < 2:
        return None
    queries = encode(model, [pair.query for pair in held_out], cache, batch_size)
    corpus = encode(model, list(targets.values()), cache, batch_size)
    ids = np.array(list(targets))
    rankings = [metrics.rank(q @ corpus.T, ids == pair.target_id, pair.pair_id) for q, pair in zip(queries, held_out, strict=True)]
    hits = np.array([metrics.recall_at_k(ranking, 1) for ranking in rankings])
    return HeldOut(hits, tuple(pair.group for pair in held_out), metrics.chance("R@1", len(targets)))


def encode(model: Any, items: Sequence[Any], cache: Any, batch_size: int = 64) -> np.ndarray:
    """(B, D) float32 unit disc vectors of items whose features are cached; windows of a long clip are averaged."""
    import torch
    import torch.nn.functional as F

    from uvrlab.models import towers

    parts = [(i, part) for i, item in enumerate(items) for part in cache.get(item)]
    parts.sort(key=lambda entry: (entry[1].shape.mel, len(entry[1].text or "")))
    sums = np.zeros((len(items), model.config.get_text_config().hidden_size), np.float32)
    with torch.inference_mode():
        for start in range(0, len(parts), batch_size):
            owners = [i for i, _ in parts[start : start + batch_size]]
            batch = cache.collate([part for _, part in parts[start : start + batch_size]]).to(cache.device)
            hidden = towers.forward(model, batch)
            read = hidden[torch.arange(len(owners)), batch.disc_positions].float()
            np.add.at(sums, owners, F.normalize(read, dim=-1).cpu().numpy())
    return sums / np.linalg.norm(sums, axis=1, keepdims=True)
