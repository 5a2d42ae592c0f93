"""How loud a clip is, and when: levels in dBFS over tenths of a second."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

WINDOW_S = 0.1
RISE_DB, LOUD_DB, QUIET_DB = 9.0, -45.0, -55.0
JOIN_S, LEAST_S = 0.3, 0.1


@dataclass(frozen=True)
class Loudness:
    """Mean level, the stretches that stand out above the median, and the quiet ones; times from the clip's start."""

    level_db: float
    loud: tuple[tuple[float, float], ...]
    quiet: tuple[tuple[float, float], ...]
    levels_db: tuple[float, ...]  # one a tenth of a second


def measure_loudness(wave: np.ndarray, rate_hz: int) -> Loudness:
    """Of mono samples in -1..1."""
    size = round(WINDOW_S * rate_hz)
    windows = wave[: len(wave) // size * size].reshape(-1, size) if len(wave) >= size else wave[None, :]
    levels = 10 * np.log10(np.maximum((windows.astype(np.float64) ** 2).mean(axis=1), 1e-10))
    overall = 10 * float(np.log10(max(float((wave.astype(np.float64) ** 2).mean()), 1e-10)))
    loud = _runs(levels > max(float(np.median(levels)) + RISE_DB, LOUD_DB), LEAST_S)
    quiet = _runs(levels < QUIET_DB, 0.5)
    return Loudness(round(overall, 1), loud, quiet, tuple(levels.round(1).tolist()))


def _runs(mask: np.ndarray, least_s: float) -> tuple[tuple[float, float], ...]:
    """Stretches where `mask` holds, joined over short gaps, without those shorter than `least_s`."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], mask.astype(np.int8), [0]])))
    runs = [(a * WINDOW_S, b * WINDOW_S) for a, b in zip(edges[::2], edges[1::2], strict=True)]
    joined: list[tuple[float, float]] = []
    for start, end in runs:
        if joined and start - joined[-1][1] <= JOIN_S:
            joined[-1] = (joined[-1][0], end)
        else:
            joined.append((start, end))
    return tuple((round(float(a), 1), round(float(b), 1)) for a, b in joined if b - a >= least_s - 1e-9)


def level_word(level_db: float) -> str:
    edges = ((QUIET_DB, "barely audible"), (-35.0, "faint"), (-20.0, "moderately loud"), (99.0, "loud"))
    return next(word for edge, word in edges if level_db < edge)
