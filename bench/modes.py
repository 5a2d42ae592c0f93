"""What the ways of reading a query are worth and cost, over several seeds: `python bench/modes.py RESULTS [RESULTS ...]`.

Each is a run of `evaluate` of one seed with modes [speed, think, mixed, oracle, auto] and, where wanted, best_of_k and pass_at_k.
Means over data sets of R@1, 95 % bootstrap over queries with (seed, data set) as strata; writes bench/results/modes.json.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from uvrlab.evaluation import results
from uvrlab.evaluation.metrics import bootstrap_interval, paired_bootstrap, stratified_mean

OUT = Path(__file__).parent / "results" / "modes.json"
METRIC = "R@1"
Values = dict[str, tuple[np.ndarray, list[str]]]  # mode -> values of all queries, and their strata


def pooled(folders: list[Path]) -> tuple[Values, list[results.Results]]:
    """The values of every mode on the same queries in the same order."""
    found: dict[str, list[tuple[str, str, float]]] = {}
    every = [results.read(folder) for folder in folders]
    for number, one in enumerate(every):
        for row in one.rows:
            if row["metric"] == METRIC:
                stratum = f"{number} {row['dataset']}"
                found.setdefault(row["mode"], []).append((stratum, row["query_id"], float(row["value"])))
    values = {}
    for mode, rows in found.items():
        rows.sort()
        values[mode] = np.array([value for *_, value in rows]), [stratum for stratum, *_ in rows]
    return values, [one.results for one in every]


def cost(every: list[results.Results], mode: str) -> dict[str, float]:
    """Tokens a query and a candidate, the share of queries that think, and thoughts without a vector, of all seeds."""
    mine = [one for found in every for one in found.modes if one.mode == mode]
    n = sum(one.n for one in mine)
    means = {name: sum(getattr(one, name) * one.n for one in mine) / n for name in ("query_tokens", "candidate_tokens", "thinks")}
    return {name: round(value, 3) for name, value in means.items()} | {"fallbacks": sum(one.fallbacks for one in mine)}


def realised(values: Values) -> dict[str, Any]:
    """How much of what the oracle gains over the better single mode the router gains."""
    single = max(("speed", "think"), key=lambda mode: stratified_mean(*values[mode]))
    gains = {}
    for mode in ("oracle", "auto"):
        effect = paired_bootstrap(values[mode][0], values[single][0], values[mode][1])
        gains[mode] = {"gain": round(effect.difference, 4), "low": round(effect.low, 4), "high": round(effect.high, 4)}
    share = gains["auto"]["gain"] / gains["oracle"]["gain"]
    return {"better_single": single, **gains, "realised": round(share, 3)}


def precision(found: results.Results) -> dict[str, dict[str, float]]:
    """What share of the colours, shapes, ... that greedy thoughts name is right, and by chance, of one seed."""
    thought = [score for score in found.attributes.scores if score.part == "thought"] if found.attributes else []
    return {s.aspect: {"right": round(s.precision.value, 4), "chance": round(s.chance_precision, 4)} for s in thought}


def main() -> None:
    folders = [Path(name) for name in sys.argv[1:]]
    values, every = pooled(folders)
    rows = []
    for mode, (own, strata) in values.items():
        low, high = bootstrap_interval(own, 0, strata=strata)
        row = {"mode": mode, METRIC: round(stratified_mean(own, strata), 4), "low": round(low, 4), "high": round(high, 4)}
        rows.append({**row, "n": len(own), **cost(every, mode)})
        print("{mode:<12} R@1 {R@1:6.1%} [{low:.1%}, {high:.1%}]  n {n}  tokens {query_tokens:.1f}".format(**row | rows[-1]))
    found = {
        "command": "python bench/modes.py RESULTS of each seed",
        "models": [one.model_digest for one in every],
        "datasets": sorted({stratum.partition(" ")[2] for stratum in values["speed"][1]}),
        "modes": rows,
        "router": realised(values),
        "oracle_if_independent": [round(one.routing.oracle_if_independent, 4) for one in every if one.routing],
        "precision_of_thoughts": [precision(one) for one in every if one.attributes],
    }
    print(json.dumps(found["router"]))
    OUT.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
