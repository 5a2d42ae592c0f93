"""Vectors of a benchmark's items in one mode, each distinct item read once, kept in the work folder under what they depend on."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from uvrlab import runs
from uvrlab.data.media import media_sha256
from uvrlab.evaluation.tasks import TaskError
from uvrlab.models.modes import Mode, Reading, Spoken, Thinking

if TYPE_CHECKING:
    from uvrlab.evaluation.evaluate import Benchmark

FORMAT = 2  # of the files
CODE = ("data", "models")  # reads items: after a change there a kept vector is not the one that would be computed
SAMPLES = "/samples"


class Vectors:
    """Item row -> unit vector, its reading, and in mode best_of_k the samples behind it."""

    def __init__(
        self, embedder: Any, bench: Benchmark, batch_size: int, workers: int, mode: Mode, thinking: Thinking | None = None
    ) -> None:
        self.embedder, self.bench, self.batch_size, self.workers, self.mode = embedder, bench, batch_size, workers, mode
        self.thinking = thinking or Thinking()
        how = [asdict(embedder.preprocess.sampling), _thinking(mode, self.thinking), embedder.device, FORMAT]
        name = runs.digest_json([embedder.digest, runs.code_digest(CODE), mode, how])[:24]
        self.file = runs.work_dir() / "embeddings" / f"{name}.safetensors"
        self.known: dict[str, np.ndarray] = {}
        self.readings: dict[str, Reading] = {}
        self._pictures: dict[str, str] = {}  # URI -> sha256
        if self.file.exists():
            from safetensors import safe_open

            with safe_open(self.file, framework="np") as stored:
                self.known = {key: stored.get_tensor(key) for key in stored.keys()}  # noqa: SIM118
                self.readings = {key: _reading(row) for key, row in json.loads(stored.metadata()["readings"]).items()}

    def key(self, row: Mapping[str, Any]) -> str:
        """Digest of an item's content: its text, and its media by sha256 and span."""
        clip = self.bench.index.get(row["clip_id"]) if row["clip_id"] else None
        media = [clip.media_sha256, clip.start_s, clip.end_s, clip.audible] if clip else None
        media = [media, self._picture(row["image_uri"])] if row["image_uri"] else media
        asked = [row["instruction"]] if row.get("instruction") else []
        return runs.digest_json([row["text"], media, row["start_s"], row["end_s"], list(row["modalities"]), *asked])[:32]

    def _picture(self, uri: str) -> str:
        if uri not in self._pictures:
            self._pictures[uri] = media_sha256(uri, self.bench.base)
        return self._pictures[uri]

    def fill(self, rows: Sequence[Any]) -> None:
        """Encode what is not known yet, each distinct item once."""
        missing = {key: row for row in rows if (key := self.key(row)) not in self.known}
        if not missing:
            return
        items = [self.bench.item(row, key) for key, row in missing.items()]
        options = {"batch_size": self.batch_size, "workers": self.workers, "thinking": self.thinking}
        found = self.embedder.encode_or_reject(items, mode=self.mode, **options)
        if found.rejects:
            first = found.rejects[0]
            name = missing[first.item].get("name", first.item)
            raise TaskError(
                f"{len(found.rejects)} of {len(items)} items of the benchmark cannot be encoded, first {name}: "
                f"{first.reason}, {first.detail}; a benchmark without them is another one: ingest again without these clips"
            )
        self.known |= dict(zip(missing, found.vectors, strict=True))
        if found.samples is not None:
            self.known |= {f"{key}{SAMPLES}": own for key, own in zip(missing, found.samples, strict=True)}
        self.readings |= dict(zip(missing, found.readings, strict=True))
        self._save()

    def _save(self) -> None:
        from safetensors.numpy import save_file

        self.file.parent.mkdir(parents=True, exist_ok=True)
        partial = self.file.with_suffix(".tmp")
        told = {key: asdict(reading) for key, reading in self.readings.items()}
        save_file({k: np.ascontiguousarray(v) for k, v in self.known.items()}, partial, metadata={"readings": json.dumps(told)})
        partial.replace(self.file)

    def get(self, rows: Sequence[Any]) -> np.ndarray:
        """(N, D) vectors of rows, in their order."""
        return np.stack([self.known[self.key(row)] for row in rows])

    def samples(self, rows: Sequence[Any]) -> np.ndarray:
        """(N, k, D) samples of rows, in their order."""
        return np.stack([self.known[self.key(row) + SAMPLES] for row in rows])

    def mean_tokens(self, rows: Sequence[Any]) -> float:
        """Tokens generated for a distinct item, on average; 0 for no item."""
        distinct = {self.key(row) for row in rows}
        return sum(self.readings[key].n_tokens for key in distinct) / max(len(distinct), 1)

    def reading(self, row: Any) -> Reading:
        """How a row was read."""
        return self.readings[self.key(row)]


def _thinking(mode: Mode, thinking: Thinking) -> dict[str, Any]:
    """What vectors of a mode depend on: a greedy thought knows nothing of k, consensus, temperature and seed."""
    if mode == "speed":
        return {}
    return {"max_new_tokens": thinking.max_new_tokens} if mode == "think" else asdict(thinking)


def _reading(row: Mapping[str, Any]) -> Reading:
    return Reading(row["mode"], row["milliseconds"], tuple(Spoken(**thought) for thought in row["thoughts"]))
