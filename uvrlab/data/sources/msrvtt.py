"""`msrvtt`: the 1k-A test split of MSR-VTT as a CSV `key,vid_key,video_id,sentence` (copies with `;` exist), text -> video."""

from __future__ import annotations

from uvrlab.config import SourceConfig
from uvrlab.data.sources import common
from uvrlab.data.sources.common import Candidate, Material, MediaIndex, QueryRow, SourceError, SourceRow
from uvrlab.data.uvrb.datasets import DATASETS
from uvrlab.data.workers import Reject

DATASET = "MSRVTT"
EXPECTED = ("video_id", "sentence")


def read(source: SourceConfig) -> Material:
    """One query a sentence; a video with several sentences is one candidate."""
    assert source.path is not None
    index, made = MediaIndex(common.list_files(source.path)), Material(evaluation_only=True)
    path = common.annotation_file(source, (".csv", ".json", ".jsonl"))
    captions: dict[str, list[str]] = {}
    for number, row in enumerate(common.read_rows(path)):
        if lost := [c for c in EXPECTED if c not in row]:
            raise SourceError(f"{path}: found columns {sorted(row)}, expected {lost[0]!r} too; is its separator one of , ; tab?")
        video, text = str(row["video_id"]), common.words(row["sentence"])
        if text is None:
            made.rejects.append(Reject(f"{video}#{number}", "annotation", "found an empty sentence"))
            continue
        captions.setdefault(video, []).append(text)
        key = str(row.get("key") or f"{video}#{number}")
        made.queries.append(QueryRow(DATASET, "CG", "T2V", key, (video,), text=text, instruction=DATASETS[DATASET].prompt))
    for video, texts in captions.items():
        if (found := index.find(video)) is None:
            made.rejects.append(common.missing(video, [video]))
            continue
        made.rows.append(SourceRow(video, index.uri(found), video, "msrvtt", tuple(texts), whole=True))
        made.corpus.append(Candidate(DATASET, video, video))
    return made
