"""Perceptual hashes of clips from their media, in workers, kept in the work folder by content and span."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from uvrlab.config import LimitsConfig
from uvrlab.data.decode import decode_frames
from uvrlab.data.measure import cache_dir
from uvrlab.data.phash import clip_hashes
from uvrlab.data.sampling import sample_times
from uvrlab.data.workers import MediaPool, Reject

FRAMES, HEIGHT, VERSION = 8, 64, 1


def hash_clips(pool: MediaPool, rows: Iterable[Mapping[str, Any]], base: Path) -> Iterator[np.ndarray | Reject]:
    """(8,) uint64 of each clips row in order, at eight uniform times of its span; or the reject of one that does not decode."""
    folder = cache_dir() / "hashes"
    folder.mkdir(parents=True, exist_ok=True)
    items = (
        {**{k: row[k] for k in ("uri", "start_s", "end_s")}, "base": str(base), "cached": str(_cached(folder, row))} for row in rows
    )
    for found in pool.map(hash_clip, items, name=lambda item: str(item["uri"])):
        if isinstance(found, Reject):
            yield found
            continue
        if found["fresh"]:
            Path(found["cached"]).write_bytes(found["hashes"].tobytes())
        yield found["hashes"]


def _cached(folder: Path, row: Mapping[str, Any]) -> Path:
    return folder / f"{row['media_sha256']}-{row['start_s']:.3f}-{row['end_s']:.3f}-v{VERSION}"


def hash_clip(item: dict[str, Any]) -> dict[str, Any]:
    """In a worker: the hashes from the cache, or of decoded frames."""
    cached = Path(item["cached"])
    if cached.is_file() and cached.stat().st_size == 8 * FRAMES:
        return {"fresh": False, "hashes": np.frombuffer(cached.read_bytes(), np.uint64), "cached": item["cached"]}
    times = sample_times(item["end_s"], FRAMES, item["start_s"], item["end_s"])
    frames = decode_frames(item["uri"], times, max_height=HEIGHT, base=item["base"], limits=LimitsConfig())
    return {"fresh": True, "hashes": clip_hashes(frames), "cached": item["cached"]}
