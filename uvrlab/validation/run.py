"""The stage `validate`: judges clips, UVRD and benchmark together, and stops the pipeline with the list of what failed.

Writes `verdict.json` (every check, passed or not), `leakage.json` and `rendered/` (Great Expectations data docs). No table
is copied.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from uvrlab.config import StageConfig, ValidateConfig
from uvrlab.data.schema import TableError
from uvrlab.runs import Metric, RunError, StageReport, write_json
from uvrlab.validation import leakage
from uvrlab.validation.frames import read_frames
from uvrlab.validation.pages import page
from uvrlab.validation.suites import Verdict, checks, judge


class ValidationFailed(RunError):
    """The gate is shut. `failed` holds the verdicts that shut it."""

    def __init__(self, failed: list[Verdict], verdict_file: Path) -> None:
        self.failed = failed
        lines = "\n".join(f"  {verdict}" for verdict in failed)
        super().__init__(f"{len(failed)} checks failed; correct the rows and run again (whole list: {verdict_file})\n{lines}")


def run(config: StageConfig[Any], inputs: dict[str, Path], out: Path) -> StageReport:
    """Judge the tables under `inputs`. Raises ValidationFailed after the verdict is on disk."""
    own: ValidateConfig = config.own
    verdicts, leaks = inspect(own, inputs["clips"], inputs["uvrd"], inputs["benchmark"], out / "rendered")
    failed = [v for v in verdicts if not v.passed]
    write_json(out / "verdict.json", {"passed": not failed, "checks": [v.as_json() for v in verdicts]})
    write_json(out / "leakage.json", [leak.as_json() for leak in leaks])
    if failed:
        page(verdicts).write(out / "report.html")
        raise ValidationFailed(failed, out / "verdict.json")
    return report(verdicts)


def inspect(
    own: ValidateConfig, clips: Path, uvrd: Path, benchmark: Path, rendered: Path
) -> tuple[list[Verdict], list[leakage.Leak]]:
    """Every verdict and every leak. A table that does not follow its schema is one failed verdict and ends the inspection."""
    try:
        frames = read_frames(clips, uvrd, benchmark)
    except TableError as error:
        return [Verdict("schema", "every table follows its schema", False, 1, 1, [str(error)])], []
    verdicts = [Verdict("schema", "every table follows its schema", True, len(frames), 0)]
    verdicts += judge(frames, checks(own), rendered)
    judged = leakage.judged_side(benchmark)
    leaks = leakage.find_leaks(leakage.train_side(clips, uvrd), judged)
    return verdicts + leakage.verdicts(leaks, judged, own.allow_leakage), leaks


def report(verdicts: list[Verdict]) -> StageReport:
    """Counts of a gate that opened."""
    tables = {v.table: v.checked for v in verdicts}
    counts = {"checks": len(verdicts), "failed": 0} | {f"rows_{name}": n for name, n in tables.items()}
    metrics = {"checks": Metric(value=len(verdicts), unit="checks"), "failed": Metric(value=0, unit="checks")}
    return StageReport(stage="validate", metrics=metrics, counts=counts, page=page(verdicts))
