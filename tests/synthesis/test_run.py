"""The stage on tables without media: the mix in every split, no test clip in a pair, bounded rejects, equal bytes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from uvrlab.config import Config, SynthesizeConfig
from uvrlab.data.schema import read_table, write_table
from uvrlab.runs import RunError, StageReport, sha256_file
from uvrlab.synthesis.run import run

Row = dict[str, Any]


def _run(root: Path, clips: list[Row], name: str = "uvrd", **own: Any) -> tuple[StageReport, Path]:
    write_table("clips", clips, root / "in" / "clips")
    config = Config(synthesize=SynthesizeConfig(**own)).for_stage("synthesize")
    (root / name).mkdir()
    return run(config, {"clips": root / "in"}, root / name), root / name


@pytest.fixture
def clips(world_clip: Callable[..., Any]) -> list[Row]:
    wanted = {"pretrain": 4, "train": 40, "rl": 10, "val": 20, "test": 10}
    return [world_clip(split, i) for split, n in wanted.items() for i in range(n)]


def test_each_split_has_the_configured_mix_and_pretrain_and_test_make_no_pairs(tmp_path: Path, clips: list[Row]) -> None:
    """40 train clips x 4 pairs: 112 T2V, 24 I2V, 24 V2V, each within one a cell."""
    report, out = _run(tmp_path, clips)
    pairs = read_table("pairs", out / "pairs")
    by_split = Counter(p["split"] for p in pairs)
    assert by_split == {"train": 160, "rl": 40, "val": 80}
    tasks = Counter(p["task"] for p in pairs if p["split"] == "train")
    assert abs(tasks["I2V"] - 24) <= 1 and abs(tasks["V2V"] - 24) <= 1 and abs(tasks["T2V"] - 112) <= 2
    assert {q["split"] for q in read_table("questions", out / "questions")} == {"train", "rl", "val"}
    assert report.counts["pairs"] == 280 and report.counts["rejects"] == 0
    assert report.page.html()


def test_equal_inputs_give_equal_bytes(tmp_path: Path, clips: list[Row]) -> None:
    _, first = _run(tmp_path, clips, "first")
    _, second = _run(tmp_path, clips, "second")
    for file in sorted(first.rglob("*.parquet")):
        assert sha256_file(file) == sha256_file(second / file.relative_to(first))


def test_a_new_clip_changes_no_row_that_stays_and_replaces_few(
    tmp_path: Path, clips: list[Row], world_clip: Callable[..., Any]
) -> None:
    _, before = _run(tmp_path, clips, "before")
    _, after = _run(tmp_path, [world_clip("train", 999), *clips], "after")
    old, new = ({p["pair_id"]: p for p in read_table("pairs", out / "pairs")} for out in (before, after))
    assert all(old[name] == new[name] for name in old.keys() & new.keys())
    assert len(old.keys() - new.keys()) <= 16


def test_clips_without_caption_give_frames_and_sub_clips_only(tmp_path: Path, real_clip: Callable[..., Any]) -> None:
    rows = [real_clip(f"c{i}", caption=f"Clip number {i}.") for i in range(6)] + [
        real_clip(f"d{i}", caption=None) for i in range(6)
    ]
    report, out = _run(tmp_path, rows, provider="given")
    tasks: dict[str, set[str]] = {}
    for pair in read_table("pairs", out / "pairs"):
        tasks.setdefault(pair["target"]["clip_id"][0], set()).add(pair["task"])
    assert tasks == {"c": {"T2V", "I2V", "V2V"}, "d": {"I2V", "V2V"}}
    assert any("very query" in warning for warning in report.warnings)


def test_too_many_rejects_stop_the_stage_with_the_remedy(tmp_path: Path, clips: list[Row], real_clip: Callable[..., Any]) -> None:
    with pytest.raises(RunError, match=r"synthesize\.max_reject_fraction"):
        _run(tmp_path, [*clips, *(real_clip(f"c{i}") for i in range(30))], max_reject_fraction=0.05)


def test_no_train_side_clips_is_an_error_that_names_the_knob(tmp_path: Path, world_clip: Callable[..., Any]) -> None:
    with pytest.raises(RunError, match=r"ingest\.world\.train"):
        _run(tmp_path, [world_clip("test", 0)])
