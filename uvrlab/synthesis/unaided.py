"""TI2V queries that can be answered without their image: the text alone finds the target first among distractors.

A composed query must need both of its parts (GVE, arXiv 2510.27571, V-SynFlow stage 3). The text without the image is embedded and
compared with its own target and with targets of other families; by how much its own leads is the score of the filter `unaided`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from uvrlab.config import FiltersConfig
from uvrlab.synthesis.families import family_of
from uvrlab.synthesis.filters import judge
from uvrlab.synthesis.filters.similarity import domain, domains
from uvrlab.synthesis.needs import lead_without

Row = dict[str, Any]
DISTRACTORS = 15


def measure_unaided(pairs: Sequence[Row], clips: Mapping[str, Row], base: Path, own: FiltersConfig, embedder: Any) -> list[Row]:
    """An `unaided` row for each TI2V pair, under a loaded `Embedder`; no score where it cannot be encoded or lacks distractors."""
    from uvrlab.data.items import ClipIndex

    composed = [pair for pair in pairs if pair["task"] == "TI2V"]
    if not composed:
        return []
    index = ClipIndex().add_rows(clips.values(), base)
    texts = [index.item({**p["query"], "modalities": ["text"]}, f"{p['pair_id']}/text") for p in composed]
    targets = [index.item(p["target"], f"{p['pair_id']}/target") for p in composed]
    found = embedder.encode_or_reject([*texts, *targets])
    vectors = dict(zip(found.kept, found.vectors, strict=True))
    return unaided(composed, clips, vectors, own, domains(str(own.embedder)))


def unaided(
    pairs: Sequence[Row], clips: Mapping[str, Row], vectors: Mapping[int, np.ndarray], own: FiltersConfig, covered: frozenset[str]
) -> list[Row]:
    """Rows from unit vectors: `vectors[i]` of the text of pair i, `vectors[N + i]` of its target; what has none is missing."""
    rows, n = [], len(pairs)
    families = [family_of(clips[pair["target"]["clip_id"]]) for pair in pairs]
    for i, pair in enumerate(pairs):
        near = [j % n for j in range(i + 1, i + n) if families[j % n] != families[i] and n + j % n in vectors][:DISTRACTORS]
        score = None
        if near and i in vectors and n + i in vectors:
            score = lead_without(np.stack([vectors[n + j] for j in (i, *near)]) @ vectors[i], 0)
        clip_id = pair["target"]["clip_id"]
        about = domain(clips[clip_id])
        able = about in covered
        detail = f"{len(near)} distractors" if able else f"the embedder's card does not cover the domain {about!r}"
        rows.append(judge("unaided", score, own, clip_id=clip_id, pair_id=pair["pair_id"], detail=detail, able=able))
    return rows
