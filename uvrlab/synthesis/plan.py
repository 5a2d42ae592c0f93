"""Which pairs each clip gives: the configured mix, exact up to rounding, every clip with the same number of pairs.

Systematic sampling. The shares of the mix, times the pairs a clip gives, are laid end to end on a line; a clip at place u of the
seeded order takes the cells that hold u, u + 1, u + 2, ... Places are evenly spaced, so each cell's total is within one of its
share, and a clip that joins a thousand others moves a handful of their cells, not all of them. Where just some clips have a
reference that leads to them, these give more of the composed pairs (`fit`).
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

GIVEN = "given"  # the style of a caption that came with the clip: no word range is promised for it
CAPTIONED = ("T2T", "T2V")  # tasks whose query is a caption in one of the styles
ROUNDS = 200


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
        split = sorted(styles.items()) if task in CAPTIONED else [("", 1.0)]
        cells |= {Cell(task, style): share * part for style, part in split if share * part > 0}
    return cells


def fit(tasks: Mapping[Any, float], able: Mapping[frozenset[str], int]) -> dict[frozenset[str], dict[str, float]]:
    """{tasks that a group of clips can give: their shares in it}, so that all groups together have the shares of `tasks`.

    `able` counts the clips of each group. Iterative proportional fitting: a share that cannot be reached goes to the other tasks,
    and every clip still gives the same number of pairs. A group that can give nothing has no shares.
    """
    groups = sorted((g for g in able if any(tasks.get(t, 0.0) > 0 for t in g)), key=sorted)
    names = sorted(t for t, share in tasks.items() if share > 0 and any(t in g for g in groups))
    wanted, size = np.array([tasks[t] for t in names]), np.array([able[g] for g in groups], float)
    cells = np.array([[tasks[t] if t in g else 0.0 for t in names] for g in groups])  # (groups, tasks)
    for _ in range(ROUNDS if groups else 0):
        cells *= wanted * size.sum() / wanted.sum() / cells.sum(axis=0)
        cells *= (size / cells.sum(axis=1))[:, None]
    found: dict[frozenset[str], dict[str, float]] = {group: {} for group in able}
    for group, row, n in zip(groups, cells, size, strict=True):
        found[group] = {task: float(x / n) for task, x in zip(names, row, strict=True) if x > 0}
    return found


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
