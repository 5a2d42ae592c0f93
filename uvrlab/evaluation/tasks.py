"""Retrieval tasks: the queries and the corpus of one dataset, read from benchmark tables, checked, and scored from
vectors.

A task is data and its scoring is shared. Faults of a benchmark are errors that name table and row; none becomes a
score.
"""

from __future__ import annotations

import difflib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from uvrlab.data import schema
from uvrlab.evaluation import metrics, uvrb
from uvrlab.evaluation.index import Array, check_unique, check_vectors, order, search_scores


class TaskError(ValueError):
    """A benchmark whose queries, positives or pools do not fit its corpus."""


@dataclass(frozen=True)
class Query:
    """One query: its positives are candidate ids; its pool, where not empty, replaces the corpus."""

    query_id: str
    positives: tuple[str, ...]
    pool: tuple[str, ...] = ()
    item: Mapping[str, Any] | None = None
    instruction: str | None = None  # the dataset's prompt


@dataclass(frozen=True)
class Task:
    """One dataset. `corpus` maps candidate id to item, in corpus order."""

    dataset: str
    ability: str
    queries: tuple[Query, ...]
    corpus: Mapping[str, Any]


@dataclass(frozen=True)
class QueryScore:
    """What one query got: a value and a chance level a metric, the first positive's expected rank, and the best
    candidates.
    """

    query_id: str
    values: Mapping[str, float]
    chances: Mapping[str, float]
    first_relevant_rank: float
    top_ids: tuple[str, ...]
    top_scores: tuple[float, ...]
    n_candidates: int


def check(task: Task, source: str = "") -> Task:
    """The same task, or TaskError naming `source`, dataset, row and query id of the first fault."""
    where = f"{source + ', ' if source else ''}dataset {task.dataset!r}"
    if not task.queries:
        raise TaskError(f"{where} has no query; expected at least one")
    check_unique([q.query_id for q in task.queries], f"{where}, queries")
    for row, query in enumerate(task.queries):
        at = f"{where}, query row {row} ({query.query_id!r})"
        if not query.positives:
            raise TaskError(f"{at} has no positive; add one or drop the query")
        check_unique(query.positives, f"{at}, positives")
        check_unique(query.pool, f"{at}, pool")
        candidates = set(query.pool) or task.corpus.keys()
        if lost := [p for p in query.positives if p not in candidates]:
            raise TaskError(f"{at}: positive {lost[0]!r} is not in its {'pool' if query.pool else 'corpus'}; correct the benchmark")
        if lost := [p for p in query.pool if p not in task.corpus]:
            raise TaskError(f"{at}: candidate {lost[0]!r} of its pool is not in the corpus; correct the benchmark")
    return task


def load(benchmark: Path, datasets: Sequence[str] = ()) -> list[Task]:
    """The tasks of a benchmark folder (tables `queries/` and `corpus/`) in the order of `datasets`; none named means
    all, by name.
    """
    queries: dict[str, list[dict[str, Any]]] = {}
    corpora: dict[str, list[tuple[str, Any]]] = {}
    for row in schema.read_table("queries", benchmark / "queries"):
        queries.setdefault(row["dataset"], []).append(row)
    for row in schema.read_table("corpus", benchmark / "corpus"):
        corpora.setdefault(row["dataset"], []).append((row["candidate_id"], row["item"]))
    for name in datasets:
        if name not in queries:
            near = difflib.get_close_matches(name, queries, 1, 0.0)
            raise TaskError(
                f"{benchmark} has no dataset {name!r}; did you mean {near[0] if near else '-'!r}? "
                f"found {', '.join(sorted(queries))}"
            )
    return [_task(name, queries[name], corpora.get(name, []), benchmark) for name in datasets or sorted(queries)]


def _task(name: str, rows: list[dict[str, Any]], corpus: list[tuple[str, Any]], source: Path) -> Task:
    check_unique([candidate for candidate, _ in corpus], f"{source / 'corpus'}, dataset {name!r}")
    if len(abilities := sorted({str(row["ability"]) for row in rows})) > 1:
        raise TaskError(f"{source / 'queries'}, dataset {name!r}: found abilities {abilities}, expected one a dataset")
    queries = tuple(
        Query(row["query_id"], tuple(row["positives"] or ()), tuple(row["pool"] or ()), row["item"], row["instruction"])
        for row in rows
    )
    _check_prompts(name, queries, f"{source / 'queries'}, dataset {name!r}")
    named = {candidate: item and {**item, "name": f"{name}/{candidate}"} for candidate, item in corpus}
    return check(Task(name, abilities[0], queries, named), str(source / "queries"))


def _check_prompts(name: str, queries: Sequence[Query], where: str) -> None:
    """Raises TaskError where a dataset of UVRB (or a mirror of one) has no prompt, or a name that only looks right."""
    try:
        known = uvrb.find(name)
    except ValueError as error:
        raise TaskError(f"{where}: {error}") from error
    lost = [row for row, query in enumerate(queries) if not query.instruction]
    if lost and (known or len(lost) < len(queries)):
        at = f"{where}, query row {lost[0]} ({queries[lost[0]].query_id!r})"
        raise TaskError(f"{at} has no prompt; expected {repr(known.prompt) if known else 'one as in other rows'}; ingest again")


def asked(task: Task, prompts: bool = True) -> Task:
    """The task with each query's instruction, and its name for messages, in its item; without `prompts` nothing is asked."""
    given = ({**(q.item or {}), "instruction": q.instruction if prompts else None, "name": q.query_id} for q in task.queries)
    return replace(task, queries=tuple(replace(q, item=item) for q, item in zip(task.queries, given, strict=True)))


def score(task: Task, query_vectors: Array, corpus_vectors: Array, names: Sequence[str], top: int = 10) -> list[QueryScore]:
    """Score unit vectors (Q, D) and (N, D), in the order of `task.queries` and `task.corpus`, by the metrics `names`."""
    ids = list(task.corpus)
    query_vectors = check_vectors([q.query_id for q in task.queries], query_vectors, f"queries of {task.dataset!r}")
    corpus_vectors = check_vectors(ids, corpus_vectors, f"corpus of {task.dataset!r}")
    every = candidate_scores(task, query_vectors, corpus_vectors)
    return [_score_query(q, row, list(q.pool) or ids, names, top) for q, row in zip(task.queries, every, strict=True)]


def candidate_scores(task: Task, query_vectors: Array, corpus_vectors: Array) -> list[Array]:
    """For each query the similarities of its own candidates (n,), in the order of its pool, else of the corpus."""
    place = {name: at for at, name in enumerate(task.corpus)}
    scores = search_scores(query_vectors, corpus_vectors)
    return [row[[place[name] for name in q.pool]] if q.pool else row for q, row in zip(task.queries, scores, strict=True)]


def _score_query(query: Query, scores: Array, candidates: list[str], names: Sequence[str], top: int) -> QueryScore:
    positives = set(query.positives)
    ranking = metrics.rank(scores, np.array([name in positives for name in candidates]), query.query_id)
    best = _best(scores, candidates, top)
    return QueryScore(
        query.query_id,
        {name: metrics.score(name, ranking) for name in names},
        {name: metrics.chance(name, ranking.n_candidates, ranking.n_positives) for name in names},
        metrics.first_relevant_rank(ranking),
        tuple(candidates[at] for at in best),
        tuple(float(scores[at]) for at in best),
        ranking.n_candidates,
    )


def _best(scores: Array, ids: list[str], top: int) -> list[int]:
    """Positions of the `top` candidates, ties by id; sorts only what can be among them."""
    if top >= len(ids):
        return order(scores, ids).tolist()
    kept = np.flatnonzero(scores >= np.partition(scores, -top)[-top])
    return kept[order(scores[kept], [ids[at] for at in kept])[:top]].tolist()


def per_query_rows(
    task: Task,
    scores: Sequence[QueryScore],
    *,
    mode: str,
    model_digest: str,
    benchmark_digest: str,
    n_tokens: Sequence[int] | None = None,
    latency_ms: Sequence[float] | None = None,
) -> list[dict[str, Any]]:
    """Rows of the `per_query` table, one a query and metric; an expected rank rounds up."""
    return [
        {
            "dataset": task.dataset,
            "ability": task.ability,
            "query_id": found.query_id,
            "mode": mode,
            "metric": metric,
            "value": value,
            "first_relevant_rank": math.ceil(found.first_relevant_rank - 1e-9),
            "top_ids": list(found.top_ids),
            "n_candidates": found.n_candidates,
            "n_tokens": n_tokens[row] if n_tokens is not None else None,
            "latency_ms": latency_ms[row] if latency_ms is not None else None,
            "model_digest": model_digest,
            "benchmark_digest": benchmark_digest,
        }
        for row, found in enumerate(scores)
        for metric, value in found.values.items()
    ]


def mean_chances(scores: Sequence[QueryScore]) -> dict[str, float]:
    """The chance level of a dataset a metric: the mean over its queries, whose pools and positives may differ in
    number.
    """
    return {name: float(np.mean([found.chances[name] for found in scores])) for name in scores[0].chances}


def query_text(item: Mapping[str, Any] | None) -> str:
    """What a report prints for a query: its text, else its other parts as JSON."""
    if not item:
        return ""
    return item.get("text") or json.dumps({k: v for k, v in item.items() if v is not None}, sort_keys=True, ensure_ascii=False)
