"""The stage `validate`: judges clips, UVRD and benchmark together, and stops the pipeline with the list of what failed.

Writes `verdict.json` (every check, passed or not), `leakage.json`, with a reference run `drift.json`, and `rendered/` (Great
Expectations data docs, Evidently reports). No table is copied.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from uvrlab.config import StageConfig, ValidateConfig
from uvrlab.data.schema import TableError
from uvrlab.runs import Metric, RunDir, RunError, StageReport, write_json
from uvrlab.validation import leakage, overlap, reference
from uvrlab.validation.drift import Drift
from uvrlab.validation.frames import mix_frame, read_frames
from uvrlab.validation.pages import page
from uvrlab.validation.suites import Verdict, checks, judge


class ValidationFailed(RunError):
    """The gate is shut. `failed` holds the verdicts that shut it."""

    def __init__(self, failed: list[Verdict], verdict_file: Path) -> None:
        self.failed = failed
        lines = "\n".join(f"  {verdict}" for verdict in failed)
        super().__init__(f"{len(failed)} checks failed; correct the rows and run again (whole list: {verdict_file})\n{lines}")


@dataclass
class Findings:
    """All that an inspection found."""

    verdicts: list[Verdict]
    leaks: list[leakage.Leak] = field(default_factory=list)
    tests: list[Drift] = field(default_factory=list)
    mix: list[dict[str, Any]] = field(default_factory=list)  # rows of `mix_frame`

    @property
    def failed(self) -> list[Verdict]:
        return [v for v in self.verdicts if not v.passed]


def run(config: StageConfig[Any], inputs: dict[str, Path], out: Path) -> StageReport:
    """Judge the tables under `inputs`. Raises ValidationFailed after the verdict is on disk."""
    found = inspect(config.own, inputs, out / "rendered", config.run.workers)
    write_json(out / "verdict.json", {"passed": not found.failed, "checks": [v.as_json() for v in found.verdicts]})
    write_json(out / "leakage.json", [leak.as_json() for leak in found.leaks])
    if "reference" in inputs:
        write_json(out / "drift.json", [test.as_json() for test in found.tests])
    if found.failed:
        page(found.verdicts, found.leaks, found.tests, found.mix).write(out / "report.html")
        raise ValidationFailed(found.failed, out / "verdict.json")
    return report(found)


def inspect(own: ValidateConfig, inputs: Mapping[str, Path], rendered: Path | None = None, workers: int = 2) -> Findings:
    """Every verdict, leak and drift test. A table that does not follow its schema is one failed verdict and ends the inspection."""
    clips, uvrd, benchmark = (inputs[name] for name in ("clips", "uvrd", "benchmark"))
    try:
        frames = read_frames(clips, uvrd, benchmark)
        if mix := configured_mix(uvrd):
            frames["mix"] = mix_frame(frames["pairs"], mix)
    except TableError as error:
        return Findings([Verdict("schema", "every table follows its schema", False, 1, 1, [str(error)])])
    found = Findings([Verdict("schema", "every table follows its schema", True, len(frames), 0)])
    found.mix = frames["mix"].to_dict("records") if mix else []
    found.verdicts += judge(frames, checks(own), rendered)
    del frames
    find_leaks(found, own, inputs, workers)
    if "reference" in inputs:
        found.tests, verdicts = reference.compare(inputs, own, rendered or Path("rendered"), workers)
        found.verdicts += verdicts
    return found


def configured_mix(uvrd: Path) -> dict[str, float]:
    """The shares of tasks that the run was asked for, from its manifest; empty where there is none."""
    if not (uvrd / "manifest.json").exists():
        return {}
    return dict(RunDir(uvrd).manifest.config.get("synthesize", {}).get("tasks", {}))


def find_leaks(found: Findings, own: ValidateConfig, inputs: Mapping[str, Path], workers: int) -> None:
    """Add all leaks between UVRD and benchmark, and their verdicts."""
    clips, uvrd, benchmark = (inputs[name] for name in ("clips", "uvrd", "benchmark"))
    train, judged = leakage.train_side(clips, uvrd), leakage.judged_side(benchmark)
    texts = overlap.judged_texts(benchmark)
    found.leaks = leakage.find_leaks(train, judged) + leakage.text_leaks(uvrd, texts)
    n_clips, n_hashed = len(judged), 0
    if own.near_duplicate_bits is not None:
        sides = ((train, clips), (judged, benchmark))
        (train, ours, lost), (judged, theirs, lost_too) = (hashed(rows, base, workers) for rows, base in sides)
        found.leaks += leakage.picture_leaks(train, judged, (ours, theirs), own.near_duplicate_bits)
        n_hashed, lost = len(judged), lost + lost_too
        total = len(train) + len(judged) + len(lost)
        share = len(lost) / max(total, 1)
        name = "the picture of a clip can be compared"
        found.verdicts.append(
            Verdict(
                "leakage", name, share <= own.max_reject_fraction, total, len(lost), lost[:10], int(own.max_reject_fraction * total)
            )
        )
    found.verdicts += leakage.verdicts(found.leaks, n_clips, own, len(texts), n_hashed)


def hashed(rows: pd.DataFrame, base: Path, workers: int) -> tuple[pd.DataFrame, np.ndarray, list[str]]:
    """The clips whose frames could be hashed, their hashes (N, T) uint64, and what was wrong with the others."""
    from uvrlab.data.hashing import FRAMES, hash_clips
    from uvrlab.data.workers import MediaPool, Reject

    with MediaPool(workers) as pool:
        results = list(hash_clips(pool, rows.to_dict("records"), base))
    kept = [not isinstance(r, Reject) for r in results]
    hashes = [r for r in results if not isinstance(r, Reject)]
    lost = [f"{r.item}: {r.reason}" for r in results if isinstance(r, Reject)]
    return rows[kept], np.array(hashes, np.uint64).reshape(-1, FRAMES), lost


def report(found: Findings) -> StageReport:
    """Counts of a gate that opened."""
    tables = {v.table: v.checked for v in found.verdicts}
    counts = {"checks": len(found.verdicts), "failed": 0, "leaks": len(found.leaks)} | {f"rows_{n}": c for n, c in tables.items()}
    metrics = {"checks": Metric(value=len(found.verdicts), unit="checks"), "failed": Metric(value=0, unit="checks")}
    absent = [str(row["task"]) for row in found.mix if row["configured"] and not row["share"]]
    warnings = (
        [f"asked for and absent: {', '.join(absent)}; set their shares of synthesize.tasks to 0 to mean it"] if absent else []
    )
    shown = page(found.verdicts, found.leaks, found.tests, found.mix)
    for words in warnings:
        shown.warning(words)
    return StageReport(stage="validate", metrics=metrics, counts=counts, warnings=warnings, page=shown)
