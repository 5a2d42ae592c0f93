"""`fusion`: a bonus where sound and picture together answer better than either alone.

OmniVideo-R1 stage 2, modality-attentive fusion (arXiv 2602.05847): R = format + answer + attention, gradient on the responses with
both. Under `ge`, `gt` and `group` the question is also rolled out with the picture alone and the sound alone; under `necessity` the
reference answer is scored behind each response's own captions and thinking instead, which costs no rollout.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from uvrlab.config import FusionConfig, StageConfig
from uvrlab.models.respond import Condition
from uvrlab.rewards.base import Score, to_array
from uvrlab.rewards.fusion import attention_bonus
from uvrlab.rewards.grounding import answer_reward, first_answer
from uvrlab.runs import StageReport
from uvrlab.training import questions as shared
from uvrlab.training.policy import log_probs, pack_completions
from uvrlab.training.questions import QuestionRoller, Questions, Rewards
from uvrlab.training.rollouts import Group

ANSWER = "<answer>"
ROWS_A_PASS = 8


def run(config: StageConfig[FusionConfig], inputs: Mapping[str, Path], out: Path) -> StageReport:
    """See `questions.run`."""
    return shared.run(config, inputs, out, lambda roller, questions: FusionReward(config.own, questions, roller))


class FusionReward:
    """Format, answer and attention bonus of every rollout."""

    def __init__(self, own: FusionConfig, questions: Questions, roller: QuestionRoller) -> None:
        self.own, self.questions = own, questions
        self.rollers: dict[Condition, QuestionRoller] = {"av": roller, "v": roller.under("v"), "a": roller.under("a")}
        self.weights = {"format": own.weight_format, "answer": own.weight_answer, "attention": 1.0}

    def __call__(self, groups: Sequence[Group], texts: Sequence[str], key: str) -> Rewards:
        own = self.own
        form, answers = shared.form_and_answer(own, self.questions, groups, texts)
        if own.rule == "necessity":
            scores = {name: self._likelihoods(roller, groups, texts) for name, roller in self.rollers.items()}
        else:
            scores = {"av": answers, "v": self._answers("v", groups, key), "a": self._answers("a", groups, key)}
        bonus: list[Score] = []
        g = own.group_size
        for start in range(0, len(texts), g):
            av, v, a = (scores[name][start : start + g] for name in ("av", "v", "a"))
            bonus += attention_bonus(av, v, a, rule=own.rule, alpha=own.alpha)
        parts = {"format": to_array(form), "answer": to_array(answers), "attention": to_array(bonus)}
        return Rewards(parts, [[] if ok else ["no form"] for ok in form])

    def _answers(self, condition: Condition, groups: Sequence[Group], key: str) -> list[Score]:
        """Answer rewards of as many rollouts without a modality."""
        roller = self.rollers[condition]
        other = roller.roll_out([group.pair for group in groups], ["query"], f"{key}/{condition}")
        texts = [roller.words(thought) for group in other for thought in group.thoughts]
        scores: list[Score] = []
        for text, question in zip(texts, shared.asked_of(self.questions, other), strict=True):
            answer = first_answer(text)
            scores.append(0.0 if answer is None else answer_reward(answer, question.answer, question.options))
        return scores

    def _likelihoods(self, roller: QuestionRoller, groups: Sequence[Group], texts: Sequence[str]) -> list[Score]:
        """Mean log-likelihood, in nats a token, of the reference answer behind each response's own words up to its answer.

        A response that never comes to an answer gets 0 under every condition: its drop, and so its bonus, is 0.
        """
        g, scores = self.own.group_size, list[Score]()
        for start in range(0, len(groups), ROWS_A_PASS):
            some = groups[start : start + ROWS_A_PASS]
            said = [texts[(start + i) * g : (start + i + 1) * g] for i in range(len(some))]
            scores += self._pass(roller, some, said)
        return scores

    def _pass(self, roller: QuestionRoller, groups: Sequence[Group], said: Sequence[Sequence[str]]) -> list[Score]:
        encode, rows, wanted = roller.text, [], []
        for group, texts in zip(groups, said, strict=True):
            answer = encode.response(f"{self.questions.asked[group.pair.pair_id].answer}</answer>")
            heads = [encode.response(text.partition(ANSWER)[0] + ANSWER) for text in texts]
            rows.append([[*head, *answer] for head in heads])
            wanted += [len(answer) if ANSWER in text else 0 for text in texts]
        prompts = roller.prompts([group.pair.query for group in groups])
        packed = pack_completions(prompts, rows, roller.tokenizer.pad_token_id)
        banned = torch.tensor(roller.banned, device=prompts.input_ids.device)
        with torch.no_grad():
            logp, _ = log_probs(roller.model, packed, banned, 1.0, max(packed.lengths))
        ends = zip(logp.tolist(), packed.lengths, wanted, strict=True)
        return [sum(row[length - n : length]) / n if n else 0.0 for row, length, n in ends]
