"""What a model was trained on, as counts: sources, licences, splits, tasks. A training stage stores it as `data.json` beside its
adapter, so that the model card needs no table that is not in the registry.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from uvrlab.data import schema
from uvrlab.runs import RunDir

DATA = "data.json"


def data_summary(clips: Path, uvrd: Path) -> dict[str, Any]:
    """Counts of the clips and pairs behind a model, with the digests of the two runs that hold them."""
    rows = schema.read_table("clips", clips / "clips")
    pairs = schema.read_table("pairs", uvrd / "pairs")
    return {
        "clips": {
            "digest": RunDir(clips).digest,
            "count": len(rows),
            "hours": round(sum(row["end_s"] - row["start_s"] for row in rows) / 3600, 4),
            **{column: _counts(rows, column) for column in ("source", "licence", "split")},
        },
        "pairs": {
            "digest": RunDir(uvrd).digest,
            "count": len(pairs),
            **{column: _counts(pairs, column) for column in ("task", "style", "provider")},
        },
    }


def _counts(rows: list[dict[str, Any]], column: str) -> dict[str, int]:
    return dict(sorted(Counter(row[column] or "not stated" for row in rows).items()))
