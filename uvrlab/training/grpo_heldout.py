"""What `grpo` measures on held-out pairs before and after: retrieval by both vectors, and the reward that it trains on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from uvrlab.data.items import Item
from uvrlab.data.world import Scene, attributes
from uvrlab.data.world.attributes import Attributes, Told, stretch
from uvrlab.models.adapter import folded
from uvrlab.models.generate import Thought, think
from uvrlab.models.thoughts import parts
from uvrlab.training.heldout import HeldOut, encode, retrieval
from uvrlab.training.pairs import Pair
from uvrlab.training.rollouts import SIDES, Roller, score

Scenes = Mapping[str, tuple[float, Scene]]  # media_sha256 -> where the clip begins in its file, and its scene graph


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
    attributes: Attributes | None = None  # of the thoughts about clips that have a scene graph


class Reader:
    """Gen vectors behind greedy thoughts, with a count of what was read."""

    def __init__(self, roller: Roller, scenes: Scenes | None = None) -> None:
        self.roller, self.scenes, self.thoughts, self.told = roller, scenes or {}, list[Thought](), list[Told]()

    def __call__(self, items: Sequence[Any]) -> np.ndarray:
        """(B, D) vectors of some items."""
        vectors, found = encode(self.roller.model, items, self.roller.cache), greedy(self.roller, items)
        self.thoughts += found
        pairs = zip(items, found, strict=True)
        self.told += [told for item, thought in pairs if (told := self._told(item, thought)) is not None]
        for i, thought in enumerate(found):
            if thought.vector is not None:
                vectors[i] = thought.vector
        return vectors

    def _told(self, item: Item, thought: Thought) -> Told | None:
        """The thought beside what there is to be seen and heard; None where no scene graph tells."""
        known = self.scenes.get(item.media_sha256 or "") if item.video_uri else None
        if known is None:
            return None
        clip_start_s, scene = known
        end_s = clip_start_s + scene.duration_s if item.end_s is None else item.end_s
        seen = stretch(scene, item.start_s - clip_start_s, end_s - clip_start_s)
        text, (think, answer) = self.roller.text, parts(self.roller.words(thought))
        well = not self.roller.faults(thought)
        return Told(seen, think, answer, len(text.plain(think)), len(text.plain(answer)), well, heard=item.sound)

    def measured(self, disc: HeldOut, gen: HeldOut, rewards: np.ndarray) -> Measured:
        """The record of all that was read."""
        well = sum(not self.roller.faults(thought) for thought in self.thoughts)
        bare = sum(thought.vector is None for thought in self.thoughts)
        tokens = float(np.mean([len(thought.ids) for thought in self.thoughts]))
        told = attributes.measure(self.told)
        return Measured(disc, gen, rewards, len(self.thoughts), well, bare, tokens, told)


def scenes_of(clips: Sequence[Mapping[str, Any]]) -> Scenes:
    """From rows of the clips table; a file that holds several clips is left out."""
    files = Counter(row["media_sha256"] for row in clips)
    known = [row for row in clips if row["scene"] and files[row["media_sha256"]] == 1]
    return {row["media_sha256"]: (row["start_s"] or 0.0, Scene.from_json(row["scene"])) for row in known}


def measure(roller: Roller, held_out: Sequence[Pair], scenes: Scenes | None = None) -> Measured | None:
    """None where there are no two held-out targets to tell apart. Depends on the model and the pairs alone: fixed seeds."""
    roller.model.eval()
    disc = retrieval(roller.model, held_out, roller.cache)
    reader = Reader(roller, scenes or {})
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
