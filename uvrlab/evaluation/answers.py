"""Questions about held-out clips, asked with sound and picture, one of them, or neither: `answers/` of an evaluation.

A data set each for questions that need the picture, the sound, or both. Metrics: `accuracy` under every condition (modes av, v, a,
blind); `format`, `IoU`, `R@0.3`, `R@0.5` and `invented` (share of responses in which a caption names a sound that is not there)
with everything given. They stand apart from retrieval, and from its averages.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from uvrlab import runs
from uvrlab.data.items import ClipIndex, Item
from uvrlab.data.questions import Asked, Span, read_questions, read_spans, spread
from uvrlab.data.schema import item as item_row
from uvrlab.data.schema import read_table
from uvrlab.data.world import Scene
from uvrlab.evaluation import grounded, results
from uvrlab.evaluation.metrics import PairedEffect, paired_bootstrap
from uvrlab.evaluation.tasks import TaskError
from uvrlab.models.respond import CONDITIONS, Condition, is_right, respond, under

MAX_TOKENS = 192
DATASETS = {needs: f"answers-{needs}" for needs in ("picture", "sound", "both")}
RECALLS = (0.3, 0.5)


@dataclass(frozen=True)
class Response:
    """What a model said to one question under one condition."""

    question: Asked
    condition: Condition
    text: str


@dataclass(frozen=True)
class Truth:
    """What responses are measured by: true spans by question and scenes by clip, on the clip's clock; either may lack a row."""

    spans: Mapping[str, Sequence[Span]]
    scenes: Mapping[str, Scene]
    durations_s: Mapping[str, float]


def question_item(index: ClipIndex, question: Asked) -> Item:
    """The clip with picture, sound where it can be heard, and the question as its text."""
    row = item_row(text=question.prompt, clip_id=question.clip_id, modalities=["text", "video", "audio"])
    return index.item(row, question.question_id)


def ask(
    embedder: Any, cache: Any, questions: Sequence[Asked], index: ClipIndex, conditions: Sequence[Condition] = CONDITIONS
) -> list[Response]:
    """Greedy responses to every question under every condition; `cache` holds the clips' features.

    A clip with sound that is longer than a window is shown as far as its first window.
    """
    items = [cache.get(question_item(index, question))[0] for question in questions]
    asked = [
        (question, condition, under(item, condition))
        for condition in conditions
        for question, item in zip(questions, items, strict=True)
    ]
    texts = respond(
        embedder.model,
        embedder.spec,
        embedder.collate_left,
        [item for *_, item in asked],
        embedder.device,
        max_new_tokens=MAX_TOKENS,
    )
    return [Response(question, condition, text) for (question, condition, _), text in zip(asked, texts, strict=True)]


def rows(responses: Sequence[Response], truth: Truth, *, model_digest: str, benchmark_digest: str) -> list[dict[str, Any]]:
    """`per_query` rows: a row a question, condition and metric."""
    found = []
    for one in responses:
        for metric, value in _measures(one, truth).items():
            found.append(
                {
                    "dataset": DATASETS[one.question.needs],
                    "ability": one.question.needs,
                    "query_id": one.question.question_id,
                    "mode": one.condition,
                    "metric": metric,
                    "value": value,
                    "n_candidates": len(one.question.options),
                    "n_tokens": len(one.text.split()),
                    "top_ids": [one.text],
                    "model_digest": model_digest,
                    "benchmark_digest": benchmark_digest,
                }
            )
    return found


def _measures(one: Response, truth: Truth) -> dict[str, float]:
    """Spans and captions are measured with everything given: without the sound no caption could know of it."""
    found = {"accuracy": float(is_right(one.text, one.question))}
    clip, true = one.question.clip_id, truth.spans.get(one.question.question_id)
    if one.condition != "av":
        return found
    response = grounded.parsed(one.text, truth.durations_s[clip])
    found["format"] = float(response is not None)
    if true:
        spans = response.spans if response else ()
        found["IoU"] = grounded.span_iou(spans, true)
        found |= {f"R@{level}": grounded.span_recall(spans, true, level) for level in RECALLS}
    if clip in truth.scenes:
        found["invented"] = float(response is not None and grounded.invents_sound(response, truth.scenes[clip]))
    return found


def summarise(found: Sequence[Mapping[str, Any]], *, seed: int, bootstrap: int) -> results.Evaluation:
    """An evaluation whose main metric is accuracy; chance is that of the options, and unknown where a question is open."""
    main = dict.fromkeys({row["dataset"] for row in found}, "accuracy")
    chances = {(dataset, "accuracy"): level for dataset in main if (level := _chance(found, dataset)) is not None}
    return results.summarise(found, chances=chances, seed=seed, bootstrap=bootstrap, main=main)


def _chance(found: Sequence[Mapping[str, Any]], dataset: str) -> float | None:
    options = [row["n_candidates"] for row in found if (row["dataset"], row["metric"], row["mode"]) == (dataset, "accuracy", "av")]
    return float(np.mean([1 / n for n in options])) if options and all(options) else None


def evaluate(embedder: Any, bench: Any, count: int, *, workers: int, seed: int, bootstrap: int) -> results.Evaluation | None:
    """Ask `count` questions of a benchmark, a third of each need as far as there are; None where it has no questions.

    `bench` is an `evaluate.Benchmark`. Raises TaskError where a clip cannot be decoded.
    """
    from uvrlab.data.workers import MediaPool
    from uvrlab.models.features import FeatureCache

    folder = bench.base / "benchmark"
    if not (folder / "questions").is_dir():
        return None
    chosen = spread(read_questions(folder), count)
    cache = FeatureCache(
        runs.work_dir() / "features", embedder.model, embedder.collate, embedder.preprocess.sampling, embedder.device
    )
    with MediaPool(workers) as pool:
        rejects = cache.add([question_item(bench.index, question) for question in chosen], pool=pool)
    if rejects:
        first = f"{rejects[0].item}: {rejects[0].reason}, {rejects[0].detail}"
        raise TaskError(f"the clips of {len(rejects)} questions cannot be shown, first {first}; ingest again without them")
    said = ask(embedder, cache, chosen, bench.index)
    found = rows(said, truth(folder), model_digest=embedder.digest, benchmark_digest=runs.digest_json([bench.digest, count]))
    return summarise(found, seed=seed, bootstrap=bootstrap)


def truth(folder: Path) -> Truth:
    """True spans, scenes and durations of a benchmark's clips, on each clip's own clock."""
    clips = {row["clip_id"]: row for row in read_table("clips", folder / "clips")}
    asked = {q.question_id: q.clip_id for q in read_questions(folder)}
    spans = {
        name: [(a - clips[asked[name]]["start_s"], b - clips[asked[name]]["start_s"]) for a, b in own]
        for name, own in read_spans(folder).items()
    }
    scenes = {name: Scene.from_json(row["scene"]) for name, row in clips.items() if row["scene"]}
    return Truth(spans, scenes, {name: row["end_s"] - row["start_s"] for name, row in clips.items()})


@dataclass(frozen=True)
class Bias:
    """How a model uses its modalities on n questions: shares of them where A+V is worse, or better, than the picture alone, and
    the paired gain of A+V over whichever single modality is better on average."""

    worse: float
    better: float
    gain: PairedEffect
    n: int


def modality_bias(found: Sequence[Mapping[str, Any]], needs: str | None = None, seed: int = 0) -> Bias:
    """From accuracy rows of one model. ValueError where a condition is missing."""
    table: dict[str, dict[str, float]] = {condition: {} for condition in CONDITIONS}
    for row in found:
        if row["metric"] == "accuracy" and needs in (None, row["ability"]):
            table[row["mode"]][row["query_id"]] = row["value"]
    names = sorted(table["av"])
    if not names or any(set(table[condition]) != set(names) for condition in ("v", "a")):
        raise ValueError(
            f"found {[len(table[c]) for c in ('av', 'v', 'a')]} answers under av, v and a; expected the same questions"
        )
    av, v, a = (np.array([table[condition][name] for name in names]) for condition in ("av", "v", "a"))
    single = v if v.mean() >= a.mean() else a
    return Bias(float((av < v).mean()), float((av > v).mean()), paired_bootstrap(av, single, seed=seed), len(names))
