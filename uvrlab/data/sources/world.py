"""The procedural world as a source: rendered in workers, block by block, each block cached as one shard in the work folder.

A block is a run of `BLOCK` scenes of one split. Its name holds everything that its bytes depend on, so a larger world renders only
what it adds, and a killed run continues at the first block that is not there.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import av

from uvrlab.config import WorldConfig
from uvrlab.data.measure import cache_dir
from uvrlab.data.media import media_bytes
from uvrlab.data.probe import PROBE_VERSION, probe, probe_from
from uvrlab.data.schema import SPLITS
from uvrlab.data.shards import ShardWriter
from uvrlab.data.workers import MediaPool, Reject
from uvrlab.runs import code_digest, digest_json, write_json

BLOCK = 64
Row = dict[str, Any]


def blocks(world: WorldConfig) -> Iterator[tuple[str, int, int]]:
    """(split, first index, number of scenes) of every block, in table order."""
    for split in SPLITS:
        total = getattr(world, split)
        for start in range(0, total, BLOCK):
            yield split, start, min(BLOCK, total - start)


def world_key(world: WorldConfig) -> str:
    """What the bytes of a clip depend on beside its split and index."""
    sources = code_digest(("data/world",))
    parts = [world.seed, world.duration_s, world.family_size, sources, PROBE_VERSION, av.__version__]
    return digest_json(parts)[:16]


def render(item: dict[str, Any]) -> dict[str, Any]:
    """In a worker: one clip's media, measurement and row."""
    from uvrlab.data.world import render_clip, sample_scene, to_clip_row

    scene = sample_scene(item["split"], item["index"], item["seed"], duration_s=item["duration_s"], family_size=item["family_size"])
    data = render_clip(scene)
    return {"data": data, "probe": asdict(probe(io.BytesIO(data))), "row": to_clip_row(scene)}


def world_clips(
    pool: MediaPool, world: WorldConfig, shards: ShardWriter, done: Callable[[int, int], None]
) -> Iterator[Row | Reject]:
    """Every clip row of the world in order, its media added to `shards`. `done(rendered, reused)` reports finished clips."""
    folder = cache_dir() / "world" / world_key(world)
    folder.mkdir(parents=True, exist_ok=True)
    for split, start, n in blocks(world):
        entries = _known(folder, split, start, n)
        rejects: list[Reject] = []
        reused = len(entries)
        if reused < n:
            entries, rejects = _render_block(pool, world, folder, (split, start, n), entries)
        yield from rejects
        for entry in entries:
            data, row = media_bytes(entry["uri"], folder), entry["row"]
            uri = shards.add(f"{row['clip_id']}.mp4", data)
            sha256 = hashlib.sha256(data).hexdigest()
            yield {**row, **probe_from(entry["probe"]).columns(), "uri": uri, "media_sha256": sha256}
        done(n - reused, reused)


def _known(folder: Path, split: str, start: int, n: int) -> list[Row]:
    """What the cache holds of a block: the longest block of this start, at most `n` entries of it."""
    files = sorted(folder.glob(f"{split}-{start:06d}-*.json"))
    return json.loads(files[-1].read_text())[:n] if files else []


def _render_block(
    pool: MediaPool, world: WorldConfig, folder: Path, block: tuple[str, int, int], known: list[Row]
) -> tuple[list[Row], list[Reject]]:
    """The entries of a block, rendering what is not `known`; a block with faults is not kept, so it is tried again."""
    split, start, n = block
    name = f"{split}-{start:06d}-{n:03d}"
    fixed = {"split": split, "seed": world.seed, "duration_s": world.duration_s, "family_size": world.family_size}
    items = ({**fixed, "index": i} for i in range(start + len(known), start + n))
    entries, rejects = list(known), []
    with ShardWriter(folder / name) as shard:
        for made in pool.map(render, items, name=lambda i: f"world-{i['split']}-{i['index']:06d}"):
            if isinstance(made, Reject):
                rejects.append(made)
                continue
            uri = shard.add(f"{made['row']['clip_id']}.mp4", made["data"])
            entries.append({"uri": uri, "probe": made["probe"], "row": made["row"]})
    if not rejects:
        write_json(folder / f"{name}.json", entries)
    return entries, rejects
