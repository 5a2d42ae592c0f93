"""What a reward is here: plain numbers from plain values, None or NaN where it does not apply, never 0 for a fault. No torch.

A part of a reward holds one value a rollout. `combine` adds parts with weights; `WEIGHTS` are the published ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
Score = float | None  # None: does not apply, or could not be scored

WEIGHTS: dict[str, dict[str, float]] = {
    "grpo": {"format": 1.0, "embedding": 1.0},  # UME-R1 section 3.3
    "grounding": {"format": 1.0, "answer": 1.0, "consistency": 0.5, "completeness": 0.5},  # OmniVideo-R1, R_QI
    "fusion": {"format": 1.0, "answer": 1.0, "attention": 1.0},  # OmniVideo-R1, R_MA; alpha stands in the bonus
}


def to_array(scores: Sequence[Score] | Array, name: str = "scores") -> Array:
    """(R,) float64 with NaN for None. ValueError if it is no list of numbers or holds an infinity."""
    values = np.array([np.nan if s is None else s for s in scores], dtype=np.float64)
    if values.ndim != 1 or np.isinf(values).any():
        raise ValueError(
            f"{name}: found shape {values.shape} with {int(np.isinf(values).sum())} infinite values; "
            "expected a list of finite numbers, None where a rollout could not be scored"
        )
    return values


def combine(parts: Mapping[str, Sequence[Score] | Array], weights: Mapping[str, float]) -> Array:
    """(R,) the weighted sum of the parts, NaN where any part is unscored: what a judge could not see is dropped, not punished.

    ValueError unless parts and weights have the same names and every part one value a rollout.
    """
    if set(parts) != set(weights):
        raise ValueError(f"found parts {sorted(parts)} and weights {sorted(weights)}; expected one weight a part")
    columns = {name: to_array(scores, name) for name, scores in parts.items()}
    lengths = {name: len(column) for name, column in columns.items()}
    if len(set(lengths.values())) != 1:
        raise ValueError(f"found parts of lengths {lengths}; expected one value a rollout in each")
    return sum((weights[name] * column for name, column in columns.items()), np.zeros(next(iter(lengths.values()))))
