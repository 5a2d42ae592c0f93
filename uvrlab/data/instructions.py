"""The words in which a model is asked for something: one table for pretraining, training, rollouts and evaluation."""

from __future__ import annotations

from collections.abc import Sequence

CAPTION = {
    "concise": "Describe the clip in one sentence.",
    "rich": "Describe the clip in detail, with times.",
    "abstract": "Say what the clip is about in general.",
    "keywords": "List keywords for the clip.",
    "partial": "Describe one part of the clip.",
}
FRAME = "Describe the picture."
SOUNDS = "List the sounds with their times."
REWRITE = {
    "concise": "Rewrite in one sentence.",
    "rich": "Rewrite in detail, with times.",
    "abstract": "Rewrite in general terms.",
    "keywords": "Rewrite as keywords.",
    "partial": "Rewrite one part.",
}
ANSWER = "Answer only."
GROUND = "Give times and captions, think, then answer."


def ask(question: str, options: Sequence[str] = (), *, grounded: bool = False) -> str:
    """A question as a user text; options are lettered A, B, C, D."""
    lines = [question, *(f"{letter}. {option}" for letter, option in zip("ABCD", options, strict=False))]
    return "\n".join([*lines, GROUND if grounded else ANSWER])
