"""False alarms and power of the drift test, and of Evidently's bootstrapped embedding tests on the same draws.

`python bench/drift.py [--out FILE] [--draws 1000]`. Captions of families of the world, one row a family: without drift both sides
come from the same mix of styles; with it a share of the current side is worded in the style `rich` instead. Rows are the texts
themselves (hashed words) and the vectors of nano-omni. About 10 minutes on one core.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from uvrlab.config import SynthesizeConfig
from uvrlab.data.items import Item
from uvrlab.data.world import captions, sample_scene, stable_rng
from uvrlab.models.encode import Embedder
from uvrlab.validation.drift import mmd_test
from uvrlab.validation.words import bags

FAMILIES, FAMILY = 2000, 4
SIZES, SHARES = (100, 200, 500), (0.05, 0.1, 0.2, 0.4)
ALPHA, PERMUTATIONS, POWER_DRAWS, EVIDENTLY_DRAWS = 0.05, 199, 200, 200


def texts() -> tuple[list[str], list[str], list[list[str]]]:
    """A caption a family in the default mix of styles; one in `rich`; and for 400 families two of each of its four siblings."""
    styles = SynthesizeConfig().styles
    mixed, rich, siblings = [], [], []
    for family in range(FAMILIES):
        rng = stable_rng("bench drift", family)
        told = captions(sample_scene("train", family * FAMILY, family_size=FAMILY), rng)
        mixed.append(told[rng.choice(list(styles), p=list(styles.values()))])
        rich.append(told["rich"])
        if family < 400:
            rows = [captions(sample_scene("train", family * FAMILY + i, family_size=FAMILY), rng) for i in range(FAMILY)]
            siblings.append([row[s] for row in rows for s in rng.choice(list(styles), 2, p=list(styles.values()))])
    return mixed, rich, siblings


def rate(fires: list[bool]) -> dict[str, Any]:
    """Share of draws that fired with its 95 % Wilson interval."""
    n, p, z = len(fires), float(np.mean(fires)), 1.96
    middle, half = (p + z * z / (2 * n)) / (1 + z * z / n), z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    return {"rate": round(p, 4), "low": round(middle - half, 4), "high": round(middle + half, 4), "draws": n}


def fired(rows: np.ndarray, other: np.ndarray, n: int, share: float, seed: int) -> bool:
    """Whether the test fires on n rows against n others, with `share` of the first taken from `other`."""
    rng = np.random.default_rng([seed, n])
    chosen = rng.choice(len(rows), 2 * n, replace=False)
    current, reference = rows[chosen[:n]].copy(), rows[chosen[n:]]
    moved = round(share * n)
    current[:moved] = other[chosen[:moved]]
    return mmd_test(current, reference, seed, PERMUTATIONS)[1] <= ALPHA


def ungrouped(groups: np.ndarray, n_groups: int, seed: int) -> bool:
    """The same test without drift on all rows of each family (F, 8, D): they are no independent draws."""
    chosen = np.random.default_rng(seed).choice(len(groups), 2 * n_groups, replace=False)
    x, y = groups[chosen[:n_groups]], groups[chosen[n_groups:]]
    return mmd_test(x.reshape(-1, x.shape[-1]), y.reshape(-1, y.shape[-1]), seed, PERMUTATIONS)[1] <= ALPHA


def evidently(rows: np.ndarray, n: int) -> dict[str, Any]:
    """How often each of Evidently's embedding tests fires without drift, with its own bootstrap null and default quantile."""
    os.environ["DO_NOT_TRACK"] = "1"
    from evidently.legacy.metrics.data_drift.embedding_drift_methods import DistanceDriftMethod, MMDDriftMethod, ModelDriftMethod

    methods: dict[str, Callable[..., Any]] = {
        "mmd (quantile 0.05)": MMDDriftMethod(bootstrap=True),
        "mmd (quantile 0.95)": MMDDriftMethod(bootstrap=True, quantile_probability=0.95),
        "model (quantile 0.95)": ModelDriftMethod(bootstrap=True),
        "distance (quantile 0.95)": DistanceDriftMethod(bootstrap=True),
    }
    fires: dict[str, list[bool]] = {name: [] for name in methods}
    for seed in range(EVIDENTLY_DRAWS):
        chosen = np.random.default_rng([seed, n]).choice(len(rows), 2 * n, replace=False)
        for name, method in methods.items():
            sides = [pd.DataFrame(rows[part]) for part in (chosen[:n], chosen[n:])]  # the method adds a column to what it is given
            fires[name].append(bool(method(*sides)[1]))
    return {name: rate(values) for name, values in fires.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "drift.json")
    parser.add_argument("--draws", type=int, default=1000)
    args = parser.parse_args()
    started = time.monotonic()
    mixed, rich, siblings = texts()
    model = Embedder.load("nano-omni")
    vectors = [model.encode([Item(str(i), text=t) for i, t in enumerate(side)]) for side in (mixed, rich)]
    words = [bags(pa.array(side)) for side in (mixed, rich)]
    rows = {"words of texts (256 places)": words, f"nano-omni vectors of texts ({model.width})": vectors}
    groups = bags(pa.array([t for family in siblings for t in family])).reshape(len(siblings), 2 * FAMILY, -1)
    result = {
        "command": f"python bench/drift.py --draws {args.draws}",
        "test": f"permutation MMD, {PERMUTATIONS} permutations, fires at p <= {ALPHA}; {FAMILIES} families, one caption each",
        "false_alarms": {
            name: {f"n={n}": rate([fired(*r, n, 0.0, s) for s in range(args.draws)]) for n in SIZES[:2]} for name, r in rows.items()
        },
        "power": {
            name: {
                f"n={n}": {f"{share:.0%} moved": rate([fired(*r, n, share, s) for s in range(POWER_DRAWS)]) for share in SHARES}
                for n in SIZES
            }
            for name, r in rows.items()
        },
        "false_alarms_when_families_are_not_thinned": {
            "25 families of 8 rows a side": rate([ungrouped(groups, 25, s) for s in range(POWER_DRAWS)])
        },
        "false_alarms_of_evidently": {f"nano-omni vectors, n={SIZES[1]}": evidently(vectors[0], SIZES[1])},
        "seconds": round(time.monotonic() - started),
    }
    text = json.dumps(result, indent=1)
    print(text)
    args.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
