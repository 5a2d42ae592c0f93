"""The loop of `grpo` on questions: one prompt a question, and rewards that each group earns by itself."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from uvrlab.losses.policy import advantages
from uvrlab.rewards.base import combine
from uvrlab.training.grpo_trainer import PairGRPO
from uvrlab.training.pairs import Pair
from uvrlab.training.questions import QuestionRoller, Rewarder
from uvrlab.training.rollouts import SIDES, Group, Scores, Side


class QuestionGRPO(PairGRPO):
    """One generation is N questions with G responses each; the reference, the loss and the optimizer are those of `grpo`."""

    def __init__(self, roller: QuestionRoller, samples: Sequence[Pair], rewarder: Rewarder, *args: Any, **options: Any) -> None:
        self.rewarder, self.columns = rewarder, tuple(rewarder.weights)
        super().__init__(roller, samples, *args, **options)

    @staticmethod
    def rolled(own: Any) -> tuple[Side, ...]:
        return SIDES[:1]

    def _judge(self, pairs: Sequence[Pair], groups: list[Group], generation: int) -> None:
        """Rewards and advantages of the whole generation, of every process; this one's rollouts stand at `_local`."""
        thoughts = [thought for group in groups for thought in group.thoughts]
        self.texts = [self.roller.words(thought) for thought in thoughts]
        found = self.rewarder(groups, self.texts, str(generation))
        self.flags = [[*self.roller.faults(t), *own] for t, own in zip(thoughts, found.flags, strict=True)]
        table = np.stack([found.parts[name] for name in self.columns], axis=1)
        device = self.accelerator.device
        whole = self.accelerator.gather(torch.tensor(table, dtype=torch.float64, device=device)).cpu().numpy()
        parts = {name: whole[:, i] for i, name in enumerate(self.columns)}
        total = combine(parts, self.rewarder.weights)
        nothing = np.full(len(total), np.nan)
        self.scores = Scores(parts, total, nothing, nothing, self.flags)
        self.advantages = advantages(torch.tensor(total), self.own.group_size, scaling=self.own.advantage)
        start = self.accelerator.process_index * len(thoughts)
        self._local, self.groups = slice(start, start + len(thoughts)), groups

    def _tell(self) -> None:
        flat, own = self.advantages.flat, self.own
        mine = slice(self._local.start // own.group_size, self._local.stop // own.group_size)
        numbers = {"flat_groups": float(flat.float().mean()), "redrawn": float(self.redrawn)}
        self.on_rollouts(self.state.global_step + 1, self._rows(flat[mine].tolist()), numbers)

    def _rows(self, flat: Sequence[bool]) -> list[dict[str, Any]]:
        """Rows of the table `rollouts`, of this process."""
        rows, first = [], self._local.start
        for place, (group, sample) in enumerate((g, n) for g in self.groups for n in range(len(g.thoughts))):
            values = {name: part[first + place] for name, part in self.scores.parts.items()}
            values["total"] = self.scores.total[first + place]
            rewards = {name: None if np.isnan(value) else round(float(value), 6) for name, value in values.items()}
            is_flat = flat[place // self.own.group_size]
            rows.append(
                {
                    "step": self.state.global_step + 1,
                    "prompt_id": group.pair.pair_id,
                    "side": "response",
                    "sample": sample,
                    "completion": self.texts[place],
                    "n_tokens": len(group.thoughts[sample].ids),
                    "rewards": json.dumps(rewards),
                    "advantage": float(self.advantages.values[first + place]),
                    "flags": [*self.flags[place], *(["flat group"] if is_flat else [])],
                }
            )
        return rows
