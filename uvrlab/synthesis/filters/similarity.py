"""Cross-modal similarity of a pair under a configured embedder, judged only where the embedder's card covers the clip's domain.

A card is `card.json` beside the weights. It covers the domains that it lists (`"domains": ["world", "real"]`), or the procedural
world where its `limits` say so. A model directory has its backbone's card. No card covers nothing: scores are stored all the same.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from uvrlab.config import FiltersConfig
from uvrlab.synthesis.filters.table import Row, judge

CARD, BACKBONE = "card.json", "backbone.json"


def domains(embedder: str) -> frozenset[str]:
    """What an embedder's card covers. Raises ModelError where `embedder` is neither a backbone's name nor a folder with one."""
    from uvrlab.models.modeldir import backbone_folder, backbone_of

    folder = Path(embedder)
    if (folder / BACKBONE).exists():
        return domains(backbone_of(folder))
    card = backbone_folder(embedder) / CARD
    said = json.loads(card.read_text()) if card.exists() else {}
    world = ["world"] if "procedural world" in said.get("limits", "") else []
    return frozenset(said.get("domains", world))


def domain(clip: Mapping[str, Any]) -> str:
    """`world` for a rendered clip, else `real`."""
    return "world" if clip["source"] == "world" else "real"


def similarity(
    pairs: Sequence[Row],
    clips: Mapping[str, Row],
    queries: np.ndarray,
    targets: np.ndarray,
    own: FiltersConfig,
    covered: frozenset[str],
) -> list[Row]:
    """A `similarity` row for each pair from unit vectors (N, D) of its sides; clips by id; `covered` is what `domains` gives."""
    rows = []
    for pair, cosine in zip(pairs, np.einsum("nd,nd->n", queries, targets), strict=True):
        clip_id = pair["target"]["clip_id"] or pair["query"]["clip_id"]
        about = domain(clips[clip_id])
        able = about in covered
        detail = "" if able else f"the embedder's card does not cover the domain {about!r}"
        rows.append(judge("similarity", float(cosine), own, clip_id=clip_id, pair_id=pair["pair_id"], detail=detail, able=able))
    return rows


def measure_similarity(pairs: Sequence[Row], clips: Mapping[str, Row], base: Path, own: FiltersConfig, embedder: Any) -> list[Row]:
    """`similarity` under a loaded `Embedder`; the clips' URIs stand under `base`. A pair that cannot be encoded has no score."""
    from uvrlab.data.items import ClipIndex

    if own.embedder is None or not pairs:
        return []
    index = ClipIndex().add_rows(clips.values(), base)
    items = [index.item(pair[side], f"{pair['pair_id']}/{side}") for side in ("query", "target") for pair in pairs]
    found = embedder.encode_or_reject(items)
    vectors = dict(zip(found.kept, found.vectors, strict=True))
    whole = [i for i in range(len(pairs)) if i in vectors and i + len(pairs) in vectors]
    queries, targets = (np.stack([vectors[i + shift] for i in whole]) if whole else np.zeros((0, 1)) for shift in (0, len(pairs)))
    rows = similarity([pairs[i] for i in whole], clips, queries, targets, own, domains(own.embedder))
    lost = {reject.item.rpartition("/")[0]: f"{reject.reason}: {reject.detail}" for reject in found.rejects}
    return rows + [judge("similarity", None, own, pair_id=pair_id, detail=why) for pair_id, why in lost.items()]
