"""The stage on rendered clips and the shipped backbone: complete rows, a cache that changes nothing, a report that holds."""

from pathlib import Path

import pytest

from uvrlab import runs
from uvrlab.config import load_config
from uvrlab.evaluation import evaluate, results
from uvrlab.stages import run_stage

SMALL = ["ingest.world={train: 4, val: 0, test: 8}", "evaluate.bootstrap=100", "evaluate.modes=[speed, think]"]


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("evaluate")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("UVR_WORK", str(folder / "work"))
        config = load_config(None, SMALL)
        run_stage(config.for_stage("ingest"), {}, folder / "ingest")
        yield config.for_stage("evaluate"), folder


def _score(config, folder: Path):
    from uvrlab.models.encode import Embedder

    bench = evaluate.Benchmark.load(folder / "ingest")
    return bench, evaluate.score(Embedder.load("nano-omni"), bench, config.own, 1, 0)


def test_every_query_has_a_row_a_mode_and_cached_vectors_change_nothing(world):
    config, folder = world
    bench, first = _score(config, folder)
    _, again = _score(config, folder)
    assert list(first.rows) == list(again.rows)
    queries = sum(len(task.queries) for task in bench.tasks)
    assert len(first.rows) == queries * len(evaluate.METRICS) * 2
    thought = {row["mode"]: row["n_tokens"] for row in first.rows}
    assert thought["speed"] == 0 and thought["think"] > 0


def test_the_report_shows_both_models_and_every_query(world, tmp_path):
    config, folder = world
    from uvrlab.evaluation import evaluate_report

    bench, found = _score(config, folder)
    report = evaluate_report.make(config, bench, found, found, None)
    page = report.page.write(tmp_path / "report.html").read_text()
    assert "Every query" in page and "Before and after" in page and "world-rich, think" in page
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
