"""What `grpo` measures on held-out pairs before and after: retrieval by both vectors, and the reward that it trains on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from uvrlab.models.adapter import folded
from uvrlab.models.generate import Thought, think
from uvrlab.training.heldout import HeldOut, encode, retrieval
from uvrlab.training.pairs import Pair
from uvrlab.training.rollouts import SIDES, Roller, score


@dataclass(frozen=True)
class Measured:
    """Retrieval by the disc and by the gen vector, and each held-out pair's mean embedding reward over its rollouts (NaN: none).

    `thoughts` are the greedy ones behind the gen vectors: where one has no vector, the disc vector stands in.
    """

    disc: HeldOut
    gen: HeldOut
    rewards: np.ndarray
    thoughts: int
    well_formed: int
    fallbacks: int
    tokens: float


class Reader:
    """Gen vectors behind greedy thoughts, with a count of what was read."""

    def __init__(self, roller: Roller) -> None:
        self.roller, self.thoughts = roller, list[Thought]()

    def __call__(self, items: Sequence[Any]) -> np.ndarray:
        """(B, D) vectors of some items."""
        vectors, found = encode(self.roller.model, items, self.roller.cache), greedy(self.roller, items)
        self.thoughts += found
        for i, thought in enumerate(found):
            if thought.vector is not None:
                vectors[i] = thought.vector
        return vectors

    def measured(self, disc: HeldOut, gen: HeldOut, rewards: np.ndarray) -> Measured:
        """The record of all that was read."""
        well = sum(not self.roller.faults(thought) for thought in self.thoughts)
        bare = sum(thought.vector is None for thought in self.thoughts)
        tokens = float(np.mean([len(thought.ids) for thought in self.thoughts]))
        return Measured(disc, gen, rewards, len(self.thoughts), well, bare, tokens)


def measure(roller: Roller, held_out: Sequence[Pair]) -> Measured | None:
    """None where there are no two held-out targets to tell apart. Depends on the model and the pairs alone: fixed seeds."""
    roller.model.eval()
    disc = retrieval(roller.model, held_out, roller.cache)
    reader = Reader(roller)
    gen = retrieval(roller.model, held_out, roller.cache, read=reader)
    if disc is None or gen is None:
        return None
    return reader.measured(disc, gen, sampled_rewards(roller, held_out))


def greedy(roller: Roller, items: Sequence[Any], batch_size: int = 64) -> list[Thought]:
    """One greedy thought an item, items of like length side by side."""
    order = sorted(range(len(items)), key=lambda i: (items[i].has_media, items[i].sound, len(items[i].text or "")))
    found: dict[int, Thought] = {}
    for start in range(0, len(order), batch_size):
        some = order[start : start + batch_size]
        batch = roller.prompts([items[i] for i in some], roller.collate_left)
        with folded(roller.model):
            thoughts = think(roller.model, roller.spec, roller.text, batch, roller.own.max_completion_tokens)
        found |= dict(zip(some, thoughts, strict=True))
    return [found[i] for i in range(len(items))]


def sampled_rewards(roller: Roller, held_out: Sequence[Pair]) -> np.ndarray:
    """(n,) mean embedding reward of each pair's rollouts, N pairs of a dataset at a time as in training, targets sampled too."""
    own = roller.own.model_copy(update={"target_cache": False, "reward": "embedding"})
    some = sorted(range(len(held_out)), key=lambda i: held_out[i].group)[: own.validation_reward_pairs]
    found = np.full(len(held_out), np.nan)
    for start in range(0, len(some), own.pairs):
        place = some[start : start + own.pairs]
        block = [held_out[i] for i in place]
        if len({pair.target_id for pair in block}) < 2:
            continue
        groups = roller.roll_out(block, SIDES, "held out")
        judged = roller.judge(groups)
        lengths = np.array([len(thought.ids) for group in groups for thought in group.thoughts])
        scores = score(own, judged.vectors, judged.format, lengths, [pair.target_id for pair in block], np.random.default_rng(0))
        values = scores.parts["embedding"].reshape(len(block), -1)
        scored = ~np.isnan(values)
        means = np.where(scored, values, 0.0).sum(1) / np.maximum(scored.sum(1), 1)
        found[place] = np.where(scored.any(1), means, np.nan)
    return found
