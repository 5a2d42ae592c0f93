"""The stage on tables without media: the mix in every split, no test clip in a pair, bounded rejects, equal bytes."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from uvrlab.config import UVRD, Config, RunConfig, SynthesizeConfig
from uvrlab.data.schema import read_table, write_table
from uvrlab.runs import RunError, StageReport, sha256_file, working
from uvrlab.synthesis import executor
from uvrlab.synthesis.run import run

Row = dict[str, Any]
UNMEASURED = {"enabled": False}


@pytest.fixture(autouse=True)
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Row]:
    """Every job that was run. Jobs run here: worker processes are slow to start, and test_executor.py has them."""
    jobs: list[Row] = []

    @contextmanager
    def here(config: RunConfig, threads: int) -> Iterator[executor.Map]:
        yield lambda function, stream, name: (jobs.append(job) or executor.one(function, job, name) for job in stream)

    monkeypatch.setattr("uvrlab.synthesis.run.executor", here)
    monkeypatch.setenv("UVR_WORK", str(tmp_path / "work"))
    return jobs


def _run(root: Path, clips: list[Row], name: str = "uvrd", **own: Any) -> tuple[StageReport, Path]:
    """The stage on tables without media: clips are not measured."""
    write_table("clips", clips, root / "in" / "clips")
    config = Config(synthesize=SynthesizeConfig(**({"filters": UNMEASURED} | own))).for_stage("synthesize")
    (root / name).mkdir()
    with working(name):
        return run(config, {"clips": root / "in"}, root / name), root / name


@pytest.fixture
def clips(world_clip: Callable[..., Any]) -> list[Row]:
    wanted = {"pretrain": 4, "train": 40, "rl": 10, "val": 20, "test": 10}
    return [world_clip(split, i) for split, n in wanted.items() for i in range(n)]


def test_each_split_has_the_configured_mix_and_pretrain_and_test_make_no_pairs(tmp_path: Path, clips: list[Row]) -> None:
    """40 train clips x 4 pairs, of 1,549 K: 879 T2V are 90.8, 210 T2I 21.7, 89 TI2V 9.2, 35 TV2V 3.6, within a group's rounding."""
    report, out = _run(tmp_path, clips)
    pairs = read_table("pairs", out / "pairs")
    by_split = Counter(p["split"] for p in pairs)
    assert by_split == {"train": 160, "rl": 40, "val": 80}
    tasks = Counter(p["task"] for p in pairs if p["split"] == "train")
    for task, published in UVRD.items():
        assert abs(tasks[task] - 160 * published / 1549) <= 3, (task, tasks)
    splits = {c["clip_id"]: c["split"] for c in clips}
    for pair in pairs:
        used = {pair[side]["clip_id"] for side in ("query", "target")} - {None}
        assert {splits[name] for name in used} == {pair["split"]}
    assert {q["split"] for q in read_table("questions", out / "questions")} == {"train", "rl", "val"}
    assert report.counts["pairs"] == 280 and report.counts["rejects"] == 0
    assert report.page.html()


@pytest.mark.parametrize("family_size", [2, 3])
def test_composed_tasks_keep_their_share_in_small_families(
    tmp_path: Path, world_clip: Callable[..., Any], family_size: int
) -> None:
    """60 clips x 4 pairs: 89/1549 of 240 are 13.8 TI2V, 35/1549 are 5.4 TV2V; a clip with one sibling has one way less to it."""
    _, out = _run(tmp_path, [world_clip("train", i, family_size) for i in range(60)])
    tasks = Counter(p["task"] for p in read_table("pairs", out / "pairs"))
    for task in ("TI2V", "TV2V"):
        assert abs(tasks[task] - 240 * UVRD[task] / 1549) <= 2, tasks  # type: ignore[index]


def _digests(folder: Path) -> dict[str, str]:
    return {file.relative_to(folder).as_posix(): sha256_file(file) for file in sorted(folder.rglob("*.parquet"))}


def test_equal_inputs_give_equal_bytes(tmp_path: Path, clips: list[Row]) -> None:
    _, first = _run(tmp_path, clips, "first")
    _, second = _run(tmp_path, clips, "second")
    assert _digests(first) == _digests(second)


def test_small_shards_hold_the_same_rows_as_one(tmp_path: Path, clips: list[Row]) -> None:
    _, one = _run(tmp_path, clips, "one")
    report, many = _run(tmp_path, clips, "many", clips_per_shard=12)
    assert len(list((many / "pairs").iterdir())) == 6 and report.counts["pairs"] == 280
    for table in ("pairs", "traces", "questions"):
        assert read_table(table, one / table) == read_table(table, many / table)


def test_shards_that_are_there_are_not_made_again(tmp_path: Path, clips: list[Row], asked: list[Row]) -> None:
    """Five of six are kept; the sixth is gone, as after a kill: one shard of jobs, and the same bytes."""
    _, first = _run(tmp_path, clips, "uvrd", clips_per_shard=12)
    shutil.rmtree(tmp_path / "work" / "uvrd" / "made" / "00002")
    first.rename(tmp_path / "before")
    asked.clear()
    _, again = _run(tmp_path, clips, "uvrd", clips_per_shard=12)
    assert len(asked) == 12 and _digests(again) == _digests(tmp_path / "before")


def test_a_run_with_too_many_faults_tries_its_faulty_shards_again(
    tmp_path: Path, clips: list[Row], real_clip: Callable[..., Any]
) -> None:
    faulty = [*clips, *(real_clip(f"c{i}") for i in range(24))]
    with pytest.raises(RunError, match="rejects"):
        _run(tmp_path, faulty, clips_per_shard=12)
    kept = sorted(path.name for path in (tmp_path / "work" / "uvrd" / "made").iterdir())
    assert kept == [f"{i:05d}" for i in range(5)]


def test_a_new_clip_changes_no_row_that_stays_and_replaces_few(
    tmp_path: Path, clips: list[Row], world_clip: Callable[..., Any]
) -> None:
    _, before = _run(tmp_path, clips, "before")
    _, after = _run(tmp_path, [world_clip("train", 999), *clips], "after")
    old, new = ({p["pair_id"]: p for p in read_table("pairs", out / "pairs")} for out in (before, after))
    assert sum(old[name] != new[name] for name in old.keys() & new.keys()) == 0
    assert len(old.keys() - new.keys()) <= 40


def test_clips_without_caption_give_frames_and_sub_clips_only(tmp_path: Path, real_clip: Callable[..., Any]) -> None:
    rows = [real_clip(f"c{i}", caption=f"Clip number {i}.") for i in range(6)] + [
        real_clip(f"d{i}", caption=None) for i in range(6)
    ]
    report, out = _run(tmp_path, rows, provider="given", tasks={"T2V": 0.5, "I2V": 0.25, "V2V": 0.25})
    tasks: dict[str, set[str]] = {}
    for pair in read_table("pairs", out / "pairs"):
        tasks.setdefault(pair["target"]["clip_id"][0], set()).add(pair["task"])
    assert tasks == {"c": {"T2V", "I2V", "V2V"}, "d": {"I2V", "V2V"}}
    assert any("very query" in warning for warning in report.warnings)


def test_a_clip_of_three_frames_gives_what_its_caption_gives(tmp_path: Path, real_clip: Callable[..., Any]) -> None:
    """A minute at a twentieth of a frame a second, as camera traps make it: too few frames to cut, long enough to halve."""
    slow = {**real_clip("slow", frames=1800), "fps": 0.05, "split": "train"}
    usual = [real_clip(f"c{i}", caption=f"Clip number {i} shows a dog.") for i in range(9)]
    report, out = _run(tmp_path, [slow, *usual], provider="given", tasks={"T2V": 0.5, "I2V": 0.25, "V2V": 0.25}, pairs_per_clip=1)
    assert {p["task"] for p in read_table("pairs", out / "pairs") if p["target"]["clip_id"] == "slow"} == {"T2V"}
    assert report.counts["rejects"] == 0


def test_too_many_rejects_stop_the_stage_with_the_remedy(tmp_path: Path, clips: list[Row], real_clip: Callable[..., Any]) -> None:
    with pytest.raises(RunError, match=r"synthesize\.max_reject_fraction"):
        _run(tmp_path, [*clips, *(real_clip(f"c{i}") for i in range(30))], max_reject_fraction=0.05)


def test_no_train_side_clips_is_an_error_that_names_the_knob(tmp_path: Path, world_clip: Callable[..., Any]) -> None:
    with pytest.raises(RunError, match=r"ingest\.world\.train"):
        _run(tmp_path, [world_clip("test", 0)])
