"""The report of `validate`: one line a check, the leaks, the drift tests. Data docs and Evidently reports lie in `rendered/`."""

from __future__ import annotations

from collections.abc import Sequence

from uvrlab.report import Report
from uvrlab.validation.drift import Drift
from uvrlab.validation.leakage import Leak
from uvrlab.validation.suites import Verdict


def page(verdicts: Sequence[Verdict], leaks: Sequence[Leak] = (), tests: Sequence[Drift] = ()) -> Report:
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
    if leaks:
        report.section("what both sides share", f"{len(leaks)} pieces of evidence; the first of them")
        report.table([leak.as_json() for leak in leaks[:20]])
    if tests:
        report.section(
            "drift", "Permutation test on the maximum mean discrepancy, one row of each source video; Evidently: rendered/evidently"
        )
        report.table(
            [
                {"of": t.what, "rows": t.n_current, "reference rows": t.n_reference, "squared MMD": t.mmd2, "p": t.p_value}
                for t in tests
            ]
        )
    return report
