"""How the report of every training stage begins: rejects, counts, and what to warn of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from uvrlab.config import StageConfig
from uvrlab.data import schema
from uvrlab.runs import StageReport

NO_PAIRS = "no held-out pairs with two targets"


def begin(
    config: StageConfig[Any],
    counts: Mapping[str, int],
    rejects: Sequence[Any],
    out: Path,
    *,
    unmeasured: str | None,
    warnings: Sequence[str] = (),
) -> StageReport:
    """Write `rejects` to `out` and start the stage report. `unmeasured` says what lacked where nothing could be measured."""
    lost = [{"item": r.item, "reason": r.reason, "detail": r.detail} for r in rejects]
    schema.write_file("rejects", lost, out / "rejects.parquet")
    told = [*warnings]
    if unmeasured:
        told.append(f"{unmeasured}: nothing was measured; raise the val split")
    if lost:
        told.append(f"{len(lost)} clips could not be decoded; see rejects.parquet")
    return StageReport(stage=config.stage, counts={**counts, "rejects": len(lost)}, warnings=told)
