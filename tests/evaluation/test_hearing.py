"""Search with picture and sound, and with either alone: what a condition leaves, gains by hand, and that nothing else moves."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from uvrlab.config import load_config
from uvrlab.data.decoding import decode_items
from uvrlab.data.hearing import DATASETS
from uvrlab.data.items import DecodedItem
from uvrlab.evaluation import evaluate, hearing, hearing_report, results
from uvrlab.evaluation.tasks import TaskError, asked
from uvrlab.models.encode import Embedder
from uvrlab.models.respond import under as answered_under
from uvrlab.report import Report
from uvrlab.runs import StageReport
from uvrlab.stages import run_stage

N = 1
MODALITIES = {"av": ["video", "audio"], "v": ["video"], "a": ["audio"]}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hearing")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("UVR_WORK", str(folder / "work"))
        config = load_config(None, [f"ingest.world={{train: 4, val: 0, test: 6, hearing: {N}}}", "evaluate.bootstrap=100"])
        run_stage(config.for_stage("ingest"), {}, folder / "ingest")
        bench = evaluate.Benchmark.load(folder / "ingest")
        model = Embedder.load("nano-omni")
        yield bench, model, config.for_stage("evaluate").own, hearing.evaluate(model, bench, config.evaluate, workers=1, seed=0)


def test_a_benchmark_keeps_the_queries_about_hearing_apart(world):
    bench, *_ = world
    assert {task.dataset for task in bench.hearing} == set(DATASETS)
    assert not {task.dataset for task in bench.tasks} & set(DATASETS) and len(bench.tasks) == 7
    one = evaluate.Benchmark.load(bench.base, ["world-rich", "hear-both"])
    assert [t.dataset for t in one.tasks] == ["world-rich"] and [t.dataset for t in one.hearing] == ["hear-both"]
    with pytest.raises(TaskError, match="about hearing; name one of retrieval"):
        evaluate.Benchmark.load(bench.base, ["hear-both"])


def test_a_condition_really_removes_its_modality_and_leaves_the_other_as_it_is(world):
    """The decoded item of a condition is that of picture and sound with the rest taken away, as a question's is."""
    bench, model, *_ = world
    (task,) = (t for t in bench.hearing if t.dataset == "hear-conflict")
    name = next(iter(task.corpus))
    decoded: dict[str, DecodedItem] = {}
    for condition, modalities in MODALITIES.items():
        row = hearing.under(task, condition).corpus[name]
        assert row == {**task.corpus[name], "modalities": modalities}
        ((decoded[condition],),) = decode_items([bench.item(row, name)], model.preprocess.sampling)
    both = decoded["av"]
    assert both.frames is not None and both.wave is not None
    assert decoded["v"].wave is None and np.array_equal(decoded["v"].frames, both.frames)
    assert decoded["a"].frames is None and np.array_equal(decoded["a"].wave, both.wave)
    for condition in MODALITIES:
        left = answered_under(both, condition)
        assert (left.frames is None, left.wave is None) == (decoded[condition].frames is None, decoded[condition].wave is None)
    ids = {c: set(model.collate([one]).input_ids[0].tolist()) for c, one in decoded.items()}
    tokens = {name: model.tokenizer.convert_tokens_to_ids(getattr(model.spec.tokens, name)) for name in ("video", "audio")}
    assert {c: [name for name, token in tokens.items() if token in ids[c]] for c in ids} == MODALITIES


def test_a_candidate_without_sound_is_an_error(world):
    task = asked(world[0].hearing[0])
    deaf = {name: {**row, "modalities": ["video"]} for name, row in task.corpus.items()}
    with pytest.raises(TaskError, match="no picture or no sound"):
        hearing.under(replace(task, corpus=deaf), "av")


def test_every_query_has_a_row_a_condition_and_what_cannot_be_told_apart_has_one_vector(world):
    bench, model, _, found = world
    counts = Counter((row["dataset"], row["mode"], row["metric"]) for row in found.rows)
    assert counts == {(name, mode, metric): N for name in DATASETS for mode in MODALITIES for metric in hearing.METRICS}
    assert {d: found.results.score(d, mode="v").chance for d in DATASETS} == pytest.approx(
        {d.name: 1 / len(d.pool) for d in DATASETS.values()}
    )
    for dataset, condition in (("hear-sound", "v"), ("hear-picture", "a")):
        (task,) = (t for t in bench.hearing if t.dataset == dataset)
        vectors = {}
        for given in ("av", condition):
            pool = [hearing.under(task, given).corpus[name] for name in task.queries[0].pool]
            vectors[given] = model.encode([bench.item(row, "x") for row in pool], workers=0)
        apart = {given: float(np.abs(v - v[0]).max()) for given, v in vectors.items()}
        assert apart[condition] < 1e-5 < 1e-3 < apart["av"], (dataset, apart)


def test_other_scores_and_averages_are_those_of_a_benchmark_without_hearing(world):
    bench, model, own, _ = world
    bare = replace(bench, hearing=())
    first, again = (evaluate.score(model, one, own, 1, 0).evaluation for one in (bench, bare))
    assert first == again
    assert not {s.dataset for s in first.results.scores} & set(DATASETS)
    assert first.results.score("AVG_D", mode="speed").n == sum(len(task.queries) for task in bench.tasks)
    assert hearing.evaluate(model, bare, own, workers=1, seed=0) is None
    assert hearing.evaluate(SimpleNamespace(modalities=("text", "video")), bench, own, workers=1, seed=0) is None


def table(av: list[int], v: list[int]) -> results.Table:
    """R@1 of a data set under two conditions."""
    return {(c, "R@1", "hear-both"): {f"q{i}": float(n) for i, n in enumerate(hits)} for c, hits in (("av", av), ("v", v))}


def test_what_hearing_adds_by_hand():
    """Before: 2/4 against 1/4, +25 points. After: 4/4 against 1/4, +75 points; so +50 points more."""
    before, after = table([1, 1, 0, 0], [1, 0, 0, 0]), table([1, 1, 1, 1], [0, 0, 0, 1])
    assert hearing.gain(before, "hear-both", 0).difference == pytest.approx(0.25)
    assert hearing.gain(after, "hear-both", 0).difference == pytest.approx(0.75)
    more = hearing.gain_over(after, before, "hear-both", 0)
    assert more.difference == pytest.approx(0.5) and more.n == 4 and more.low <= 0.5 <= more.high


def test_results_are_written_and_read_and_the_page_shows_both_models(world, tmp_path: Path):
    bench, _, _, found = world
    results.write(tmp_path, found)
    assert results.read(tmp_path).results == found.results
    report = StageReport(stage="evaluate")
    report.page = Report("Evaluation")
    hearing_report.add(report, bench, found, found, 0)
    page = report.page.html()
    assert "Does hearing help search?" in page and "conflict, before" in page and "A+V - picture only, after - before" in page
    assert set(report.metrics) == {f"hear_{d.needs}{end}" for d in DATASETS.values() for end in ("", "_gain")}
    assert report.metrics["hear_both"].n == N and report.metrics["hear_both_gain"].unit == "points"


def test_a_model_that_does_not_hear_is_told_of_and_without_queries_nothing_is(world):
    for bench, warned in ((world[0], [hearing_report.DEAF]), (replace(world[0], hearing=()), [])):
        report = StageReport(stage="evaluate")
        report.page = Report("Evaluation")
        hearing_report.add(report, bench, None, None, 0)
        assert report.warnings == warned and ("Does hearing help" in report.page.html()) == bool(warned)
