"""The Modality Pyramid as arithmetic: which task a batch comes from, epoch by epoch (GVE, arXiv 2510.27571).

Each epoch every task k gets a score R_k from a prober, and tasks are drawn with P(k) proportional to exp(R_k / sigma). Sigma
rises, so well-aligned tasks come first and the draw flattens later. Not here: the prober, the data, the training loop.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, get_args

import numpy as np

from uvrlab.config import Schedule, ScoreKind

Array = np.ndarray[Any, Any]
SCHEDULES: tuple[Schedule, ...] = get_args(Schedule)


def task_probabilities(scores: Mapping[str, float], sigma: float) -> dict[str, float]:
    """{task: P(task)} with P proportional to exp(score / sigma), computed without overflow; sums to 1.

    Raises ValueError for no task, for a score that is not finite (naming the task), or for a sigma that is not above 0.
    """
    if not scores:
        raise ValueError("no task to draw from: found no scores, expected one a task")
    if not (math.isfinite(sigma) and sigma > 0):
        raise ValueError(f"sigma must be a finite number above 0, found {sigma}")
    for task, score in scores.items():
        if not math.isfinite(score):
            raise ValueError(f"the score of task {task!r} is {score}, expected a finite number; probe it again")
    top = max(scores.values())
    weights = {task: math.exp((score - top) / sigma) for task, score in scores.items()}
    total = sum(weights.values())
    return {task: weight / total for task, weight in weights.items()}


def sigma_at(epoch: int, epochs: int, start: float = 0.1, end: float = 1.0) -> float:
    """Sigma of an epoch, linear from `start` in the first (epoch 0) to `end` in the last (epoch `epochs` - 1).

    A single epoch has `start`. Raises ValueError for an epoch outside 0 .. epochs - 1.
    """
    if not 0 <= epoch < epochs:
        raise ValueError(f"epoch {epoch} of {epochs}: epochs count from 0 to {epochs - 1}")
    return start if epochs == 1 else start + (end - start) * epoch / (epochs - 1)


def probabilities(
    schedule: Schedule,
    history: Sequence[Mapping[str, float]],
    sizes: Mapping[str, int],
    epochs: int,
    start: float = 0.1,
    end: float = 1.0,
) -> dict[str, float]:
    """{task: P(task)} for the epoch that the last entry of `history` (scores a task, one mapping an epoch) was probed for.

    - pyramid: the published draw, best-aligned tasks first;
    - reversed: the same sigma, worst-aligned tasks first;
    - static: the first epoch's scores at the middle sigma in every epoch, so the mix is uneven but never moves;
    - proportional: by number of pairs (`sizes`), as without a curriculum.

    Raises ValueError for an unknown schedule, an empty history, or tasks that differ between scores and sizes.
    """
    if schedule not in SCHEDULES:
        raise ValueError(f"unknown schedule {schedule!r}; expected one of {', '.join(SCHEDULES)}")
    if not history:
        raise ValueError("the history is empty: probe the tasks once before the first epoch")
    scores = history[-1]
    if odd := sorted(set(scores) ^ set(sizes)):
        raise ValueError(f"task {odd[0]!r} has {'a size but no score' if odd[0] in sizes else 'a score but no size'}")
    if schedule == "proportional":
        return _shares(sizes)
    if schedule == "static":
        return task_probabilities(history[0], (start + end) / 2)
    sign = -1.0 if schedule == "reversed" else 1.0
    sigma = sigma_at(len(history) - 1, epochs, start, end)
    return task_probabilities({task: sign * score for task, score in scores.items()}, sigma)


def _shares(sizes: Mapping[str, int]) -> dict[str, float]:
    total = sum(sizes.values())
    if total <= 0 or min(sizes.values()) < 0:
        raise ValueError(f"sizes must be counts with a sum above 0, found {dict(sizes)}")
    return {task: size / total for task, size in sizes.items()}


def alignment(query: Array, target: Array, kind: ScoreKind = "cosine") -> float:
    """R_k of one task from the unit vectors of its N probe pairs, `query` and `target` (N, D) row by row.

    - cosine: the mean cosine of a pair, as published; it mixes a task's difficulty with the prober's scale;
    - rank: the mean share of the other targets that a query places below its own, ties half (1 is perfect, 0.5 is chance):
      free of that scale, but dependent on N, so probe the same N for every task.

    Raises ValueError for shapes that differ, vectors that are not finite, or a rank from fewer than two pairs.
    """
    query, target = np.asarray(query, dtype=np.float64), np.asarray(target, dtype=np.float64)
    if query.shape != target.shape or query.ndim != 2 or not len(query):
        raise ValueError(f"query {query.shape} and target {target.shape} must both be (N, D) with N >= 1")
    if not (np.isfinite(query).all() and np.isfinite(target).all()):
        raise ValueError("a probe vector holds NaN or infinity; encode the probe pairs again")
    if kind == "cosine":
        return float((query * target).sum(axis=1).mean())
    if kind != "rank":
        raise ValueError(f"unknown score {kind!r}; expected one of {', '.join(get_args(ScoreKind))}")
    if len(query) < 2:
        raise ValueError("a rank needs at least two probe pairs, found 1")
    scores = query @ target.T  # (N, N)
    own = scores.diagonal()[:, None]
    below = (scores < own).sum(axis=1) + ((scores == own).sum(axis=1) - 1) / 2
    return float((below / (len(query) - 1)).mean())
