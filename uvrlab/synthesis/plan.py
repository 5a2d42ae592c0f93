"""Which pairs each clip gives: the configured mix, exact up to rounding, every clip with the same number of pairs.

Systematic sampling. The shares of the mix, times the pairs a clip gives, are laid end to end on a line; a clip at place u of the
seeded order takes the cells that hold u, u + 1, u + 2, ... Places are evenly spaced, so each cell's total is within one of its
share, and a clip that joins a thousand others moves a handful of their cells, not all of them.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

GIVEN = "given"  # the style of a caption that came with the clip: no word range is promised for it


@dataclass(frozen=True, order=True)
class Cell:
    """One kind of pair: a task, and for text queries the caption style."""

    task: str
    style: str = ""

    def __str__(self) -> str:
        return f"{self.task}:{self.style}" if self.style else self.task


def mix(tasks: Mapping[Any, float], styles: Mapping[Any, float]) -> dict[Cell, float]:
    """Shares of every cell; text tasks split over the styles. Sums to 1."""
    cells: dict[Cell, float] = {}
    for task, share in sorted(tasks.items()):
        split = sorted(styles.items()) if task == "T2V" else [("", 1.0)]
        cells |= {Cell(task, style): share * part for style, part in split if share * part > 0}
    return cells


def place(names: Iterable[str], seed: int) -> dict[str, float]:
    """Each id's place in (0, 1): its rank in the seeded order, evenly spaced."""
    ranked = sorted(names, key=lambda name: hashlib.sha256(f"{seed}\0{name}".encode()).digest())
    return {name: (rank + 0.5) / len(ranked) for rank, name in enumerate(ranked)}


def cells_at(u: float, shares: Mapping[Cell, float], pairs: int) -> dict[Cell, int]:
    """How many pairs of each cell a clip at place `u` gives; `pairs` in all."""
    found: dict[Cell, int] = {}
    total, edge = sum(shares.values()), 0.0
    for cell, share in shares.items():
        low, edge = edge, edge + pairs * share / total
        # whole numbers k with low <= u + k < edge; rounding keeps the last edge from losing a pair to float error
        count = math.ceil(round(edge - u, 9)) - math.ceil(round(low - u, 9))
        if count:
            found[cell] = count
    return found
