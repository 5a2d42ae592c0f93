"""The stage on rendered clips and the shipped backbone: complete rows, a cache that changes nothing, a report that holds."""

from pathlib import Path

import pytest

from uvrlab import runs
from uvrlab.config import load_config
from uvrlab.evaluation import evaluate, results
from uvrlab.models.encode import Embedder
from uvrlab.stages import run_stage

EVERY = ["speed", "think", "mixed", "oracle", "best_of_k", "pass_at_k", "auto"]
ROWS = ["speed", "think", "think/speed", "speed/think", "oracle", "best_of_k", "pass@1", "pass@2", "auto"]
SMALL = ["ingest.world={train: 4, val: 0, test: 8}", "evaluate.bootstrap=100", f"evaluate.modes=[{', '.join(EVERY)}]"]
SMALL += ["evaluate.thinking={k: 2, max_new_tokens: 8}", "evaluate.datasets=[world-rich, world-v2v]"]


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("evaluate")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("UVR_WORK", str(folder / "work"))
        config = load_config(None, SMALL)
        run_stage(config.for_stage("ingest"), {}, folder / "ingest")
        yield config.for_stage("evaluate"), folder


def _score(config, folder: Path):
    bench = evaluate.Benchmark.load(folder / "ingest", config.own.datasets)
    return bench, evaluate.score(Embedder.load("nano-omni"), bench, config.own, 1, 0)


def test_every_query_has_a_row_a_mode_and_cached_vectors_change_nothing(world):
    config, folder = world
    bench, first = _score(config, folder)
    _, again = _score(config, folder)
    assert first == again
    found = first.evaluation
    queries = sum(len(task.queries) for task in bench.tasks)
    assert len(found.rows) == queries * len(evaluate.METRICS) * len(ROWS)
    assert list(dict.fromkeys(row["mode"] for row in found.rows)) == ROWS == [one.mode for one in found.results.modes]
    spent = {one.mode: one.query_tokens for one in found.results.modes}
    assert spent["speed"] == 0 and spent["best_of_k"] == spent["pass@2"] == 2 * spent["pass@1"] > 0
    assert spent["auto"] < spent["think"] and set(first.milliseconds) == set(ROWS)
    score = {mode: found.results.score("AVG_D", mode=mode) for mode in ROWS}
    assert score["oracle"].value >= max(score["speed"].value, score["think"].value) and score["oracle"].chance is None
    assert score["pass@2"].value >= score["pass@1"].value and score["speed"].chance == 1 / 8
    assert found.results.sampling["thinking"]["k"] == 2 and found.results.sampling["router"]["budget"] == 0.5
    assert found.results.attributes.n == 8 and found.results.routing.n == queries


def test_speed_alone_thinks_nothing_and_reports_nothing_more(world):
    config, folder = world
    bench = evaluate.Benchmark.load(folder / "ingest", config.own.datasets)
    found = evaluate.score(Embedder.load("nano-omni"), bench, config.own, 1, 0, ["speed"])
    assert found.evaluation.results.modes == () and found.evaluation.results.routing is None and found.told == []
    assert {row["n_tokens"] for row in found.evaluation.rows} == {0}


def test_scores_tell_whether_queries_were_asked_with_prompts(world):
    """Prompts are no part of a benchmark's digest, so the gate must find them in the results."""
    config, folder = world
    bench, model = evaluate.Benchmark.load(folder / "ingest", ["world-rich"]), Embedder.load("nano-omni")
    for prompts in (True, False):
        own = config.own.model_copy(update={"prompts": prompts})
        told = evaluate.score(model, bench, own, 1, 0, ["speed"]).evaluation.results.sampling
        assert (told["prompts"], told["template"], "thinking" in told) == (prompts, "embed", False)


def test_the_report_shows_both_models_and_every_query(world, tmp_path):
    config, folder = world
    from uvrlab.evaluation import evaluate_report, modes_report

    bench, outcome = _score(config, folder)
    found = outcome.evaluation
    report = evaluate_report.make(config, bench, found, found, None)
    modes_report.add(report, outcome, found, 0)
    page = report.page.write(tmp_path / "report.html").read_text()
    assert "Every query" in page and "Before and after" in page and "world-rich, think" in page
    assert page.count("<h2>Modes") == 1 and "exact search, modes speed, think, mixed" in page and "think - speed" in page
    assert "a bound: looks at the truth" in page and "What thoughts get right" in page and "Mode by dataset" in page
    assert report.cost["ms_a_query_think"] > report.cost["ms_a_query_speed"] > 0
    assert "Failures" in page and "nearest wrong answer 2" in page and "asked by this" in page
    assert report.metrics["world-rich"].n == report.metrics["base_world-rich"].n == 8
    results.write(tmp_path, found)
    assert results.read(tmp_path).results == found.results


def test_a_benchmark_digest_follows_its_files(world):
    _, folder = world
    whole, part = evaluate.Benchmark.load(folder / "ingest"), evaluate.Benchmark.load(folder / "ingest", ["world-rich"])
    assert whole.digest != part.digest and len(part.tasks) == 1
    assert whole.digest == evaluate.Benchmark.load(folder / "ingest").digest
    assert runs.RunDir(folder / "ingest").digest not in (whole.digest, part.digest)
