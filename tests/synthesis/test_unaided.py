"""What a question needs, and which composed queries do without their picture, worked by hand."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from uvrlab.config import FiltersConfig
from uvrlab.data.schema import item
from uvrlab.synthesis.filters import apply
from uvrlab.synthesis.needs import CONDITIONS, lead_without, needs
from uvrlab.synthesis.unaided import measure_unaided, unaided

Row = dict[str, Any]
LABELS = {(True, False, False): "both", (True, True, False): "picture", (True, False, True): "sound"}


@pytest.mark.parametrize("right", list(product((False, True), repeat=3)))
def test_a_label_needs_one_clear_cause(right: tuple[bool, bool, bool]) -> None:
    """Of eight outcomes three tell: missed with both, or answered by either, is no label."""
    assert needs(dict(zip(CONDITIONS, right, strict=True))) == LABELS.get(right)


def test_a_condition_that_was_not_tried_is_an_error() -> None:
    with pytest.raises(ValueError, match="no answer under sound"):
        needs({"both": True, "picture": False})


def test_the_lead_is_over_the_best_distractor() -> None:
    """0.7 against 0.5 and 0.6 leads by 0.1; 0.2 against 0.9 lags by 0.7."""
    assert lead_without(np.array([0.5, 0.7, 0.6]), 1) == pytest.approx(0.1)
    assert lead_without(np.array([0.2, 0.9]), 0) == pytest.approx(-0.7)
    with pytest.raises(ValueError, match="distractor"):
        lead_without(np.array([0.2]), 0)


@pytest.fixture
def composed(world_clip: Callable[..., Any]) -> tuple[list[Row], dict[str, Row]]:
    """Four TI2V pairs on clips of two families, and their clips."""
    clips = {row["clip_id"]: row for i in (0, 1, 4, 5) if (row := world_clip("train", i))}
    pairs = [
        {
            "pair_id": f"p{i}",
            "task": "TI2V",
            "query": item(text=f"text {i}", clip_id=name, start_s=1.0, end_s=1.0, modalities=["text", "image"]),
            "target": item(clip_id=name, start_s=0.0, end_s=4.0, modalities=["video"]),
        }
        for i, name in enumerate(clips)
    ]
    return pairs, clips


def test_a_query_whose_text_finds_its_target_is_dropped_and_siblings_are_no_distractors(
    composed: tuple[list[Row], dict[str, Row]],
) -> None:
    """Text 0 is its target's vector: 1 against 0. Text 1 is that of a stranger's target: -1. Texts 2 and 3 have no vector."""
    pairs, clips = composed
    axes = np.eye(4)
    vectors = {0: axes[0], 1: axes[2], 4: axes[0], 5: axes[1], 6: axes[2], 7: axes[3]}
    rows = unaided(pairs, clips, vectors, FiltersConfig(), frozenset({"world"}))
    assert [(r["pair_id"], r["score"], r["verdict"]) for r in rows] == [
        ("p0", 1.0, "drop"),
        ("p1", -1.0, "keep"),
        ("p2", None, "not judged"),
        ("p3", None, "not judged"),
    ]
    assert rows[0]["detail"] == "2 distractors"
    assert apply(rows).pairs["p0"]["reason"] == "filter:unaided"


def test_an_embedder_that_does_not_cover_the_domain_judges_nothing(composed: tuple[list[Row], dict[str, Row]]) -> None:
    pairs, clips = composed
    vectors = dict(enumerate(np.eye(8)))
    rows = unaided(pairs, clips, vectors, FiltersConfig(), frozenset({"real"}))
    assert {r["verdict"] for r in rows} == {"not judged"} and all(r["score"] is not None for r in rows)


def test_texts_are_embedded_without_their_picture(composed: tuple[list[Row], dict[str, Row]], tmp_path: Path) -> None:
    pairs, clips = composed
    asked: list[Any] = []

    def encode(items: list[Any]) -> Any:
        asked.extend(items)
        return SimpleNamespace(kept=list(range(8)), vectors=np.tile(np.eye(4), (2, 1)), rejects=[])

    own = FiltersConfig(embedder="nano-omni")
    rows = measure_unaided(pairs, clips, tmp_path, own, SimpleNamespace(encode_or_reject=encode))
    assert [(i.text, i.image_uri, i.video_uri is None) for i in asked[:4]] == [(f"text {i}", None, True) for i in range(4)]
    assert {r["verdict"] for r in rows} == {"drop"} and len(rows) == 4
