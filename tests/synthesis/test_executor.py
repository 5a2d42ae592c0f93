"""Processes, threads and Ray give the same results in the same order; a job that fails costs itself; a killed run goes on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from uvrlab.config import Config, RunConfig, SynthesizeConfig
from uvrlab.data.schema import read_table, write_table
from uvrlab.data.workers import AHEAD, Reject
from uvrlab.data.world import render_clip, sample_scene
from uvrlab.runs import sha256_file, working
from uvrlab.synthesis import jobs
from uvrlab.synthesis.executor import executor, in_threads
from uvrlab.synthesis.plan import Cell
from uvrlab.synthesis.run import run

Row = dict[str, Any]
OWN = SynthesizeConfig(filters={"enabled": False})
CELLS = {Cell("T2V", "concise"): 1, Cell("TI2V"): 1, Cell("V2V"): 1}


@pytest.fixture
def work(world_clip: Callable[..., Any]) -> list[jobs.Job]:
    rows = [world_clip("train", i) for i in range(8)]
    made = [jobs.job(row, [r for r in rows if r is not row][:3], CELLS, OWN, 0, Path()) for row in rows]
    made[3]["clip"] = {**made[3]["clip"], "fps": None}  # a job that fails
    return made


def _all(run: RunConfig, work: list[jobs.Job], threads: int = 1) -> list[Any]:
    with executor(run, threads) as map_jobs:
        return list(map_jobs(jobs.make, iter(work), jobs.name))


def test_a_job_that_fails_costs_itself(work: list[jobs.Job]) -> None:
    found = _all(RunConfig(workers=2), work)
    assert [isinstance(r, Reject) for r in found] == [i == 3 for i in range(8)]
    assert found[3].item == "world-train-000003" and "TypeError" in found[3].detail
    good = [job for i, job in enumerate(work) if i != 3]
    assert list(in_threads(jobs.make, good, jobs.name, 3)) == [r for i, r in enumerate(found) if i != 3]


def test_jobs_are_taken_as_they_are_needed(work: list[jobs.Job]) -> None:
    """Two workers hold at most AHEAD jobs each: of 200, the rest is not taken before results are."""
    taken = 0

    def endless() -> Iterator[jobs.Job]:
        nonlocal taken
        for i in range(200):
            taken += 1
            yield work[i % 3]

    with executor(RunConfig(workers=2)) as map_jobs:
        results = map_jobs(jobs.make, endless(), jobs.name)
        next(iter(results))
        assert taken <= 2 * AHEAD


@pytest.mark.long
def test_ray_gives_what_processes_give(work: list[jobs.Job]) -> None:
    ray = pytest.importorskip("ray", reason="Ray is not installed; pip install 'uvrlab[ray]'")
    try:
        assert _all(RunConfig(workers=1, executor="ray"), work) == _all(RunConfig(workers=1), work)
    finally:
        ray.shutdown()


@pytest.fixture
def rendered(tmp_path: Path, world_clip: Callable[..., Any]) -> Path:
    """A clips run of 8 rendered clips, two families."""
    (tmp_path / "in" / "media").mkdir(parents=True)
    rows = [{**world_clip("train", i), "loudness_db": -20.0} for i in range(8)]
    for i, row in enumerate(rows):
        (tmp_path / "in" / row["uri"]).write_bytes(render_clip(sample_scene("train", i)))
    write_table("clips", rows, tmp_path / "in" / "clips")
    return tmp_path


COMMAND = """
import sys
from pathlib import Path
from uvrlab.config import Config
from uvrlab.runs import working
from uvrlab.synthesis.run import run
root, out = Path(sys.argv[1]), Path(sys.argv[2])
out.mkdir()
config = Config(run={"workers": 1}, synthesize={"clips_per_shard": 4}).for_stage("synthesize")
with working("killed"):
    run(config, {"clips": root / "in"}, out)
"""


def _digests(folder: Path) -> dict[str, str]:
    return {file.relative_to(folder).as_posix(): sha256_file(file) for file in sorted(folder.rglob("*.parquet"))}


@pytest.mark.slow
def test_a_killed_run_keeps_its_shards_and_ends_with_the_same_bytes(rendered: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UVR_WORK", str(rendered / "work"))
    first = rendered / "work" / "killed" / "surveyed" / "00000"
    command = [sys.executable, "-c", COMMAND, str(rendered), str(rendered / "dead")]
    process = subprocess.Popen(command, start_new_session=True)
    until = time.monotonic() + 120
    while not first.is_dir() and process.poll() is None and time.monotonic() < until:
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not (rendered / "dead" / "pairs").exists()
    kept = first.stat().st_mtime_ns
    subprocess.run([*command[:-1], str(rendered / "again")], check=True)
    assert first.stat().st_mtime_ns == kept
    (rendered / "whole").mkdir()
    config = Config(run={"workers": 1}, synthesize={"clips_per_shard": 4}).for_stage("synthesize")
    with working("whole"):
        report = run(config, {"clips": rendered / "in"}, rendered / "whole")
    assert report.counts["pairs"] == 32 and report.counts["filters"] > 32
    _a_pair_bears_its_scores(rendered / "whole")
    assert _digests(rendered / "again") == _digests(rendered / "whole")


def _a_pair_bears_its_scores(uvrd: Path) -> None:
    """What the table of filters says of a pair stands in the pair, so that a sampler needs no join."""
    rows = [row for row in read_table("filters", uvrd / "filters") if row["pair_id"]]
    for pair in read_table("pairs", uvrd / "pairs"):
        assert json.loads(pair["scores"]) == {r["filter"]: r["score"] for r in rows if r["pair_id"] == pair["pair_id"]}
    assert rows


SURVEY = """
import json, sys
from pathlib import Path
from uvrlab.config import SynthesizeConfig
from uvrlab.synthesis import jobs
own = SynthesizeConfig(filters={"enabled": False})
rows = json.loads(sys.stdin.read())
pairs = [(rows[i], rows[i ^ 1]) for i in range(len(rows))]
print(json.dumps([jobs.survey(jobs.job(clip, [near], {}, own, 0, Path())) for clip, near in pairs]))
"""


@pytest.mark.slow
def test_a_survey_is_the_same_in_every_process(world_clip: Callable[..., Any]) -> None:
    """Strings hash differently in each process, so nothing may follow the order of a set; some of these clips give no TI2V."""
    rows = json.dumps([world_clip("train", i, 2) for i in range(80)])
    found = [
        subprocess.run(
            [sys.executable, "-c", SURVEY],
            input=rows,
            env=os.environ | {"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2", "3")
    ]
    assert found[0] == found[1] == found[2]
    assert sum("TI2V" not in one["tasks"] for one in json.loads(found[0])) > 0
