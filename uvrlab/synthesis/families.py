"""The clips table as synthesis reads it: a family at a time, in table order, so that memory does not grow with the table.

A family is a run of neighbouring rows: siblings of the world (tag `family:...`) or the windows of one video. Its clips are
references for each other. A shard is as many whole families as fill it; a family of more than `LARGEST` clips counts as several,
or one endless recording would be one endless shard.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby, islice
from pathlib import Path
from typing import Any

from uvrlab.data import schema

Row = dict[str, Any]
PAIR_SPLITS = ("train", "val", "rl")  # a pretrain clip is for the backbone alone, a test clip for the benchmark alone
MOST_REFERENCES = 6
LARGEST = 256  # clips


def shards(clips: Path, size: int) -> Iterator[list[list[Row]]]:
    """Lists of families that hold at least `size` clips together (the last may hold fewer)."""
    found: list[list[Row]] = []
    for family in families(clips):
        found.append(family)
        if sum(map(len, found)) >= size:
            yield found
            found = []
    if found:
        yield found


def families(clips: Path) -> Iterator[list[Row]]:
    """The families whose clips become pairs."""
    rows = (row for row in schema.iter_rows("clips", clips) if row["split"] in PAIR_SPLITS)
    for _, family in groupby(rows, key=family_of):
        while piece := list(islice(family, LARGEST)):
            yield piece


def family_of(row: Row) -> tuple[str, str]:
    """Equal for clips of one family, which are always in one split."""
    named = next((tag for tag in row["tags"] or () if tag.startswith("family:")), None)
    return row["split"], named or row["parent_id"]


def references(place: int, family: Sequence[Row]) -> list[Row]:
    """The nearest other clips of a family that may lead to the clip at `place`: siblings, or earlier windows of the same video."""
    clip = family[place]
    others = [
        (abs(at - place), at)
        for at, row in enumerate(family)
        if at != place and (row["parent_id"] != clip["parent_id"] or row["end_s"] <= clip["start_s"] + 0.05)
    ]
    return [family[at] for _, at in sorted(others)[:MOST_REFERENCES]]
