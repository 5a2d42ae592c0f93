"""What a question needs, and whether a query needs its picture: both by taking a modality away and asking again."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

CONDITIONS = ("both", "picture", "sound")  # what is left to answer from


def needs(right: Mapping[str, bool]) -> str | None:
    """`picture`, `sound` or `both` from whether the answer was right under each of CONDITIONS; None where that does not tell.

    Right with both and with neither alone: both. Right with one alone and wrong with the other: that one. A question that either
    modality answers, or that is missed with both, has no label: it may be guessed, or have no answer.
    """
    if missing := [name for name in CONDITIONS if name not in right]:
        raise ValueError(f"no answer under {', '.join(missing)}; expected one under each of {', '.join(CONDITIONS)}")
    if not right["both"] or (right["picture"] and right["sound"]):
        return None
    return "picture" if right["picture"] else "sound" if right["sound"] else "both"


def lead_without(similarity: np.ndarray, own: int) -> float:
    """By how much a query's text alone prefers its target to the best of its distractors.

    `similarity` (K + 1,) of the text to its target (at `own`) and to K distractors. Above 0 the text finds the target unaided.
    Raises ValueError without a distractor.
    """
    similarity = np.asarray(similarity, float)
    if similarity.ndim != 1 or len(similarity) < 2:
        raise ValueError(f"found similarities of shape {similarity.shape}; expected a target and at least one distractor")
    return float(similarity[own] - np.delete(similarity, own).max())
