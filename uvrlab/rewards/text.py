"""Rewards that read the completion alone: the form of a UME-R1 thought (arXiv 2511.00405), and the cost of its length."""

from __future__ import annotations

import re

TAGS = ("<think>", "</think>", "<answer>", "</answer>", "<gen_emb>")
_THOUGHT = re.compile(r"<think>(.*)</think>\s*<answer>(.*)</answer>\s*<gen_emb>", re.DOTALL)


def format_reward(text: str) -> float:
    """1.0 for exactly `<think>..</think><answer>..</answer><gen_emb>`, else 0.0.

    White space (any that `str.isspace` knows) may stand between the three elements, nowhere before or behind them. Each tag occurs
    once: a second `<gen_emb>`, or a tag inside a part, leaves the read-out open to choice. A part of white space alone is
    empty. `text` is the completion without its end-of-sequence token.
    """
    if any(text.count(tag) != 1 for tag in TAGS):
        return 0.0
    match = _THOUGHT.fullmatch(text)
    return float(match is not None and all(part.strip() for part in match.groups()))


def length_cost(n_tokens: int, *, free_tokens: int, limit_tokens: int) -> float:
    """0 up to `free_tokens`, then rising evenly to 1 at `limit_tokens`: to be subtracted (DAPO, arXiv 2503.14476, section 3.4).

    ValueError unless 0 <= free_tokens < limit_tokens and n_tokens >= 0.
    """
    if not 0 <= free_tokens < limit_tokens or n_tokens < 0:
        raise ValueError(
            f"found {n_tokens} tokens, {free_tokens} of them free, limit {limit_tokens}; expected 0 <= free < limit, tokens >= 0"
        )
    return min(max(n_tokens - free_tokens, 0) / (limit_tokens - free_tokens), 1.0)
