"""What every training stage measures on held-out pairs before and after: retrieval by the disc vector, query by query."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from uvrlab.data.items import Item
from uvrlab.evaluation import metrics
from uvrlab.training.pairs import Pair


@dataclass(frozen=True)
class HeldOut:
    """R@1 of each held-out pair among all distinct held-out targets of its kind, in pair order, and the mean chance level."""

    hits: np.ndarray
    groups: tuple[str, ...]
    chance: float


def retrieval(
    model: Any,
    held_out: Sequence[Pair],
    cache: Any,
    batch_size: int = 64,
    read: Callable[[Sequence[Item]], np.ndarray] | None = None,
) -> HeldOut | None:
    """Rank the held-out targets of its kind (text, image or video) for every held-out query; None where no kind has two clips.

    `read` gives the vectors of some items; by default their disc vectors.

    Every text, frame or span of the right clip is a hit. A kind of a single clip asks nothing, so its pairs are left out.
    """
    clips = {kind: {p.target_id for p in held_out if _kind(p.target) == kind} for kind in ("text", "image", "video")}
    held_out = [pair for pair in held_out if len(clips[_kind(pair.target)]) > 1]
    if not held_out:
        return None
    targets = {content(pair): pair.target for pair in held_out}
    pools = {kind: np.array([t for k, t, _ in targets if k == kind]) for kind in {k for k, _, _ in targets}}
    read = read or (lambda items: encode(model, items, cache, batch_size))
    queries, vectors = read([pair.query for pair in held_out]), read(list(targets.values()))
    corpora = {kind: vectors[[k == kind for k, _, _ in targets]] for kind in pools}
    hits, by_chance = [], []
    for query, pair in zip(queries, held_out, strict=True):
        kind = _kind(pair.target)
        right = pools[kind] == pair.target_id
        hits.append(metrics.hit_at_k(metrics.rank(query @ corpora[kind].T, right, pair.pair_id), 1))
        by_chance.append(metrics.chance("P@1", len(right), int(right.sum())))
    return HeldOut(np.array(hits), tuple(pair.group for pair in held_out), float(np.mean(by_chance)))


def _kind(item: Item) -> str:
    return "image" if item.image_uri else "video" if item.has_media else "text"


def content(pair: Pair) -> tuple[str, int, tuple[object, ...]]:
    """Kind, id and content of a pair's target: equal where targets are the same words, frame or span of one clip."""
    item = pair.target
    return _kind(item), pair.target_id, (item.text, item.image_time_s, item.start_s, item.end_s)


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
