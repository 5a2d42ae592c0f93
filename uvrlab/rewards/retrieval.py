"""UME-R1's embedding reward (arXiv 2511.00405, section 3.3): does a rollout's vector find its own pair's rollouts, and by how much?

N pairs, G rollouts a side. Row i of the (N*G, N*G) similarity matrix is query rollout i, column j target rollout j; both sides are
grouped by pair, so the positives of a rollout are the G rollouts of the same pair on the other side.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Terms:
    """One side's terms, (N*G,) each; NaN where a rollout cannot be compared."""

    rank: Array  # share of positives among the top places, 0..1
    gap: Array  # mean similarity to positives - mean similarity to negatives

    @property
    def reward(self) -> Array:
        """R = r * d as published: 0 without a positive in the top places whatever the gap, negative where only the gap is."""
        return self.rank * self.gap


def embedding_rewards(similarity: Array, group_size: int, target_ids: Sequence[Any] | Array | None = None) -> tuple[Array, Array]:
    """(query_rewards, target_rewards), (N*G,) each: R = r * d of every rollout. See `rank_and_gap` for the terms and faults."""
    query, target = rank_and_gap(similarity, group_size, target_ids)
    return query.reward, target.reward


def rank_and_gap(similarity: Array, group_size: int, target_ids: Sequence[Any] | Array | None = None) -> tuple[Terms, Terms]:
    """The rank and the gap term of every query rollout (over its row) and target rollout (over its column).

    r = |top-G of the row that are positives| / G; candidates tied at place G count by the share of them that is expected there
    when ties fall at random. d = mean(similarity to positives) - mean(similarity to negatives).

    Args:
        similarity: (N*G, N*G) numbers. A rollout without a vector is a whole row (query) or column (target) of NaN: it leaves
            everybody's candidates, and where a row has lost positives, G becomes the number left.
        group_size: G, at least 1.
        target_ids: N ids. Pairs with equal ids are false negatives of each other: neither positives nor negatives.

    Returns:
        Query terms and target terms. NaN, unscored and not 0, for a rollout without a vector, and for one that is left
        without positives or negatives: an accident of one batch, which the caller counts.

    Raises:
        ValueError: N = 1 (nothing to compare with), shapes that do not match, values that are not finite.
    """
    values = np.asarray(similarity, dtype=np.float64)
    pair, other = _relations(values, group_size, target_ids)
    _check_finite(values)
    return _terms(values, pair, other), _terms(values.T, pair, other)


def _relations(values: Array, group_size: int, target_ids: Sequence[Any] | Array | None) -> tuple[Array, Array]:
    """Two symmetric (N*G, N*G) masks: same pair, and pairs with different targets."""
    size = len(values) if values.ndim else 0
    if group_size < 1 or values.shape != (size, size) or size == 0 or size % group_size:
        raise ValueError(
            f"found similarities {values.shape} in groups of {group_size}; expected (N*G, N*G) with the same G on both sides"
        )
    n = size // group_size
    if n == 1:
        raise ValueError("found N = 1 pair, which leaves no negatives; expected at least 2 pairs a step")
    own = np.eye(n, dtype=bool)
    same_target: Array = own
    if target_ids is not None:
        if len(target_ids) != n:
            raise ValueError(f"found {len(target_ids)} target ids for {n} pairs of {group_size} rollouts; expected one a pair")
        same_target = own | np.array([[a == b for b in target_ids] for a in target_ids], dtype=bool)
    block = np.ones((group_size, group_size), dtype=bool)
    return np.kron(own, block), np.kron(~same_target, block)


def _check_finite(values: Array) -> None:
    """NaN is allowed in whole rows and columns only; anywhere else it is a fault of the vectors, not a missing one."""
    gone = np.isnan(values)
    missing = gone.all(axis=1, keepdims=True) | gone.all(axis=0, keepdims=True)
    wrong = ~np.isfinite(values) & ~missing
    if wrong.any():
        i, j = (int(x) for x in np.argwhere(wrong)[0])
        raise ValueError(
            f"similarity of query rollout {i} and target rollout {j} is {values[i, j]}; expected a finite number, or a whole row "
            "or column of NaN for a rollout without a vector: check the vectors"
        )


def _terms(values: Array, pair: Array, other: Array) -> Terms:
    present = ~np.isnan(values)
    positive, negative = pair & present, other & present
    n_positive, n_negative = positive.sum(1), negative.sum(1)
    compared = (n_positive > 0) & (n_negative > 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        gap = np.where(positive, values, 0).sum(1) / n_positive - np.where(negative, values, 0).sum(1) / n_negative
        rank = _expected_positives(np.where(positive | negative, values, -np.inf), positive, n_positive) / n_positive
    return Terms(np.where(compared, rank, np.nan), np.where(compared, gap, np.nan))


def _expected_positives(candidates: Array, positive: Array, places: Array) -> Array:
    """(R,) how many positives stand in the first `places` of each row; those tied at the last place by their expected share."""
    falling = -np.sort(-candidates, axis=1)
    last = np.take_along_axis(falling, np.maximum(places - 1, 0)[:, None], axis=1)  # (R, 1) the value at the last place
    above, tied = candidates > last, candidates == last
    share = (places - above.sum(1)) / tied.sum(1)
    return (above & positive).sum(1) + (tied & positive).sum(1) * share
