"""Cuts of a clip in memory, from frames and samples that were decoded once; the published way starts a process for every span.

Times are seconds on the clip's own clock, from 0. A cut has at least two frames; the nearest ones stand in where a span is shorter
than the spacing of the frames.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from uvrlab.data.items import SILENCE, DecodedItem
from uvrlab.rewards.grounding import ResponseFault, Rules, Span, parse_response

MIN_SAMPLES = 800  # 0.05 s at 16 kHz: below it an audio tower has no token left
_PUBLISHED = re.compile(r"<time>\s*(\d+(?:\.\d*)?)\s*-\s*(\d+(?:\.\d*)?)\s*</time>\s*<caption>(.*?)</caption>", re.DOTALL)


@dataclass(frozen=True)
class Footage:
    """A clip as arrays: frames (T, H, W, 3) uint8 evenly at `fps` from 0, wave (n,) float32 mono at `rate_hz`, or no sound."""

    clip_id: str
    frames: np.ndarray
    fps: float
    wave: np.ndarray | None
    rate_hz: int
    duration_s: float

    def digest(self) -> str:
        """sha256 over the arrays and their clock."""
        total = hashlib.sha256(f"{self.fps} {self.rate_hz} {self.frames.shape}".encode())
        total.update(np.ascontiguousarray(self.frames).tobytes())
        total.update(b"" if self.wave is None else np.ascontiguousarray(self.wave).tobytes())
        return total.hexdigest()


def cut(footage: Footage, spans: Sequence[Span], n_frames: int = 8) -> Footage | None:
    """The spans joined: `n_frames` frames evenly over their total time, and their samples one after the other.

    Spans are clamped to the clip; None where nothing of them is inside it. Silence stays silence: a cut without sound has no wave.
    """
    inside = [(max(0.0, a), min(b, footage.duration_s)) for a, b in spans]
    inside = [(a, b) for a, b in inside if b > a]
    total_s = sum(b - a for a, b in inside)
    if not inside or total_s <= 0:
        return None
    times = [_moment(inside, (i + 0.5) * total_s / n_frames) for i in range(n_frames)]
    at = [min(int(t * footage.fps), len(footage.frames) - 1) for t in times]
    wave = None if footage.wave is None else _samples(footage.wave, inside, footage.rate_hz)
    return Footage(footage.clip_id, footage.frames[at], n_frames / total_s, wave, footage.rate_hz, total_s)


def _moment(spans: Sequence[Span], offset_s: float) -> float:
    """The time on the clip's clock at `offset_s` into the joined spans."""
    for start, end in spans:
        if offset_s < end - start:
            return start + offset_s
        offset_s -= end - start
    return spans[-1][1]


def _samples(wave: np.ndarray, spans: Sequence[Span], rate_hz: int) -> np.ndarray | None:
    joined = np.concatenate([wave[round(a * rate_hz) : round(b * rate_hz)] for a, b in spans])
    return joined if len(joined) >= MIN_SAMPLES and float(np.abs(joined).max()) > SILENCE else None


def rest(spans: Sequence[Span], duration_s: float) -> list[Span]:
    """What spans leave of [0, duration_s), in order."""
    left, at = [], 0.0
    for start, end in sorted(spans):
        if min(start, duration_s) > at:
            left.append((at, min(start, duration_s)))
        at = max(at, end)
    return [*left, *([(at, duration_s)] if at < duration_s else [])]


def as_item(footage: Footage, name: str) -> DecodedItem:
    """A cut as an embedder takes it."""
    return DecodedItem(name, frames=footage.frames, fps=footage.fps, wave=footage.wave)


def grounded_pairs(text: str, duration_s: float, rules: Rules) -> list[tuple[Span, str]] | None:
    """The (span, caption) pairs of a response that may be judged; None where its form is not accepted.

    `strict`: those of `parse_response`. `published`: every pair of decimal times and caption, wherever it stands; a reversed span
    is left out unpunished, as in the released code, and a span past the end stays in: its cut is None.
    """
    if rules == "published":
        found = [((float(a), float(b)), caption) for a, b, caption in _PUBLISHED.findall(text)]
        return [(span, caption.strip()) for span, caption in found if span[0] < span[1] and math.isfinite(span[1])]
    try:
        response = parse_response(text, duration_s)
    except ResponseFault:
        return None
    return list(zip(response.spans, response.captions, strict=True))
