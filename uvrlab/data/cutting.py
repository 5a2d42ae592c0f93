"""From measured videos to `clips` rows: windows or shots of long videos, captions, and splits by family. Pure functions."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

from uvrlab.config import IngestConfig
from uvrlab.data.measure import Measured
from uvrlab.data.sampling import windows
from uvrlab.data.schema import SPLITS
from uvrlab.data.sources.common import Moment, SourceRow
from uvrlab.data.workers import Reject

Row = dict[str, Any]


def spans(duration_s: float, cuts: Sequence[float], max_s: float) -> list[tuple[float, float]]:
    """[0, duration) at its shot boundaries, each shot in equal windows of at most `max_s`; a video that fits stays whole."""
    if duration_s <= max_s:
        return [(0.0, duration_s)]
    edges = [0.0, *sorted({c for c in cuts if 0.0 < c < duration_s}), duration_s]
    shots = _merge(edges, max_s)
    return [window for start, end in shots for window in windows(start, end, max_s)]


def _merge(edges: Sequence[float], max_s: float) -> list[tuple[float, float]]:
    """Neighbouring shots joined while they fit: a clip of half a second tells nothing."""
    shots: list[tuple[float, float]] = []
    for start, end in pairwise(edges):
        if shots and min(end - start, shots[-1][1] - shots[-1][0]) < 2.0 and end - shots[-1][0] <= max_s:
            shots[-1] = (shots[-1][0], end)
        else:
            shots.append((start, end))
    return shots


def clip_rows(row: SourceRow, measured: Measured, own: IngestConfig, split: str) -> list[Row]:
    """The clips of one video. A window's caption is that of the moment it overlaps most, else the video's, tagged so."""
    found, made = measured.probe, []
    cut = [(0.0, found.duration_s)] if row.whole else spans(found.duration_s, measured.cuts, own.max_clip_s)
    for start_s, end_s in cut:
        caption, tags = row.captions[0] if row.captions else None, list(row.tags)
        if len(cut) > 1:
            moment = _moment_text(row.moments, start_s, end_s)
            caption, tags = moment or caption, [*tags, "window", *([] if moment or not caption else ["caption:whole"])]
        made.append(
            {
                "clip_id": row.clip_id if len(cut) == 1 else f"{row.clip_id}@{start_s:.2f}-{end_s:.2f}",
                "parent_id": row.parent_id,
                "uri": row.uri,
                "media_sha256": measured.sha256,
                **found.columns(start_s, end_s),
                "caption": caption,
                "source": row.source,
                "licence": row.licence,
                "split": split,
                "tags": tags,
                "scene": None,
            }
        )
    return made


def _moment_text(moments: Iterable[Moment], start_s: float, end_s: float) -> str | None:
    overlaps = [(min(m.end_s, end_s) - max(m.start_s, start_s), m.text) for m in moments]
    best = max(overlaps, default=(0.0, ""))
    return best[1] if best[0] > 0.0 and best[1] else None


def assign_splits(rows: Sequence[SourceRow], shas: Mapping[str, str], own: IngestConfig, seed: int) -> dict[str, str]:
    """{clip id: split}: as the source says, else by a stable hash of the family, else of the media's content.

    A group keeps its split as the folder grows, and equal files never stand on both sides.
    """
    groups: dict[str, str] = {}
    for row in rows:
        sha256 = shas[row.clip_id]
        groups[sha256] = groups.get(sha256) or (f"family {row.family}" if row.family else sha256)
    return {row.clip_id: row.split or hashed_split(groups[shas[row.clip_id]], own.splits, seed) for row in rows}


def hashed_split(group: str, shares: Mapping[str, float], seed: int) -> str:
    """One split for a group, each with the chance of its share."""
    at = int.from_bytes(hashlib.sha256(f"{seed}\0{group}".encode()).digest()[:8], "big") / 2**64 * sum(shares.values())
    for split in SPLITS:
        at -= shares.get(split, 0.0)
        if at < 0:
            return split
    return next(split for split in reversed(SPLITS) if shares.get(split))


def too_short(rows: Iterable[Row], min_s: float) -> tuple[list[Row], list[Reject]]:
    """Rows of at least `min_s`, and a reject for each of the others."""
    kept, rejects = [], []
    for row in rows:
        if row["duration_s"] < min_s:
            rejects.append(Reject(row["clip_id"], "limit", f"found {row['duration_s']:g} s, expected at least {min_s:g} s"))
        else:
            kept.append(row)
    return kept, rejects
