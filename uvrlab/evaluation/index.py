"""Exact search over unit vectors: blocked similarity for evaluation, and a FAISS inner-product index on disk for `uvr
index` and `uvr search`.

Scores are float64 dot products rounded to float32, and equal vectors get equal scores, so results depend neither on
block sizes nor on corpus order. Ties are ordered by id. It is exact by design, not an approximate index: a million
2048-wide vectors is 8 GB.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
INDEX_SCHEMA = 1
UNIT_TOLERANCE = 1e-3


class IndexFault(ValueError):
    """Vectors or ids that cannot be indexed, or an index folder that is incomplete, altered or of another model."""


def check_vectors(ids: Sequence[str], vectors: Array, what: str) -> Array:
    """`vectors` (N, D) as contiguous float32, after checking shape, unique ids, finite values and unit length.

    `what` names the table in messages ("corpus of world-rich"); the row and the id of the first fault are named too.
    """
    vectors = np.ascontiguousarray(vectors, dtype=np.float32)
    if vectors.ndim != 2 or len(ids) != len(vectors):
        raise IndexFault(f"{what}: {len(ids)} ids and vectors of shape {vectors.shape}; expected (ids, width)")
    check_unique(ids, what)
    if (bad := np.flatnonzero(~np.isfinite(vectors).all(axis=1))).size:
        raise IndexFault(f"{what}, row {bad[0]} ({ids[bad[0]]!r}): the vector holds NaN or infinity; encode that item again")
    lengths = np.linalg.norm(vectors, axis=1)
    if (bad := np.flatnonzero(np.abs(lengths - 1) > UNIT_TOLERANCE)).size:
        raise IndexFault(f"{what}, row {bad[0]} ({ids[bad[0]]!r}): length {lengths[bad[0]]:.4f}, expected 1; normalise the vectors")
    return vectors


def check_unique(ids: Sequence[str], what: str) -> None:
    """Raise IndexFault at the first id that stands twice, naming both rows."""
    seen: dict[str, int] = {}
    for row, name in enumerate(ids):
        if name in seen:
            raise IndexFault(f"{what}, row {row}: id {name!r} stands in row {seen[name]} already; ids must be unique")
        seen[name] = row


def search_scores(queries: Array, corpus: Array, block: int = 1024) -> Array:
    """Exact similarities of `queries` (Q, D) with `corpus` (N, D): float32 (Q, N), in blocks of queries.

    Each distinct corpus vector is scored once, so exact duplicates tie exactly, which no plain matrix product promises.
    """
    corpus = np.ascontiguousarray(corpus, dtype=np.float32)
    first: dict[bytes, int] = {}
    place = np.array([first.setdefault(vector.tobytes(), len(first)) for vector in corpus], dtype=np.int64)
    distinct = corpus[np.unique(place, return_index=True)[1]]
    keys, scores = distinct.astype(np.float64).T, np.empty((len(queries), len(corpus)), np.float32)
    for start in range(0, len(queries), block):
        rows = slice(start, start + block)
        scores[rows] = (np.asarray(queries[rows], dtype=np.float64) @ keys).astype(np.float32)[:, place]
    return scores


def order(scores: Array, ids: Sequence[str]) -> Array:
    """Positions of the candidates by falling score (n,), ties by rising id."""
    return np.lexsort((np.asarray(ids), -np.asarray(scores)))


class Index:
    """Ids, unit vectors and one small JSON row an id (uri, start_s, end_s, ...), all of one model."""

    def __init__(self, width: int, model_digest: str) -> None:
        import faiss

        self.width, self.model_digest = width, model_digest
        self.ids: list[str] = []
        self.rows: dict[str, Mapping[str, Any]] = {}
        self._faiss: Any = faiss.IndexFlatIP(width)

    @classmethod
    def build(
        cls, ids: Sequence[str], vectors: Array, *, model_digest: str, rows: Mapping[str, Mapping[str, Any]] | None = None
    ) -> Index:
        """An index of `vectors` (N, D), unit length, N >= 1."""
        index = cls(int(np.shape(vectors)[-1]), model_digest)
        index.add(ids, vectors, model_digest=model_digest, rows=rows)
        return index

    def __len__(self) -> int:
        return len(self.ids)

    def add(
        self, ids: Sequence[str], vectors: Array, *, model_digest: str, rows: Mapping[str, Mapping[str, Any]] | None = None
    ) -> None:
        """Add `vectors` (N, D). Raises IndexFault on another model's vectors, on known ids and on faulty vectors; then
        nothing is added.
        """
        if model_digest != self.model_digest:
            raise IndexFault(
                f"the index holds vectors of model {self.model_digest[:12]}, found {model_digest[:12]}; build a new index for it"
            )
        vectors = check_vectors(ids, vectors, "vectors to add")
        if vectors.shape[1] != self.width:
            raise IndexFault(f"vectors to add are {vectors.shape[1]} wide, the index {self.width}")
        if known := set(ids) & set(self.ids):
            raise IndexFault(f"id {min(known)!r} is in the index already; remove it first")
        self._faiss.add(vectors)
        self.ids.extend(ids)
        self.rows.update({name: dict(row) for name, row in (rows or {}).items() if name in set(ids)})

    def remove(self, ids: Sequence[str]) -> None:
        """Remove ids with their vectors. Raises IndexFault naming an unknown id; then nothing is removed."""
        import faiss

        check_unique(ids, "ids to remove")
        places = {name: place for place, name in enumerate(self.ids)}
        if unknown := sorted(set(ids) - set(places)):
            raise IndexFault(f"id {unknown[0]!r} is not in the index of {len(self)}; nothing was removed")
        self._faiss.remove_ids(faiss.IDSelectorBatch(np.array(sorted(places[name] for name in ids), dtype=np.int64)))
        gone = set(ids)
        self.ids = [name for name in self.ids if name not in gone]
        self.rows = {name: row for name, row in self.rows.items() if name not in gone}

    def vectors(self) -> Array:
        """(N, D) float32, in the order of `ids`."""
        return self._faiss.reconstruct_n(0, len(self)) if self.ids else np.empty((0, self.width), np.float32)

    def search(self, queries: Array, k: int) -> list[list[tuple[str, float]]]:
        """For each of `queries` (Q, D) its min(k, N) best (id, cosine), by falling score, ties by rising id."""
        queries = np.ascontiguousarray(np.atleast_2d(queries), dtype=np.float32)
        if queries.shape[1] != self.width:
            raise IndexFault(
                f"queries are {queries.shape[1]} wide, the index {self.width}; encode them with model {self.model_digest[:12]}"
            )
        if not np.isfinite(queries).all():
            raise IndexFault("a query vector holds NaN or infinity; encode it again")
        return [self._search_one(query, min(k, len(self))) for query in queries]

    def _search_one(self, query: Array, k: int) -> list[tuple[str, float]]:
        if k <= 0:
            return []
        fetch = min(len(self), k + 16)
        while True:
            found = self._faiss.search(query[None], fetch)[1][0]
            candidates = self._faiss.reconstruct_batch(found)
            scores = (candidates.astype(np.float64) * query.astype(np.float64)).sum(axis=1).astype(np.float32)
            best = order(scores, [self.ids[place] for place in found])[:k]
            # float32 search may misplace what is this close: fetch on until the k-th clearly beats the last one fetched
            if fetch == len(self) or scores[best[-1]] > scores.min() + 1e-5:
                return [(self.ids[found[place]], float(scores[place])) for place in best]
            fetch = min(len(self), 4 * fetch)

    def save(self, folder: Path) -> None:
        """Write `vectors-<sha256>.faiss`, `ids-<sha256>.json`, then `index.json` which names both: a killed save leaves
        the old index whole.
        """
        import faiss

        folder.mkdir(parents=True, exist_ok=True)
        names = {
            "vectors": _store(folder, "vectors", ".faiss", lambda path: faiss.write_index(self._faiss, str(path))),
            "ids": _store(
                folder, "ids", ".json", lambda path: path.write_text(json.dumps([[i, self.rows.get(i)] for i in self.ids]))
            ),
        }
        head = {"schema": INDEX_SCHEMA, "model_digest": self.model_digest, "width": self.width, "n": len(self), **names}
        partial = folder / "index.json.tmp"
        partial.write_text(json.dumps(head, indent=1, sort_keys=True) + "\n")
        partial.replace(folder / "index.json")
        for old in (*folder.glob("vectors-*"), *folder.glob("ids-*")):
            if old.name not in names.values():
                old.unlink()

    @classmethod
    def load(cls, folder: Path) -> Index:
        """Open a saved index; both files must match the digests in their names."""
        import faiss

        head_file = folder / "index.json"
        if not head_file.is_file():
            raise IndexFault(f"{folder} has no index.json; build one with `uvr index {folder} --add`")
        head = json.loads(head_file.read_text())
        if head.get("schema") != INDEX_SCHEMA:
            raise IndexFault(f"{head_file}: found schema {head.get('schema')}, expected {INDEX_SCHEMA}; build the index again")
        paths = {part: _checked(folder, str(head[part])) for part in ("vectors", "ids")}
        index = cls(head["width"], head["model_digest"])
        index._faiss = faiss.read_index(str(paths["vectors"]))
        entries = json.loads(paths["ids"].read_text())
        index.ids, index.rows = [i for i, _ in entries], {i: row for i, row in entries if row is not None}
        if index._faiss.ntotal != len(index.ids) or index._faiss.d != index.width:
            raise IndexFault(f"{folder}: {index._faiss.ntotal} vectors but {len(index.ids)} ids; build the index again")
        return index


def _store(folder: Path, stem: str, suffix: str, write: Callable[[Path], Any]) -> str:
    partial = folder / f"{stem}{suffix}.tmp"
    write(partial)
    name = f"{stem}-{hashlib.sha256(partial.read_bytes()).hexdigest()[:16]}{suffix}"
    partial.replace(folder / name)
    return name


def _checked(folder: Path, name: str) -> Path:
    path = folder / Path(name).name
    if not path.is_file():
        raise IndexFault(f"{path} is missing; build the index again")
    expected = path.stem.rpartition("-")[2]
    if (found := hashlib.sha256(path.read_bytes()).hexdigest()[:16]) != expected:
        raise IndexFault(f"{path}: sha256 starts with {found}, expected {expected}; the file was altered, build the index again")
    return path
