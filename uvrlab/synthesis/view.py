"""One clip as synthesis sees it: its row, and its frames and sound when somebody asks for them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from uvrlab.data.audio import decode_audio
from uvrlab.data.decode import decode_frames


@dataclass(frozen=True)
class ClipView:
    """A row of the clips table and the folder that its relative URI starts from. Times are on the file's clock."""

    row: dict[str, Any]
    base: Path

    def frames(self, times_s: Sequence[float], max_height: int | None = None) -> np.ndarray:
        """(T, H, W, 3) uint8 RGB at these times. Raises MediaError where the file does not decode."""
        return decode_frames(self.row["uri"], list(times_s), max_height=max_height, base=self.base)

    def wave(self, rate_hz: int = 16000, start_s: float | None = None, end_s: float | None = None) -> np.ndarray | None:
        """Mono float32 samples of the clip, or of a span of it; None where it has no sound track."""
        if not self.row["has_audio"]:
            return None
        low = self.row["start_s"] if start_s is None else start_s
        high = self.row["end_s"] if end_s is None else end_s
        return decode_audio(self.row["uri"], low, high, rate_hz=rate_hz, base=self.base)
