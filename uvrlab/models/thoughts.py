"""What a thought looks like: whether it keeps the asked form, and its parts as far as they are there."""

from __future__ import annotations

import re

from uvrlab.data.prompts import TextEncoder
from uvrlab.data.spec import GEN_TOKEN
from uvrlab.models.generate import Thought, words
from uvrlab.rewards.text import format_reward

FAULTS = ("no <gen_emb>", "several <gen_emb>", "truncated", "malformed")
_THINK = re.compile(r"<think>(.*?)(?:</think>|<answer>|<gen_emb>|$)", re.DOTALL)
_ANSWER = re.compile(r"<answer>(.*?)(?:</answer>|<gen_emb>|$)", re.DOTALL)


def faults(text: TextEncoder, thought: Thought) -> list[str]:
    """Why a thought is not in the asked form. A <gen_emb> spelled out letter by letter is none: only the token is read."""
    emitted = thought.ids.count(text.id(GEN_TOKEN))
    wrong = {"no <gen_emb>": emitted == 0, "several <gen_emb>": emitted > 1, "truncated": not thought.ended}
    found = [name for name, is_so in wrong.items() if is_so]
    return found if found or format_reward(words(text, thought)) == 1.0 else ["malformed"]


def parts(completion: str) -> tuple[str, str]:
    """(thought, summary) of a completion, each as far as it came; "" for a part that never began."""
    found = [pattern.search(completion) for pattern in (_THINK, _ANSWER)]
    think, answer = ("" if match is None else match.group(1).strip() for match in found)
    return think, answer
