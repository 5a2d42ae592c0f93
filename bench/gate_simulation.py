"""How often the gate promotes, blocks or declines to judge models whose true differences are known.

Each draw is a whole comparison: for every data set, `n` queries with a hit or a miss of candidate and incumbent, drawn from the
shares of a pilot; then the gate's own decisions, bootstrap included. The pilot is two stored evaluations, made symmetric (half
of the queries that differ go to each side), or, without them, the hit rates of the committed demo run with a stated
correlation between two equally good models. `n` of each data set is what `uvr gate --power` prints for it.

    python bench/gate_simulation.py [--candidate RESULTS --incumbent RESULTS] [--draws 1000]
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter
from pathlib import Path

import numpy as np

from uvrlab.gate.evidence import open_results
from uvrlab.gate.judge import Findings, compare, mode_of, note, pair
from uvrlab.gate.policy import GatePolicy, load_policy
from uvrlab.gate.slices import Decision, Paired, Pairs

REPO = Path(__file__).resolve().parents[1]
OUT = REPO / "bench" / "results" / "gate_simulation.json"
ABILITIES = {"abstract": "CG", "concise": "CG", "keywords": "CG", "rich": "FG", "partial": "PR", "i2v": "VIS", "v2v": "VIS"}
CORRELATION = 0.5  # between the hits of two equally good models on one query, synthetic pilot only
PILOT = 100_000  # queries a data set behind the printed n: the shares themselves, not an estimate of them
MOVED = 0.03
OUTCOMES = ((1.0, 1.0), (1.0, 0.0), (0.0, 1.0), (0.0, 0.0))  # (candidate, incumbent)
SAID = ("promoted", "blocked", "cannot judge", "headline shown better", "a slice may have dropped", "under-powered")
Cells = dict[str, tuple[float, float, float]]  # data set -> shares of queries: both hit, only the candidate, only the incumbent


def synthetic() -> tuple[Cells, dict[str, str]]:
    """Equal models at the demo's hit rates: P(both) = p^2 + r p (1 - p)."""
    rows = json.loads((REPO / "bench/results/demo.json").read_text())["rows"]
    rates = {r["dataset"]: r["after"] for r in rows if r["dataset"].startswith("world-")}
    cells = {}
    for name, p in rates.items():
        both = p * p + CORRELATION * p * (1 - p)
        cells[name] = (both, p - both, p - both)
    return cells, {name: ABILITIES[name.removeprefix("world-")] for name in rates}


def stored(candidate: Path, incumbent: Path, policy: GatePolicy) -> tuple[Cells, dict[str, str]]:
    """The shares of two stored evaluations of hits, in the mode that the gate would judge, made symmetric."""
    ours, theirs = open_results(candidate), open_results(incumbent)
    cells = {}
    for name, queries in pair(ours, theirs, mode_of(ours, policy)).items():
        hits = queries.values >= 0.5
        moved = float((hits[:, 0] != hits[:, 1]).mean()) / 2
        cells[name] = (float(hits.all(axis=1).mean()), moved, moved)
    return cells, ours.abilities


def moved(cells: Cells, by: dict[str, float]) -> Cells:
    """The same incumbent against a candidate with another true difference: what it wins the incumbent missed, and so on."""
    found = {}
    for name, (both, wins, losses) in cells.items():
        shift = by.get(name, 0.0)
        gain, drop = max(shift, 0.0), max(-shift, 0.0)
        if gain > 1 - both - wins - losses or drop > both:
            raise SystemExit(f"{name}: the pilot has no room for a difference of {shift:+.2f}")
        found[name] = (both - drop, wins + gain, losses + drop)
    return found


def concentrated(cells: Cells, total: float) -> dict[str, float]:
    """A gain of `total` in as few data sets as have the room for it, those first that both models answer best."""
    found = {}
    for name in sorted(cells, key=lambda name: -cells[name][0]):
        both, wins, losses = cells[name]
        found[name] = min(total - sum(found.values()), 1 - both - wins - losses)
    return found


def draw(cells: Cells, n: dict[str, int], random: np.random.Generator) -> Pairs:
    """One comparison."""
    found = {}
    for name, (both, wins, losses) in cells.items():
        counts = random.multinomial(n[name], [both, wins, losses, max(0.0, 1 - both - wins - losses)])
        found[name] = Paired((), np.repeat(np.array(OUTCOMES), counts, axis=0))
    return found


def sizes(cells: Cells, abilities: dict[str, str], policy: GatePolicy) -> tuple[dict[str, int], list[Decision]]:
    """Queries of each data set, as `--power` prints them for equal models; and its rows."""
    expected = draw_expected(cells)
    decisions, _ = compare(expected, abilities, policy)
    return {d.slice: d.n_needed for d in decisions if d.kind == "dataset"}, decisions


def draw_expected(cells: Cells) -> Pairs:
    """`PILOT` queries a data set in exactly the pilot's shares."""
    found = {}
    for name, (both, wins, losses) in cells.items():
        counts = [round(PILOT * share) for share in (both, wins, losses)]
        values = np.repeat(np.array(OUTCOMES), [*counts, PILOT - sum(counts)], axis=0)
        found[name] = Paired((), values)
    return found


def simulate(
    cells: Cells, abilities: dict[str, str], n: dict[str, int], policy: GatePolicy, draws: int, seed: int
) -> dict[str, float]:
    """Shares of draws: each verdict, and the single decisions behind it."""
    counts: Counter[str] = Counter()
    random = np.random.default_rng(seed)
    for _ in range(draws):
        decisions, _ = compare(draw(cells, n, random), abilities, policy)
        found = Findings()
        note(decisions, found)
        counts[found.word(first=False)] += 1
        counts["headline shown better"] += decisions[0].decision == "better"
        counts["a slice may have dropped"] += any("dropped" in d.decision for d in decisions[1:])
        counts["under-powered"] += any(d.decision == "under-powered" for d in decisions)
    return {name: counts[name] / draws for name in SAID}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--candidate", type=Path)
    parser.add_argument("--incumbent", type=Path)
    parser.add_argument("--draws", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    policy = load_policy(REPO / "configs" / "gate.yaml")
    cells, abilities = stored(args.candidate, args.incumbent, policy) if args.candidate else synthetic()
    n, planned = sizes(cells, abilities, policy)
    largest = max(cells, key=lambda name: cells[name][0])  # a drop needs queries that both models answer
    others = {name: MOVED * len(cells) / (len(cells) - 1) for name in cells if name != largest}
    scenarios = {
        "equal models": (cells, n),
        "headline +3 points, every data set alike": (moved(cells, dict.fromkeys(cells, MOVED)), n),
        "headline +3 points, in as few data sets as have room": (moved(cells, concentrated(cells, MOVED * len(cells))), n),
        f"{largest} -3 points, nothing else moves": (moved(cells, {largest: -MOVED}), n),
        f"{largest} -3 points, the rest gains until the headline is up": (moved(cells, {largest: -MOVED, **others}), n),
        "equal models, a quarter of the queries": (cells, {name: size // 4 for name, size in n.items()}),
        "headline +3 points in as few data sets, a quarter of the queries": (
            moved(cells, concentrated(cells, MOVED * len(cells))),
            {name: size // 4 for name, size in n.items()},
        ),
    }
    sides = [open_results(path).evaluation.results for path in (args.candidate, args.incumbent) if path]
    named = f"of models {', '.join(side.model_digest[:12] for side in sides)}"
    started, table = time.monotonic(), {}
    for number, (name, (shares, size)) in enumerate(scenarios.items()):
        table[name] = simulate(shares, abilities, size, policy, args.draws, args.seed + number)
        print(f"{name:<62} " + "  ".join(f"{said} {share:.1%}" for said, share in table[name].items()), flush=True)
    method = {
        "pilot": f"stored evaluations {named}"
        if args.candidate
        else f"hit rates of bench/results/demo.json, correlation {CORRELATION}",
        "shares": {name: dict(zip(("both", "candidate", "incumbent"), c, strict=True)) for name, c in cells.items()},
        "decided by": "uvrlab.gate: the decisions that uvr gate takes, with the bootstrap of its policy",
        "interval": "a share s of 1,000 draws has a standard error of sqrt(s (1 - s) / 1000): 0.7 points at 5 %, 1.3 at 80 %",
    }
    power = [{"slice": d.slice, "kind": d.kind, "n": d.n_needed} for d in planned]
    record = {
        "command": "make bench-gate" + (" CANDIDATE=RESULTS INCUMBENT=RESULTS" if args.candidate else ""),
        "draws": args.draws,
        "seed": args.seed,
        "policy": policy.digest_view(),
        "method": method,
    }
    record |= {"n": n, "power": power, "seconds": round(time.monotonic() - started, 1), "scenarios": table}
    OUT.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
