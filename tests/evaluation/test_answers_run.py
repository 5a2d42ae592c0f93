"""The shipped backbone asked about rendered clips: one row a question, condition and metric, and a page that shows both models."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from uvrlab.config import load_config
from uvrlab.data.questions import read_questions, spread
from uvrlab.evaluation import answers, answers_report, evaluate, results
from uvrlab.models.respond import CONDITIONS
from uvrlab.report import Report
from uvrlab.runs import StageReport
from uvrlab.stages import run_stage


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    folder = tmp_path_factory.mktemp("answers")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("UVR_WORK", str(folder / "work"))
        config = load_config(None, ["ingest.world={train: 4, val: 0, test: 6}"])
        run_stage(config.for_stage("ingest"), {}, folder / "ingest")
        yield evaluate.Benchmark.load(folder / "ingest")


def test_the_questions_of_a_benchmark_are_spread_over_what_they_need_and_the_choice_is_fixed(bench):
    asked = read_questions(bench.base / "benchmark")
    chosen = spread(asked, 9)
    assert Counter(q.needs for q in chosen) == {"picture": 3, "sound": 3, "both": 3}
    assert chosen == spread(asked, 9) == [q for q in asked if q in chosen]
    assert {q.question_id for q in chosen} == {q.question_id for q in spread(asked[::-1], 9)}
    assert spread(asked, 10_000) == asked


def test_every_question_is_answered_under_every_condition_and_shown_for_both_models(bench, tmp_path: Path):
    from uvrlab.models.encode import Embedder

    found = answers.evaluate(Embedder.load("nano-omni"), bench, 6, workers=1, seed=0, bootstrap=100)
    counts = Counter((row["mode"], row["metric"]) for row in found.rows)
    assert {counts[condition, "accuracy"] for condition in CONDITIONS} == {6}
    assert counts["av", "IoU"] == counts["av", "format"] == counts["av", "invented"] == 6
    assert all(0.0 <= row["value"] <= 1.0 for row in found.rows)
    assert any("<answer>" in row["top_ids"][0] for row in found.rows), [row["top_ids"] for row in found.rows][:2]
    results.write(tmp_path, found)
    assert results.read(tmp_path).results == found.results
    report = StageReport(stage="evaluate")
    report.page = Report("Evaluation")
    answers_report.add(report, found, found, 0)
    page = report.page.html()
    assert "Modality bias" in page and "span IoU" in page and report.metrics["answers_both"].n == 2


def test_a_benchmark_without_questions_has_no_answers(bench, tmp_path: Path):
    bare = evaluate.Benchmark(bench.tasks, bench.index, bench.digest, tmp_path)
    assert answers.evaluate(None, bare, 6, workers=1, seed=0, bootstrap=100) is None
