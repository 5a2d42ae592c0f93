"""Finished shards of a phase, kept in the checkpoint folder: a killed run goes on behind the last of them, and makes none twice.

A shard is a folder of tables that gets its name by one rename when it is whole.
"""

from __future__ import annotations

import json
import shutil
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from uvrlab.data import schema

Row = dict[str, Any]
J = TypeVar("J")
R = TypeVar("R")
NOTES = "notes.json"


class Shards:
    """The shards of one phase by number."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def path(self, number: int) -> Path:
        return self.folder / f"{number:05d}"

    def has(self, number: int) -> bool:
        return self.path(number).is_dir()

    def write(self, number: int, tables: Mapping[str, list[Row]], notes: Any) -> None:
        """Store the tables, and `notes` (JSON values) beside them."""
        partial = self.folder / f".{number:05d}.tmp"
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
        for table, rows in tables.items():
            schema.write_file(table, rows, partial / f"{table}.parquet")
        (partial / NOTES).write_text(json.dumps(notes))
        partial.replace(self.path(number))

    def file(self, number: int, table: str) -> Path:
        return self.path(number) / f"{table}.parquet"

    def rows(self, number: int, table: str) -> list[Row]:
        return schema.read_table(table, self.file(number, table))

    def notes(self, number: int) -> Any:
        return json.loads((self.path(number) / NOTES).read_text())

    def forget(self, number: int) -> None:
        """Have a shard made again."""
        shutil.rmtree(self.path(number))


def by_shard(
    shards: Iterable[tuple[int, list[J]]], run: Callable[[Iterable[J]], Iterable[R]]
) -> Iterator[tuple[int, list[J], list[R]]]:
    """Every shard with the results of its jobs, as soon as all are there; `run` sees one stream of jobs, so no worker waits."""
    waiting: deque[tuple[int, list[J]]] = deque()

    def jobs() -> Iterator[J]:
        for number, own in shards:
            waiting.append((number, own))
            yield from own

    found: list[R] = []

    def finished() -> Iterator[tuple[int, list[J], list[R]]]:
        while waiting and len(found) >= len(waiting[0][1]):
            number, own = waiting.popleft()
            results = found[: len(own)]
            del found[: len(own)]
            yield number, own, results

    for result in run(jobs()):
        found.append(result)
        yield from finished()
    yield from finished()
