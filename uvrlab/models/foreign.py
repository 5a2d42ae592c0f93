"""What embedders of other libraries share here: items decoded in workers, one vector an item, faults as rejects.

A subclass says how decoded items become vectors. Nothing here hears: the sound of a video is left out, as in UVRB's protocol, and a
sound alone is refused. An instruction is left out too: such models have no place for one.
"""

from __future__ import annotations

import hashlib
import json
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from uvrlab.data.decoding import Sampling, decode_items
from uvrlab.data.items import DecodedItem, Item, ItemError
from uvrlab.data.workers import MediaPool, Reject
from uvrlab.models.encode import Encoded, Entry, Mode
from uvrlab.models.modeldir import weights_digest
from uvrlab.models.modes import Reading


@dataclass(frozen=True)
class Preprocessing:
    """How a foreign model reads media; `template` names its kind of read-out in results."""

    sampling: Sampling
    template: str


class ForeignEmbedder(ABC):
    """Base of the embedders of other libraries. `width` is the length of a vector, `digest` names weights and processing."""

    modes: tuple[Mode, ...] = ("speed",)
    modalities: tuple[str, ...] = ("text", "image", "video")

    def __init__(self, digest: str, width: int, preprocess: Preprocessing, device: str = "cpu") -> None:
        self.digest, self.width, self.preprocess, self.device = digest, width, preprocess, device

    @abstractmethod
    def vectors(self, items: Sequence[DecodedItem]) -> tuple[np.ndarray, int]:
        """(B, D) vectors of any length above 0, and how many texts were cut."""

    @abstractmethod
    def fault(self, item: DecodedItem) -> str | None:
        """Why the model cannot take an item; None where it can."""

    def encode(self, items: Sequence[Entry], *, batch_size: int = 32, workers: int = 2, mode: Mode = "speed") -> np.ndarray:
        """(B, D) float32 unit vectors in the order of `items`; an item that cannot be encoded is an error that names it."""
        return self.encode_or_reject(items, batch_size=batch_size, workers=workers, mode=mode).of_all()

    def encode_or_reject(
        self,
        items: Sequence[Entry],
        *,
        batch_size: int = 32,
        workers: int = 2,
        pool: MediaPool | None = None,
        mode: Mode = "speed",
        **_: Any,
    ) -> Encoded:
        """As `encode`, but an item that cannot be encoded becomes a `Reject` and has no vector. `workers=0` decodes here."""
        if mode not in self.modes:
            raise ValueError(f"mode {mode!r}: a {self.preprocess.template} model has {', '.join(self.modes)} only")
        kept: list[int] = []
        rejects: list[Reject] = []
        readings: list[Reading] = []
        rows, truncated = [np.zeros((0, self.width), np.float32)], 0
        with self._pool(items, workers, pool) as media:
            stream = enumerate(self._decoded(items, media))
            while group := list(islice(stream, batch_size)):
                rejects += [found for _, found in group if isinstance(found, Reject)]
                good = [(i, found) for i, found in group if isinstance(found, DecodedItem)]
                if good:
                    begun = time.perf_counter()
                    vectors, cut = self.vectors([item for _, item in good])
                    readings += [Reading("speed", 1000 * (time.perf_counter() - begun) / len(good))] * len(good)
                    rows.append(_unit(vectors, [item for _, item in good]))
                    kept += [i for i, _ in good]
                    truncated += cut
        return Encoded(np.concatenate(rows), kept, rejects, truncated, readings)

    def close(self) -> None:  # noqa: B027
        """Nothing is kept between calls."""

    def _pool(self, items: Sequence[Entry], workers: int, pool: MediaPool | None) -> AbstractContextManager[MediaPool | None]:
        if pool is not None or not workers or not any(isinstance(item, Item) and item.has_media for item in items):
            return nullcontext(pool)
        return MediaPool(workers)

    def _decoded(self, items: Sequence[Entry], pool: MediaPool | None) -> Iterator[DecodedItem | Reject]:
        taken = [without_sound(item) for item in items]
        files = decode_items([item for item in taken if isinstance(item, Item)], self.preprocess.sampling, pool)
        for item in taken:
            found: Any = next(files) if isinstance(item, Item) else [item]
            if isinstance(found, Reject):
                yield found
                continue
            (only,) = found  # without sound a clip is one part
            problem = "the model does not hear; leave the audio modality out" if only.wave is not None else self.fault(only)
            yield only if problem is None else Reject(item.item_id, "error", problem)


def without_sound(item: Entry) -> Entry:
    """The item for a model that does not hear: a video without its sound. A sound without a video stays, to be refused by name."""
    if isinstance(item, Item):
        return replace(item, sound=False, audio_uri=None) if item.video_uri and (item.sound or item.audio_uri) else item
    return item.without("audio") if item.frames is not None and item.wave is not None else item


def folder_digest(folder: Path, *names: str) -> str:
    """sha256 over every weight file and settings file of a model folder, and `names`: how it is read."""
    folders = sorted({file.parent for file in folder.rglob("*.safetensors")}) or [folder]
    weights = [[path.relative_to(folder).as_posix(), weights_digest(path)] for path in folders]
    texts = sorted([*folder.rglob("*.json"), *folder.rglob("*.txt"), *folder.rglob("*.model")])
    settings = [[file.relative_to(folder).as_posix(), hashlib.sha256(file.read_bytes()).hexdigest()] for file in texts]
    return hashlib.sha256(json.dumps([weights, settings, names]).encode()).hexdigest()


def normalised(vectors: np.ndarray) -> np.ndarray:
    """Rows (N, D) at length 1; a row of zeros or of no finite numbers becomes NaN, for the caller to name."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.divide(vectors, lengths, out=np.full_like(vectors, np.nan), where=np.isfinite(lengths) & (lengths > 1e-6))


def _unit(vectors: np.ndarray, items: Sequence[DecodedItem]) -> np.ndarray:
    unit = normalised(np.asarray(vectors, np.float32))
    if (bad := np.flatnonzero(~np.isfinite(unit).all(axis=1))).size:
        raise ItemError(f"item {items[bad[0]].item_id}: its vector is not finite or zero; the weights or the input are broken")
    return unit
