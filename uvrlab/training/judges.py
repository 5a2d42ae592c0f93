"""Judges of grounded responses: do the captions describe their spans, and do the spans hold what the answer needs?

OmniVideo-R1's intent reward (arXiv 2602.05847) needs no true span: r_cons is the mean over spans of E(span, caption), r_comp is
E(joined spans, question, reference answer). E is a `Judge`, one of three: `judges_embedder` (self-supervised, and it hears),
`judges_world` (a rubric over the scene graph), `judges_openai` (a model with the published rubrics). A judge that fails says None:
the rollout is then dropped and counted, never scored 0.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np

from uvrlab.data.questions import Asked
from uvrlab.rewards.base import Array, Score
from uvrlab.rewards.grounding import Rules, Span
from uvrlab.training.spans import Footage, grounded_pairs


@dataclass(frozen=True)
class Claim:
    """One caption about one span of a clip."""

    footage: Footage
    span: Span
    caption: str

    @property
    def key(self) -> Hashable:
        return self.footage.clip_id, self.span, self.caption


@dataclass(frozen=True)
class Evidence:
    """The spans of a response, ordered and disjoint under strict rules, as evidence for the reference answer of a question."""

    footage: Footage
    spans: tuple[Span, ...]
    question: Asked

    @property
    def key(self) -> Hashable:
        return self.footage.clip_id, self.spans, self.question.question_id


class Judge(Protocol):
    """Scores in [0, 1], or None where it failed. Every span that it is given has something of it inside the clip."""

    @property
    def name(self) -> str:
        """As in `judge.kind`."""

    def consistency(self, claims: Sequence[Claim]) -> list[Score]:
        """How far each caption describes what its span shows and sounds like."""

    def completeness(self, evidence: Sequence[Evidence]) -> list[Score]:
        """How far each response's spans suffice for question and answer, and hold no more than that."""


@dataclass(frozen=True)
class Intent:
    """r_cons and r_comp of responses, None where the judge failed; `failures` counts these rollouts."""

    consistency: list[Score]
    completeness: list[Score]
    failures: int


def judge_responses(
    judge: Judge, texts: Sequence[str], footage: Sequence[Footage], questions: Sequence[Asked], rules: Rules = "strict"
) -> Intent:
    """Both terms of each response. A form that the rules refuse has nothing to be judged and earns 0 in both.

    A span without anything inside the clip counts as 0 in the mean and makes r_comp 0, as a failed decode does. Equal claims are
    judged once: the rollouts of a group often agree.
    """
    shown = list(zip(texts, footage, questions, strict=True))
    claims = [_claims(grounded_pairs(text, film.duration_s, rules) or [], film) for text, film, _ in shown]
    evidence = [
        Evidence(film, tuple(claim.span for claim in own if claim), question) if own and None not in own else None
        for own, (_, film, question) in zip(claims, shown, strict=True)
    ]
    flat = _once(judge.consistency, [claim for own in claims for claim in own if claim is not None])
    joined = _once(judge.completeness, [one for one in evidence if one is not None])
    spans = [[0.0 if claim is None else flat[claim.key] for claim in own] for own in claims]
    cons = [_mean(scores) for scores in spans]
    comp = [0.0 if one is None else joined[one.key] for one in evidence]
    return Intent(cons, comp, sum(None in pair for pair in zip(cons, comp, strict=True)))


def _claims(pairs: Sequence[tuple[Span, str]], footage: Footage) -> list[Claim | None]:
    """A claim a pair, None where the span starts behind the end."""
    return [Claim(footage, span, caption) if span[0] < footage.duration_s else None for span, caption in pairs]


def _mean(scores: Sequence[Score]) -> Score:
    known = [score for score in scores if score is not None]
    if len(known) < len(scores):
        return None
    return sum(known) / len(known) if known else 0.0


T = TypeVar("T", Claim, Evidence)


def _once(judge: Callable[[Sequence[T]], list[Score]], asked: Sequence[T]) -> dict[Hashable, Score]:
    """{key: score} with each distinct thing judged once. Raises ValueError for a score outside [0, 1]."""
    distinct = {one.key: one for one in asked}
    scores = judge(list(distinct.values())) if distinct else []
    if wrong := [score for score in scores if score is not None and not 0.0 <= score <= 1.0]:
        raise ValueError(f"a judge gave {wrong[0]}; expected a score in [0, 1], or None where it failed")
    return dict(zip(distinct, scores, strict=True))


def auc(higher: Sequence[float] | Array, lower: Sequence[float] | Array) -> float:
    """P(a draw from `higher` exceeds one from `lower`), ties half: 1 where a judge always tells them apart, 1/2 by chance."""
    ordered = np.sort(np.asarray(lower, float))
    below, up_to = np.searchsorted(ordered, higher, "left"), np.searchsorted(ordered, higher, "right")
    return float((below + up_to).mean() / (2 * len(ordered)))
