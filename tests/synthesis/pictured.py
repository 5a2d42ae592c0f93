"""Pictures and films made of numbers alone, for filters whose scores are known in closed form."""

from __future__ import annotations

import numpy as np


def noise(seed: int = 0, height: int = 96, width: int = 128) -> np.ndarray:
    """A picture with structure at every scale, uint8 (H, W, 3)."""
    import cv2

    rng = np.random.default_rng(seed)
    layers = [cv2.resize(rng.normal(0, 40, (n, n, 3)).astype(np.float32), (width, height)) for n in (3, 8, 24)]
    return np.clip(128 + sum(layers), 0, 255).astype(np.uint8)


def moving(picture: np.ndarray, px: int, n: int = 8) -> np.ndarray:
    """The picture rolled `px` to the right from frame to frame, uint8 (n, H, W, 3)."""
    return np.stack([np.roll(picture, i * px, axis=1) for i in range(n)])
