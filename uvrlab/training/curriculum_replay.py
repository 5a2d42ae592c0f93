"""Grounded answers that the curriculum replays: the start model's own, so that no true span and no earlier rollout is needed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from uvrlab.data.items import Item
from uvrlab.models.adapter import folded
from uvrlab.training.checkpoints import once
from uvrlab.training.questions import QuestionRoller, Questions
from uvrlab.training.questions_heldout import forms, responses, rightness


@dataclass(frozen=True)
class Answer:
    """A question about a clip as an item, and a grounded response to it."""

    question_id: str
    item: Item
    text: str


def own_answers(roller: QuestionRoller, asked: Questions, file: Path) -> list[Answer]:
    """Greedy responses with the strict form and the reference answer, kept in `file`: the model that gave them will change."""

    def make() -> dict[str, str]:
        if not asked.samples:
            return {}
        with folded(roller.model):
            texts = responses(roller, asked)
        good = forms(asked, texts) * rightness(asked, texts)
        return {s.pair_id: text for s, text, fit in zip(asked.samples, texts, good, strict=True) if fit}

    kept = once(file, make)
    return [Answer(s.pair_id, s.query, kept[s.pair_id]) for s in asked.samples if s.pair_id in kept]
