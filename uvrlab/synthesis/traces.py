"""Which traces are fit to learn from: UME-R1 (arXiv 2511.00405) drops repeated tokens, over-long reasoning and malformed output.

The paper gives no numbers; these are ours, and generous: they are there to catch a model that lost itself, not a style.
"""

from __future__ import annotations

import re
from collections import Counter

MAX_THINK_WORDS, MAX_ANSWER_WORDS = 400, 200
GRAM = 4  # words; a thought in which a run of four comes back too often is a loop
MAX_REPEATED = 0.3  # share of the runs that are a repetition
MIN_WORDS = 20  # a shorter text may rightly say a thing twice: "moves left, moves left, stops"
TAG = re.compile(r"</?\s*(?:think|answer)\s*>|<\w+_emb>|<\|", re.IGNORECASE)


def fault(think: str, answer: str) -> tuple[str, str] | None:
    """(reason, detail) of the first fault: `format`, `length` or `repetition`; None for a sound trace."""
    for name, text, most in (("think", think, MAX_THINK_WORDS), ("answer", answer, MAX_ANSWER_WORDS)):
        if not text.strip():
            return "format", f"{name} is blank"
        if found := TAG.search(text):
            return "format", f"{name} holds the tag {found.group()}"
        if (n := len(text.split())) > most:
            return "length", f"{name} has {n} words, expected at most {most}"
        if len(text.split()) >= MIN_WORDS and (share := repeated(text)) > MAX_REPEATED:
            return (
                "repetition",
                f"{share:.0%} of {name}'s runs of {GRAM} words are repetitions, expected at most {MAX_REPEATED:.0%}",
            )
    return None


def repeated(text: str) -> float:
    """Share of runs of four words that came before in the same text; 0 for a text of fewer than five words."""
    words = text.lower().split()
    grams = Counter(tuple(words[i : i + GRAM]) for i in range(len(words) - GRAM + 1))
    return 1.0 - len(grams) / grams.total() if grams.total() > 1 else 0.0
