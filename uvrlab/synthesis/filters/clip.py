"""The filters of one clip, from one decode of small frames and its sound."""

from __future__ import annotations

import numpy as np

from uvrlab.config import FiltersConfig
from uvrlab.data.probe import SILENCE_DB
from uvrlab.data.sampling import sample_times_fps
from uvrlab.synthesis.filters import pictures
from uvrlab.synthesis.filters.table import FINGERPRINT, NOT_JUDGED, Row, judge
from uvrlab.synthesis.filters.twins import fingerprint, written
from uvrlab.synthesis.view import ClipView


def measure_clip(view: ClipView, own: FiltersConfig) -> list[Row]:
    """The clip's rows of `filters`, and its fingerprint for `duplicates`. Raises MediaError where the clip does not decode."""
    row = view.row
    times = sample_times_fps(row["end_s"], min(own.fps, row["fps"]), own.max_frames, row["start_s"], row["end_s"], multiple=2)
    frames = view.frames(times, own.height)
    gap_s = times[1] - times[0]
    rows = [*measure_frames(row["clip_id"], frames, gap_s, own), silence(row, own)]
    mark = written(fingerprint(frames, view.wave() if row["audible"] else None))
    named = {"clip_id": row["clip_id"], "pair_id": None, "filter": FINGERPRINT}
    return [*rows, {**named, "score": None, "threshold": None, "verdict": NOT_JUDGED, "detail": mark}]


def measure_frames(clip_id: str, frames: np.ndarray, gap_s: float, own: FiltersConfig) -> list[Row]:
    """The filters of the picture: frames are uint8 RGB (T, H, W, 3), T >= 2, `gap_s` apart."""
    grey = pictures.luma(frames)
    change = pictures.changes(grey)
    cuts = pictures.cuts(frames, 1.0 / gap_s)
    scores = {
        "black": pictures.brightness(grey),
        "blurred": pictures.sharpness(grey),
        "frozen": pictures.frozen(change),
        "static_difference": pictures.difference(change),
        "static_flow": pictures.flow(grey, gap_s),
        "cuts": 60.0 * len(cuts) / (len(frames) * gap_s),
    }
    details = {"cuts": ", ".join(f"{i * gap_s:.2f} s" for i in cuts)}
    return [judge(name, score, own, clip_id=clip_id, detail=details.get(name, "")) for name, score in scores.items()]


def silence(row: Row, own: FiltersConfig) -> Row:
    """Loudness as ingest measured it; nothing is decoded."""
    detail = "no sound track" if not row["has_audio"] else "" if row["audible"] else "nothing to be heard"
    loudness_db = row["loudness_db"] if row["has_audio"] else SILENCE_DB
    return judge("silence", loudness_db, own, clip_id=row["clip_id"], detail=detail)
