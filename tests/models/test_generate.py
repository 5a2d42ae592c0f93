"""Cached greedy generation against running the whole prefix again for every token."""

import numpy as np
import pytest
import torch

from uvrlab.data.collate import Collator
from uvrlab.data.items import DecodedItem
from uvrlab.models import towers
from uvrlab.models.attention import install
from uvrlab.models.backbones import backbone
from uvrlab.models.build import build_tiny
from uvrlab.models.generate import banned_ids, think


@pytest.fixture(scope="module")
def parts():
    model, processor = build_tiny("qwen2.5-omni-3b")
    spec = backbone("qwen2.5-omni-3b")
    return install(model), spec, processor.tokenizer


def items(rng):
    frames = rng.integers(0, 255, (4, 56, 56, 3), dtype=np.uint8)
    wave = (0.1 * rng.standard_normal(32000)).astype(np.float32)
    return [
        DecodedItem("seen and heard", frames=frames, fps=2.0, wave=wave),
        DecodedItem("words", text="a red ball rolls left"),
    ]


def test_a_thought_equals_greedy_decoding_without_a_cache(parts):
    model, spec, tokenizer = parts
    collate = Collator(spec, tokenizer, model.config, padding_side="left")
    both = items(np.random.default_rng(0))
    together = think(model, spec, collate.text, collate(both, cut=False), max_new_tokens=6)
    banned = banned_ids(spec, collate.text)
    for item, thought in zip(both, together, strict=True):
        batch = collate([item], cut=False)
        ids: list[int] = []
        for _ in range(6):
            grown = _grown(batch, ids)
            with torch.no_grad():
                logits = towers.head(model, towers.forward(model, grown)[:, -1]).float()
            logits[:, banned] = float("-inf")
            ids.append(int(logits.argmax()))
        assert thought.ids == ids[: len(thought.ids)]


def test_a_right_padded_batch_is_refused(parts):
    model, spec, tokenizer = parts
    collate = Collator(spec, tokenizer, model.config)
    with pytest.raises(ValueError, match="left padding"):
        think(model, spec, collate.text, collate(items(np.random.default_rng(0)), cut=False))


def _grown(batch, ids):
    """The batch with completion tokens behind it, positions counting on."""
    from dataclasses import replace

    if not ids:
        return batch
    more = torch.tensor([ids])
    start = batch.position_ids[:, :, -1:]
    return replace(
        batch,
        input_ids=torch.cat([batch.input_ids, more], dim=1),
        attention_mask=torch.cat([batch.attention_mask, torch.ones_like(more)], dim=1),
        position_ids=torch.cat([batch.position_ids, start + torch.arange(1, len(ids) + 1)], dim=2),
    )
