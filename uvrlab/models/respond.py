"""Grounded responses of a model to questions about clips, with sound and picture, or with one or both really taken away.

A modality is removed as a field of the item, so its tokens are absent and positions are those of what is left: no zeros stand in.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, get_args

from uvrlab.data.items import FeaturedItem
from uvrlab.data.questions import Asked
from uvrlab.models.generate import think, words
from uvrlab.rewards.grounding import answer_reward, first_answer

Condition = Literal["av", "v", "a", "blind"]
CONDITIONS: tuple[Condition, ...] = get_args(Condition)
REMOVED: dict[Condition, tuple[str, ...]] = {"av": (), "v": ("audio",), "a": ("video",), "blind": ("video", "audio")}


def under(item: FeaturedItem, condition: Condition) -> FeaturedItem:
    """The item under a condition. A clip without sound is the same under `av` and `v`, and has nothing left under `a`."""
    return item.without(*REMOVED[condition])


def respond(
    model: Any, spec: Any, collate: Any, items: Sequence[FeaturedItem], device: str, *, max_new_tokens: int, batch_size: int = 64
) -> list[str]:
    """Greedy responses, without their turn end, in the order of `items`, whose text is the whole question.

    `collate` pads to the left. A response that did not end within `max_new_tokens` is returned as far as it came.
    """
    order = sorted(range(len(items)), key=lambda i: _length(items[i]))
    found = [""] * len(items)
    for start in range(0, len(order), batch_size):
        rows = order[start : start + batch_size]
        batch = collate([items[i] for i in rows], template="chat", cut=False).to(device)
        for i, thought in zip(rows, think(model, spec, collate.text, batch, max_new_tokens), strict=True):
            found[i] = words(collate.text, thought)
    return found


def is_right(text: str, question: Asked) -> bool:
    """Whether the first answer of a response is the reference answer; half-right words are not. Its form does not matter."""
    answer = first_answer(text)
    return answer is not None and answer_reward(answer, question.answer, question.options) == 1.0


def _length(item: FeaturedItem) -> tuple[int, int, int]:
    """Rows of about one length side by side: padding costs as much as tokens."""
    grid = item.shape.video
    return (grid[0] * grid[1] * grid[2] if grid else 0, item.shape.audio, len(item.text or ""))
