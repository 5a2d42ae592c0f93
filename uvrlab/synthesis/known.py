"""What the survey of all clips comes to: which clips stay, and which pairs each of them gives. A few numbers a clip."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from uvrlab.config import SynthesizeConfig
from uvrlab.synthesis.filters import Embed, apply, duplicates, fingerprints
from uvrlab.synthesis.plan import Cell, cells_at, fit, mix, place
from uvrlab.synthesis.shards import Shards

Row = dict[str, Any]
Kind = tuple[str, tuple[tuple[str, float], ...]]  # split, caption styles with their shares


@dataclass
class Known:
    """`dropped` and `twins` hold reject and filter rows by clip id; `able` counts the clips that can give each task."""

    pairs_per_clip: int
    dropped: dict[str, Row] = field(default_factory=dict)
    twins: dict[str, list[Row]] = field(default_factory=dict)
    able: Counter[str] = field(default_factory=Counter)
    _places: dict[str, tuple[float, Mapping[Cell, float]]] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        surveyed: Shards,
        n_shards: int,
        own: SynthesizeConfig,
        seed: int,
        embed: Embed | None = None,
        covered: frozenset[str] = frozenset(),
    ) -> Known:
        """From the finished survey; `embed` and `covered` as in `duplicates`."""
        known = cls(own.pairs_per_clip)
        able: dict[str, tuple[Kind, frozenset[str]]] = {}
        clips: list[Row] = []
        marks: dict[str, np.ndarray] = {}
        for number in range(n_shards):
            notes, rows = surveyed.notes(number), surveyed.rows(number, "filters")
            for name, (tasks, styles) in notes["able"].items():
                able[name] = (notes["clips"][name]["split"], tuple(sorted(styles.items()))), frozenset(tasks)
            known.dropped |= apply(rows).clips
            marks |= {name: mark for name, mark in fingerprints(rows).items() if name not in known.dropped}
            clips += [{"clip_id": name, **facts} for name, facts in notes["clips"].items()]
        if marks:
            known._drop_twins(duplicates(clips, marks, own.filters, embed, covered))
        known._plan({name: kind for name, kind in able.items() if name not in known.dropped}, own, seed)
        return known

    @property
    def n_clips(self) -> int:
        """Clips that stay."""
        return len(self._places)

    def stays(self, clip_id: str) -> bool:
        return clip_id in self._places

    def cells(self, clip_id: str) -> dict[Cell, int]:
        """How many pairs of each cell a clip gives."""
        u, shares = self._places[clip_id]
        return cells_at(u, shares, self.pairs_per_clip)

    def _drop_twins(self, rows: list[Row]) -> None:
        for row in rows:
            self.twins.setdefault(row["clip_id"], []).append(row)
        self.dropped |= apply(rows).clips

    def _plan(self, able: Mapping[str, tuple[Kind, frozenset[str]]], own: SynthesizeConfig, seed: int) -> None:
        """The mix holds within each split, and apart for clips of other caption styles (none, or just the given one)."""
        groups: dict[Kind, dict[frozenset[str], list[str]]] = {}
        for name, (kind, tasks) in able.items():
            groups.setdefault(kind, {}).setdefault(tasks, []).append(name)
            self.able.update(tasks)
        for (_, styles), by_tasks in groups.items():
            shares = fit(own.tasks, {tasks: len(names) for tasks, names in by_tasks.items()})
            for tasks, names in by_tasks.items():
                cells = mix(shares[tasks], dict(styles))
                self._places |= {name: (u, cells) for name, u in place(names, seed).items()}
