"""`activitynet`: ActivityNet Captions, in its official form (one JSON object) or the row-a-sentence JSONL; paragraph -> video.

The prefix `v_` of ids comes and goes between files and media; an id here never has it.
"""

from __future__ import annotations

import json
from typing import Any

from uvrlab.config import SourceConfig
from uvrlab.data.sources import common
from uvrlab.data.sources.common import Candidate, Material, MediaIndex, Moment, QueryRow, SourceError, SourceRow
from uvrlab.data.workers import Reject

DATASET = "ActivityNet"
YOUTUBE_ID = 11  # characters; an id may itself begin with v_


def bare_id(video: str) -> str:
    """The YouTube id without ActivityNet's prefix."""
    return video[2:] if video.startswith("v_") and len(video) == YOUTUBE_ID + 2 else video


def read(source: SourceConfig) -> Material:
    """One query a video: all its sentences in order, joined."""
    assert source.path is not None
    index, made = MediaIndex(common.list_files(source.path)), Material(evaluation_only=True)
    for video, moments in _videos(common.annotation_file(source, (".json", ".jsonl")), made).items():
        if (found := index.find(video, f"v_{video}")) is None:
            made.rejects.append(common.missing(video, [video, f"v_{video}"]))
            continue
        paragraph = " ".join(m.text for m in moments)
        uri = index.uri(found)
        made.rows.append(SourceRow(video, uri, video, "activitynet", (paragraph,), moments=tuple(moments), whole=True))
        made.corpus.append(Candidate(DATASET, video, video))
        made.queries.append(QueryRow(DATASET, "CG", "T2V", video, (video,), text=paragraph))
    return made


def _videos(path: str, made: Material) -> dict[str, list[Moment]]:
    videos: dict[str, list[Moment]] = {}
    for video, text, window in _sentences(path):
        words = common.words(text)
        if words is None or not _is_span(window):
            made.rejects.append(
                Reject(video, "annotation", f"found sentence {text!r} at {window!r}, expected words and [start, end]")
            )
        else:
            videos.setdefault(bare_id(video), []).append(Moment(float(window[0]), float(window[1]), words))
    return videos


def _is_span(window: Any) -> bool:
    return isinstance(window, list) and len(window) == 2 and all(isinstance(v, (int, float)) for v in window)


def _sentences(path: str) -> list[tuple[str, Any, Any]]:
    if path.endswith(".jsonl"):
        rows = common.read_rows(path)
        return [(str(r["vid"]), r.get("query"), (r.get("relevant_windows") or [None])[0]) for r in rows]
    videos = json.loads(common.read_text(path))
    if not isinstance(videos, dict):
        raise SourceError(
            f"{path}: found a JSON {type(videos).__name__}, expected an object from video id to timestamps and sentences"
        )
    return [(v, s, t) for v, row in videos.items() for s, t in zip(row["sentences"], row["timestamps"], strict=False)]
