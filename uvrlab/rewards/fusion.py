"""The modality-attention term of OmniVideo-R1's second stage (arXiv 2602.05847): paid where sound and picture together do better.

Scores are 0..1 answer rewards of rollouts with audio and video, video only, audio only; under `necessity` they are mean
log-likelihoods of the reference answer.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np

from uvrlab.rewards.base import Array, Score, to_array

Rule = Literal["ge", "gt", "group", "necessity"]
RULES: tuple[Rule, ...] = ("ge", "gt", "group", "necessity")


def attention_bonus(
    score_av: Sequence[Score], score_v: Sequence[Score], score_a: Sequence[Score], *, rule: Rule = "ge", alpha: float = 0.3
) -> list[Score]:
    """The bonus of each A+V rollout, in [0, alpha]; None where a score that it needs is None.

    Args:
        score_av, score_v, score_a: one score a rollout, of equal length; rollouts are compared by index.
        rule: `ge` (released code): alpha if A+V is at least V and at least A. Ties pay, even when all three are wrong.
            `gt`: alpha only if A+V is above both.
            `group` (T-GRPO, Video-R1, arXiv 2503.21776, section 3.1): if the mean of A+V is at least that of V and that of A, each
            rollout gets alpha times its own score. A bonus that is equal within the group would cancel in its advantage.
            `necessity` (after OmniSeek, arXiv 2610.02181): alpha * (1 - exp(-drop)), drop = min(A+V - V, A+V - A) in nats a token,
            0 for a drop of 0 or less: the share of the reference answer's probability that goes when the modality that is
            easier to do without goes. It is bounded, so that one surprising token cannot outweigh a right answer. The scores
            have to be conditioned on the rollout's own words, or they are equal within the group and cancel.
        alpha: the largest bonus, 0.3 as published.

    Raises:
        ValueError: lengths that differ, scores that are not finite, an unknown rule, a negative alpha.
    """
    if rule not in RULES or not (math.isfinite(alpha) and alpha >= 0):
        raise ValueError(f"found rule {rule!r} and alpha {alpha}; expected one of {', '.join(RULES)} and alpha >= 0")
    if not len(score_av) == len(score_v) == len(score_a):
        raise ValueError(
            f"found {len(score_av)} scores with both, {len(score_v)} of video, {len(score_a)} of audio; expected equal numbers"
        )
    av, v, a = _scores("score_av", score_av), _scores("score_v", score_v), _scores("score_a", score_a)
    bonus = alpha * (_group(av, v, a) if rule == "group" else _paired(av, v, a, rule))
    return [None if math.isnan(b) else b for b in bonus.tolist()]


def _scores(name: str, scores: Sequence[Score]) -> Array:
    if any(s is not None and math.isnan(s) for s in scores):
        raise ValueError(f"{name}: found a NaN; expected a number, or None for a rollout that could not be scored")
    return to_array(scores, name)


def _paired(av: Array, v: Array, a: Array, rule: Rule) -> Array:
    margin = av - np.maximum(v, a)  # NaN where any of the three is
    if rule == "necessity":
        return -np.expm1(-np.maximum(margin, 0.0))
    paid = margin >= 0 if rule == "ge" else margin > 0
    return np.where(np.isnan(margin), np.nan, paid)


def _group(av: Array, v: Array, a: Array) -> Array:
    if any(np.isnan(scores).all() for scores in (av, v, a)):  # also of empty lists
        return np.full(len(av), np.nan)
    best = max(np.nanmean(v), np.nanmean(a))
    return np.clip(av, 0.0, 1.0) * float(np.nanmean(av) >= best)
