"""The provider `openai` as a whole stage over a folder of clips: killed, resumed, and made again from its cache alone.

`python bench/captioner.py FOLDER [--captions FILE] [--work DIR] [--out FILE]`. The server is tests/synthesis/chat_server.py, a
process of its own on loopback: one request in ten gets a 503 first, one an answer too short at first, one never a valid one. What
it logged is counted: a request whose good answer was kept must never be sent again. Those under way when the run is killed (at most
`concurrency`, 8) are answered to nobody, and are.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

from uvrlab.runs import RunDir

SERVER = Path(__file__).resolve().parents[1] / "tests" / "synthesis" / "chat_server.py"
KILL_AFTER = 60  # answers


def command(stage: str, recipe: Path, out: Path, *inputs: str) -> list[str]:
    return [sys.executable, "-m", "uvrlab.cli", "run", stage, "--config", str(recipe), *inputs, "--out", str(out)]


def logged(log: Path) -> list[dict[str, Any]]:
    whole = log.read_text().rpartition("\n")[0] if log.exists() else ""  # the last line may be half written
    return [json.loads(line) for line in whole.splitlines()]


def counted(rows: list[dict[str, Any]], before: list[dict[str, Any]]) -> dict[str, int]:
    """Requests of one run, and how many of them asked for what the server had answered well before."""
    answered = Counter(row["body"] for row in before if row["status"] == 200)
    again = 0
    for row in sorted(rows, key=lambda row: row["start"]):
        again += answered[row["body"]] > 0
        answered[row["body"]] += row["status"] == 200
    return {"requests": len(rows), "refused_503": sum(r["status"] == 503 for r in rows), "sent_again_though_answered": again}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--captions", default="manifest.jsonl")
    parser.add_argument("--work", type=Path, default=Path("work/bench-captioner"))
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "captioner.json")
    args = parser.parse_args()
    work, log = args.work.resolve(), args.work.resolve() / "requests.jsonl"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    server = subprocess.Popen([sys.executable, str(SERVER), str(log), "0.02"], stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    url = f"http://127.0.0.1:{int(server.stdout.readline())}/v1"
    recipe = work / "recipe.json"
    source = {"kind": "folder", "path": str(args.folder.resolve()), "captions": args.captions}
    asked = {"model": "test", "base_url": url, "frame_height": 128, "frames": 4, "backoff_s": 0.05}
    own = {"provider": "openai", "pairs_per_clip": 2, "max_reject_fraction": 0.5, "clips_per_shard": 8, "captioner": asked}
    own["filters"] = {"enabled": False}  # they ask no server, and would take most of the time
    splits = {"train": 0.9, "val": 0.1}
    recipe.write_text(json.dumps({"ingest": {"source": source, "splits": splits}, "synthesize": own}))
    environment = os.environ | {"UVR_WORK": str(work / "first"), "OPENAI_API_KEY": "secret"}
    try:
        subprocess.run(command("ingest", recipe, work / "clips"), env=environment, check=True)
        row = measured(recipe, work, log, environment)
    finally:
        server.terminate()
    result = {"command": f"python bench/captioner.py {args.folder.name}", "server": "tests/synthesis/chat_server.py", **row}
    args.out.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


def measured(recipe: Path, work: Path, log: Path, environment: dict[str, str]) -> dict[str, Any]:
    """Kill a run, resume it, and repeat it elsewhere with the cache alone."""
    inputs = ("--in", f"clips={work / 'clips'}")
    dead = subprocess.Popen(command("synthesize", recipe, work / "uvrd", *inputs), env=environment, start_new_session=True)
    while len(logged(log)) < KILL_AFTER and dead.poll() is None:
        time.sleep(0.05)
    os.killpg(dead.pid, signal.SIGKILL)
    dead.wait()
    time.sleep(0.5)  # what the server is still about to answer is logged too
    first = logged(log)
    subprocess.run(command("synthesize", recipe, work / "uvrd", *inputs), env=environment, check=True)
    second = logged(log)[len(first) :]
    (work / "again").mkdir()
    (work / "again" / "captions").symlink_to(work / "first" / "captions")
    cached = environment | {"UVR_WORK": str(work / "again")}
    subprocess.run(command("synthesize", recipe, work / "uvrd-cached", *inputs), env=cached, check=True)
    third = logged(log)[len(first) + len(second) :]
    digests = [RunDir(work / name).manifest.digest for name in ("uvrd", "uvrd-cached")]
    cost = json.loads((work / "uvrd-cached" / "cost.json").read_text())
    report = json.loads((work / "uvrd" / "stage_report.json").read_text())
    return {
        "clips": report["metrics"]["clips"]["value"],
        "pairs": report["counts"]["pairs"],
        "rejects": report["counts"]["rejects"],
        "killed after": counted(first, []),
        "resumed": counted(second, first),
        "from the cache": counted(third, first + second) | {"answers": int(cost["captioner_cached"])},
        "equal run digests": digests[0] == digests[1],
    }


if __name__ == "__main__":
    main()
