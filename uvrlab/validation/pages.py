"""The report of `validate`: one line a check. The data docs of Great Expectations lie beside it in `rendered/`."""

from __future__ import annotations

from collections.abc import Sequence

from uvrlab.report import Report
from uvrlab.validation.suites import Verdict


def page(verdicts: Sequence[Verdict]) -> Report:
    """Every check by table, failed ones first."""
    failed = sum(not v.passed for v in verdicts)
    report = Report("Validation", f"{len(verdicts)} checks, {failed} failed; data docs: rendered/index.html")
    for table in dict.fromkeys(v.table for v in verdicts):
        rows = sorted((v for v in verdicts if v.table == table), key=lambda v: v.passed)
        report.section(table, f"{max(v.checked for v in rows)} rows")
        report.table(
            [
                {
                    "check": v.name,
                    "verdict": "passed" if v.passed else "failed",
                    "failed rows": v.failed,
                    "of": v.checked,
                    "first of them": ", ".join(v.sample[:3]),
                }
                for v in rows
            ]
        )
    return report
