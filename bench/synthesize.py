"""UVRD from the world, at a tenth and at full size: seconds, pairs a second, and whether memory grows; local processes and Ray.

`python bench/synthesize.py [--clips N] [--pairs-per-clip K] [--ray-clips N] [--source DIR] [--work DIR]`. Clips are rendered once,
by the stage `ingest`, or taken from a run of it that is there (`--source`), and their time is not counted. Every measurement is a
process of its own: clips are measured for the filters (one decode each), then worded. Peak memory is resident memory of that
process, and of the largest of its workers.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import resource
import shutil
import subprocess
import sys
from itertools import islice
from pathlib import Path
from typing import Any

from uvrlab.config import Config
from uvrlab.data.schema import iter_rows, write_table
from uvrlab.runs import working
from uvrlab.stages import run_stage
from uvrlab.synthesis.families import PAIR_SPLITS
from uvrlab.synthesis.run import run


def clips_run(work: Path, clips: int) -> Path:
    """A clips run with `clips` world clips that become pairs."""
    held_out = clips // 40
    world = {"train": clips - 2 * held_out, "rl": held_out, "val": held_out, "test": 8}
    config = Config.model_validate({"ingest": {"world": world}})
    run_stage(config.for_stage("ingest"), {}, work / "ingest")
    return work / "ingest"


def subset(source: Path, folder: Path, clips: int) -> Path:
    """The first clips of a run as a run of their own."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    rows = (row for row in iter_rows("clips", source / "clips") if row["split"] in PAIR_SPLITS)
    write_table("clips", list(islice(rows, clips)), folder / "clips")
    (folder / "media").symlink_to((source / "media").resolve())
    return folder


def one(source: Path, out: Path, pairs_per_clip: int, executor: str) -> dict[str, Any]:
    """One measurement, in this process."""
    settings = {"run": {"executor": executor}, "synthesize": {"pairs_per_clip": pairs_per_clip}}
    config = Config.model_validate(settings).for_stage("synthesize")
    shutil.rmtree(out, ignore_errors=True)
    (out / "uvrd").mkdir(parents=True)
    os.environ["UVR_WORK"] = str(out / "work")
    with working("bench"):
        report = run(config, {"clips": source}, out / "uvrd")
    report.page.write(out / "report.html")
    files = sorted((out / "uvrd").rglob("*.parquet"))
    digest = hashlib.sha256(b"".join(hashlib.sha256(f.read_bytes()).digest() for f in files)).hexdigest()
    own, workers = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    of_workers = {
        "peak_mib_of_a_worker": round(workers.ru_maxrss / 1024),
        "cpu_s": round(sum(u.ru_utime + u.ru_stime for u in (own, workers)), 1),
    }
    seconds = report.cost["survey_s"] + report.cost["make_s"]
    return {
        "executor": executor,
        "clips": int(report.metrics["clips"].value),
        "clips_kept": int(report.metrics["clips kept"].value),
        "pairs": report.counts["pairs"],
        "tasks": {k.removeprefix("task_"): n for k, n in report.counts.items() if k.startswith("task_")},
        "rejects": report.counts["rejects"],
        **{name: report.cost[name] for name in ("survey_s", "make_s")},
        "pairs_per_s": round(report.counts["pairs"] / seconds, 1),
        "pairs_per_s_of_make": round(report.counts["pairs"] / report.cost["make_s"], 1),
        "peak_mib": round(own.ru_maxrss / 1024),
        **(of_workers if executor == "local" else {}),  # Ray's processes are nobody's children
        "load_1min": round(os.getloadavg()[0], 1),  # the machine has other work
        "digest": digest[:16],
    }


def measured(source: Path, out: Path, pairs_per_clip: int, executor: str) -> dict[str, Any]:
    """A measurement in a process of its own; one that is there is not repeated."""
    if not (out / "row.json").exists():
        subprocess.run([sys.executable, __file__, "--one", source, out, str(pairs_per_clip), executor], check=True)
    return json.loads((out / "row.json").read_text())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=int, default=2280)
    parser.add_argument("--pairs-per-clip", type=int, default=9)
    parser.add_argument("--ray-clips", type=int, default=128, help="clips of the comparison with Ray; 0: none")
    parser.add_argument("--source", type=Path, help="a clips run to take instead of rendering one")
    parser.add_argument("--work", type=Path, default=Path("work/bench-synthesize"))
    parser.add_argument("--out", type=Path, default=Path("bench/results/synthesize.json"))
    parser.add_argument("--one", nargs=4, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        source, out, pairs, executor = args.one
        row = one(Path(source), Path(out), int(pairs), executor)
        (Path(out) / "row.json").write_text(json.dumps(row))
        return
    source = args.source or clips_run(args.work, args.clips)
    few = subset(source, args.work / "few", args.clips // 10)
    rows = {
        "a tenth": measured(few, args.work / "out-few", args.pairs_per_clip, "local"),
        "all": measured(subset(source, args.work / "all", args.clips), args.work / "out-all", args.pairs_per_clip, "local"),
    }
    if args.ray_clips:
        some = subset(source, args.work / "some", args.ray_clips)
        for executor in ("local", "ray"):
            rows[f"{args.ray_clips} clips, {executor}"] = measured(
                some, args.work / f"out-{executor}", args.pairs_per_clip, executor
            )
        local, ray = (rows[f"{args.ray_clips} clips, {executor}"] for executor in ("local", "ray"))
        assert local["digest"] == ray["digest"], (local["digest"], ray["digest"])
    result = {
        "what": "synthesize over the world, all seven tasks, filters on, 2 workers",
        "command": f"python bench/synthesize.py --clips {args.clips} --pairs-per-clip {args.pairs_per_clip} "
        f"--ray-clips {args.ray_clips}",
        "machine": f"{os.cpu_count()} x {platform.machine()}, Python {platform.python_version()}",
        "runs": rows,
    }
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
