"""`make chaos N=100`: `kill -9` at random moments of `uvr demo`, ten kills in a row a run, then the same command to its end.

Passes when every run ends with the run digests of an uninterrupted one, and no killed run left anything that passes for finished
but does not verify. Counts go to bench/results/chaos.json.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from uvrlab.runs import MANIFEST, STATUS, RunDir, RunError

REPO = Path(__file__).resolve().parents[2]
KILLS_A_RUN = 10
MARK = "UVR_CHAOS"


@dataclass
class Tally:
    """What happened. `orphans` counts worker processes that outlived their killed parent by ten seconds."""

    kills: int = 0
    runs: int = 0
    equal: int = 0
    false_runs: int = 0
    orphans: int = 0
    killed_in: Counter[str] = field(default_factory=Counter)


def digests(root: Path) -> dict[str, str]:
    """The digest of every finished run under `root`, verified."""
    found = {}
    for manifest in sorted(root.glob(f"*/{MANIFEST}")):
        run = RunDir(manifest.parent)
        run.verify()
        found[manifest.parent.name] = run.digest
    return found


def start(command: Sequence[str], folder: Path) -> subprocess.Popen[bytes]:
    own = {"UVR_WORK": str(folder / "work"), MARK: str(folder), "OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPO)}
    env = {**os.environ, **own}
    return subprocess.Popen(command, cwd=folder, env=env, stdout=subprocess.DEVNULL, stderr=(folder / "stderr.txt").open("ab"))


def finish(command: Sequence[str], folder: Path) -> dict[str, str]:
    """Run the command to its end; its digests."""
    process = start(command, folder)
    if process.wait() != 0:
        raise RuntimeError(f"{' '.join(command)} failed: {(folder / 'stderr.txt').read_text()[-3000:]}")
    return digests(folder / "runs")


def kill(command: Sequence[str], folder: Path, after_s: float, tally: Tally) -> bool:
    """Start the command and kill its process alone after `after_s`; False when it was done before."""
    process = start(command, folder)
    try:
        process.wait(after_s)
        return False
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        process.wait()
    tally.kills += 1
    tally.killed_in[_running(folder / "runs")] += 1
    tally.orphans += _reap(folder)
    try:
        digests(folder / "runs")
    except RunError:
        tally.false_runs += 1
    return True


def _running(root: Path) -> str:
    """The stage that was at work: the one with a status and no manifest."""
    at = [s.parent.name for s in root.glob(f"*/{STATUS}") if not (s.parent / MANIFEST).exists()]
    return at[0] if at else "between stages"


def _reap(folder: Path, patience_s: float = 10.0) -> int:
    """How many of this folder's processes are left after `patience_s`; they are ended, so that runs do not disturb each other."""
    end = time.monotonic() + patience_s
    while (left := _marked(folder)) and time.monotonic() < end:
        time.sleep(0.2)
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    return len(left)


def _marked(folder: Path) -> list[int]:
    """Live processes whose environment carries this folder's mark."""
    mark, found = f"{MARK}={folder}".encode(), []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if mark in (entry / "environ").read_bytes().split(b"\0") and "\nState:\tZ" not in (entry / "status").read_text():
                found.append(int(entry.name))
        except OSError:
            continue
    return found


def one_run(command: Sequence[str], folder: Path, window_s: float, kills: int, seed: int, tally: Tally) -> dict[str, str]:
    """Up to `kills` kills at moments drawn from (0, window_s), then to the end."""
    folder.mkdir()
    draw = random.Random(seed)
    for _ in range(kills):
        if not kill(command, folder, draw.uniform(0, window_s), tally):
            break
    tally.runs += 1
    return finish(command, folder)


def main() -> int:
    parser = argparse.ArgumentParser(prog="make chaos", description=__doc__)
    parser.add_argument("kills", type=int)
    parser.add_argument("--config", type=Path, default=REPO / "configs" / "tiny.yaml")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=REPO / "bench" / "results" / "chaos.json")
    args = parser.parse_args()
    uvr = [sys.executable, "-m", "uvrlab.cli", "demo", "--config", str(args.config.resolve()), "--out", "runs"]
    tally, started = Tally(), time.monotonic()
    with tempfile.TemporaryDirectory(prefix="uvr-chaos-") as scratch:
        plain = Path(scratch) / "plain"
        plain.mkdir()
        expected = finish(uvr, plain)
        whole_s = time.monotonic() - started
        print(f"uninterrupted: {whole_s:.0f} s, {len(expected)} stages", flush=True)
        while tally.kills < args.kills:
            number = tally.runs
            wanted = min(KILLS_A_RUN, args.kills - tally.kills)
            got = one_run(uvr, Path(scratch) / f"run{number}", whole_s / 3, wanted, args.seed + number, tally)
            tally.equal += got == expected
            print(
                f"run {number}: {tally.kills} kills, {tally.equal} of {tally.runs} runs equal, in {dict(tally.killed_in)}",
                flush=True,
            )
    args.out.parent.mkdir(parents=True, exist_ok=True)
    record = {
        "command": f"make chaos N={args.kills}",
        "config": args.config.name,
        "seed": args.seed,
        "kills": tally.kills,
        "runs": tally.runs,
        "runs_with_equal_digests": tally.equal,
        "false_runs": tally.false_runs,
        "orphans": tally.orphans,
        "killed_in": dict(tally.killed_in),
        "uninterrupted_s": round(whole_s, 1),
        "minutes": round((time.monotonic() - started) / 60, 1),
        "digests": expected,
    }
    args.out.write_text(json.dumps(record, indent=1) + "\n")
    return 0 if tally.equal == tally.runs and not tally.false_runs else 1


if __name__ == "__main__":
    sys.exit(main())
