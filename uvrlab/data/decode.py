"""Frames of a video by timestamp, as RGB arrays: any frame rate, any rotation, only wanted frames converted.

`uvrlab.data.cursor` finds the frames; here they become pixels: libswscale resizes and converts in one step, then the display
rotation is applied. `tests/data/test_decode.py` holds the result equal to decoding everything.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from av.video.reformatter import VideoReformatter

from uvrlab.config import LimitsConfig
from uvrlab.data.cursor import Cursor
from uvrlab.data.media import OpenVideo, open_video


def decode_frames(
    source: str | BinaryIO,
    times_s: Sequence[float],
    *,
    size: tuple[int, int] | None = None,
    max_height: int | None = None,
    base: Path | str = ".",
    limits: LimitsConfig | None = None,
) -> np.ndarray:
    """The frames shown at `times_s` (any order, clip's clock): uint8 (T, H, W, 3) RGB, rotation applied.

    `size` (height, width) resizes to exactly that; `max_height` caps the height and keeps the aspect. A time before the first frame
    gives the first one, a time past the end the last one. Raises MediaError.
    """
    if not len(times_s):
        raise ValueError("found no times, expected at least one")
    found: dict[int, np.ndarray] = {}
    with open_video(source, base, limits) as media:
        ticks = [media.ticks(t) for t in times_s]
        cursor, pixels = Cursor(media), Pixels(size, max_height)
        wanted = sorted(set(ticks))
        for tick, then in zip(wanted, [*wanted[1:], None], strict=True):
            found[tick] = pixels.rgb(cursor.at(tick, then))
    return np.stack([found[t] for t in ticks])


def iter_frames(media: OpenVideo, fps: float, max_height: int | None = None) -> Iterator[tuple[float, np.ndarray]]:
    """Every frame in order, thinned to at most about `fps` a second: (time on the clip's clock, uint8 (H, W, 3))."""
    pixels, next_s = Pixels(None, max_height), float("-inf")
    for frame in Cursor(media).rest():
        time_s = media.seconds(frame.pts)
        if time_s >= next_s - 1e-6:
            next_s = (next_s if next_s > time_s - 1.0 / fps else time_s) + 1.0 / fps
            yield time_s, pixels.rgb(frame)


class Pixels:
    """Decoded frame -> RGB. One scaler context for all frames; every frame gets the first one's size."""

    def __init__(self, size: tuple[int, int] | None = None, max_height: int | None = None) -> None:
        self._size, self._max_height, self._scaler = size, max_height, VideoReformatter()

    def _fit(self, height: int, width: int) -> tuple[int, int]:
        if self._max_height is not None and height > self._max_height:
            return self._max_height, max(1, round(width * self._max_height / height))
        return height, width

    def rgb(self, frame: Any) -> np.ndarray:
        """uint8 (H, W, 3), upright."""
        quarter_turns = round(frame.rotation / 90) % 4
        lying = quarter_turns % 2 == 1
        self._size = self._size or (self._fit(frame.width, frame.height) if lying else self._fit(frame.height, frame.width))
        height, width = reversed(self._size) if lying else self._size
        # One thread: threads that are started for a small picture cost more than they save.
        picture = self._scaler.reformat(frame, width=width, height=height, format="rgb24", interpolation="BILINEAR", threads=1)
        return np.ascontiguousarray(np.rot90(picture.to_ndarray(), quarter_turns))
