"""Frames to patches, as the Qwen video and image processors do it, in one pass over uint8.

Equal to `Qwen2VLVideoProcessor` and `Qwen2VLImageProcessor` (tested); no frame sampling here, that is decoding's work.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from uvrlab.data.spec import Backbone


def smart_resize(height: int, width: int, factor: int, min_pixels: int, max_pixels: int) -> tuple[int, int]:
    """Height and width, multiples of `factor`, near the given shape with `min_pixels <= h * w <= max_pixels` (Qwen2-VL's rule)."""
    if max(height, width) / min(height, width) > 200:
        raise ValueError(f"picture of {width}x{height}: the longer side is over 200 times the shorter; crop it")
    h, w = round(height / factor) * factor, round(width / factor) * factor
    if h * w > max_pixels:
        beta = math.sqrt(height * width / max_pixels)
        h, w = (max(factor, math.floor(side / beta / factor) * factor) for side in (height, width))
    elif h * w < min_pixels:
        beta = math.sqrt(min_pixels / (height * width))
        h, w = (math.ceil(side * beta / factor) * factor for side in (height, width))
    return h, w


def target_size(spec: Backbone, height: int, width: int, *, video: bool) -> tuple[int, int]:
    """(height, width) that a frame of the given shape is resized to; decoding may deliver it at once."""
    limits = (spec.video_min_pixels, spec.video_max_pixels) if video else (spec.min_pixels, spec.max_pixels)
    return smart_resize(height, width, spec.patch * spec.merge, *limits)


def grid_of(spec: Backbone, frames: np.ndarray, *, video: bool) -> tuple[int, int, int]:
    """(t, h, w) in patches of frames (T, H, W, 3) uint8."""
    height, width = target_size(spec, frames.shape[1], frames.shape[2], video=video)
    return -(-frames.shape[0] // spec.temporal_patch), height // spec.patch, width // spec.patch


def patches(spec: Backbone, frames: np.ndarray, *, video: bool) -> Any:
    """Patches (t * h * w, 3 * temporal * patch * patch) float32 of frames (T, H, W, 3) uint8, ordered by merge block."""
    import torch

    clip = torch.from_numpy(np.require(frames, requirements=("C", "W"))).permute(0, 3, 1, 2)  # (T, 3, H, W)
    size = target_size(spec, frames.shape[1], frames.shape[2], video=video)
    if tuple(clip.shape[-2:]) != size:
        from torchvision.transforms.v2 import functional as tvf

        clip = tvf.resize(clip, list(size), interpolation=tvf.InterpolationMode.BICUBIC, antialias=True)
    if pad := -clip.shape[0] % spec.temporal_patch:
        clip = torch.cat([clip, clip[-1:].expand(pad, -1, -1, -1)])
    t, p, m, k = clip.shape[0] // spec.temporal_patch, spec.patch, spec.merge, spec.temporal_patch
    h, w = size[0] // p, size[1] // p
    # (t, k, c, h/m, m, p, w/m, m, p) -> (t, h/m, w/m, m, m, c, k, p, p)
    blocks = clip.reshape(t, k, 3, h // m, m, p, w // m, m, p).permute(0, 3, 6, 4, 7, 2, 1, 5, 8)
    out = blocks.reshape(t * h * w, 3, k * p * p).float()
    mean = torch.tensor(spec.image_mean).mul(255.0).view(1, 3, 1)
    std = torch.tensor(spec.image_std).mul(255.0).view(1, 3, 1)
    return out.sub_(mean).div_(std).view(t * h * w, -1)
