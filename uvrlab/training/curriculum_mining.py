"""Which targets an epoch's pairs are held against: hard negatives of each task, mined from that task's own targets."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from uvrlab.config import MiningConfig
from uvrlab.data.items import Item
from uvrlab.training.batches import NOBODY
from uvrlab.training.heldout import content
from uvrlab.training.mining import KEPT, mine
from uvrlab.training.pairs import Pair

Array = np.ndarray[Any, Any]
Read = Callable[[Sequence[Item]], Array]  # items to (n, D) unit vectors
Row = dict[str, Any]


def task_of(pair: Pair) -> str:
    """The task of a pair, its caption style left out."""
    return pair.group.split("/")[0]


def mine_pairs(pairs: Sequence[Pair], wanted: Sequence[int], read: Read, own: MiningConfig, seed: int) -> list[Row]:
    """Rows of the table `negatives` for the pairs `wanted`, by task and pair.

    A task's corpus is its distinct targets; those of the pair's own clip are all positives. Raises MiningError for vectors that
    are not finite.
    """
    found: list[Row] = []
    for task in sorted({task_of(pairs[i]) for i in wanted}):
        queries = sorted({i for i in wanted if task_of(pairs[i]) == task})
        corpus = _corpus(pairs, task, queries, own.corpus, seed)
        places: dict[int, set[int]] = {}
        for place, i in enumerate(corpus):
            places.setdefault(pairs[i].target_id, set()).add(place)
        found += mine(
            read([pairs[i].query for i in queries]),
            read([pairs[i].target for i in corpus]),
            [places[pairs[i].target_id] for i in queries],
            own,
            query_ids=[pairs[i].pair_id for i in queries],
            corpus_ids=[pairs[i].pair_id for i in corpus],
        )
    return found


def _corpus(pairs: Sequence[Pair], task: str, queries: Sequence[int], most: int, seed: int) -> list[int]:
    """One pair for each distinct target of a task: those of the queries, and others by the seed up to `most` in all."""
    first: dict[tuple[object, ...], int] = {}
    for i, pair in enumerate(pairs):
        if task_of(pair) == task:
            first.setdefault(content(pair), i)
    own = {first[content(pairs[i])] for i in queries}
    others = [i for i in first.values() if i not in own]
    rng = np.random.default_rng([seed, 31])
    return sorted([*own, *(others[i] for i in rng.permutation(len(others))[: max(0, most - len(own))])])


def kept_negatives(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[str]]:
    """{pair: the pairs whose targets are its negatives} from mined rows."""
    found: dict[str, list[str]] = {}
    for row in rows:
        if row["verdict"] == KEPT:
            found.setdefault(row["query_id"], []).append(row["corpus_id"])
    return found


def filled(
    rows: Sequence[Pair], negatives: Mapping[str, Sequence[str]], known: Mapping[str, Pair], size: int
) -> list[tuple[Item, int]]:
    """`size` negatives for every pair of a batch, as items with their media's ids: all processes must hold equally many.

    Where there are fewer, the pair's own target fills up, as nobody's.
    """
    found: list[tuple[Item, int]] = []
    for pair in rows:
        mined = [known[name] for name in negatives.get(pair.pair_id, ())][:size]
        found += [(other.target, other.target_id) for other in mined]
        found += [(pair.target, NOBODY)] * (size - len(mined))
    return found
