"""Whether a query is worth a thought, and whether the thought helped: from the structure of its scores, without training.

In the manner of SURE (arXiv 2609.29560): a vector is as sure as the softmax probability of its best candidate, at the temperature
that the model was trained with. Queries whose disc scores are unsure think, and keep whichever vector is surer. No label is read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Route:
    """What was decided for one query, and how sure each vector was (the gen one only where it was asked)."""

    thinks: bool
    takes_think: bool
    disc: float
    gen: float | None = None


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

    def choose(self, disc: Array, gen: Array) -> Array:
        """(Q,) bool for both vectors (Q, D) of queries that thought: whose gen vector is the surer one."""
        return certainty(gen @ self.think.T, self.temperature) > certainty(disc @ self.speed.T, self.temperature)


def certainty(scores: Array, temperature: float = 0.05) -> Array:
    """Softmax probability of the best of N candidates from cosines (..., N), in [1/N, 1]."""
    scores = np.asarray(scores, float)
    spread = np.exp((scores - scores.max(axis=-1, keepdims=True)) / temperature)
    found: Array = 1.0 / spread.sum(axis=-1)
    return found


def routes(disc: Sequence[Array], gen: Sequence[Array], *, budget: float, temperature: float) -> list[Route]:
    """The routes of queries from their candidates' scores in both modes, about the share `budget` of them thinking.

    The threshold of every other query is the `budget` quantile of how sure the queries between are: no query helps to decide its
    own, and nothing is read but disc scores. A budget of 0 or 1 is nobody or everybody.
    """
    sure = np.array([certainty(row, temperature) for row in disc])
    found: list[Route] = [Route(False, False, float(known)) for known in sure]
    for start in (0, 1):
        others = np.array([-np.inf, *sure[1 - start :: 2], np.inf])
        threshold = float(np.quantile(others, budget, method="nearest"))
        for i in range(start, len(sure), 2):
            if sure[i] < threshold:
                surer = float(certainty(gen[i], temperature))
                found[i] = Route(True, surer > sure[i], float(sure[i]), surer)
    return found
