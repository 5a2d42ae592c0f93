"""Has a distribution moved? Permutation test on the maximum mean discrepancy (Gretton et al., JMLR 13, 2012), exact at any size.

The p-value counts how often a random split of the same rows lies as far apart as the real one. Rows of one source video resemble
each other, so only one row of each may enter: `one_a_group`. Measured false-alarm rates and power: `bench/results/drift.json`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from uvrlab.data.probe import SILENCE_DB

MOST_ROWS = 1000  # a side; the kernel is square in them
FEWEST_ROWS = 20
PERMUTATIONS = 399
MEASURED = ("duration_s", "fps", "width", "height", "has_audio", "audible", "loudness_db")
SCALES = ("duration_s", "fps", "width", "height")  # compared by ratio


@dataclass(frozen=True)
class Drift:
    """One test: `mmd2` is the squared distance of the kernel means, `p_value` how often chance alone gives as much."""

    what: str
    n_current: int
    n_reference: int
    mmd2: float | None
    p_value: float | None  # None: too few rows to judge

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def drift(what: str, current: np.ndarray, reference: np.ndarray, seed: int = 0) -> Drift:
    """Test rows (n, D) against (m, D), at most `MOST_ROWS` of each, already drawn at random; not judged below `FEWEST_ROWS`."""
    current, reference = current[:MOST_ROWS], reference[:MOST_ROWS]
    if min(len(current), len(reference)) < FEWEST_ROWS:
        return Drift(what, len(current), len(reference), None, None)
    return Drift(what, len(current), len(reference), *mmd_test(current, reference, seed))


def mmd_test(x: np.ndarray, y: np.ndarray, seed: int = 0, permutations: int = PERMUTATIONS) -> tuple[float, float]:
    """Squared MMD of rows x (n, D) and y (m, D), and its permutation p-value; RBF kernel, median distance as its width.

    p = (1 + splits at least as far apart) / (1 + permutations): under exchangeable rows P(p <= a) <= a for every a.
    """
    rows = np.concatenate([x, y]).astype(np.float32)
    kernel, rng = _kernel(rows), np.random.default_rng([seed, 31])
    weights = np.full(len(rows), -1.0 / len(y), np.float32)
    weights[: len(x)] = 1.0 / len(x)
    splits = np.stack([weights, *(rng.permutation(weights) for _ in range(permutations))], axis=1)  # (n + m, 1 + P)
    found = np.einsum("ij,ij->j", splits, kernel @ splits)
    as_far = np.count_nonzero(found[1:] >= found[0] - 1e-7)
    return float(max(found[0], 0.0)), float((1 + as_far) / (1 + permutations))


def _kernel(rows: np.ndarray) -> np.ndarray:
    squares = (rows**2).sum(axis=1)
    distances = np.maximum(squares[:, None] + squares[None] - 2 * rows @ rows.T, 0.0)
    middle = float(np.median(distances[np.triu_indices(len(rows), 1)]))
    return np.exp(-distances / max(middle, 1e-12))


def one_a_group(groups: Sequence[Any] | pd.Series, seed: int = 0, most: int = MOST_ROWS) -> np.ndarray:
    """Positions of one random row of each group, at most `most`, in random order."""
    order = np.random.default_rng([seed, 32]).permutation(len(groups))
    first = ~pd.Series(np.asarray(groups, object)[order]).duplicated().to_numpy()
    return order[first][:most]


def measured(current: pd.DataFrame, reference: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """The measured columns of two clips tables as rows (n, D), (m, D), scaled by their pooled spread; constant columns fall out."""
    frame = pd.concat([current, reference])[list(MEASURED)].copy()
    frame["loudness_db"] = frame.loudness_db.fillna(SILENCE_DB)
    frame[list(SCALES)] = np.log(frame[list(SCALES)].astype(float).clip(lower=1e-3))
    values = frame.fillna(0).to_numpy(float)
    spread = values.std(axis=0)
    values = (values - values.mean(axis=0))[:, spread > 1e-9] / spread[spread > 1e-9]
    return values[: len(current)], values[len(current) :]
