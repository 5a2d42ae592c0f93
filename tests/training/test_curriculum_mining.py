"""Which targets become negatives of a pair: of its own task, never of its own clip, and equally many on every process."""

from __future__ import annotations

import numpy as np

from uvrlab.config import MiningConfig
from uvrlab.data.items import Item
from uvrlab.training.batches import NOBODY
from uvrlab.training.curriculum_mining import filled, kept_negatives, mine_pairs
from uvrlab.training.mining import KEPT
from uvrlab.training.pairs import Pair

OWN = MiningConfig(margin=None)


def pair(name: str, task: str, clip: int, start_s: float = 0.0) -> Pair:
    target = Item(f"{name}/target", video_uri=f"{clip}.mp4", start_s=start_s, end_s=start_s + 1, media_sha256="0" * 64)
    return Pair(name, task, "train", Item(f"{name}/query", text=name), target, clip)


PAIRS = [
    pair("a", "T2V/rich", 0),
    pair("b", "T2V/concise", 0),  # the same clip, and the same target
    pair("c", "T2V/rich", 1),
    pair("d", "T2V/rich", 2),
    pair("e", "TV2V", 1),
    pair("f", "TV2V", 2),
    pair("g", "TV2V", 2, start_s=1.0),  # another span of clip 2
]


def read(items):
    """A vector by the item's clip or name: clip 1 is nearest to every query, then 2, then 0."""
    angles = {"0.mp4": 0.9, "1.mp4": 0.1, "2.mp4": 0.5}
    at = np.array([angles.get(str(item.video_uri), 0.0) + item.start_s / 100 for item in items])
    return np.stack([np.cos(at), np.sin(at)], axis=1).astype(np.float32)


def test_negatives_are_of_the_own_task_and_never_of_the_own_clip():
    """T2V: a and b (clip 0) get clip 1, c (clip 1) gets clip 2. TV2V: e gets f's span, f and g get clip 1, not each other."""
    rows = mine_pairs(PAIRS, range(7), read, OWN, 0)
    assert kept_negatives(rows) == {"a": ["c"], "b": ["c"], "c": ["d"], "d": ["c"], "e": ["f"], "f": ["e"], "g": ["e"]}
    assert {row["verdict"] for row in rows} == {KEPT}
    assert kept_negatives(mine_pairs(PAIRS, [3], read, OWN, 0)) == {"d": ["c"]}, "only what is wanted"


def test_a_capped_corpus_still_holds_the_queries_own_targets():
    many = [pair(f"p{i}", "T2V/rich", i % 3) for i in range(9)]
    rows = mine_pairs(many, [0, 4], read, OWN.model_copy(update={"corpus": 1}), 0)
    assert {row["corpus_id"] for row in rows} <= {"p0", "p1"}
    assert kept_negatives(rows) == {"p0": ["p1"], "p4": ["p0"]}


def test_every_pair_of_a_batch_has_equally_many_and_nobody_fills_up():
    known = {p.pair_id: p for p in PAIRS}
    found = filled(PAIRS[:3], {"a": ["c", "d", "c"], "b": []}, known, 2)
    assert [(item.item_id, target_id) for item, target_id in found] == [
        ("c/target", 1),
        ("d/target", 2),
        ("b/target", NOBODY),
        ("b/target", NOBODY),
        ("c/target", NOBODY),
        ("c/target", NOBODY),
    ]
