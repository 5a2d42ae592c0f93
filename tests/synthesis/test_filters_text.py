"""Texts and pairs: what each text filter drops, and similarity under an embedder that may not know the domain."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from uvrlab.config import FiltersConfig
from uvrlab.data import schema
from uvrlab.data.world import captions, sample_scene, stable_rng
from uvrlab.synthesis.filters import (
    apply,
    judge,
    measure_text,
    similarity,
)
from uvrlab.synthesis.filters.text import text_scores

OWN = FiltersConfig()
Row = dict[str, Any]


@pytest.mark.parametrize(
    ("text", "dropped"),
    [
        ("", {"text_words", "text_variety", "text_function", "text_boilerplate", "text_generic"}),
        ("IMG_2034.MP4", {"text_boilerplate"}),
        ("a video", {"text_words", "text_generic"}),
        ("This is a video of something", {"text_generic"}),
        ("it is what it is", {"text_function", "text_generic"}),
        ("dog dog dog dog dog", {"text_variety"}),
        ("watch this video and subscribe to my channel", {"text_boilerplate"}),
        ("https://example.org/v/1 #fun", {"text_boilerplate"}),
        ("A dog runs over a meadow.", set()),
        ("Ein Hund läuft über die Wiese.", set()),
        ("a 3d model of a C3PO robot at 10:30", set()),
    ],
)
def test_a_text_is_dropped_for_what_is_wrong_with_it(text: str, dropped: set[str]) -> None:
    rows = [judge(name, score, OWN, pair_id="p") for name, score in text_scores(text).items()]
    assert {row["filter"] for row in rows if row["verdict"] == "drop"} == dropped


@given(st.text(max_size=80))
def test_text_scores_are_shares_of_any_text(text: str) -> None:
    found = text_scores(text)
    assert found.pop("text_words") >= 0
    assert all(0.0 <= score <= 1.0 for score in found.values())


def test_captions_of_the_world_are_all_kept() -> None:
    made = [captions(sample_scene("train", i), stable_rng(3, i)) for i in range(60)]
    rows = [judge(n, s, OWN, pair_id=t) for texts in made for t in texts.values() for n, s in text_scores(t).items()]
    assert not apply(rows).pairs


def test_the_worse_side_of_a_pair_of_texts_counts() -> None:
    sides = [schema.item(text=text, modalities=["text"]) for text in ("A dog runs over a meadow.", "video clip")]
    pair = {"pair_id": "p", "query": sides[0], "target": sides[1]}
    found = {row["filter"]: row for row in measure_text(pair, OWN)}
    assert (found["text_words"]["score"], found["text_words"]["detail"]) == (2.0, "target")
    clip = schema.item(clip_id="c", start_s=0.0, end_s=1.0, modalities=["video"])
    assert measure_text({"pair_id": "p", "query": clip, "target": clip}, OWN) == []
    assert {row["clip_id"] for row in measure_text({"pair_id": "p", "query": sides[0], "target": clip}, OWN)} == {"c"}


def test_similarity_is_judged_only_where_the_card_covers_the_domain(tmp_path: Path) -> None:
    covered = similarity.domains("nano-omni")
    assert covered == {"world"}
    text = schema.item(text="a dog runs", modalities=["text"])
    targets = {name: schema.item(clip_id=name, start_s=0.0, end_s=1.0, modalities=["video"]) for name in ("w", "r")}
    pairs = [{"pair_id": name, "query": text, "target": target} for name, target in targets.items()]
    clips = {"w": {"source": "world"}, "r": {"source": "folder"}}
    queries = np.array([[1.0, 0.0], [1.0, 0.0]])
    found = similarity.similarity(pairs, clips, queries, np.array([[0.1, 0.9], [0.1, 0.9]]), OWN, covered)
    assert [(row["pair_id"], row["score"], row["verdict"]) for row in found] == [("w", 0.1, "drop"), ("r", 0.1, "not judged")]
    assert "does not cover the domain 'real'" in found[1]["detail"]


def test_the_cards_own_list_of_domains_counts_and_no_card_covers_nothing(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    assert similarity.domains(str(tmp_path)) == frozenset()
    (tmp_path / "card.json").write_text(json.dumps({"domains": ["real", "world"]}))
    assert similarity.domains(str(tmp_path)) == {"real", "world"}
    model = tmp_path / "model"
    model.mkdir()
    (model / "backbone.json").write_text(json.dumps({"backbone": "nano-omni", "digest": "0"}))
    assert similarity.domains(str(model)) == {"world"}
