"""Which queries are worth a thought: those whose disc scores leave the best candidate open. Training-free; no label is read.

In the manner of SURE (arXiv 2609.29560): a vector is as sure as the softmax probability of its best candidate. A thought is added
to the disc vector, not put in its place: a query that thinks is ranked by the mean of both cosines, the others by disc alone. Both
are one product when the two vectors of an item stand side by side, see `side_by_side`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Router:
    """Decides by what is searched: `speed` (N, D) disc and `think` (N, D) gen vectors of the same candidates, unit length.

    A query thinks where it is less sure than `threshold`; 0.5 is "rather wrong than right" for a model whose softmax is calibrated.
    """

    speed: Array
    think: Array
    threshold: float = 0.5
    temperature: float = 0.05

    def __post_init__(self) -> None:
        if self.speed.shape != self.think.shape or not len(self.speed):
            raise ValueError(f"found {self.speed.shape} disc and {self.think.shape} gen vectors; expected both of each candidate")

    def unsure(self, disc: Array) -> Array:
        """(Q,) bool for disc vectors (Q, D): who has to think."""
        return certainty(disc @ self.speed.T, self.temperature) < self.threshold

    @cached_property
    def candidates(self) -> Array:
        """(N, 2 D) unit vectors that those of mode auto are compared with."""
        return side_by_side(self.speed, self.think)


def side_by_side(disc: Array, gen: Array, thinks: Array | None = None) -> Array:
    """(N, 2 D) unit vectors from disc and gen (N, D): both halves where a row `thinks` (N,), by default all; else disc and zeros.

    The product of two rows with both halves is the mean of their cosines; that of a row with one half and a row with both ranks as
    the disc cosine does.
    """
    both = np.ones(len(disc), bool) if thinks is None else np.asarray(thinks, bool)
    halves = np.concatenate([disc, np.where(both[:, None], gen, 0.0)], axis=1)
    found: Array = (halves / np.sqrt(1.0 + both)[:, None]).astype(np.float32)
    return found


def certainty(scores: Array, temperature: float = 0.05) -> Array:
    """Softmax probability of the best of N candidates from cosines (..., N), in [1/N, 1]."""
    scores = np.asarray(scores, float)
    spread = np.exp((scores - scores.max(axis=-1, keepdims=True)) / temperature)
    found: Array = 1.0 / spread.sum(axis=-1)
    return found


def who_thinks(disc: Sequence[Array], *, budget: float, temperature: float) -> Array:
    """(Q,) bool from the disc scores of each query's candidates, about the share `budget` of them True.

    The threshold of every other query is the `budget` quantile of how sure the queries between are: no query helps to decide its
    own, and nothing is read but disc scores. A budget of 0 or 1 is nobody or everybody.
    """
    sure = np.array([certainty(row, temperature) for row in disc])
    thinks = np.zeros(len(sure), bool)
    for start in (0, 1):
        others = np.array([-np.inf, *sure[1 - start :: 2], np.inf])
        thinks[start::2] = sure[start::2] < np.quantile(others, budget, method="nearest")
    return thinks
