"""`folder`: any folder of videos, local or behind fsspec, with or without a captions file (CSV or JSONL)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath
from typing import Any

from uvrlab.config import SourceConfig
from uvrlab.data.schema import SPLITS
from uvrlab.data.sources import common
from uvrlab.data.sources.common import Material, MediaIndex, Moment, SourceError, SourceRow
from uvrlab.data.workers import Reject

# Our name -> the names that manifests use; `ingest.source.columns` overrides a line of it.
COLUMNS = {
    "file": ("file", "path", "video", "filename", "file_name"),
    "clip_id": ("clip_id", "video_id", "vid", "videoID", "id"),
    "caption": ("caption", "captions", "text", "sentence", "description", "enCap"),
    "family": ("family",),
    "licence": ("licence", "license"),
    "split": ("split",),
    "tags": ("tags",),
    "moments": ("moments",),
}


def read(source: SourceConfig) -> Material:
    """Every video of the folder; rows of the captions file whose video is absent become rejects."""
    assert source.path is not None
    index, made = MediaIndex(common.list_files(source.path)), Material()
    noted = _notes(source, index, made) if source.captions else {}
    ids = clip_ids(index)
    for name in index:
        rows = noted.get(name, [])
        if rows or source.unlisted:
            made.rows.append(_row(ids[name], index.uri(name), rows, made.rejects))
    return made


def clip_ids(names: Iterable[str]) -> dict[str, str]:
    """{relative path: clip id}: the path without its suffix, with it where two files would share an id."""
    bare = {name: name[: -len(PurePosixPath(name).suffix)] for name in names}
    twice = Counter(bare.values())
    return {name: short if twice[short] == 1 else name for name, short in bare.items()}


def _notes(source: SourceConfig, index: MediaIndex, made: Material) -> dict[str, list[dict[str, Any]]]:
    """{relative path: rows of the captions file, with our column names}."""
    path = common.annotation_file(source, (".csv", ".jsonl"))
    noted: dict[str, list[dict[str, Any]]] = {}
    for number, raw in enumerate(common.read_rows(path), 1):
        row = _ours(raw, source.columns, path)
        names = [str(row[key]) for key in ("file", "clip_id") if row.get(key) not in (None, "")]
        if not names:
            made.rejects.append(Reject(f"{PurePosixPath(path).name}:{number}", "annotation", "found no file and no clip id"))
        elif (found := index.find(*names)) is None:
            made.rejects.append(common.missing(names[0], names))
        else:
            noted.setdefault(found, []).append(row)
    return noted


def _ours(raw: Mapping[str, Any], columns: Mapping[str, str], path: str) -> dict[str, Any]:
    row = {}
    for ours, theirs in COLUMNS.items():
        if ours in columns and columns[ours] not in raw:
            raise SourceError(
                f"{path}: found columns {sorted(raw)}, expected {columns[ours]!r}; correct ingest.source.columns.{ours}"
            )
        name = columns.get(ours) or next((n for n in theirs if n in raw), None)
        row[ours] = raw[name] if name is not None else None
    return row


def _row(clip_id: str, uri: str, rows: list[dict[str, Any]], rejects: list[Reject]) -> SourceRow:
    captions = tuple(dict.fromkeys(c for r in rows for v in common.strings(r["caption"]) if (c := common.words(v))))
    first: dict[str, Any] = {key: next((r[key] for r in rows if r[key]), None) for key in ("family", "licence", "split")}
    if first["split"] not in (None, *SPLITS):
        rejects.append(Reject(clip_id, "annotation", f"found split {first['split']!r}, expected one of {', '.join(SPLITS)}"))
        first["split"] = None
    return SourceRow(
        clip_id,
        uri,
        parent_id=clip_id,
        source="folder",
        captions=captions,
        tags=tuple(dict.fromkeys(t for r in rows for t in common.strings(r["tags"]))),
        moments=tuple(m for r in rows for m in _moments(r["moments"], clip_id, rejects)),
        **first,
    )


def _moments(value: Any, clip_id: str, rejects: list[Reject]) -> Iterable[Moment]:
    for entry in value if isinstance(value, list) else ():
        try:
            yield Moment(float(entry["start"]), float(entry["end"]), str(common.words(entry["text"]) or ""))
        except (KeyError, TypeError, ValueError):
            rejects.append(Reject(clip_id, "annotation", f"found moment {entry!r}, expected start, end and text"))
