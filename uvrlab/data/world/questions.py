"""Questions whose answer needs the picture, the sound, or both: true by construction, and at chance for a reader of the text alone.

How chance is kept: letters are shuffled; wrong options are drawn the way right ones are, so nothing in a list stands out; an
option that would name a combination of another split is never used, for a reader who knows the split would strike it out. For
"both", every option is made of what is in the clip: with one modality gone at least two options stay equally good.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from uvrlab.data.world.question_kinds import KINDS, N_OPTIONS, Draft, Span
from uvrlab.data.world.scene import Scene

OPEN_SHARE = 0.2
LETTERS = "ABCD"


@dataclass(frozen=True)
class Question:
    """`options` are bare texts (empty: open); `answer` is "B. green star" or, when open, "green star"."""

    question_id: str
    clip_id: str
    split: str
    question: str
    options: tuple[str, ...]
    answer: str
    needs: str
    true_spans: tuple[Span, ...]

    @property
    def kind(self) -> str:
        """Which of `KINDS` it is: the last part of its id."""
        return self.question_id.rpartition("-")[2]

    @property
    def answer_text(self) -> str:
        """The answer without its letter."""
        return self.answer[3:] if self.options else self.answer

    def prompt(self) -> str:
        """The question as it is put to a model: with a line an option, "A. red star"."""
        lines = [f"{letter}. {option}" for letter, option in zip(LETTERS, self.options, strict=False)]
        return "\n".join([self.question, *lines])

    def to_row(self) -> dict[str, Any]:
        """A row of the `questions` table."""
        return {
            "question_id": self.question_id,
            "clip_id": self.clip_id,
            "split": self.split,
            "question": self.question,
            "options": list(self.options),
            "answer": self.answer,
            "needs": self.needs,
            "true_spans": [{"start_s": a, "end_s": b} for a, b in self.true_spans],
        }

    @classmethod
    def from_row(cls, row: dict[str, Any]) -> Question:
        spans = tuple((float(s["start_s"]), float(s["end_s"])) for s in row["true_spans"] or ())
        return cls(**{**row, "options": tuple(row["options"] or ()), "true_spans": spans})


def questions(scene: Scene, rng: np.random.Generator) -> list[Question]:
    """Every kind of question that this scene allows, once each, in random order; one of five is open. May be empty of a `needs`."""
    made: list[Question] = []
    for kind, (needs, maker) in KINDS.items():
        if needs != "picture" and scene.track != "sound":
            continue
        drafts = list(maker(scene, rng))
        if drafts:
            draft = drafts[int(rng.integers(len(drafts)))]
            made.append(_finish(scene, kind, needs, draft, rng))
    return [made[int(i)] for i in rng.permutation(len(made))]


def _finish(scene: Scene, kind: str, needs: str, draft: Draft, rng: np.random.Generator) -> Question:
    question = Question(
        question_id=f"{scene.clip_id}-{kind}",
        clip_id=scene.clip_id,
        split=scene.split,
        question=draft.text,
        options=(),
        answer=draft.answer,
        needs=needs,
        true_spans=merge_spans(draft.spans),
    )
    if draft.wrong is None or rng.random() < OPEN_SHARE:
        return question
    options = [draft.answer, *draft.wrong[: N_OPTIONS - 1]]
    assert len(set(options)) == N_OPTIONS, f"{kind}: options {options}"
    shuffled = [options[int(i)] for i in rng.permutation(N_OPTIONS)]
    answer = f"{LETTERS[shuffled.index(draft.answer)]}. {draft.answer}"
    return replace(question, options=tuple(shuffled), answer=answer)


def merge_spans(spans: Sequence[Span]) -> tuple[Span, ...]:
    """Ordered and disjoint: spans that touch or overlap become one."""
    merged: list[Span] = []
    for start, end in sorted(spans):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return tuple(merged)
