"""What the curriculum measures before and after: retrieval by both vectors, and thoughts and answers that are still in form."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from uvrlab.rewards.base import Array
from uvrlab.training.grpo_heldout import Reader
from uvrlab.training.heldout import HeldOut, retrieval
from uvrlab.training.pairs import Pair
from uvrlab.training.questions import QuestionRoller, Questions
from uvrlab.training.questions_heldout import forms, responses, rightness


@dataclass(frozen=True)
class Measured:
    """R@1 of held-out pairs by the disc and the gen vector, None where there are no two targets; and 1.0 or 0.0 for each greedy
    thought behind a gen vector (well-formed) and each held-out question (strict form, right answer).
    """

    disc: HeldOut | None
    gen: HeldOut | None
    thoughts: Array
    form: Array
    answers: Array

    def kept(self) -> dict[str, Array]:
        """What earlier stages taught, by name."""
        found = {"gen_r1": self.gen.hits if self.gen else np.zeros(0), "thoughts_well_formed": self.thoughts}
        found |= {"grounded_form": self.form, "grounded_answers": self.answers}
        return {name: values for name, values in found.items() if len(values)}


def measure(roller: QuestionRoller, pairs: Sequence[Pair], held_out: Questions) -> Measured:
    """Greedy throughout, so it depends on the model, the pairs and the questions alone."""
    roller.model.eval()
    reader = Reader(roller.thinker())
    disc = retrieval(roller.model, pairs, roller.cache)
    gen = retrieval(roller.model, pairs, roller.cache, read=reader) if disc else None
    well = np.array([float(not reader.roller.faults(thought)) for thought in reader.thoughts])
    texts = responses(roller, held_out) if held_out.samples else []
    return Measured(disc, gen, well, forms(held_out, texts), rightness(held_out, texts))
