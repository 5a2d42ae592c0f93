"""What `uvr accept` runs of each training stage: one step on a given backbone, through the code that the stage itself runs."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from uvrlab.config import RunConfig, SftConfig
from uvrlab.data.collate import Collator
from uvrlab.data.items import FeaturedItem, Item
from uvrlab.data.spec import GEN_TOKEN
from uvrlab.models.accept import StageStep
from uvrlab.models.adapter import new_adapter
from uvrlab.models.features import featurize
from uvrlab.models.golden import golden_items
from uvrlab.models.modeldir import LoadedBackbone
from uvrlab.training.pairs import Pair

RESPONSE = f"<think>a thought</think><answer>an answer</answer>{GEN_TOKEN}"


class _Held:
    """The features of a few items, as a feature cache hands them out."""

    def __init__(self, features: Sequence[FeaturedItem]) -> None:
        self._features = {item.item_id: item for item in features}

    def get(self, item: Item) -> list[FeaturedItem]:
        return [self._features[item.item_id]]


def sft_step(loaded: LoadedBackbone, collate: Collator, added: list[int], device: str) -> str:
    """One step of `sft` on two text-video pairs with sound where the backbone hears: disc, gen and next-token losses.

    `added` are the rows of the read-out tokens that the backbone lacked. Raises ValueError where a loss is missing or not
    finite, or where a tensor of the adapter stays as it was.
    """
    from uvrlab.training import contrastive

    own = SftConfig(steps=1, batch_size=2, warmup_share=0.0, save_steps=1)
    lora = own.lora
    model = new_adapter(loaded.spec, loaded.model, rank=lora.rank, alpha=lora.alpha, dropout=lora.dropout, trainable_rows=added)
    trained = {name: p.detach().clone() for name, p in model.named_parameters() if p.requires_grad}
    with tempfile.TemporaryDirectory() as folder:
        (parts,) = contrastive.train(model, _pairs(loaded, collate, device), own, RunConfig(device=_kind(device)), Path(folder))
    still = [name for name, p in model.named_parameters() if name in trained and bool((p == trained[name]).all())]
    model.unload()
    losses = {name: parts.get(name, math.nan) for name in ("disc", "gen", "next_token")}
    if still or not all(map(math.isfinite, losses.values())):
        raise ValueError(f"losses {losses}, adapter tensors that did not move {still[:3]}; expected finite losses and none")
    numbers = ", ".join(f"{name} {value:.3f} nats" for name, value in losses.items())
    return f"{numbers}; {len(trained)} adapter tensors moved"


def _kind(device: str) -> Any:
    return "cpu" if device == "cpu" else "cuda"


def _pairs(loaded: LoadedBackbone, collate: Collator, device: str) -> Any:
    """Two captions with two videos, one with sound, as one batch of the trainer."""
    from uvrlab.training.batches import Collation, PairBatches

    wanted = ("text-0", "text-1", "video-0", "sound-video-0")
    items = {item.item_id: item for item in golden_items(loaded.spec) if item.item_id in wanted}
    held: Any = _Held(featurize(loaded.model, collate, list(items.values()), device))
    sides = [(Item(q, text="-"), Item(t, text="-")) for q, t in zip(wanted[:2], wanted[2:], strict=True)]
    pairs = [Pair(q.item_id, "T2V", "train", q, t, i, RESPONSE, RESPONSE) for i, (q, t) in enumerate(sides)]
    return PairBatches(pairs, [[0, 1]], Collation(held, collate))


STEPS: Mapping[str, StageStep] = {"sft": sft_step}
