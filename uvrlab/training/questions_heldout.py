"""What the stages on questions measure before and after: held-out answers with and without each modality, and what was kept.

No true span is read: whether spans are right is for `evaluate` to say. Retrieval by both vectors shows whether a stage forgets what
an earlier one taught.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from uvrlab.models.respond import Condition, is_right, respond, under
from uvrlab.rewards.base import Array
from uvrlab.rewards.grounding import format_reward
from uvrlab.training.grpo_heldout import Reader
from uvrlab.training.heldout import HeldOut, retrieval
from uvrlab.training.pairs import Pair
from uvrlab.training.questions import QuestionRoller, Questions

CONDITIONS: tuple[Condition, ...] = ("av", "v", "a")


@dataclass(frozen=True)
class Measured:
    """Right (1.0) or not for each held-out question under each condition, strict form with everything given, and what each needs.

    `disc` and `gen`: retrieval R@1 of held-out pairs by either vector, None where there are no two targets.
    """

    answers: dict[Condition, Array]
    form: Array
    needs: tuple[str, ...]
    texts: list[str]
    disc: HeldOut | None
    gen: HeldOut | None


def measure(roller: QuestionRoller, held_out: Questions, pairs: Sequence[Pair]) -> Measured | None:
    """None without held-out questions. Greedy, so it depends on the model and the questions alone."""
    if not held_out.samples:
        return None
    roller.model.eval()
    texts = {condition: responses(roller, held_out, condition) for condition in CONDITIONS}
    right = {condition: rightness(held_out, said) for condition, said in texts.items()}
    needs = tuple(held_out.asked[sample.pair_id].needs for sample in held_out.samples)
    disc = retrieval(roller.model, pairs, roller.cache)
    gen = retrieval(roller.model, pairs, roller.cache, read=Reader(roller.thinker())) if disc else None
    return Measured(right, forms(held_out, texts["av"]), needs, texts["av"], disc, gen)


def responses(roller: QuestionRoller, questions: Questions, condition: Condition = "av") -> list[str]:
    """One greedy response to each question."""
    shown = [under(roller.cache.get(sample.query)[0], condition) for sample in questions.samples]
    limit, device = roller.own.max_completion_tokens, roller.cache.device
    return respond(roller.model, roller.spec, roller.collate_left, shown, device, max_new_tokens=limit)


def rightness(questions: Questions, texts: Sequence[str]) -> Array:
    """(n,) 1.0 where a response has the reference answer."""
    return np.array([float(is_right(text, questions.asked[s.pair_id])) for s, text in zip(questions.samples, texts, strict=True)])


def forms(questions: Questions, texts: Sequence[str]) -> Array:
    """(n,) 1.0 where a response has the strict form."""
    lengths_s = [questions.duration_s(questions.asked[sample.pair_id]) for sample in questions.samples]
    return np.array([format_reward(text, duration_s=s) for s, text in zip(lengths_s, texts, strict=True)])
