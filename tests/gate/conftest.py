"""Planted evaluations: per data set, how many queries only the candidate, only the incumbent, and both answer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from uvrlab.evaluation import results

N = 600
PARITY = ("even", "odd")
ABILITIES = {"x": "CG", "y": "S"}


def rows(
    hits: dict[str, set[int]], *, n: int = N, model: str = "c", benchmark: str = "b", mode: str = "speed"
) -> list[dict[str, Any]]:
    """`per_query` rows: query i of a data set is a hit where `hits` says so."""
    rest = {"first_relevant_rank": 1, "top_ids": [], "n_candidates": 10, "n_tokens": 0, "latency_ms": 0.0}
    rest |= {"mode": mode, "metric": "R@1", "model_digest": model * 64, "benchmark_digest": benchmark * 64}
    return [
        {
            "dataset": d,
            "ability": ABILITIES[d],
            "query_id": f"{PARITY[i % 2]}-{i}",
            "value": float(i in hits[d]),
            **rest,
        }
        for d in hits
        for i in range(n)
    ]


def hits(both: int, own: int = 0, other: int = 0) -> tuple[set[int], set[int]]:
    """Hits of candidate and incumbent: `both` shared, then `own` of the candidate alone, then `other` of the incumbent alone."""
    shared = set(range(both))
    return shared | set(range(both, both + own)), shared | set(range(both + own, both + own + other))


Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write an evaluation into a folder under its name."""

    def _write(name: str, table: list[dict[str, Any]], sampling: dict[str, Any] | None = None) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        chances = {(d, "R@1"): 0.01 for d in ABILITIES}
        results.write(folder, results.summarise(table, chances=chances, seed=0, bootstrap=20, sampling=sampling or {"frames": 8}))
        return folder

    return _write


@pytest.fixture
def planted(write: Write) -> Callable[..., tuple[Path, Path]]:
    """(candidate, incumbent) from {data set: (both, candidate alone, incumbent alone)}."""

    def _planted(n: int = N, **counts: tuple[int, int, int]) -> tuple[Path, Path]:
        sides = {d: hits(*c) for d, c in counts.items()}
        return tuple(
            write(name, rows({d: s[i] for d, s in sides.items()}, n=n, model=name[0]))
            for i, name in enumerate(("candidate", "incumbent"))
        )  # type: ignore[return-value]

    return _planted


@pytest.fixture
def evaluation_rows() -> Callable[..., list[dict[str, Any]]]:
    """Rows of a model with 200 hits a data set."""
    return lambda **how: rows({d: hits(200)[0] for d in ABILITIES}, **how)
