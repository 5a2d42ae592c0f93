"""Families stay together, shards hold whole families, references never come later and never leave the split."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from uvrlab.data.schema import write_table
from uvrlab.synthesis.families import LARGEST, families, references, shards

Row = dict[str, Any]


def test_shards_hold_whole_families_in_table_order(tmp_path: Path, world_clip: Callable[..., Any]) -> None:
    """Ten train clips are families of 4, 4 and 2; shards of at least 5 clips are 8, then 2 and the 4 of val."""
    rows = [world_clip(split, i) for split, n in (("pretrain", 3), ("train", 10), ("val", 4), ("test", 3)) for i in range(n)]
    write_table("clips", rows, tmp_path)
    assert [[len(f) for f in shard] for shard in shards(tmp_path, 5)] == [[4, 4], [2, 4]]
    assert [r["clip_id"] for f in families(tmp_path) for r in f] == [r["clip_id"] for r in rows if r["split"] in ("train", "val")]


def test_siblings_refer_to_each_other(world_clip: Callable[..., Any]) -> None:
    family = [world_clip("train", i) for i in range(4)]
    for place in range(4):
        found = [r["clip_id"] for r in references(place, family)]
        assert sorted(found) == sorted(r["clip_id"] for i, r in enumerate(family) if i != place)


def test_a_window_refers_to_the_nearest_earlier_windows_of_its_video(real_clip: Callable[..., Any]) -> None:
    windows = [{**real_clip(f"v@{i}", start_s=3.0 * i), "parent_id": "v"} for i in range(9)]
    assert references(0, windows) == []
    assert [r["clip_id"] for r in references(8, windows)] == ["v@7", "v@6", "v@5", "v@4", "v@3", "v@2"]


def test_an_endless_recording_is_no_endless_shard(tmp_path: Path, real_clip: Callable[..., Any]) -> None:
    """Of 600 windows of one video a shard holds 256 at most, whatever its size; none is lost."""
    rows = [{**real_clip(f"v@{i}", start_s=3.0 * i), "parent_id": "v"} for i in range(600)]
    write_table("clips", rows, tmp_path)
    for size in (10, LARGEST):
        assert [[len(f) for f in shard] for shard in shards(tmp_path, size)] == [[256], [256], [88]]
