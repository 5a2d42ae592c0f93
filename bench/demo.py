"""What `make demo` ended with, as committed data: `python bench/demo.py runs/zenml` after it writes bench/results/demo.json.

One run, one seed: a study (`make headroom`) has the seeds.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from uvrlab.evaluation import results
from uvrlab.evaluation.compare import compare
from uvrlab.runs import RunDir

OUT = Path(__file__).parent / "results" / "demo.json"


def main() -> None:
    root = Path(sys.argv[1])
    after, before = results.read(root / "evaluate"), results.read(root / "evaluate" / "base")
    main_metric = after.results.main
    effects = [e for e in compare(after, before).effects if e.metric == main_metric.get(e.dataset) or e.dataset == "AVG_D"]
    every = (*after.results.scores, *after.results.averages)
    chance = {s.dataset: s.chance for s in every if s.metric == main_metric.get(s.dataset, "main")}
    rows = [
        {"dataset": e.dataset, "n": e.n, "chance": chance.get(e.dataset), "before": e.b, "after": e.a}
        | {"difference": e.difference, "low": e.low, "high": e.high, "verdict": e.verdict}
        for e in {e.dataset: e for e in effects}.values()
    ]
    stages = sorted(path.parent for path in root.glob("*/manifest.json"))
    costs = {path.name: json.loads((path / "cost.json").read_text()) for path in stages}
    found = {
        "command": "make demo && python bench/demo.py runs/zenml",
        "seed": after.results.seed,
        "rows": rows,
        "seconds": {name: cost["seconds"] for name, cost in costs.items()},
        "peak_memory_gib": round(max(cost["peak_memory_bytes"] for cost in costs.values()) / 2**30, 2),
        "digests": {path.name: RunDir(path).digest for path in stages},
    }
    OUT.write_text(json.dumps(found, indent=1) + "\n")
    print("| dataset | n | chance | before | after | difference (95 % interval) | |\n|---|---|---|---|---|---|---|")
    for r in rows:
        change = f"{100 * r['difference']:+.1f} ({100 * r['low']:+.1f} to {100 * r['high']:+.1f})"
        level = f"{r['chance']:.1%}" if r["chance"] is not None else ""
        print(f"| {r['dataset']} | {r['n']} | {level} | {r['before']:.1%} | {r['after']:.1%} | {change} | {r['verdict']} |")


if __name__ == "__main__":
    main()
