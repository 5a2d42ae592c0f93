"""Tiny copies of every family, built once, and items of every kind."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import torch

from uvrlab.data.collate import Collator
from uvrlab.data.items import DecodedItem
from uvrlab.models.attention import install
from uvrlab.models.backbones import backbone
from uvrlab.models.build import build_nano, build_tiny

FAMILIES = ("nano-omni", "qwen2-vl-2b", "qwen2.5-vl-3b", "qwen2.5-omni-7b", "qwen3-omni-30b-a3b")
RNG = np.random.default_rng(3)
FRAMES = RNG.integers(0, 255, (8, 84, 112, 3), dtype=np.uint8)
SMALL = RNG.integers(0, 255, (4, 112, 56, 3), dtype=np.uint8)
WAVE = (RNG.normal(size=50_123) * 0.1).astype(np.float32)
BLIP = (RNG.normal(size=9_000) * 0.1).astype(np.float32)  # under one chunk of every audio tower
TEXTS = ["a red ball rolls to the left, then a bell rings"] * 20


@cache
def family(name: str, packed: bool = True) -> tuple[Any, Any]:
    """(model, processor); `packed=False` keeps transformers' own tower attention."""
    model, processor = build_nano(TEXTS) if name == "nano-omni" else build_tiny(name)
    with torch.no_grad():
        for weight in model.parameters():  # fresh weights hardly attend: a test on them would not notice what it should
            if weight.ndim > 1:
                weight.mul_(4.0)
    return (install(model) if packed else model), processor


def collator(name: str, **options: Any) -> Collator:
    model, processor = family(name)
    return Collator(backbone(name), processor.tokenizer, model.config, **options)


def items(name: str) -> list[DecodedItem]:
    """One of every kind that the family takes, in no order."""
    hears = backbone(name).hears
    sound: dict[str, Any] = {"wave": WAVE} if hears else {}
    blip: dict[str, Any] = {"wave": BLIP} if hears else {}
    return [
        DecodedItem("video", "what happens?", frames=FRAMES, fps=2.0),
        DecodedItem("text", "a red ball rolls to the left, then a bell rings near the blue cube"),
        DecodedItem("sound video", "", frames=FRAMES, fps=2.0, **sound),
        DecodedItem("image", "a", image=FRAMES[0]),
        DecodedItem("both", image=SMALL[0], frames=SMALL, fps=2.0),
        DecodedItem("short sound", None if hears else "blip", **blip),
        DecodedItem("short sound video", "b", frames=SMALL, fps=4.0, **blip),
        DecodedItem("asked", "b", frames=SMALL, fps=1.0, instruction="Find the clip."),
    ]
