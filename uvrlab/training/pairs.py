"""Pairs as training reads them: items with their tower features, responses where there are traces, and the order of batches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from uvrlab.data import schema
from uvrlab.data.items import ClipIndex, Item


@dataclass(frozen=True)
class Pair:
    """One training pair. `target_id` is equal for pairs whose targets are the same media: they are no negatives of each other."""

    pair_id: str
    group: str  # the dataset that a batch is drawn from: the task, and for T2V the style
    split: str
    query: Item
    target: Item
    target_id: int
    query_response: str | None = None
    target_response: str | None = None


def load(clips: Path, uvrd: Path, splits: Sequence[str]) -> list[Pair]:
    """The pairs of some splits with their traces as responses, in table order."""
    index = ClipIndex().add_rows(schema.read_table("clips", clips / "clips"), clips)
    traces = {(t["pair_id"], t["side"]): t for t in schema.read_table("traces", uvrd / "traces")}
    targets: dict[tuple[object, ...], int] = {}
    pairs = []
    for row in schema.read_table("pairs", uvrd / "pairs"):
        if row["split"] not in splits:
            continue
        side = row["target"]
        same = (side["clip_id"], side["image_uri"], side["text"] if side["clip_id"] is None else None)
        written = {s: _response(traces.get((row["pair_id"], s))) for s in ("query", "target")}
        pairs.append(
            Pair(
                row["pair_id"],
                "/".join([row["task"], *([row["style"]] if row["task"] == "T2V" else [])]),
                row["split"],
                index.item(row["query"], f"{row['pair_id']}/query"),
                index.item(side, f"{row['pair_id']}/target"),
                targets.setdefault(same, len(targets)),
                written["query"],
                written["target"],
            )
        )
    return pairs


def _response(trace: dict[str, str] | None) -> str | None:
    return f"<think>{trace['think']}</think><answer>{trace['answer']}</answer><gen_emb>" if trace else None


def head(pairs: Sequence[Pair], count: int, seed: int) -> list[Pair]:
    """A seeded sample of at most `count` pairs, in table order."""
    chosen = np.random.default_rng([seed, 11]).permutation(len(pairs))[:count]
    return [pairs[i] for i in sorted(chosen)]


def usable_groups(pairs: Sequence[Pair]) -> dict[str, list[int]]:
    """{group: its rows} of the groups with two different targets at least, by name: those that a batch can be made of."""
    groups: dict[str, list[int]] = {}
    for i, pair in enumerate(pairs):
        groups.setdefault(pair.group, []).append(i)
    return {g: rows for g, rows in sorted(groups.items()) if len({pairs[i].target_id for i in rows}) > 1}


def plan_batches(
    pairs: Sequence[Pair],
    steps: int,
    batch_size: int,
    seed: int,
    shares: Mapping[str, float] | None = None,
    stream: Sequence[int] = (),
) -> list[list[int]]:
    """`steps` batches of indices: each from one group, no target twice in a batch; groups by `shares`, else by their size.

    Depends on its arguments alone, so a resumed run sees the same batches; `stream` numbers independent draws of one seed.
    ValueError where no group has two different targets.
    """
    rng = np.random.default_rng([seed, 12, *stream])
    usable = usable_groups(pairs)
    if not usable:
        raise ValueError(f"{len(pairs)} train pairs, no task or style with two different targets; ingest more clips")
    names, weights = list(usable), np.array([shares[g] if shares else len(rows) for g, rows in usable.items()], float)
    queues: dict[str, list[int]] = {name: [] for name in names}
    n_targets = {g: len({pairs[i].target_id for i in rows}) for g, rows in usable.items()}
    return [
        draw(pairs, usable[name], queues[name], min(batch_size, n_targets[name]), rng)
        for name in (names[i] for i in rng.choice(len(names), size=steps, p=weights / weights.sum()))
    ]


def draw(pairs: Sequence[Pair], rows: list[int], queue: list[int], size: int, rng: np.random.Generator) -> list[int]:
    """The next `size` rows of a shuffled pass over a group; a target that is in the batch already waits for a later one."""
    batch: list[int] = []
    seen: set[int] = set()
    waiting: list[int] = []
    while len(batch) < size:
        if not queue:
            queue.extend(rows[i] for i in rng.permutation(len(rows)))
        i = queue.pop()
        if pairs[i].target_id in seen:
            waiting.append(i)
        else:
            seen.add(pairs[i].target_id)
            batch.append(i)
    queue.extend(reversed(waiting))
    return batch
