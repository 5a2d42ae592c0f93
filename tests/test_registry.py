"""The registry directory: immutable versions that appear whole, and a card that is written from the runs."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import yaml

from uvrlab import card, registry, runs
from uvrlab.config import load_config
from uvrlab.evaluation import results as results_file
from uvrlab.runs import RunDir, RunError
from uvrlab.stages import STAGES, run_stage


def make_model(folder: Path, weights: str = "weights", inputs: dict[str, str] | None = None) -> RunDir:
    """A run that stands for a trained model; its files are never loaded here."""
    runs.clear(folder)
    (folder / "adapter").mkdir()
    (folder / "adapter" / "adapter_model.safetensors").write_text(weights)
    counts = {"source": {"world": 9}, "licence": {"CC0-1.0": 9}, "split": {"train": 9}}
    pairs = {"digest": "p", "count": 36, "task": {"T2V": 36}}
    runs.write_json(folder / "data.json", {"clips": {"digest": "c", "count": 9, "hours": 0.01, **counts}, "pairs": pairs})
    config = {"seed": 5, "backbone": "nano-omni", "sft": {"steps": 7}}
    runs.finish(folder, runs.seal(folder, stage="sft", config=config, inputs=inputs or {"clips": "c", "uvrd": "u"}, code="code"))
    return RunDir(folder)


def make_results(folder: Path, model: RunDir, hits: float = 0.5) -> RunDir:
    """A run with four queries on one dataset, of which the share `hits` is found first."""
    runs.clear(folder)
    row = {"dataset": "world", "ability": "CG", "mode": "disc", "metric": "R@1", "model_digest": model.digest}
    row |= {"benchmark_digest": "b" * 64, "first_relevant_rank": 1, "top_ids": [], "n_candidates": 4, "n_tokens": 0}
    rows = [{**row, "query_id": f"q{i}", "value": float(i < 4 * hits), "latency_ms": 0.0} for i in range(4)]
    results_file.write(folder, results_file.summarise(rows, chances={("world", "R@1"): 0.25}, seed=0, bootstrap=50))
    config = {"seed": 5, "backbone": "nano-omni", "evaluate": {}}
    inputs = {"model": model.digest, "benchmark": "b" * 64}
    runs.finish(folder, runs.seal(folder, stage="evaluate", config=config, inputs=inputs, code="code"))
    return RunDir(folder)


@pytest.fixture
def judged(tmp_path) -> dict[str, Path]:
    model = make_model(tmp_path / "model")
    return {"model": model.path, "results": make_results(tmp_path / "results", model).path}


def _register(tmp_path: Path, inputs: dict[str, Path], out: str = "out"):
    config = load_config(None, [f"register.registry_dir={tmp_path / 'registry'}", "register.name=nano"])
    return run_stage(config.for_stage("register"), inputs, tmp_path / out)


def _versions(tmp_path: Path) -> list[Path]:
    return sorted((tmp_path / "registry" / "nano" / "versions").iterdir())


def _tree(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_a_version_holds_model_results_card_and_entry(tmp_path, judged):
    report = _register(tmp_path, judged)
    (version,) = _versions(tmp_path)
    entry = json.loads((version / "entry.json").read_text())
    assert entry["digest"] == version.name
    assert RunDir(version / "model").digest == entry["model"] == RunDir(judged["model"]).digest
    assert report.metrics["world/disc/R@1"].value == 0.5 and report.metrics["world/disc/R@1"].n == 4
    assert (tmp_path / "out" / "entry.json").read_text() == (version / "entry.json").read_text()
    registry.verify_version(version)


def test_registering_again_changes_nothing(tmp_path, judged):
    first = _register(tmp_path, judged)
    before = _tree(tmp_path / "registry")
    again = _register(tmp_path, judged, out="out2")
    assert first.digest == again.digest and _tree(tmp_path / "registry") == before


def test_equal_runs_give_equal_entries_in_any_registry(tmp_path, judged):
    _register(tmp_path, judged)
    shutil.rmtree(tmp_path / "registry")
    second = _register(tmp_path, judged, out="out2")
    assert RunDir(tmp_path / "out").digest == second.digest


def test_the_listing_names_the_newest_and_can_be_rebuilt(tmp_path, judged):
    _register(tmp_path, judged)
    other = make_model(tmp_path / "other", weights="better")
    results = make_results(tmp_path / "other_results", other, hits=0.75)
    _register(tmp_path, {"model": other.path, "results": results.path}, out="out2")
    home = tmp_path / "registry" / "nano"
    listing = json.loads((home / "versions.json").read_text())
    assert [v["headline"]["world/disc/R@1"] for v in listing["versions"]] == [0.5, 0.75]
    assert listing["latest"] == listing["versions"][1]["digest"]
    (home / "versions.json").unlink()
    registry.write_listing(home)
    assert json.loads((home / "versions.json").read_text()) == listing


def test_results_of_another_model_are_refused(tmp_path, judged):
    other = make_model(tmp_path / "other", weights="better")
    with pytest.raises(RunError, match="evaluate this model"):
        _register(tmp_path, {**judged, "model": other.path})
    assert not (tmp_path / "registry").exists()


def test_an_altered_model_is_refused(tmp_path, judged):
    (judged["model"] / "adapter" / "adapter_model.safetensors").write_text("Weights")
    with pytest.raises(RunError, match="was altered"):
        _register(tmp_path, judged)


@pytest.mark.parametrize(
    "file",
    ["model/adapter/adapter_model.safetensors", "results/per_query.parquet", "README.md", "entry.json", "model/manifest.json"],
)
def test_a_damaged_version_is_found_and_replaced_whole(tmp_path, judged, file):
    _register(tmp_path, judged)
    (version,) = _versions(tmp_path)
    content = (version / file).read_text(errors="replace")
    (version / file).write_text(content.replace(version.name, "0" * 64).replace("e", "a", 1))
    with pytest.raises((RunError, ValueError)):
        registry.verify_version(version)
    _register(tmp_path, judged, out="out2")
    assert _versions(tmp_path) == [version]
    registry.verify_version(version)


@pytest.mark.parametrize("step", ["copytree", "write_card", "rename"])
def test_killed_at_any_step_the_registry_is_old_or_new_never_half(tmp_path, judged, monkeypatch, step):
    def die(*_, **__):
        raise KeyboardInterrupt

    where = {"copytree": (shutil, "copytree"), "write_card": (registry, "write_card"), "rename": (Path, "rename")}[step]
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(*where, die)
        _register(tmp_path, judged)
    assert registry.versions(tmp_path / "registry" / "nano") == []
    _register(tmp_path, judged)
    assert len(_versions(tmp_path)) == 1


def test_the_card_has_a_head_for_the_hub_and_states_every_score_with_interval_chance_and_n(tmp_path, judged):
    _register(tmp_path, judged)
    text = (tmp_path / "out" / "README.md").read_text()
    _, head, body = text.split("---\n", 2)
    meta = yaml.safe_load(head)
    assert meta["license"] == "apache-2.0" and meta["base_model"] == "nano-omni"
    assert meta["model-index"][0]["results"][0]["metrics"][0] == {"type": "R@1", "name": "R@1 (disc)", "value": 0.5}
    assert "| world | disc | R@1 | 0.500 |" in body and "| 0.250 | 4 |" in body
    for said in (
        "world 9",
        "CC0-1.0 9",
        "T2V 36",
        '"steps": 7',
        "Embedder.load",
        "nothing about real video",
        RunDir(judged["model"]).digest,
    ):
        assert said in body


def test_a_card_says_so_where_the_data_was_not_recorded(tmp_path, judged):
    model, results = RunDir(judged["model"]), RunDir(judged["results"])
    (model.path / "data.json").unlink()
    summary = results_file.read(results.path).results
    assert "holds no data.json" in card.render(name="nano", model=model, results=results, summary=summary)


def test_register_is_never_cached():
    assert not STAGES["register"].cached
    assert [s.name for s in STAGES.values() if not s.cached] == ["register"]
