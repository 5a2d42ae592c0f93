"""The part of the evaluation report about questions: answers by what they need and what was given, bias, spans, invented sounds."""

from __future__ import annotations

from typing import Any

from uvrlab.evaluation.answers import DATASETS, Bias, modality_bias
from uvrlab.evaluation.results import Evaluation, ResultsError, Score
from uvrlab.models.respond import CONDITIONS
from uvrlab.report import Report
from uvrlab.runs import Metric, StageReport

SHOWN = {"av": "A+V", "v": "picture only", "a": "sound only", "blind": "neither"}
GROUNDING = {
    "format": "form kept",
    "IoU": "span IoU",
    "R@0.3": "recall at 0.3",
    "R@0.5": "recall at 0.5",
    "invented": "invented a sound",
}


def add(report: StageReport, trained: Evaluation | None, base: Evaluation | None, seed: int) -> None:
    """Sections and headline metrics for both models; nothing where no questions were asked."""
    if trained is None or base is None:
        return
    page: Report = report.page
    models = {"before": base, "after": trained}
    for needs, dataset in DATASETS.items():
        if (score := _score(trained, dataset, "accuracy", "av")) is not None:
            report.metrics[f"answers_{needs}"] = _metric(score)
    page.section("Questions", "Greedy answers; a modality is really removed. Questions that need both are the point of hearing.")
    page.table([row for name, found in models.items() for row in _accuracies(name, found)], caption="Accuracy by what is given")
    page.bars(
        {
            f"{needs}, {name}": {SHOWN[c]: s.value for c in CONDITIONS if (s := _score(found, dataset, "accuracy", c))}
            for needs, dataset in DATASETS.items()
            for name, found in models.items()
            if _score(found, dataset, "accuracy", "av")
        },
        "share",
        caption="What questions need, before and after",
    )
    page.table([row for name, found in models.items() for row in _biases(name, found, seed)], caption="Modality bias")
    page.section("Grounding", "Spans against true spans, which no training stage sees; a response that breaks the form has none.")
    page.table([row for name, found in models.items() for row in _grounding(name, found)])


def _accuracies(name: str, found: Evaluation) -> list[dict[str, Any]]:
    rows = []
    for needs, dataset in DATASETS.items():
        scores = {c: _score(found, dataset, "accuracy", c) for c in CONDITIONS}
        if (av := scores["av"]) is not None:
            cells = {SHOWN[c]: _metric(score) for c, score in scores.items() if score is not None}
            rows.append({"model": name, "needs": needs, **cells, "chance of the options": av.chance})
    return rows


def _biases(name: str, found: Evaluation, seed: int) -> list[dict[str, Any]]:
    rows = []
    for needs in (None, *(n for n, dataset in DATASETS.items() if _score(found, dataset, "accuracy", "av"))):
        bias: Bias = modality_bias(found.rows, needs, seed)
        gain = bias.gain
        rows.append(
            {
                "model": name,
                "needs": needs or "all",
                "n": bias.n,
                "A+V worse than the picture alone": bias.worse,
                "A+V better than the picture alone": bias.better,
                "A+V over the better single modality": Metric(
                    value=gain.difference, unit="points", low=gain.low, high=gain.high, n=gain.n
                ),
            }
        )
    return rows


def _grounding(name: str, found: Evaluation) -> list[dict[str, Any]]:
    rows = []
    for needs, dataset in DATASETS.items():
        cells = {shown: _metric(score) for metric, shown in GROUNDING.items() if (score := _score(found, dataset, metric, "av"))}
        if cells:
            rows.append({"model": name, "needs": needs, **cells})
    return rows


def _score(found: Evaluation, dataset: str, metric: str, mode: str) -> Score | None:
    try:
        return found.results.score(dataset, metric, mode)
    except ResultsError:
        return None


def _metric(score: Score) -> Metric:
    return Metric(value=score.value, unit="share", low=score.low, high=score.high, n=score.n)
