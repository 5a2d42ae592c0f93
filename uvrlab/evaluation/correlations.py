"""Correlation over models with its interval: Pearson (Fisher z) and Spearman (Bonett & Wright, Psychometrika 2000)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal, get_args

import numpy as np

Method = Literal["spearman", "pearson"]
METHODS: tuple[Method, ...] = get_args(Method)


@dataclass(frozen=True)
class Correlation:
    """A coefficient over n models; null where a column is constant. The interval is null below n = 4."""

    value: float | None
    low: float | None
    high: float | None
    n: int


@dataclass(frozen=True)
class Cell:
    """The correlation of two columns."""

    row: str
    column: str
    value: float | None
    low: float | None
    high: float | None


def correlate(x: Sequence[float], y: Sequence[float], method: Method = "spearman", level: float = 0.95) -> Correlation:
    """The correlation of two columns of the same n models. Raises ValueError for an unknown method or differing lengths."""
    if method not in METHODS:
        raise ValueError(f"unknown method {method!r}; expected one of {', '.join(METHODS)}")
    if len(x) != len(y):
        raise ValueError(f"columns of {len(x)} and {len(y)} models cannot be correlated; expected the same models")
    value = _coefficient(*((ranks(x), ranks(y)) if method == "spearman" else (np.asarray(x, float), np.asarray(y, float))))
    low, high = interval(value, len(x), method, level) if value is not None else (None, None)
    return Correlation(value, low, high, len(x))


def matrix(columns: Mapping[str, Sequence[float]], method: Method = "spearman") -> list[Cell]:
    """A cell for every ordered pair of different columns (name -> one value a model)."""
    found: dict[tuple[str, str], Correlation] = {}
    for row in columns:
        for column in columns:
            if row != column:
                known = found.get((column, row)) or correlate(columns[row], columns[column], method)
                found[row, column] = known
    return [Cell(row, column, c.value, c.low, c.high) for (row, column), c in found.items()]


def interval(value: float, n: int, method: Method, level: float = 0.95) -> tuple[float, float] | tuple[None, None]:
    """Interval of a coefficient by the normal law of its Fisher z: variance 1 / (n - 3), times 1 + r^2 / 2 for Spearman.

    Null below n = 4. At +-1 the law has no width, so a perfect coefficient of few models looks surer than it is.
    """
    if n < 4:
        return None, None
    if abs(value) == 1:
        return value, value
    error = math.sqrt((1 + value**2 / 2 if method == "spearman" else 1) / (n - 3))
    half = NormalDist().inv_cdf((1 + level) / 2) * error
    return math.tanh(math.atanh(value) - half), math.tanh(math.atanh(value) + half)


def ranks(values: Sequence[float]) -> np.ndarray:
    """(n,) ranks from 1, ties at their mean."""
    _, place, counts = np.unique(np.asarray(values, float), return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[place]


def _coefficient(x: np.ndarray, y: np.ndarray) -> float | None:
    if len(x) < 2 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return None
    x, y = x - x.mean(), y - y.mean()
    value = float(x @ y / math.sqrt(float(x @ x) * float(y @ y)))
    # two rows that agree to the last bit of a float are perfectly correlated
    return math.copysign(1.0, value) if abs(value) > 1 - 1e-12 else value
