"""Frozen-tower features, computed once a clip and kept on disk under what they depend on.

A key is made of the tower weights' digest, the media's sha256, its span, the sampling, the device and the code that reads, so a
cache is never stale and is shared by every stage on the same backbone. Entries live in safetensors shards, read by memory map. Not
for towers that train.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from uvrlab import runs
from uvrlab.data.collate import Collator
from uvrlab.data.decoding import Sampling, decode_items
from uvrlab.data.items import DecodedItem, FeaturedItem, Item, MediaShape
from uvrlab.data.workers import MediaPool, Reject
from uvrlab.models import towers

KINDS = ("video", "image", "audio")


def tower_digest(model: Any) -> str:
    """sha256 over the towers' weights; it changes when they train."""
    total = hashlib.sha256()
    core = towers.core_of(model)
    for name in ("visual", "audio_tower"):
        part = getattr(core, name, None)
        for key, value in part.state_dict().items() if part is not None else ():
            total.update(f"{name}.{key} {value.dtype} {tuple(value.shape)}".encode())
            total.update(value.detach().cpu().float().contiguous().numpy().tobytes())
    return total.hexdigest()


def featurize(model: Any, collate: Collator, items: Sequence[DecodedItem], device: str = "cpu") -> list[FeaturedItem]:
    """Run the towers on decoded items; features come back on the CPU, detached."""
    import torch

    with torch.no_grad():
        media = collate.media(items)
        found = towers.media_features(model, media.to(device)).to("cpu")
    rows: list[dict[str, Any]] = [{} for _ in items]
    for kind, owners in (("image", media.image_rows), ("video", media.video_rows), ("audio", media.audio_rows)):
        for row, value in zip(owners, getattr(found, kind), strict=True):
            rows[row][kind] = value.clone()  # a view would keep the whole batch alive
    return [
        FeaturedItem(item.item_id, item.text, item.instruction, collate.shape_of(item), **row)
        for item, row in zip(items, rows, strict=True)
    ]


class FeatureCache:
    """A folder of features for one backbone's towers and one sampling."""

    def __init__(self, folder: Path, model: Any, collate: Collator, sampling: Sampling, device: str = "cpu") -> None:
        self.model, self.collate, self.sampling, self.device = model, collate, sampling, device
        spec = collate.spec
        pixels = [spec.min_pixels, spec.max_pixels, spec.video_min_pixels, spec.video_max_pixels]
        code = runs.code_digest(("data", "models"))
        self.folder = folder / runs.digest_json([tower_digest(model), spec.name, pixels, asdict(sampling), device, code])[:16]
        self.folder.mkdir(parents=True, exist_ok=True)
        self._where: dict[str, list[tuple[Path, str]]] = {}
        self._open: dict[Path, Any] = {}
        self.refresh()
        self.computed = 0  # clips that went through the towers in this process

    def refresh(self) -> None:
        """Take note of what other processes have written."""
        self._where.clear()
        for shard in sorted(self.folder.glob("*.safetensors")):
            self._index(shard)

    def key(self, item: Item) -> str:
        """Name of an item's media; text and instruction do not enter."""
        if item.has_media and item.media_sha256 is None:
            raise ValueError(f"item {item.item_id}: no media_sha256; build it from a clips table, which holds the digest")
        span = [item.start_s, item.end_s, item.image_time_s]
        what = [bool(item.video_uri), bool(item.audio_uri), item.sound, item.image_uri if item.image_time_s is None else True]
        return hashlib.sha256(json.dumps([item.media_sha256, span, what]).encode()).hexdigest()[:32]

    def __contains__(self, item: Item) -> bool:
        return not item.has_media or self.key(item) in self._where

    def get(self, item: Item) -> list[FeaturedItem]:
        """The parts of one item, one for each window; features are memory-mapped."""
        if not item.has_media:
            return [FeaturedItem(item.item_id, item.text, item.instruction)]
        return [self._read(item, shard, name) for shard, name in self._where[self.key(item)]]

    def add(self, items: Sequence[Item], *, pool: MediaPool | None = None, batch_size: int = 16) -> list[Reject]:
        """Decode and compute what is missing, one shard for `32 * batch_size` items; returns the rejects."""
        missing = list({self.key(item): item for item in items if item not in self}.values())
        rejects: list[Reject] = []
        for start in range(0, len(missing), 32 * batch_size):
            part = missing[start : start + 32 * batch_size]
            self._write(list(self._compute(part, pool, batch_size, rejects)))
        return rejects

    def _compute(
        self, items: Sequence[Item], pool: MediaPool | None, batch_size: int, rejects: list[Reject]
    ) -> Iterator[tuple[str, FeaturedItem]]:
        waiting: list[tuple[str, DecodedItem]] = []
        bare = [replace(item, text=None, instruction=None) for item in items]
        for item, decoded in zip(items, decode_items(bare, self.sampling, pool), strict=True):
            if isinstance(decoded, Reject):
                rejects.append(decoded)
                continue
            try:
                for part in decoded:
                    self.collate.shape_of(part)
            except ValueError as error:
                rejects.append(Reject(item.item_id, "error", str(error)))
                continue
            waiting += [(f"{self.key(item)}/{n}", part) for n, part in enumerate(decoded)]
            if len(waiting) >= batch_size:
                yield from self._run(waiting)
                waiting = []
        if waiting:
            yield from self._run(waiting)

    def _run(self, waiting: list[tuple[str, DecodedItem]]) -> Iterator[tuple[str, FeaturedItem]]:
        self.computed += len(waiting)
        names = [name for name, _ in waiting]
        yield from zip(names, featurize(self.model, self.collate, [part for _, part in waiting], self.device), strict=True)

    def _write(self, entries: list[tuple[str, FeaturedItem]]) -> None:
        if not entries:
            return
        from safetensors.torch import save_file

        tensors = {
            f"{name}/{kind}": value for name, item in entries for kind in KINDS if (value := getattr(item, kind)) is not None
        }
        shapes = {name: json.dumps(asdict(item.shape)) for name, item in entries}
        name = hashlib.sha256("".join(shapes).encode()).hexdigest()[:16]
        partial, shard = self.folder / f"{name}.tmp", self.folder / f"{name}.safetensors"
        save_file(tensors, partial, metadata=shapes)
        partial.replace(shard)
        self._index(shard)

    def _index(self, shard: Path) -> None:
        from safetensors import safe_open

        with safe_open(shard, framework="pt") as file:
            for name in sorted(file.metadata(), key=lambda n: (n.split("/")[0], int(n.split("/")[1]))):
                self._where.setdefault(name.split("/")[0], []).append((shard, name))

    def _read(self, item: Item, shard: Path, name: str) -> FeaturedItem:
        from safetensors import safe_open

        if shard not in self._open:
            handle = safe_open(shard, framework="pt")
            self._open[shard] = (handle, handle.metadata(), set(handle.keys()))
        file, shapes, keys = self._open[shard]
        values = json.loads(shapes[name])
        for kind in ("video", "image"):
            values[kind] = tuple(values[kind]) if values[kind] else None
        found = {kind: file.get_tensor(f"{name}/{kind}") for kind in KINDS if f"{name}/{kind}" in keys}
        return FeaturedItem(item.item_id, item.text, item.instruction, MediaShape(**values), **found)
