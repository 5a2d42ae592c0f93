"""Baselines from a recipe: a CLIP-type model beside the shipped backbone on one benchmark, and the table of published ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.data.rendered import video
from tests.models.families import WAVE
from tests.models.test_foreign import save_dual
from uvrlab import check, listing
from uvrlab.cli import main
from uvrlab.config import ConfigError, load_config
from uvrlab.data.items import ClipIndex
from uvrlab.evaluation import baselines, evaluate, evaluate_report, results, score_tables
from uvrlab.evaluation.published import CLIP, MLLM
from uvrlab.evaluation.tasks import Query, Task, TaskError
from uvrlab.models import embedder
from uvrlab.stages import run_stage

CLIP_ROW = {"clip_id": "c", "uri": "c.mp4", "start_s": 0.0, "end_s": 1.0, "has_audio": True, "audible": True, "media_sha256": "x"}
SMALL = ["ingest.world={train: 2, val: 0, test: 6}", "evaluate.bootstrap=50", "evaluate.datasets=[world-concise, world-i2v]"]


def test_a_baseline_is_scored_beside_the_model_and_left_as_rows_that_diagnose_reads(tmp_path: Path) -> None:
    clip = save_dual(tmp_path / "clip", "CLIP")
    named = f"evaluate.baselines=[{{name: tiny-clip, path: {clip}}}]"
    full = load_config(None, [*SMALL, named])
    assert not any("baselines" in problem for problem in check.problems(full))
    config = full.for_stage("evaluate")
    run_stage(full.for_stage("ingest"), {}, tmp_path / "ingest")
    bench = evaluate.Benchmark.load(tmp_path / "ingest", config.own.datasets)
    baselines.probe(config.own.baselines, bench, "cpu", 0)

    def score(model, modes):
        return evaluate.score(model, bench, config.own, 1, 0, modes).evaluation

    trained = score(embedder.load("nano-omni"), ("speed",))
    found = baselines.evaluate(config.own.baselines, ("think", "speed"), score, "cpu", tmp_path / "baselines")
    report = evaluate_report.make(config, bench, trained, trained, None)
    baselines.add(report, trained, found, 0, 50)
    page = report.page.write(tmp_path / "report.html").read_text()
    assert "Beside baselines" in page and "tiny-clip" in page
    assert report.metrics["baseline_tiny-clip_AVG_D"].n == len(trained.rows) // len(evaluate.METRICS)
    again = results.read(tmp_path / "baselines" / "tiny-clip").results
    assert (again.sampling["template"], again.benchmark_digest) == ("dual", trained.results.benchmark_digest)
    row = score_tables.load([f"clip={tmp_path / 'baselines' / 'tiny-clip'}"]).scores["clip"]
    assert set(row) >= {"world-concise", "world-i2v", "AVG_D"}


def test_a_baseline_that_cannot_take_the_benchmark_is_refused_before_anything_is_scored(tmp_path: Path, monkeypatch) -> None:
    clip = save_dual(tmp_path / "clip", "CLIP")
    sound = {"modalities": ["audio"], "clip_id": "c", "text": None, "start_s": None, "end_s": None, "image_uri": None}
    words = sound | {"modalities": ["text"], "clip_id": None, "text": "a bell"}
    (tmp_path / "c.mp4").write_bytes(video(10, fps=10, sound=WAVE[:48_000]))
    clips = ClipIndex().add_rows([CLIP_ROW], tmp_path)
    task = Task("world-a2t", "CG", (Query("q", ("t",), item=sound),), {"t": words})
    bench = evaluate.Benchmark([task], clips, "b" * 64, tmp_path)
    monkeypatch.setattr(evaluate.Benchmark, "load", lambda *_: bench)
    monkeypatch.setattr(evaluate, "score", lambda *_: pytest.fail("scored first"))
    config = load_config(None, [f"evaluate.baselines=[{{name: tiny, path: {clip}}}]"]).for_stage("evaluate")
    with pytest.raises(TaskError, match=r"tiny takes text, image, video, not .* first world-a2t: audio, the model does not hear"):
        evaluate.run(config, {"benchmark": tmp_path, "model": tmp_path}, tmp_path)


def test_a_recipe_names_its_baselines_and_their_paths_stay_out_of_the_digest(tmp_path: Path) -> None:
    views = []
    for folder in (tmp_path / "a", tmp_path / "b"):
        folder.mkdir()
        config = load_config(None, [f"evaluate.baselines=[{{name: x, path: {folder}, kind: gve}}]"]).for_stage("evaluate")
        views.append(config.digest_view())
        assert listing.model_folders(config) == {"evaluate.baselines[0].path": str(folder)}
    assert views[0] == views[1] and "gve" in str(views[0])
    pair = f"evaluate.baselines=[{{name: x, path: {tmp_path}}}, {{name: NAME, path: {tmp_path / 'gone'}}}]"
    told = check.problems(load_config(None, [pair.replace("NAME", "y")]))
    assert any("evaluate.baselines[1].path: no folder at" in problem for problem in told)
    with pytest.raises(ConfigError, match="baseline 'x' stands twice"):
        load_config(None, [pair.replace("NAME", "x")])
    with pytest.raises(ConfigError, match="kind"):
        load_config(None, [f"evaluate.baselines=[{{name: x, path: {tmp_path}, kind: clip}}]"])


def test_every_published_baseline_has_a_status(capsys: pytest.CaptureFixture[str]) -> None:
    assert [p.name for p in baselines.PUBLISHED] == [*CLIP, *MLLM] and len(baselines.PUBLISHED) == 14
    assert {p.kind for p in baselines.PUBLISHED} <= {None, *embedder.LOADERS}
    assert main(["baselines"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 15 and "published, not run" in lines[2] and lines[1].split()[:3] == ["CLIP4Clip", "0.390", "0.416"]
