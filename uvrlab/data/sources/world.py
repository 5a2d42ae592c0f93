"""The procedural world as a source: rendered in workers, block by block, each block cached as one shard in the work folder.

A block is a run of `BLOCK` scenes of one split. Its name holds everything that its bytes depend on, so a larger world renders only
what it adds, and a killed run continues at the first block that is not there.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import av

from uvrlab.config import WorldConfig
from uvrlab.data.hearing import CELLS
from uvrlab.data.measure import cache_dir
from uvrlab.data.media import media_bytes
from uvrlab.data.probe import PROBE_VERSION, probe, probe_from
from uvrlab.data.schema import SPLITS
from uvrlab.data.shards import ShardWriter
from uvrlab.data.uvrb.plan import uvrb_plan
from uvrlab.data.workers import MediaPool, Reject
from uvrlab.runs import code_digest, digest_json, write_json

BLOCK = 64
Row = dict[str, Any]


@dataclass(frozen=True)
class Block:
    """A run of scenes: what a worker makes each from. `name` is its run without its length."""

    name: str
    items: tuple[dict[str, Any], ...]

    @classmethod
    def cut(cls, group: str, items: Sequence[dict[str, Any]]) -> Iterator[Block]:
        for start in range(0, len(items), BLOCK):
            yield cls(f"{group}-{start:06d}", tuple(items[start : start + BLOCK]))


def blocks(world: WorldConfig) -> Iterator[Block]:
    """Every block of the splits, in table order."""
    fixed = {"seed": world.seed, "duration_s": world.duration_s, "family_size": world.family_size}
    for split in SPLITS:
        yield from Block.cut(split, [{"split": split, "index": i, **fixed} for i in range(getattr(world, split))])


def uvrb_blocks(world: WorldConfig) -> Iterator[Block]:
    """Every block of the procedural UVRB's clips, kind after kind."""
    for kind, indices in uvrb_plan(world.uvrb, world.seed).items():
        yield from Block.cut(f"uvrb-{kind}", [{"kind": kind, "index": i, "seed": world.seed} for i in indices])


def hearing_blocks(world: WorldConfig) -> Iterator[Block]:
    """Every block of the benchmark of hearing: a picture with a track, over all families."""
    for picture, track in CELLS:
        cell = {"picture": picture, "track": track, "seed": world.seed}
        yield from Block.cut(f"hear-p{picture:02d}-t{track:02d}", [{"index": i, **cell} for i in range(world.hearing)])


def world_key(world: WorldConfig) -> str:
    """What the bytes of a clip depend on beside its split and index."""
    sources = code_digest(("data/world",))
    parts = [world.seed, world.duration_s, world.family_size, sources, PROBE_VERSION, av.__version__]
    return digest_json(parts)[:16]


def render(item: dict[str, Any]) -> dict[str, Any]:
    """In a worker: one clip's media, measurement and row."""
    from uvrlab.data.world import render_clip, sample_scene, to_clip_row
    from uvrlab.data.world.hearing_scenes import hearing_scene
    from uvrlab.data.world.uvrb_scenes import uvrb_scene

    draw = uvrb_scene if "kind" in item else hearing_scene if "track" in item else sample_scene
    scene = draw(**item)
    if scene is None:
        raise ValueError(f"no scene of kind {item['kind']!r} at index {item['index']}; the plan must leave it out")
    data = render_clip(scene)
    return {"data": data, "probe": asdict(probe(io.BytesIO(data))), "row": to_clip_row(scene)}


def world_clips(
    pool: MediaPool, world: WorldConfig, wanted: Iterable[Block], shards: ShardWriter, done: Callable[[int, int], None]
) -> Iterator[Row | Reject]:
    """Every clip row of the `wanted` blocks in order, media added to `shards`. `done(rendered, reused)` reports finished clips."""
    folder = cache_dir() / "world" / world_key(world)
    folder.mkdir(parents=True, exist_ok=True)
    for block in wanted:
        entries = _known(folder, block)
        rejects: list[Reject] = []
        reused, n = len(entries), len(block.items)
        if reused < n:
            entries, rejects = _render_block(pool, folder, block, entries)
        yield from rejects
        for entry in entries:
            data, row = media_bytes(entry["uri"], folder), entry["row"]
            uri = shards.add(f"{row['clip_id']}.mp4", data)
            sha256 = hashlib.sha256(data).hexdigest()
            yield {**row, **probe_from(entry["probe"]).columns(), "uri": uri, "media_sha256": sha256}
        done(n - reused, reused)


def _known(folder: Path, block: Block) -> list[Row]:
    """What the cache holds of a block: the longest block of this start, as many entries of it as are wanted."""
    files = sorted(folder.glob(f"{block.name}-*.json"))
    return json.loads(files[-1].read_text())[: len(block.items)] if files else []


def _render_block(pool: MediaPool, folder: Path, block: Block, known: list[Row]) -> tuple[list[Row], list[Reject]]:
    """The entries of a block, rendering what is not `known`; a block with faults is not kept, so it is tried again."""
    name = f"{block.name}-{len(block.items):03d}"
    entries, rejects = list(known), []
    with ShardWriter(folder / name) as shard:
        for made in pool.map(render, block.items[len(known) :], name=lambda i: f"{block.name.rpartition('-')[0]}-{i['index']:06d}"):
            if isinstance(made, Reject):
                rejects.append(made)
                continue
            uri = shard.add(f"{made['row']['clip_id']}.mp4", made["data"])
            entries.append({"uri": uri, "probe": made["probe"], "row": made["row"]})
    if not rejects:
        write_json(folder / f"{name}.json", entries)
    return entries, rejects
