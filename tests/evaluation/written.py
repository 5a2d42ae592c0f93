"""Evaluate runs of a few numbers, for tests of what reads them, and UVRB's averages as nested means."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from statistics import mean

from uvrlab.evaluation import results


def write_run(folder: Path, digest: str, values: dict[str, float], modes=("speed",), bench: str = "b" * 64) -> str:
    """An evaluate run with one query a dataset; the value of a mode is that of the first divided by its place."""
    rows = [
        {"dataset": d, "ability": d, "query_id": "q", "mode": mode, "metric": "R@1", "value": value / place}
        | {"model_digest": digest, "benchmark_digest": bench, "first_relevant_rank": 1, "top_ids": [], "n_candidates": 10}
        for place, mode in enumerate(modes, 1)
        for d, value in values.items()
    ]
    folder.mkdir()
    results.write(folder, results.summarise(rows, chances={}, seed=0, bootstrap=10))
    return str(folder)


def nested_means(v: Mapping[str, float]) -> dict[str, float]:
    """Every average of UVRB from one value for each of its sixteen datasets, mean by mean."""
    s, t = mean([v["CRB-S"], v["VDC-O"]]), mean([v["CRB-T"], v["CMRB"]])
    pr = mean([v["DREAM-E"], v["LoVR-TH"], v["PEV-K"]])
    cg, lc = mean([v["MSRVTT"], v["DiDeMo"], v["CRB-G"]]), mean([v["LoVR-V"], v["VDC-D"]])
    cmp, vis = mean([v["MS-TI"], v["MS-TV"]]), mean([v["MSRVTT-I2V"], v["LoVR-C2V"]])
    fg = mean([s, t, pr])
    txt = mean([cg, fg, lc])
    found = {"S": s, "T": t, "PR": pr, "CG": cg, "LC": lc, "CMP": cmp, "VIS": vis, "FG": fg, "TXT": txt}
    return found | {"AVG_A": mean([txt, cmp, vis, cg, fg, lc]), "AVG_D": mean(v.values())}
