"""The failure gallery on corpora with and without pictures: the worst miss is shown, and what cannot be seen is grey."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from uvrlab.data.items import ClipIndex
from uvrlab.evaluation import failures, results, tasks
from uvrlab.evaluation.evaluate import Benchmark
from uvrlab.evaluation.tasks import Query, Task
from uvrlab.report import Report


def row(modality: str, **given: Any) -> dict[str, Any]:
    empty = dict.fromkeys(("text", "clip_id", "start_s", "end_s", "image_uri"))
    return {**empty, "modalities": [modality], **given}


@pytest.fixture
def bench(tmp_path: Path) -> Benchmark:
    """Three candidates: a red picture, words, and a sound. The picture is right and is ranked last for the second query."""
    Image.new("RGB", (64, 64), (255, 0, 0)).save(tmp_path / "red.png")
    corpus = {"p": row("image", image_uri="red.png"), "t": row("text", text="a bell"), "s": row("audio", clip_id="gone")}
    queries = tuple(Query(name, ("p",), item=row("text", text=name)) for name in ("found", "missed"))
    return Benchmark([tasks.check(Task("mixed", "CG", queries, corpus))], ClipIndex(), "b" * 64, tmp_path)


def scored(bench: Benchmark, missed: list[float]) -> results.Evaluation:
    queries, corpus = np.eye(3, dtype=np.float32)[[0, 0]], np.eye(3, dtype=np.float32)
    queries[1] = np.array(missed) / np.linalg.norm(missed)
    found = tasks.score(bench.tasks[0], queries, corpus, ["R@1"])
    rows = tasks.per_query_rows(bench.tasks[0], found, mode="speed", model_digest="m" * 64, benchmark_digest=bench.digest)
    return results.summarise(rows, chances={}, seed=0, bootstrap=10)


def test_the_worst_miss_is_shown_beside_answers_that_have_no_picture(bench: Benchmark) -> None:
    page = Report("Evaluation")
    failures.add(page, bench, scored(bench, [1, 2, 3]))
    html = page.html()
    assert "mixed: rank 3" in html and "query missed" in html and "query found" not in html
    assert html.index("nearest wrong answer 1") < html.index("nearest wrong answer 2")


def test_a_picture_is_read_and_a_text_or_a_sound_is_grey(bench: Benchmark) -> None:
    seen = {name: failures.frames(bench, item) for name, item in bench.tasks[0].corpus.items()}
    assert (seen["p"][..., 0] > 250).all() and (seen["p"][..., 1:] < 5).all()
    assert seen["t"] is failures.UNSEEN and seen["s"] is failures.UNSEEN


def test_a_dataset_without_a_miss_is_named(bench: Benchmark) -> None:
    page = Report("Evaluation")
    failures.add(page, bench, scored(bench, [3, 2, 1]))
    assert "No miss in mixed." in page.html()
