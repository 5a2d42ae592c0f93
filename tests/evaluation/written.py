"""Evaluate runs of a few numbers, for tests of what reads them."""

from __future__ import annotations

from pathlib import Path

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
