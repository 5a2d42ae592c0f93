"""The table of stages and the one way to run one: wiring, resume, interruption, and who is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from uvrlab import runs, stages
from uvrlab.config import Config, load_config
from uvrlab.runs import RunDir, RunError
from uvrlab.stages import STAGES, Input, Stage, current_run_key, graph, run_graph, run_stage

CONFIG = Config()


def test_every_stage_has_a_section_of_the_configuration_and_existing_sources():
    for name, stage in STAGES.items():
        assert CONFIG.for_stage(name).stage == stage.name == name
        assert runs.source_files(stage.sources)


def test_a_stage_depends_on_the_file_that_its_code_is_in():
    for stage in STAGES.values():
        module = runs.PACKAGE_ROOT.parent / (stage.target.partition(":")[0].replace(".", "/") + ".py")
        assert not module.exists() or module in runs.source_files(stage.sources), stage.name


@pytest.mark.parametrize("profile", stages.PROFILES)
def test_each_input_is_wired_to_an_earlier_stage_of_the_right_kind(profile):
    wiring, seen = graph(profile), []
    for name, inputs in wiring.items():
        assert {n for n, i in STAGES[name].inputs.items() if not i.optional} <= set(inputs)
        for label, producer in inputs.items():
            assert producer in seen and STAGES[name].inputs[label].kind in STAGES[producer].kinds
        seen.append(name)


def test_a_model_input_takes_the_newest_model_before_the_stage(monkeypatch):
    table = {
        "one": Stage("one", "m:f", {}, ("model",), ()),
        "two": Stage("two", "m:f", {"model": Input("model")}, ("model",), ()),
        "three": Stage("three", "m:f", {"model": Input("model"), "base": Input("model", optional=True)}, ("results",), ()),
    }
    monkeypatch.setattr(stages, "STAGES", table)
    monkeypatch.setattr(stages, "PROFILES", {"full": tuple(table), "cut": ("three",)})
    assert graph("full") == {"one": {}, "two": {"model": "one"}, "three": {"model": "two"}}
    with pytest.raises(RunError, match="no earlier stage writes one"):
        graph("cut")


def test_a_finished_stage_returns_at_once_and_says_the_same(planted, tmp_path):
    planted.put("ingest")
    first = run_stage(CONFIG.for_stage("ingest"), {}, tmp_path / "ingest")
    again = run_stage(CONFIG.for_stage("ingest"), {}, tmp_path / "ingest")
    assert planted.calls == ["ingest"]
    assert again == first and RunDir(tmp_path / "ingest").digest == first.digest


@pytest.mark.parametrize("spoil", ["payload.txt", "manifest.json", "stage_report.json"])
def test_a_damaged_output_is_made_again_with_the_same_digest(planted, tmp_path, spoil):
    planted.put("ingest")
    first = run_stage(CONFIG.for_stage("ingest"), {}, tmp_path / "ingest")
    (tmp_path / "ingest" / spoil).write_text("spoilt")
    assert run_stage(CONFIG.for_stage("ingest"), {}, tmp_path / "ingest").digest == first.digest
    assert planted.calls == ["ingest", "ingest"]


def test_force_and_another_config_run_a_stage_again(planted, tmp_path):
    planted.put("ingest")
    run_stage(CONFIG.for_stage("ingest"), {}, tmp_path / "ingest")
    run_stage(CONFIG.for_stage("ingest"), {}, tmp_path / "ingest", force=True)
    run_stage(load_config(None, ["ingest.seed=1"]).for_stage("ingest"), {}, tmp_path / "ingest")
    assert len(planted.calls) == 3


def test_a_run_seed_does_not_touch_a_stage_that_reads_none(planted, tmp_path):
    """The benchmark is a yardstick: runs with other seeds are measured on the same one."""
    planted.put("ingest")
    run_stage(CONFIG.for_stage("ingest"), {}, tmp_path / "ingest")
    run_stage(load_config(None, ["run.seed=1"]).for_stage("ingest"), {}, tmp_path / "ingest")
    assert len(planted.calls) == 1


def test_an_uncached_stage_always_runs_and_keeps_its_digest(planted, tmp_path):
    for name in stages.STAGES:
        planted.put(name)
    first = run_graph(CONFIG, tmp_path)
    again = run_graph(CONFIG, tmp_path)
    assert planted.calls == [*graph("full"), "register"]
    assert {n: r.digest for n, r in first.items()} == {n: r.digest for n, r in again.items()}


def test_a_change_of_one_source_runs_that_stage_and_only_what_its_new_digest_touches(planted, tmp_path, monkeypatch):
    library = tmp_path / "library"
    shutil.copytree(runs.PACKAGE_ROOT, library, ignore=shutil.ignore_patterns("__pycache__", "assets"))
    monkeypatch.setattr(runs, "PACKAGE_ROOT", library)
    planted.put("ingest", sources=("logs.py",))
    planted.put("synthesize", sources=("runs.py",))
    for _ in range(2):
        run_stage(CONFIG.for_stage("ingest"), {}, tmp_path / "ingest")
        run_stage(CONFIG.for_stage("synthesize"), {"clips": tmp_path / "ingest"}, tmp_path / "synthesize")
        with (library / "runs.py").open("a") as source:
            source.write("# changed\n")
    assert planted.calls == ["ingest", "synthesize", "synthesize"]


def test_a_changed_source_folder_runs_ingest_again_but_an_unchanged_one_does_not(planted, tmp_path):
    videos = tmp_path / "videos"
    videos.mkdir()
    (videos / "a.mp4").write_bytes(b"a")
    planted.put("ingest")
    config = load_config(None, ["ingest.source.kind=folder", f"ingest.source.path={videos}"]).for_stage("ingest")
    for calls, change in ((1, None), (1, None), (2, "b.mp4"), (2, None)):
        if change:
            (videos / change).write_bytes(b"b")
        digest = run_stage(config, {}, tmp_path / "out").digest
        assert len(planted.calls) == calls
    assert digest == RunDir(tmp_path / "out").digest
    with pytest.raises(FileNotFoundError, match=r"set ingest\.source\.path"):
        shutil.rmtree(videos)
        run_stage(config, {}, tmp_path / "out")


def test_wrong_missing_and_unfinished_inputs_are_named_before_anything_runs(planted, tmp_path):
    planted.put("ingest")
    planted.put("synthesize")
    synthesize = CONFIG.for_stage("synthesize")
    with pytest.raises(RunError, match="lacks its input 'clips'"):
        run_stage(synthesize, {}, tmp_path / "s")
    with pytest.raises(RunError, match="has no input 'films'"):
        run_stage(synthesize, {"films": tmp_path}, tmp_path / "s")
    with pytest.raises(RunError, match=r"no manifest\.json"):
        run_stage(synthesize, {"clips": tmp_path / "nothing"}, tmp_path / "s")
    run_stage(CONFIG.for_stage("ingest"), {}, tmp_path / "ingest")
    run_stage(synthesize, {"clips": tmp_path / "ingest"}, tmp_path / "s")
    with pytest.raises(RunError, match="expected clips"):
        run_stage(synthesize, {"clips": tmp_path / "s"}, tmp_path / "t")
    assert not (tmp_path / "t").exists()


@pytest.mark.parametrize("error", [ValueError("bad luck"), KeyboardInterrupt()], ids=["fault", "interrupt"])
def test_an_interrupted_run_leaves_no_manifest_and_its_cause_then_runs_to_the_same_digest(planted, tmp_path, error):
    def fail(config, inputs: dict[str, Path], out: Path) -> None:
        (out / "half.txt").write_text("half")
        raise error

    planted.put("ingest", fail)
    with pytest.raises(type(error)):
        run_stage(CONFIG.for_stage("ingest"), {}, tmp_path / "a")
    assert not (tmp_path / "a" / "manifest.json").exists()
    assert json.loads((tmp_path / "a" / "status.json").read_text())["state"] == "failed"
    planted.put("ingest")
    interrupted = run_stage(CONFIG.for_stage("ingest"), {}, tmp_path / "a")
    assert interrupted.digest == run_stage(CONFIG.for_stage("ingest"), {}, tmp_path / "b").digest


def test_a_stage_finds_its_checkpoints_by_its_run_key(planted, tmp_path):
    found = []
    planted.put("ingest", lambda config, inputs, out: found.append(runs.checkpoint_dir()))
    run_stage(CONFIG.for_stage("ingest"), {}, tmp_path / "a")
    assert found == [runs.work_dir() / current_run_key(CONFIG.for_stage("ingest"), {})]
    with pytest.raises(RunError, match="run_stage"):
        runs.checkpoint_dir()


def test_a_report_carries_cost_and_metrics_beside_the_payload(planted, tmp_path):
    planted.put("ingest")
    report = run_stage(CONFIG.for_stage("ingest"), {}, tmp_path / "a")
    assert report.cost["seconds"] >= 0 and report.cost["peak_memory_bytes"] > 1e6
    assert json.loads((tmp_path / "a" / "metrics.json").read_text()) == {"seed": 0}


def test_an_output_folder_with_foreign_files_is_left_alone(planted, tmp_path):
    planted.put("ingest")
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(RunError, match="no stage wrote"):
        run_stage(CONFIG.for_stage("ingest"), {}, tmp_path)
    assert (tmp_path / "thesis.txt").read_text() == "mine" and not planted.calls
