"""Twenty fixed inputs whose vectors travel with a model: a model that reads them differently is not the model that was saved."""

from __future__ import annotations

import numpy as np

from uvrlab.data.items import DecodedItem
from uvrlab.data.spec import Backbone

TEXTS = (
    "a red ball rolls to the left",
    "two blue cubes, then a bell",
    "Ünïcödé 猫 😀",
    "a very long caption " * 12,
    "keywords: green, cone, jump",
)


def golden_items(spec: Backbone) -> list[DecodedItem]:
    """Five texts, three images, four videos, four videos with sound, two sounds and two mixtures, drawn by formula."""
    items = [DecodedItem(f"text-{i}", text=text) for i, text in enumerate(TEXTS)]
    items += [DecodedItem(f"image-{i}", image=_frames(i, 1, 96 + 28 * i, 112)[0]) for i in range(3)]
    items += [DecodedItem(f"video-{i}", frames=_frames(10 + i, 4 + 2 * i, 112, 112), fps=2.0) for i in range(4)]
    for i in range(4):
        wave = _wave(i, 2.0 + 0.5 * i) if spec.hears else None
        items.append(DecodedItem(f"sound-video-{i}", frames=_frames(20 + i, 8, 112, 112), fps=2.0, wave=wave))
    for i in range(2):
        sound = {"wave": _wave(10 + i, 1.5 + i)} if spec.hears else {"text": f"sound {i}"}
        items.append(DecodedItem(f"sound-{i}", **sound))
    items.append(DecodedItem("mixed-0", text=TEXTS[0], image=_frames(40, 1, 112, 112)[0]))
    items.append(DecodedItem("mixed-1", text=TEXTS[1], frames=_frames(41, 8, 112, 112), fps=2.0, instruction="Find the clip."))
    return items


def _frames(seed: int, count: int, height: int, width: int) -> np.ndarray:
    """A bright square that moves over a gradient: (count, height, width, 3) uint8."""
    y, x = np.mgrid[0:height, 0:width]
    frames = np.empty((count, height, width, 3), np.uint8)
    for t in range(count):
        frames[t] = np.stack([(x + 7 * seed) % 256, (y * 2 + seed) % 256, np.full_like(x, (31 * seed) % 256)], axis=-1)
        left = (8 * t + 5 * seed) % (width - 24)
        frames[t, 20:44, left : left + 24] = (255 - 11 * seed % 200, 17 * seed % 256, 90)
    return frames


def _wave(seed: int, seconds: float) -> np.ndarray:
    time = np.arange(round(seconds * 16_000)) / 16_000
    return (0.3 * np.sin(2 * np.pi * (220 + 110 * seed) * time) * (time % 0.5 < 0.3)).astype(np.float32)
