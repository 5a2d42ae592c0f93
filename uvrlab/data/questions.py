"""Questions about clips as a model is asked them: everything of the table but its true spans, which are for evaluation alone.

A training stage reads questions through `read_questions` and so never holds a true span (tested); only `read_spans` opens that
column.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from uvrlab.data import instructions, schema
from uvrlab.runs import sha256_bytes

Span = tuple[float, float]
COLUMNS = ("question_id", "clip_id", "split", "question", "options", "answer", "needs")  # without true_spans


@dataclass(frozen=True)
class Asked:
    """One question with its reference answer. `options` are bare texts, none for an open question; `answer` is "B. green star"."""

    question_id: str
    clip_id: str
    split: str
    question: str
    options: tuple[str, ...]
    answer: str
    needs: str  # picture, sound or both

    @property
    def prompt(self) -> str:
        """The user text that asks for a grounded response."""
        return instructions.ask(self.question, self.options, grounded=True)

    @property
    def answer_text(self) -> str:
        """The answer without its letter."""
        return self.answer[3:] if self.options else self.answer


def read_questions(uvrd: Path, splits: Sequence[str] = (), needs: Sequence[str] = ()) -> list[Asked]:
    """The questions of some splits and needs (none given: of all) in table order, without their true spans."""
    rows = schema.read_table("questions", uvrd / "questions", COLUMNS)
    asked = [from_row(row) for row in rows]
    return [q for q in asked if (not splits or q.split in splits) and (not needs or q.needs in needs)]


def from_row(row: Mapping[str, Any]) -> Asked:
    """A row of the questions table, with or without the spans."""
    return Asked(**{**{name: row[name] for name in COLUMNS}, "options": tuple(row["options"] or ())})


def spread(questions: Sequence[Asked], count: int) -> list[Asked]:
    """At most `count` questions in their order, as even over what they need as there are; the choice hangs on their ids alone."""
    by_needs: dict[str, list[Asked]] = {}
    for question in sorted(questions, key=lambda q: sha256_bytes(q.question_id.encode())):
        by_needs.setdefault(question.needs, []).append(question)
    chosen: set[str] = set()
    for left, needs in zip(range(len(by_needs), 0, -1), sorted(by_needs, key=lambda n: len(by_needs[n])), strict=True):
        chosen |= {q.question_id for q in by_needs[needs][: (count - len(chosen)) // left]}
    return [question for question in questions if question.question_id in chosen]


def read_spans(folder: Path) -> dict[str, list[Span]]:
    """{question_id: true spans} in seconds on the file's clock. For evaluation only."""
    rows = schema.read_table("questions", folder / "questions", ("question_id", "true_spans"))
    return {row["question_id"]: [(s["start_s"], s["end_s"]) for s in row["true_spans"] or ()] for row in rows}
