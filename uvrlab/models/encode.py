"""`Embedder.load(path).encode(items)`: any mix of text, image, video and audio to unit vectors.

A vector depends on its item alone: not on padding side, batch size or neighbours (tested, cosine >= 0.9999). Decoding runs in
worker processes ahead of the model, items are batched by length, and order is kept. Nothing is cached here; that is the caller's.
"""

from __future__ import annotations

import time
import weakref
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from uvrlab.config import LimitsConfig
from uvrlab.data.batch import Batch
from uvrlab.data.decoding import decode_items
from uvrlab.data.items import DecodedItem, Item, ItemError
from uvrlab.data.prefetch import prefetch
from uvrlab.data.spec import DISC_TOKEN
from uvrlab.data.workers import MediaPool, Reject
from uvrlab.models import modes, towers
from uvrlab.models.modes import Mode, Reading, Thinking
from uvrlab.models.preprocess import Preprocess
from uvrlab.models.router import Router

Entry = Item | DecodedItem


@dataclass(frozen=True)
class Encoded:
    """Vectors of the items that could be encoded: (K, D) float32 of unit length, their indices, and the rejects.

    `readings` says of each vector in what mode it was read, at what cost and behind which thoughts.
    """

    vectors: np.ndarray
    kept: list[int]
    rejects: list[Reject]
    truncated: int  # items whose text was cut
    readings: list[Reading]
    samples: np.ndarray | None = None  # (K, k, D) in mode best_of_k: what the vectors are the consensus of

    def of_all(self) -> np.ndarray:
        """The vectors where none is missing; else ItemError, which names the first reject."""
        if self.rejects:
            first = self.rejects[0]
            raise ItemError(
                f"{len(self.rejects)} of {len(self.kept) + len(self.rejects)} items cannot be encoded, first {first.item}: "
                f"{first.reason}, {first.detail}; use encode_or_reject to leave them out"
            )
        return self.vectors

    @property
    def fallbacks(self) -> int:
        """Thoughts without <gen_emb>, for which a disc vector stands in."""
        return sum(reading.fallbacks for reading in self.readings)


@dataclass(eq=False)
class Embedder:
    """A loaded model that turns items into vectors. `digest` names the model: backbone, adapter and preprocessing."""

    spec: Any
    model: Any
    tokenizer: Any
    preprocess: Preprocess
    digest: str
    device: str = "cpu"
    limits: LimitsConfig | None = None
    _pool: MediaPool | None = None
    _pool_size: int = 0

    def __post_init__(self) -> None:
        self.collate = self.preprocess.collator(self.spec, self.tokenizer, self.model.config)
        self.collate_left = self.preprocess.collator(self.spec, self.tokenizer, self.model.config, padding_side="left")

    @classmethod
    def load(cls, path: str | Path, device: str = "cpu", template: Literal["embed", "last"] | None = None) -> Embedder:
        """Load a model directory, a backbone or published checkpoint's folder, or a backbone's name.

        The golden vectors of a model directory are checked. `template` is for folders that do not say how they are read: "last" for
        GVE, "embed" for UME-R1 and bare backbones; by default as the folder's own files tell.
        """
        from uvrlab.models.modeldir import load_model

        loaded = load_model(path, device=device, template=template)
        return cls(loaded.spec, loaded.model, loaded.tokenizer, loaded.preprocess, loaded.digest, device)

    @property
    def modes(self) -> tuple[Mode, ...]:
        """What the model can be asked for: thinking needs a read-out that stands in a response."""
        return modes.MODES if self.preprocess.template == "embed" else ("speed",)

    @property
    def modalities(self) -> tuple[str, ...]:
        """What an item may hold."""
        return ("text", "image", "video", "audio") if self.spec.hears else ("text", "image", "video")

    @property
    def width(self) -> int:
        """Length of a vector."""
        return int(self.model.config.get_text_config().hidden_size)

    def encode(
        self,
        items: Sequence[Entry],
        *,
        batch_size: int = 32,
        workers: int = 2,
        mode: Mode = "speed",
        thinking: Thinking | None = None,
        router: Router | None = None,
    ) -> np.ndarray:
        """(B, D) float32 unit vectors in the order of `items`; an item that cannot be encoded is an error that names it.

        `encode_or_reject` takes the same and also tells how each vector came about.
        """
        options: dict[str, Any] = {"mode": mode, "thinking": thinking, "router": router}
        return self.encode_or_reject(items, batch_size=batch_size, workers=workers, **options).of_all()

    def encode_or_reject(
        self,
        items: Sequence[Entry],
        *,
        batch_size: int = 32,
        workers: int = 2,
        pool: MediaPool | None = None,
        mode: Mode = "speed",
        thinking: Thinking | None = None,
        router: Router | None = None,
    ) -> Encoded:
        """As `encode`, but an item that cannot be encoded becomes a `Reject` and has no vector. `workers=0` decodes here.

        `mode`: speed, the disc vector; think, the gen vector behind a greedy thought; best_of_k, what k sampled thoughts agree on;
        auto, the disc vector and, where `router` has the item think, the gen vector beside it: (K, 2 D), for `router.candidates`.
        `router` must hold the vectors of what is searched. `thinking` says how thoughts are made. Raises ValueError for a mode that
        the model does not have, and where mode auto has no router.
        """
        if mode not in self.modes:
            told = f"a model read by template {self.preprocess.template!r} has {', '.join(self.modes)} only"
            raise ValueError(f"mode {mode!r}: {told}; thinking needs a read-out in the response (template 'embed')")
        thinking = thinking or Thinking()
        if mode == "auto":
            if router is None:
                raise ValueError("found mode auto without a router, which decides by what is searched; pass router=Router(...)")
            return modes.encode_auto(self, items, router, batch_size=batch_size, workers=workers, pool=pool, thinking=thinking)
        order = sorted(range(len(items)), key=lambda i: _length_key(items[i]))
        sums = np.zeros((len(items), thinking.k if mode == "best_of_k" else 1, self.width), np.float32)
        rejects: dict[int, Reject] = {}
        notes, truncated = modes.Notes(), 0
        if pool is None and workers and any(isinstance(x, Item) and x.has_media for x in items):
            pool = self._own_pool(workers)
        for owners, parts, batch in prefetch(self._batches(items, order, batch_size, pool, rejects)):
            began = time.perf_counter()
            thinks = mode != "speed"
            found = modes.read(self, parts, owners, mode, thinking, notes) if thinks else self.embed(batch)[:, None]
            np.add.at(sums, owners, found)
            truncated += batch.truncated
            notes.took(owners, time.perf_counter() - began)
        kept = [i for i in range(len(items)) if i not in rejects]
        samples = self._normalised(sums[kept], [_name(items[i]) for i in kept])
        readings = [notes.reading(i, mode) for i in kept]
        several = mode == "best_of_k"
        vectors = modes.consensus(samples, readings, thinking) if several else samples[:, 0]
        rejected = [rejects[i] for i in sorted(rejects)]
        return Encoded(vectors, kept, rejected, truncated, readings, samples if several else None)

    def embed(self, batch: Batch) -> np.ndarray:
        """(B, D) float32 unit vectors of one collated batch, read at the read-out token."""
        import torch

        with torch.inference_mode():
            hidden = towers.forward(self.model, batch.to(self.device))
            at = batch.disc_positions
            rows = torch.arange(len(at))
            self._check_readout(batch.input_ids[rows, at], at)
            states = hidden[rows.to(hidden.device), at.to(hidden.device)].float()
            return torch.nn.functional.normalize(states, dim=-1).cpu().numpy()

    @staticmethod
    def _normalised(sums: np.ndarray, names: Sequence[str]) -> np.ndarray:
        """(N, K, D) sums over windows at unit length."""
        norms = np.linalg.norm(sums, axis=2, keepdims=True)
        if len(names) and not (np.isfinite(norms).all() and norms.min() > 1e-6):
            bad = int(np.nanargmin(np.where(np.isfinite(norms), norms, 0.0).min(axis=(1, 2))))
            raise ItemError(f"item {names[bad]}: its vector is not finite; the weights or the input are broken")
        return sums / norms if len(names) else sums

    def _check_readout(self, ids: Any, at: Any) -> None:
        name = DISC_TOKEN if self.preprocess.template == "embed" else self.spec.tokens.end_of_text
        if bool((at < 0).any()) or bool((ids != self.collate.text.id(name)).any()):
            raise ItemError(f"a row has no {name} at its read-out position; collate with template {self.preprocess.template!r}")

    def _batches(
        self, items: Sequence[Entry], order: list[int], size: int, pool: MediaPool | None, rejects: dict[int, Reject]
    ) -> Iterator[tuple[list[int], list[DecodedItem], Batch]]:
        """Indices of the owning items, decoded parts and their batch; broken items go to `rejects`."""
        owners: list[int] = []
        parts: list[DecodedItem] = []
        for index, decoded in self._decoded(items, order, pool):
            if isinstance(decoded, Reject):
                rejects[index] = decoded
                continue
            owners += [index] * len(decoded)
            parts += decoded
            while len(parts) >= size:
                yield owners[:size], parts[:size], self._collate(parts[:size])
                owners, parts = owners[size:], parts[size:]
        if parts:
            yield owners, parts, self._collate(parts)

    def _collate(self, parts: list[DecodedItem]) -> Batch:
        return self.collate(parts, template=self.preprocess.template)

    def _own_pool(self, workers: int) -> MediaPool:
        """Decode workers kept for the next call, since starting one costs as much as decoding fifty clips; they end with `self`."""
        if self._pool is None or self._pool_size != workers:
            self.close()
            self._pool, self._pool_size = MediaPool(workers, self.limits), workers
            weakref.finalize(self, self._pool.__exit__)
        return self._pool

    def close(self) -> None:
        """Stop the decode workers; the next call starts new ones."""
        if self._pool is not None:
            self._pool.__exit__()
            self._pool = None

    def _decoded(self, items: Sequence[Entry], order: list[int], pool: MediaPool | None) -> Iterator[tuple[int, Any]]:
        sampling = self.preprocess.sampling
        ready = [i for i in order if isinstance(items[i], DecodedItem)]
        for i in ready:
            yield i, self._checked(items[i], [items[i]])
        files = [i for i in order if isinstance(items[i], Item)]
        sources: list[Any] = [items[i] for i in files]
        for i, decoded in zip(files, decode_items(sources, sampling, pool), strict=True):
            yield i, decoded if isinstance(decoded, Reject) else self._checked(items[i], decoded)

    def _checked(self, item: Entry, parts: list[Any]) -> Any:
        """The parts, or a `Reject` where the template cannot hold one of them."""
        try:
            for part in parts:
                self.collate.shape_of(part)
        except ValueError as error:
            return Reject(_name(item), "error", str(error))
        return parts


def _name(item: Entry) -> str:
    return item.item_id


def _length_key(item: Entry) -> tuple[float, ...]:
    """Items of about equal token counts side by side, judged before anything is decoded."""
    text = float(len(item.text or ""))
    if isinstance(item, DecodedItem):
        return (
            float(item.frames is not None),
            float(item.wave is not None),
            float(len(item.wave) if item.wave is not None else 0),
            text,
        )
    seconds = (item.end_s or 1e6) - item.start_s if item.video_uri or item.audio_uri else 0.0
    return (float(bool(item.video_uri)), float(item.sound or bool(item.audio_uri)), seconds, text)
