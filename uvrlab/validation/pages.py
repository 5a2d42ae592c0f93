"""The report of `validate`: one line a check, the leaks, the drift tests. Data docs and Evidently reports lie in `rendered/`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from uvrlab.report import Report
from uvrlab.validation.drift import Drift
from uvrlab.validation.leakage import Leak
from uvrlab.validation.suites import Verdict

ROWS = {"schema": "tables", "mix": "tasks", "rejects": "stages", "leakage": "judged clips or texts", "drift": "compared rows"}


def page(
    verdicts: Sequence[Verdict],
    leaks: Sequence[Leak] = (),
    tests: Sequence[Drift] = (),
    mix: Sequence[Mapping[str, Any]] = (),
) -> Report:
    """What failed first, then every check by table."""
    failed = [v for v in verdicts if not v.passed]
    report = Report("Validation", f"{len(verdicts)} checks, {len(failed)} failed; data docs: rendered/index.html")
    for verdict in failed:
        report.warning(str(verdict))
    for table in dict.fromkeys(v.table for v in verdicts):
        rows = sorted((v for v in verdicts if v.table == table), key=lambda v: v.passed)
        report.section(table, f"{max(v.checked for v in rows)} {ROWS.get(table, 'rows')}")
        report.table(
            [
                {
                    "check": v.name,
                    "verdict": "passed" if v.passed else "failed",
                    "failed rows": v.failed,
                    "of": v.checked,
                    "allowed": v.allowed,
                    "first of them": ", ".join(v.sample[:3]),
                }
                for v in rows
            ]
        )
        if table == "mix":
            units = {"asked for": "%", "found": "%"}
            shares = [{"task": r["task"], "asked for": 100 * r["configured"], "found": 100 * r["share"]} for r in mix]
            report.table(shares, units=units)
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
