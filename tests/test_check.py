"""Each rule of `uvr check` names the key, what is wrong and the remedy; a sound recipe has no problem; torch stays unloaded."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from uvrlab import check
from uvrlab.config import parse_config


@pytest.fixture(autouse=True)
def _shipped(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A package folder in which the nano backbone's weights are there."""
    (tmp_path / "assets" / "nano-omni").mkdir(parents=True)
    (tmp_path / "assets" / "nano-omni" / "config.json").write_text("{}")
    monkeypatch.setattr(check, "PACKAGE_ROOT", tmp_path)


def _problems(tree: dict[str, Any]) -> list[str]:
    return check.problems(parse_config(tree))


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    folder = tmp_path / "clips"
    folder.mkdir()
    (folder / "a.mp4").write_bytes(b"x")
    (folder / "notes.csv").write_text("file,caption\na.mp4,a dog\n")
    return folder


def _folder(path: Path, **more: Any) -> dict[str, Any]:
    source = {"kind": "folder", "path": str(path), "captions": "notes.csv", **more}
    return {"profile": "sft", "ingest": {"source": source}, "synthesize": {"provider": "given"}}


def test_the_default_recipe_has_no_problem(tmp_path: Path) -> None:
    assert _problems({"register": {"registry_dir": str(tmp_path)}}) == []


def test_a_folder_with_captions_has_no_problem(clips: Path) -> None:
    assert _problems(_folder(clips)) == []


CASES: dict[str, tuple[dict[str, Any], list[str]]] = {
    "a misspelt backbone": ({"backbone": "nano-omi"}, ["backbone: unknown 'nano-omi'; did you mean 'nano-omni'?"]),
    "a backbone without weights": ({"backbone": "qwen2.5-omni-3b"}, ["are not on this machine; set backbone=DIR"]),
    "a folder that is not there": ({"backbone": "weights/none"}, ["backbone: no folder at weights/none; put the weights"]),
    "an empty world": (
        {"ingest": {"world": {"train": 0, "val": 0, "test": 0}}},
        ["ingest.world.train: 0, so stage 'sft'", "ingest.world.val: 0", "ingest.world.test: 0, so stage 'evaluate'"],
    ),
    "a batch larger than its pairs": (
        {"ingest": {"world": {"train": 10}}},
        ["10 train clips x 4 pairs give 40; lower sft.batch_size", "give 40; lower curriculum.batch_size"],
    ),
    "a batch of one": ({"sft": {"batch_size": 1}}, ["sft.batch_size: 1, but a contrastive batch needs"]),
    "a misspelt dataset": ({"evaluate": {"datasets": ["world-concize"]}}, ["did you mean 'world-concise'?"]),
    "a dataset of UVRB that is not rendered": ({"evaluate": {"datasets": ["world-MSRVTT"]}}, ["unknown 'world-MSRVTT'"]),
    "a dataset of hearing that is not rendered": ({"evaluate": {"datasets": ["world-rich", "hear-both"]}}, ["unknown 'hear-both'"]),
    "datasets about hearing alone": (
        {"ingest": {"world": {"hearing": 8}}, "evaluate": {"datasets": ["hear-both"]}},
        ["all about hearing, which is scored beside retrieval, not"],
    ),
    "stages that ask, and nobody who writes questions": (
        {"ingest": {"source": {"kind": "folder", "path": "/"}}, "synthesize": {"provider": "rules"}},
        ["'rules' writes no questions, which grounding and fusion train on; set profile=sft or gve"],
    ),
    "a missing folder": (
        {"ingest": {"source": {"kind": "folder", "path": "/no/such/folder"}}},
        ["no folder at /no/such/folder; correct it", "set synthesize.provider=given"],
    ),
    "evaluation data as the source": (
        {"profile": "sft", "ingest": {"source": {"kind": "msrvtt", "path": "/"}}, "synthesize": {"provider": "given"}},
        ["'msrvtt' is evaluation data, so no clip is left to train on"],
    ),
    "a registry below a file": ({"register": {"registry_dir": "/etc/hostname/registry"}}, ["registry_dir: /etc/hostname/registry"]),
}


@pytest.mark.parametrize("case", CASES)
def test_a_problem_is_named_with_its_remedy(case: str) -> None:
    tree, wanted = CASES[case]
    found = _problems(tree)
    assert len(found) == len(wanted), found
    assert all(any(words in problem for problem in found) for words in wanted), found


def test_missing_captions_and_bad_splits_are_named(clips: Path) -> None:
    tree = _folder(clips, captions="gone.csv")
    tree["ingest"]["splits"] = {"train": 0.5, "val": 0.1, "test": 0.2}
    found = _problems(tree)
    assert any("captions: no file gone.csv" in p for p in found) and any("sum to 0.8" in p for p in found)


def test_a_folder_without_captions_cannot_ask_in_words(clips: Path) -> None:
    tree = _folder(clips, captions=None)
    assert ["ingest.source.captions: none" in p for p in _problems(tree)] == [True]
    tree["synthesize"]["tasks"] = {"I2V": 0.5, "V2V": 0.5}
    assert _problems(tree) == []


def test_a_mirror_that_is_rendered_may_be_named() -> None:
    assert _problems({"ingest": {"world": {"uvrb": 8}}, "evaluate": {"datasets": ["world-MSRVTT", "world-rich"]}}) == []
    assert _problems({"ingest": {"world": {"hearing": 8}}, "evaluate": {"datasets": ["hear-both", "world-rich"]}}) == []


def test_every_problem_comes_at_once() -> None:
    tree = {"backbone": "nano", "evaluate": {"datasets": ["x"]}, "ingest": {"world": {"test": 0}}}
    assert len(_problems(tree)) == 3


def test_a_gpu_that_is_asked_for_must_be_there(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert [p.split(";")[1] for p in _problems({"run": {"device": "cuda"}})] == [" set run.device=cpu (or auto)"]


def test_checking_a_cpu_recipe_loads_no_torch() -> None:
    code = "import sys; from uvrlab import check, config; check.problems(config.Config()); print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "False"
