"""Does hearing help search? The benchmark's queries about hearing, against candidates with picture and sound and with either alone.

A data set each for queries that need the sound, the picture, both, or tell a sound out of its place (`uvrlab.data.hearing`). Modes:
av, v and a, which name what the candidates hold; a modality is removed from the item before it is decoded. All are read by the disc
vector. They are `hearing/` of an evaluation, apart from retrieval and from its averages.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from uvrlab.config import EvaluateConfig
from uvrlab.evaluation import results, tasks
from uvrlab.evaluation.metrics import PairedEffect, paired_bootstrap
from uvrlab.evaluation.tasks import Task, TaskError
from uvrlab.evaluation.vectors import Vectors
from uvrlab.models.respond import REMOVED, Condition

METRICS = ("R@1", "MRR")
CONDITIONS: tuple[Condition, ...] = ("av", "v", "a")


def under(task: Task, condition: Condition) -> Task:
    """The task with what the condition removes taken from every candidate. TaskError for a candidate without picture or sound."""
    if lost := [name for name, row in task.corpus.items() if not {"video", "audio"} <= set(row["modalities"])]:
        raise TaskError(f"dataset {task.dataset!r}: candidate {lost[0]!r} has no picture or no sound to be heard; ingest again")
    kept = {name: [m for m in row["modalities"] if m not in REMOVED[condition]] for name, row in task.corpus.items()}
    return replace(task, corpus={name: {**row, "modalities": kept[name]} for name, row in task.corpus.items()})


def evaluate(embedder: Any, bench: Any, own: EvaluateConfig, *, workers: int, seed: int) -> results.Evaluation | None:
    """Every query under every condition; None where the benchmark has none, or the model does not hear.

    `bench` is an `evaluate.Benchmark`. Raises TaskError where an item cannot be encoded.
    """
    if not bench.hearing or "audio" not in embedder.modalities:
        return None
    asked = [(condition, under(tasks.asked(task), condition)) for task in bench.hearing for condition in CONDITIONS]
    vectors = Vectors(embedder, bench, own.batch_size, workers, "speed")
    vectors.fill([row for _, task in asked for row in (*(q.item for q in task.queries), *task.corpus.values())])
    rows: list[dict[str, Any]] = []
    chances: dict[tuple[str, str], float] = {}
    for condition, task in asked:
        queries, corpus = vectors.get([q.item for q in task.queries]), vectors.get(list(task.corpus.values()))
        scores = tasks.score(task, queries, corpus, METRICS)
        rows += tasks.per_query_rows(task, scores, mode=condition, model_digest=embedder.digest, benchmark_digest=bench.digest)
        chances |= {(task.dataset, name): level for name, level in tasks.mean_chances(scores).items()}
    return results.summarise(rows, chances=chances, seed=seed, bootstrap=own.bootstrap)


def values(table: results.Table, dataset: str, condition: Condition) -> list[float]:
    """R@1 of every query of a data set under a condition, in the order of the query ids; `table` as `results.tabulate` gives it."""
    found = table[condition, "R@1", dataset]
    return [found[name] for name in sorted(found)]


def gain(table: results.Table, dataset: str, seed: int) -> PairedEffect:
    """What hearing adds: R@1 with picture and sound over that with the picture alone, on the same queries."""
    return paired_bootstrap(values(table, dataset, "av"), values(table, dataset, "v"), seed=seed)


def gain_over(table: results.Table, before: results.Table, dataset: str, seed: int) -> PairedEffect:
    """How much more hearing adds to a model than to the one before, on the same queries."""
    now, then = (np.subtract(values(one, dataset, "av"), values(one, dataset, "v")) for one in (table, before))
    return paired_bootstrap(now, then, seed=seed)
