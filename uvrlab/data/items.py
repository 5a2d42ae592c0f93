"""What goes into an embedder: an item as addressed (`Item`), and as decoded arrays (`DecodedItem`).

The two are kept apart so that decoding, slow and exposed to hostile files, runs in worker processes, and collation never
touches a file.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


class ItemError(ValueError):
    """An item that cannot be encoded; the message names the item and what to do."""


@dataclass(frozen=True)
class DecodedItem:
    """One item as arrays. At least one of text, image, frames and wave is set.

    frames (T, H, W, 3) uint8, sampled evenly at `fps` frames a second from the clip's start; wave (samples,) float32 mono at the
    backbone's rate on the same clock. Frames with a wave are interleaved; a wave alone is a sound. `wave=None` means no sound:
    a clip without a track, or a digitally silent one.
    """

    item_id: str
    text: str | None = None
    image: np.ndarray | None = None
    frames: np.ndarray | None = None
    fps: float | None = None
    wave: np.ndarray | None = None
    instruction: str | None = None  # goes into the system turn

    def __post_init__(self) -> None:
        if self.image is None and self.frames is None and self.wave is None and not (self.text and self.text.strip()):
            raise ItemError(f"item {self.item_id}: it has no text, image, video or audio; expected at least one")
        for name, array, dims in (("image", self.image, 3), ("frames", self.frames, 4), ("wave", self.wave, 1)):
            if array is not None and (array.ndim != dims or 0 in array.shape):
                raise ItemError(f"item {self.item_id}: {name} has shape {array.shape}; expected {dims} non-empty axes")
        for name, picture in (("image", self.image), ("frames", self.frames)):
            if picture is not None and (picture.dtype != np.uint8 or picture.shape[-1] != 3):
                raise ItemError(
                    f"item {self.item_id}: {name} is {picture.dtype} {picture.shape}; expected uint8 with 3 channels last"
                )
        if self.frames is not None and not (self.fps and self.fps > 0):
            raise ItemError(f"item {self.item_id}: frames come with fps {self.fps}; expected the rate at which they were sampled")
        if self.wave is not None and not np.isfinite(self.wave).all():
            raise ItemError(f"item {self.item_id}: the sound holds NaN or infinite samples; decode it again")
