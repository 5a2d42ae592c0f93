"""The published mixture is stated as published, and every pair of modalities in it can be written down and judged."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest
import yaml

from uvrlab.config import UVRD
from uvrlab.data.schema import item, to_arrow
from uvrlab.validation.frames import letters

REPO = Path(__file__).resolve().parents[2]
MIXTURE = yaml.safe_load((REPO / "configs" / "papers" / "gve.yaml").read_text())
PUBLISHED = REPO.parent / "shared" / "data" / "published"
NAMES = {"T": "text", "I": "image", "V": "video"}


def _item(side: str) -> dict[str, Any]:
    return item(text="Words.", clip_id="c", start_s=1.0, end_s=2.0, modalities=[NAMES[letter] for letter in side])  # type: ignore[misc]


def test_the_default_mix_is_the_stated_one() -> None:
    assert {row["task"]: row["pairs_k"] for row in MIXTURE["uvrd"]} == UVRD


@pytest.mark.skipif(not PUBLISHED.is_dir(), reason="the published tables are not beside the repository")
def test_every_row_is_as_published() -> None:
    with (PUBLISHED / "gve_training_mixture.csv").open() as file:
        published = [
            (r["part"], r["dataset"], r["task"].replace("->", "2"), *(int(r[k]) for k in ("size_3B_K", "size_7B_K", "neg", "BS")))
            for r in csv.DictReader(file)
        ]
    keys = ("dataset", "task", "pairs_3b_k", "pairs_7b_k", "hard_negatives", "batch_size")
    assert published == [(part, *(row[k] for k in keys)) for part in ("text", "image", "video") for row in MIXTURE[part]]
    with (PUBLISHED / "uvrd_counts.csv").open() as file:
        counts = [(r["task"].replace("->", "2"), *(int(r[k]) for k in ("size_K", "neg", "BS"))) for r in csv.DictReader(file)]
    assert counts == [(r["task"], r["pairs_k"], r["hard_negatives"], r["batch_size"]) for r in MIXTURE["uvrd"]]


@pytest.mark.parametrize("task", sorted({row["task"] for part in MIXTURE.values() for row in part} | {"TI2TI", "TI2I", "T2TI"}))
def test_every_task_of_the_mixture_can_be_written_and_judged(task: str) -> None:
    query, target = (_item(side) for side in task.split("2"))
    to_arrow("pairs", [{"pair_id": "p", "task": task, "query": query, "target": target}])
    assert [letters("+".join(side["modalities"])) for side in (query, target)] == task.split("2")
