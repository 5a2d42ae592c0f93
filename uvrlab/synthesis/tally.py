"""Counts over finished shards, and the first pairs of each task: all that the report needs, whatever the number of pairs."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import pyarrow.parquet as pq

from uvrlab.data.schema import DECISIONS
from uvrlab.synthesis.captioners.base import STRATEGIES
from uvrlab.synthesis.shards import Shards

Row = dict[str, Any]
EXAMPLES = 5  # pairs of a task


@dataclass
class Tally:
    """`cells` by (task, style), `lengths` in words by caption style or, of changes, by task; `faults` and `decisions` by reason."""

    rows: Counter[str] = field(default_factory=Counter)
    cells: Counter[tuple[str, str]] = field(default_factory=Counter)
    splits: Counter[str] = field(default_factory=Counter)
    lengths: dict[str, Counter[int]] = field(default_factory=dict)
    faults: Counter[str] = field(default_factory=Counter)
    decisions: Counter[str] = field(default_factory=Counter)
    first_fault: str = ""
    has_faults: list[bool] = field(default_factory=list)
    duplicates: int = 0
    unled: int = 0
    n_clips: int = 0
    usage: Counter[str] = field(default_factory=Counter)  # of the captioner
    examples: dict[str, list[Row]] = field(default_factory=dict)
    thoughts: dict[str, list[Row]] = field(default_factory=dict)  # of the examples, by pair id
    rejects: list[Row] = field(default_factory=list)  # the first of them

    @classmethod
    def of(cls, made: Shards, n_shards: int) -> Tally:
        """Read every shard once, one at a time."""
        tally = cls()
        for number in range(n_shards):
            tally._add(made, number)
        return tally

    @property
    def n_pairs(self) -> int:
        return self.rows["pairs"]

    @property
    def n_faults(self) -> int:
        return self.faults.total()

    def _add(self, made: Shards, number: int) -> None:
        pairs, notes = made.rows(number, "pairs"), made.notes(number)
        self._add_rejects(made.rows(number, "rejects"))
        for table in ("pairs", "traces", "questions", "filters"):
            self.rows[table] += pq.read_metadata(made.file(number, table)).num_rows
        self.n_clips += notes["clips"]
        self.duplicates += notes["duplicates"]
        self.unled += notes["unled"]
        self.usage.update(notes["usage"])
        new = []
        for pair in pairs:
            self.cells[pair["task"], pair["style"]] += 1
            self.splits[pair["split"]] += 1
            if text := pair["query"]["text"]:
                kind = pair["task"] if pair["task"] in STRATEGIES else pair["style"]
                self.lengths.setdefault(kind, Counter())[len(text.split())] += 1
            shown = self.examples.setdefault(pair["task"], [])
            if len(shown) < EXAMPLES:
                shown.append(pair)
                new.append(pair["pair_id"])
        if new:
            for trace in made.rows(number, "traces"):
                if trace["pair_id"] in new:
                    self.thoughts.setdefault(trace["pair_id"], []).append(trace)

    def _add_rejects(self, rejects: list[Row]) -> None:
        faults = [row for row in rejects if not row["reason"].startswith(DECISIONS)]
        self.rows["rejects"] += len(rejects)
        self.faults.update(row["reason"] for row in faults)
        self.decisions.update(row["reason"] for row in rejects if row["reason"].startswith(DECISIONS))
        self.has_faults.append(bool(faults))
        self.first_fault = self.first_fault or (faults[0]["detail"] if faults else "")
        self.rejects += rejects[: 20 - len(self.rejects)] if len(self.rejects) < 20 else []
