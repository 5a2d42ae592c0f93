"""`uvrb`: the real benchmark's folders, `<DATASET>/jsonl/{queries,corpus,instances}.jsonl` with media beside them.

An unknown dataset name is an error: a name that silently matches nothing drops prompts and whole columns of the result.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import PurePosixPath
from typing import Any

from uvrlab.config import SourceConfig
from uvrlab.data.sources import common
from uvrlab.data.sources.common import Candidate, Material, MediaIndex, QueryRow, SourceError, SourceRow
from uvrlab.data.uvrb.datasets import DATASETS


def read(source: SourceConfig) -> Material:
    """Every dataset found under the folder."""
    assert source.path is not None
    files, made = common.list_files(source.path), Material(evaluation_only=True)
    names = sorted({PurePosixPath(f).parts[0] for f in files if f.endswith("/jsonl/queries.jsonl")})
    if not names:
        raise SourceError(f"found no <DATASET>/jsonl/queries.jsonl under {source.path}, expected UVRB's layout")
    for name in names:
        if name not in DATASETS:
            near = difflib.get_close_matches(name, DATASETS, 1, 0.0)[0]
            raise SourceError(f"found dataset {name!r}, expected one of {', '.join(DATASETS)}; did you mean {near!r}?")
        inside = {f.removeprefix(f"{name}/"): uri for f, uri in files.items() if f.startswith(f"{name}/")}
        _Dataset(name, inside, made).read()
    return made


class _Dataset:
    """One folder of the benchmark; clip ids are `<dataset>/<path in it>`, so that equal names of two datasets stay apart."""

    def __init__(self, name: str, files: Mapping[str, str], made: Material) -> None:
        self._name, self._files, self._index, self._made = name, files, MediaIndex(files), made
        self._clips: dict[str, str | None] = {}  # name in the tables -> clip id, None where its media is absent
        self._listed: set[str] = set()

    def read(self) -> None:
        made, name, listed = self._made, self._name, set[str]()
        for _, row in self._rows("corpus", "id"):
            listed.add(str(row["id"]))
            if clip_id := self._clip(row.get("video") or row["id"]):
                made.corpus.append(Candidate(name, str(row["id"]), clip_id))
        instances = {str(row["qid"]): (where, row) for where, row in self._rows("instances", "qid")}
        for where, row in self._rows("queries", "id"):
            query_id = str(row["id"])
            if query_id not in instances:
                raise SourceError(f"{where}: query {query_id!r} has no row in instances.jsonl, expected its positives")
            found, instance = instances[query_id]
            self._check(found, query_id, instance, listed)
            self._query(query_id, row, instance)

    def _check(self, where: str, query_id: str, instance: Mapping[str, Any], listed: set[str]) -> None:
        positives = common.strings(instance.get("pos"))
        if not positives:
            raise SourceError(f"{where}: query {query_id!r} has no positive, expected at least one in `pos`")
        if lost := [p for p in (*positives, *common.strings(instance.get("neg"))) if p not in listed]:
            raise SourceError(f"{where}: query {query_id!r} names {lost[0]!r}, which is not in corpus.jsonl")

    def _rows(self, table: str, key: str) -> list[tuple[str, dict[str, Any]]]:
        """(file and row, row) of a table whose `key` must be there and unique."""
        path = self._files.get(f"jsonl/{table}.jsonl")
        if path is None:
            raise SourceError(f"found no {self._name}/jsonl/{table}.jsonl, expected the three tables of UVRB")
        seen: dict[str, int] = {}
        rows = [(f"{self._name}/jsonl/{table}.jsonl, row {at}", row) for at, row in enumerate(common.read_rows(path), 1)]
        for at, (where, row) in enumerate(rows, 1):
            if key not in row:
                raise SourceError(f"{where}: found keys {', '.join(row)}, expected {key!r} among them")
            if (first := seen.setdefault(str(row[key]), at)) != at:
                raise SourceError(f"{where}: {key} {row[key]!r} stands in row {first} already; ids must be unique")
        return rows

    def _query(self, query_id: str, row: Mapping[str, Any], instance: Mapping[str, Any]) -> None:
        text, image, video = common.words(row.get("text")), row.get("image"), row.get("video")
        clip_id = self._clip(video) if video else None
        image_uri = self._image(str(image)) if image else None
        if (video and not clip_id) or (image and not image_uri):
            self._made.rejects.append(common.missing(f"{self._name}:{query_id}", [str(image or video)]))
            return
        positives = common.strings(instance.get("pos"))
        pool = tuple(dict.fromkeys((*positives, *common.strings(instance.get("neg"))))) if instance.get("neg") else ()
        task = f"{'T' if text else ''}{'I' if image else ''}{'V' if video else ''}2V"
        known = DATASETS[self._name]
        query = QueryRow(self._name, known.ability, task, query_id, positives, text, image_uri, clip_id, pool=pool)
        query = replace(query, instruction=known.prompt)
        self._made.queries.append(query)

    def _image(self, image: str) -> str | None:
        return next((self._files[p] for p in (image, f"images/{image}") if p in self._files), None)

    def _clip(self, video: Any) -> str | None:
        name = str(video).removeprefix("./").removeprefix(f"{self._name}/")
        if name not in self._clips:
            found = self._index.find(name, f"videos/{name}")
            clip_id = f"{self._name}/{found}" if found else None
            if clip_id and found and clip_id not in self._listed:
                self._listed.add(clip_id)
                self._made.rows.append(SourceRow(clip_id, self._index.uri(found), clip_id, "uvrb", whole=True))
            if not found:
                self._made.rejects.append(common.missing(f"{self._name}/{name}", [name]))
            self._clips[name] = clip_id
        return self._clips[name]
