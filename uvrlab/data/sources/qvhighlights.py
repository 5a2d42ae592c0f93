"""`qvhighlights`: moment queries in the JSONL form of Moment-DETR (QVHighlights, Charades-STA, TACoS): qid, query, vid, duration,
relevant_windows. A query looks for its windows inside its own video. Test files hold null windows: those rows are rejects.
"""

from __future__ import annotations

from typing import Any

from uvrlab.config import SourceConfig
from uvrlab.data.sources import common
from uvrlab.data.sources.common import Material, MediaIndex, SourceError, SourceRow

DATASET = "QVHighlights-moment"
EXPECTED = ("qid", "query", "vid", "duration")


def read(source: SourceConfig) -> Material:
    """One row a video, one query a line."""
    assert source.path is not None
    index, made = MediaIndex(common.list_files(source.path)), Material(evaluation_only=True)
    path = common.annotation_file(source, (".jsonl",))
    videos: dict[str, list[dict[str, Any]]] = {}
    for number, row in enumerate(common.read_rows(path), 1):
        if lost := [c for c in EXPECTED if c not in row]:
            raise SourceError(f"{path}, line {number}: found keys {sorted(row)}, expected {lost[0]!r} too")
        videos.setdefault(str(row["vid"]), []).append(row)
    for video, rows in videos.items():
        if (found := index.find(video)) is None:
            made.rejects.append(common.missing(video, [video]))
            continue
        made.rows.append(SourceRow(video, index.uri(found), video, "qvhighlights", whole=True))
        queries = [(str(r["qid"]), r["query"], r.get("relevant_windows")) for r in rows]
        part = common.moment_queries(DATASET, video, float(rows[0]["duration"]), queries)
        made.queries += part.queries
        made.corpus += part.corpus
        made.rejects += part.rejects
    return made
