"""Clips as arrays in memory, for judges and for the timelines of a report."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np

from uvrlab.data.decoding import Sampling, decode_items
from uvrlab.data.items import ClipIndex
from uvrlab.data.schema import item as item_row
from uvrlab.data.workers import Reject
from uvrlab.training.questions import Questions
from uvrlab.training.spans import Footage

RATE_HZ = 16_000
KEPT = 256  # clips whose frames stay in memory


class Films:
    """Clips as arrays for a judge, decoded when they are first asked about; `blank` for a judge that needs their clock alone."""

    def __init__(self, questions: Questions, clips: Path, fps: float = 4.0, max_frames: int = 64, *, blank: bool = False) -> None:
        self.rows, self.blank = questions.clips, blank
        self.index = ClipIndex().add_rows(questions.clips.values(), clips)
        self.sampling = Sampling(n_frames=max_frames, fps=fps, max_window_s=float("inf"), rate_hz=RATE_HZ)
        self._read = lru_cache(KEPT)(self._decode)

    def __call__(self, clip_id: str) -> Footage:
        """Raises ValueError where the clip does not decode, which its features did."""
        return self._read(clip_id)

    def _decode(self, clip_id: str) -> Footage:
        row = self.rows[clip_id]
        duration_s = float(row["end_s"] - row["start_s"])
        if self.blank:
            return Footage(clip_id, np.zeros((1, 1, 1, 3), np.uint8), 1.0, None, RATE_HZ, duration_s)
        item = self.index.item(item_row(clip_id=clip_id, modalities=["video", "audio"]), clip_id)
        (found,) = decode_items([item], self.sampling)
        if isinstance(found, Reject) or (frames := found[0].frames) is None:
            raise ValueError(f"clip {clip_id} does not decode for the judge: {found}")
        return Footage(clip_id, frames, float(found[0].fps or 1.0), found[0].wave, RATE_HZ, duration_s)
