"""The failure gallery: the worst miss of every dataset, as what was asked, what was right, and what came first instead."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from uvrlab.evaluation.results import Evaluation
from uvrlab.evaluation.tasks import Query, Task
from uvrlab.report import Report, Strip

WRONG = 2  # nearest wrong answers that a miss shows
UNSEEN = np.full((1, 64, 64, 3), 128, np.uint8)  # grey, in the place of what has no picture: a text or a sound alone


def add(page: Report, bench: Any, trained: Evaluation) -> None:
    """One miss a dataset, in its first mode; a dataset without a miss is named."""
    mode = trained.rows[0]["mode"]
    missed = {task.dataset: _worst(task, trained, mode) for task in bench.tasks}
    page.section("Failures", "Of every dataset the query whose right answer came last, and the nearest wrong answers.")
    for task in bench.tasks:
        if (found := missed[task.dataset]) is not None:
            page.frames(_strips(bench, task, *found), caption=f"{task.dataset}: rank {found[1]['first_relevant_rank']}")
    if clean := [name for name, found in missed.items() if found is None]:
        page.text(f"No miss in {', '.join(clean)}.")


def _worst(task: Task, trained: Evaluation, mode: str) -> tuple[Query, Mapping[str, Any]] | None:
    metric = trained.results.main[task.dataset]
    rows = {r["query_id"]: r for r in trained.rows if (r["dataset"], r["metric"], r["mode"]) == (task.dataset, metric, mode)}
    query = max(task.queries, key=lambda q: (rows[q.query_id]["first_relevant_rank"], q.query_id))
    row = rows[query.query_id]
    return (query, row) if row["first_relevant_rank"] > 1 else None


def _strips(bench: Any, task: Task, query: Query, row: Mapping[str, Any]) -> list[Strip]:
    item = query.item or {}
    asked = frames(bench, item) if item.get("clip_id") or item.get("image_uri") else np.zeros((0, 1, 1, 3), np.uint8)
    right = query.positives[0]
    wrong = [name for name in row["top_ids"] if name not in query.positives][:WRONG]
    shown = [
        Strip(asked, item.get("text") or "asked by this", verdict="miss", detail=f"query {query.query_id}"),
        Strip(frames(bench, task.corpus[right]), "the right answer", detail=right),
    ]
    return shown + [Strip(frames(bench, task.corpus[w]), f"nearest wrong answer {n}", detail=w) for n, w in enumerate(wrong, 1)]


def frames(bench: Any, row: Mapping[str, Any]) -> np.ndarray:
    """(T, H, W, 3) uint8 of an item: eight of its frames, or its one picture; grey where it has neither."""
    from uvrlab.data.decoding import Sampling, decode_items

    seen = [m for m in row["modalities"] if m in ("image", "video")]
    if not seen:
        return UNSEEN
    (decoded,) = decode_items([bench.item({**row, "text": None, "modalities": seen}, "report")], Sampling())
    if isinstance(decoded, list) and decoded[0].frames is not None:
        return decoded[0].frames
    if isinstance(decoded, list) and decoded[0].image is not None:
        return decoded[0].image[None]
    return UNSEEN
