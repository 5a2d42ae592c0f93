"""Tasks: read from benchmark tables, every fault named by table and row, scores exact."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from uvrlab.data import schema
from uvrlab.evaluation import tasks
from uvrlab.evaluation.index import IndexFault
from uvrlab.evaluation.tasks import Query, Task, TaskError

CORPUS = dict.fromkeys(("a", "b", "c", "d"))


def task(*queries: Query) -> Task:
    return Task("toy", "CG", queries, CORPUS)


def circle(*degrees: float) -> np.ndarray:
    angles = np.deg2rad(degrees)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)


def test_hand_worked_scores() -> None:
    """Corpus at 0, 10, 20, 90 degrees. Query at 12: order b c a d (2, 8, 12, 78 degrees off). Positives a and d: ranks 3 and 4.

    R@3 = 1/2, MRR = 1/3. In the pool (a, d) alone: ranks 1 and 2, P@1 = 1, chance of P@1 = 1.
    """
    found = tasks.score(
        task(Query("q1", ("a", "d")), Query("q2", ("a", "d"), ("a", "d"))),
        circle(12, 12),
        circle(0, 10, 20, 90),
        ["R@3", "MRR", "P@1"],
    )
    assert found[0].values == {"R@3": 0.5, "MRR": pytest.approx(1 / 3), "P@1": 0}
    assert found[0].top_ids == ("b", "c", "a", "d")
    assert (found[1].values["P@1"], found[1].chances["P@1"], found[1].n_candidates) == (1, 1, 2)
    assert tasks.mean_chances(found)["P@1"] == pytest.approx((2 / 4 + 1) / 2)


def test_scores_do_not_depend_on_corpus_order() -> None:
    """Duplicates in the corpus tie exactly, so any permutation gives the same values and the same best ids."""
    generator = np.random.default_rng(0)
    vectors = generator.normal(size=(60, 8)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors[30:] = vectors[:30]
    ids, queries = [f"c{i:02d}" for i in range(60)], tuple(Query(f"q{i}", (f"c{i:02d}",)) for i in range(30))
    results = []
    for permutation in (np.arange(60), generator.permutation(60)):
        corpus = dict.fromkeys(ids[i] for i in permutation)
        results.append(tasks.score(Task("t", "CG", queries, corpus), vectors[:30], vectors[permutation], ["R@1", "MRR", "nDCG@10"]))
    assert results[0] == results[1]
    assert results[0][0].values["R@1"] == pytest.approx(0.5)  # its twin is as near: a coin decides


def test_per_query_rows_fit_the_table_and_an_expected_rank_rounds_up(tmp_path: Path) -> None:
    toy = task(Query("q1", ("a",)))
    found = tasks.score(toy, circle(5), circle(0, 0, 40, 90), ["R@1", "R@5"])
    rows = tasks.per_query_rows(toy, found, mode="disc", model_digest="m", benchmark_digest="b", n_tokens=[7])
    assert [(r["metric"], r["value"], r["first_relevant_rank"]) for r in rows] == [("R@1", 0.5, 2), ("R@5", 1, 2)]
    assert schema.write_table("per_query", rows, tmp_path) == 2


@pytest.mark.parametrize(
    ("query", "message"),
    [
        (Query("q9", ()), r"file, dataset 'toy', query row 1 \('q9'\) has no positive"),
        (Query("q9", ("z",)), r"row 1 \('q9'\): positive 'z' is not in its corpus"),
        (Query("q9", ("a",), ("b", "c")), r"row 1 \('q9'\): positive 'a' is not in its pool"),
        (Query("q9", ("a",), ("a", "z")), r"row 1 \('q9'\): candidate 'z' of its pool is not in the corpus"),
        (Query("q9", ("a", "a")), r"\('q9'\), positives, row 1: id 'a' stands in row 0 already"),
        (Query("q1", ("a",)), r"queries, row 1: id 'q1' stands in row 0 already"),
    ],
)
def test_faults_of_a_benchmark_name_the_row(query: Query, message: str) -> None:
    with pytest.raises((TaskError, IndexFault), match=message):
        tasks.check(task(Query("q1", ("a",)), query), "file")


def test_a_nan_vector_is_an_error_that_names_the_query() -> None:
    vectors = circle(1, 2)
    vectors[1] = np.nan
    with pytest.raises(IndexFault, match=r"queries of 'toy', row 1 \('q2'\): the vector holds NaN"):
        tasks.score(task(Query("q1", ("a",)), Query("q2", ("b",))), vectors, circle(0, 1, 2, 3), ["R@1"])


def write_benchmark(folder: Path, extra: list[dict[str, Any]] | None = None) -> None:
    words = schema.item(text="a red star", modalities=["text"])
    video = schema.item(clip_id="c", modalities=["video"])
    queries = [
        {"dataset": name, "ability": "CG", "query_id": f"{name}-q", "item": words, "positives": ["a"], "pool": []}
        for name in ("world-rich", "world-i2v")
    ]
    corpus = [{"dataset": name, "candidate_id": c, "item": video} for name in ("world-rich", "world-i2v") for c in "ab"]
    schema.write_table("queries", queries + (extra or []), folder / "queries")
    schema.write_table("corpus", corpus, folder / "corpus")


def test_load_reads_the_named_datasets_in_order(tmp_path: Path) -> None:
    write_benchmark(tmp_path)
    assert [t.dataset for t in tasks.load(tmp_path)] == ["world-i2v", "world-rich"]
    found = tasks.load(tmp_path, ["world-rich"])[0]
    assert (found.queries[0].positives, list(found.corpus)) == (("a",), ["a", "b"])
    assert tasks.query_text(found.queries[0].item) == "a red star"
    with pytest.raises(TaskError, match="did you mean 'world-rich'"):
        tasks.load(tmp_path, ["worldrich"])


def test_load_names_the_table_of_a_fault(tmp_path: Path) -> None:
    write_benchmark(tmp_path, [{"dataset": "world-rich", "ability": "CG", "query_id": "q2", "positives": ["z"], "pool": []}])
    with pytest.raises(TaskError, match=r"queries, dataset 'world-rich', query row 1 \('q2'\): positive 'z'"):
        tasks.load(tmp_path)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (
            [("world-MSRVTT", None)],
            r"queries, dataset 'world-MSRVTT', query row 0 \('q0'\) has no prompt; expected 'Find the clip that",
        ),
        (
            [("mine", "Find it."), ("mine", None)],
            r"dataset 'mine', query row 1 \('q1'\) has no prompt; expected one as in other rows",
        ),
        ([("MSR-VTT", "Find it.")], r"queries, dataset 'MSR-VTT': .* did you mean 'MSRVTT'"),
    ],
)
def test_a_missing_prompt_and_a_name_that_only_looks_right_are_errors(tmp_path: Path, rows: list[Any], message: str) -> None:
    words = schema.item(text="a red star", modalities=["text"])
    queries = [
        {
            "dataset": name,
            "ability": "CG",
            "query_id": f"q{at}",
            "item": words,
            "positives": ["a"],
            "pool": [],
            "instruction": prompt,
        }
        for at, (name, prompt) in enumerate(rows)
    ]
    schema.write_table("queries", queries, tmp_path / "queries")
    corpus = [{"dataset": name, "candidate_id": "a", "item": words} for name in dict.fromkeys(name for name, _ in rows)]
    schema.write_table("corpus", corpus, tmp_path / "corpus")
    with pytest.raises(TaskError, match=message):
        tasks.load(tmp_path)


def test_a_query_is_asked_with_its_datasets_prompt(tmp_path: Path) -> None:
    query = Query("q", ("a",), item=schema.item(text="a red star", modalities=["text"]), instruction="Find it.")
    task = Task("mine", "CG", (query,), {"a": None})
    item, bare = (tasks.asked(task, prompts).queries[0].item or {} for prompts in (True, False))
    assert (item["instruction"], item["text"], item["name"]) == ("Find it.", "a red star", "q")
    assert bare["instruction"] is None
