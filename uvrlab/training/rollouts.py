"""Rollouts of pairs: G thoughts a side, their vectors, rewards and advantages, and a row of the table for each.

A rollout takes part in the embedding reward (UME-R1 section 3.3) when it ended by itself in the exact form with one emitted
<gen_emb>. Any other one earns no embedding reward and is nobody's candidate: it has no read-out, several, or one behind a thought
that was not asked for. Where the other side left nothing to compare with, that is so for the whole group: its form alone counts
then. Each case is a flag.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from uvrlab.config import GrpoConfig
from uvrlab.models.adapter import folded
from uvrlab.models.generate import Thought, banned_ids, sample, seed_of, words
from uvrlab.models.thoughts import faults
from uvrlab.rewards.base import combine
from uvrlab.rewards.retrieval import Terms, rank_and_gap
from uvrlab.rewards.text import length_cost
from uvrlab.training.pairs import Pair

Array = np.ndarray[Any, Any]
Side = Literal["query", "target"]
SIDES: tuple[Side, Side] = ("query", "target")


@dataclass(frozen=True)
class Group:
    """The thoughts of one side of a pair, and what they were sampled behind: prompt ids and the position of the next token."""

    pair: Pair
    side: Side
    prompt_ids: list[int]
    position: float
    thoughts: list[Thought]

    @property
    def item(self) -> Any:
        """The query or the target of the pair."""
        return self.pair.query if self.side == "query" else self.pair.target


@dataclass(frozen=True)
class Judged:
    """(R,) values of rollouts in the order of their groups. `flags` name what each of them is counted under."""

    texts: list[str]
    vectors: Array  # (R, D), NaN where a rollout takes no part
    format: Array  # 1.0 or 0.0
    flags: list[list[str]]


class Roller:
    """Samples and reads thoughts of one policy from cached tower features."""

    def __init__(self, model: Any, spec: Any, tokenizer: Any, preprocess: Any, cache: Any, own: GrpoConfig, seed: int) -> None:
        self.model, self.spec, self.tokenizer, self.cache, self.own, self.seed = model, spec, tokenizer, cache, own, seed
        self.collate = preprocess.collator(spec, tokenizer, model.config)
        self.collate_left = preprocess.collator(spec, tokenizer, model.config, padding_side="left")
        self.text = self.collate.text
        self.banned = banned_ids(spec, self.text)

    def prompts(self, items: Sequence[Any], collate: Any = None) -> Any:
        """The batch of some items up to the generation prompt; of a clip with several windows the first."""
        return (collate or self.collate)([self.cache.get(item)[0] for item in items], cut=False).to(self.cache.device)

    def roll_out(self, pairs: Sequence[Pair], sides: Sequence[Side], key: str) -> list[Group]:
        """G thoughts of every side, pair by pair. What is drawn for a prompt depends on the seed, `key` and its name alone."""
        asked = [(pair, side) for pair in pairs for side in sides]
        seeds = [seed_of(self.seed, key, pair.pair_id, side) for pair, side in asked]
        batch = self.prompts([getattr(pair, side) for pair, side in asked], self.collate_left)
        own = self.own
        options: dict[str, Any] = {"temperature": own.temperature, "max_new_tokens": own.max_completion_tokens}
        with folded(self.model):
            thoughts = sample(self.model, self.spec, self.text, batch, seeds, own.group_size, **options)
        found = []
        for r, (pair, side) in enumerate(asked):
            ids = batch.input_ids[r][batch.attention_mask[r].bool()].tolist()
            found.append(Group(pair, side, ids, float(batch.position_ids[0, r, -1]) + 1, thoughts[r]))
        return found

    def judge(self, groups: Sequence[Group]) -> Judged:
        """Read every thought: its text, its form, and the vector with which it takes part."""
        thoughts = [thought for group in groups for thought in group.thoughts]
        texts, flags = [self.words(thought) for thought in thoughts], [self.faults(thought) for thought in thoughts]
        width = int(self.model.config.get_text_config().hidden_size)
        vectors = np.full((len(thoughts), width), np.nan, np.float32)
        for row, (thought, wrong) in enumerate(zip(thoughts, flags, strict=True)):
            if not wrong and thought.vector is not None:
                vectors[row] = thought.vector
        return Judged(texts, vectors, np.array([float(not wrong) for wrong in flags]), flags)

    def words(self, thought: Thought) -> str:
        """The completion without its turn end."""
        return words(self.text, thought)

    def faults(self, thought: Thought) -> list[str]:
        """Why a thought is not in the asked form."""
        return faults(self.text, thought)


@dataclass(frozen=True)
class Scores:
    """What a step's rollouts earned, (R,) in pair order with the sides of a pair side by side."""

    parts: dict[str, Array]  # embedding NaN: nothing to compare with
    total: Array
    rank: Array
    gap: Array
    flags: list[list[str]]


def score(
    own: GrpoConfig, vectors: Array, well_formed: Array, n_tokens: Array, target_ids: Sequence[int], rng: np.random.Generator
) -> Scores:
    """Rewards of a whole step, pair by pair: with both sides (N, 2, G) rollouts, with cached targets (N, 1, G) and the N targets'
    vectors behind them.

    Args:
        vectors: (R, D), or (R + N, D) with `own.target_cache`; NaN for what takes no part.
        well_formed, n_tokens: (R,).
        target_ids: (N,).
        rng: of the shuffled control.
    """
    g, ids = own.group_size, list(target_ids) if own.false_negatives == "mask" else None
    query, target = _by_side(own, vectors, len(target_ids))
    both = rank_and_gap(query @ target.T, g, ids)
    rank, gap = (_pairwise([getattr(side, name) for side in both[: len(_sides(own))]], g) for name in ("rank", "gap"))
    earned = Terms(rank, gap).reward
    flags: list[list[str]] = [[] for _ in earned]
    same = np.array([list(target_ids).count(one) > 1 for one in target_ids]).repeat(len(earned) // len(target_ids))
    tests = {"unscored": np.isnan(earned), "rank 0": rank == 0, "negative": earned < 0, "equal target": same}
    for name, is_so in tests.items():
        for row in np.flatnonzero(is_so & (well_formed == 1)):
            flags[row].append(name)
    earned = np.where(well_formed == 1, earned, 0.0)
    if own.reward == "shuffled":
        earned = rng.permuted(earned.reshape(-1, g), axis=1).reshape(-1)
    parts = {"format": well_formed, "embedding": earned}
    weights = {"format": own.weight_format, "embedding": own.weight_embedding}
    if own.length_cost:
        limits = {"free_tokens": own.length_free_tokens, "limit_tokens": own.max_completion_tokens}
        parts["length"] = np.array([length_cost(int(n), **limits) for n in n_tokens])
        weights["length"] = -own.length_cost
    total = combine({**parts, "embedding": np.nan_to_num(earned)}, weights)
    return Scores(parts, total, rank, gap, flags)


def _sides(own: GrpoConfig) -> tuple[Side, ...]:
    return SIDES[:1] if own.target_cache else SIDES


def _by_side(own: GrpoConfig, vectors: Array, n: int) -> tuple[Array, Array]:
    """(N * G, D) vectors of either side; a cached target counts as G equal rollouts."""
    g, width = own.group_size, vectors.shape[1]
    if own.target_cache:
        return vectors[: n * g], vectors[n * g :].repeat(g, axis=0)
    sides = vectors.reshape(n, 2, g, width)
    return sides[:, 0].reshape(n * g, width), sides[:, 1].reshape(n * g, width)


def _pairwise(sides: Sequence[Array], g: int) -> Array:
    """(N * G,) values of each side as (R,) in pair order."""
    return np.stack([side.reshape(-1, g) for side in sides], axis=1).reshape(-1)


def rows(
    step: int, groups: Sequence[Group], judged: Judged, scores: Scores, advantages: Sequence[float], flat: Sequence[bool]
) -> list[dict[str, Any]]:
    """The rows of a step for the table `rollouts`."""
    found, row = [], 0
    for group, is_flat in zip(groups, flat, strict=True):
        for number, thought in enumerate(group.thoughts):
            parts = {name: _plain(values[row]) for name, values in scores.parts.items()}
            parts |= {"rank": _plain(scores.rank[row]), "gap": _plain(scores.gap[row]), "total": _plain(scores.total[row])}
            found.append(
                {
                    "step": step,
                    "prompt_id": group.pair.pair_id,
                    "side": group.side,
                    "sample": number,
                    "completion": judged.texts[row],
                    "n_tokens": len(thought.ids),
                    "rewards": json.dumps(parts),
                    "advantage": float(advantages[row]),
                    "flags": [*judged.flags[row], *scores.flags[row], *(["flat group"] if is_flat else [])],
                }
            )
            row += 1
    return found


def _plain(value: float) -> float | None:
    return None if np.isnan(value) else round(float(value), 6)


def plan_pairs(
    pairs: Sequence[Pair], steps: int, size: int, seed: int, reserve: int = 0, targets: Array | None = None
) -> list[list[int]]:
    """`steps` lists of `size` indices and `reserve` more, each list from one dataset as in UME-R1, a dataset by its size.

    With unit vectors of the pairs' `targets` (n, D), a list is a pair and those of its dataset with the nearest other targets. The
    first `size` have two targets at least. Depends on its arguments alone. Unlike the batches of `sft`, equal targets may meet: the
    reward masks them. ValueError where no dataset has two different targets.
    """
    rng = np.random.default_rng([seed, 13])
    groups: dict[str, list[int]] = {}
    for i, pair in enumerate(pairs):
        groups.setdefault(pair.group, []).append(i)
    usable = [mine for _, mine in sorted(groups.items()) if len({pairs[i].target_id for i in mine}) > 1]
    if not usable:
        raise ValueError(f"{len(pairs)} pairs in {len(groups)} groups, none with two different targets; ingest more clips")
    sizes = np.array([len(mine) for mine in usable], float)
    plan = []
    for group in rng.choice(len(usable), size=steps, p=sizes / sizes.sum()):
        mine, chosen = usable[group], list[int]()
        while len({pairs[i].target_id for i in chosen[:size]}) < 2:
            chosen = [int(i) for i in rng.choice(mine, size=size + reserve, replace=size + reserve > len(mine))]
        plan.append(chosen if targets is None else _near(pairs, mine, targets, chosen[0], size + reserve))
    return plan


def _near(pairs: Sequence[Pair], mine: Sequence[int], targets: Array, first: int, count: int) -> list[int]:
    """`count` of the pairs `mine`: `first`, then those with the nearest targets, a target once before any comes again."""
    nearest = sorted(mine, key=lambda i: (i != first, -float(targets[i] @ targets[first]), i))
    once, again, seen = list[int](), list[int](), set[int]()
    for i in nearest:
        (again if pairs[i].target_id in seen else once).append(i)
        seen.add(pairs[i].target_id)
    return [(once + again)[k % len(mine)] for k in range(count)]
