"""The filters in the report of `synthesize`: keep rates, how each score is spread, and the keep rate at every other threshold."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable

import numpy as np

from uvrlab.config import FiltersConfig
from uvrlab.report import Report
from uvrlab.synthesis.filters.table import DROP, FILTERS, KEEP, NOT_JUDGED, Row

SWEEP = 60  # thresholds of a sweep
LEAD = (
    "Every score is in the table filters, whatever its verdict. The paper publishes no threshold: these are ours. "
    "A clip or pair without a score, or without a threshold to judge it by, is not judged and stays."
)


def section(report: Report, rows: Iterable[Row], own: FiltersConfig) -> Report:
    """Add the section from rows of the table `filters`, which are read once."""
    scores: dict[str, array[float]] = {name: array("d") for name in FILTERS}
    verdicts: Counter[tuple[str, str]] = Counter()
    for row in rows:
        if row["filter"] in FILTERS:
            verdicts[row["filter"], row["verdict"]] += 1
            if row["score"] is not None:
                scores[row["filter"]].append(row["score"])
    seen = [name for name in FILTERS if any((name, verdict) in verdicts for verdict in (KEEP, DROP, NOT_JUDGED))]
    report.section("Quality control", LEAD)
    report.table([_line(name, verdicts, own) for name in seen], units={"kept": "share"})
    for name in seen:
        if len(scores[name]):
            _show(report, name, np.asarray(scores[name]), sum(verdicts[name, verdict] for verdict in (KEEP, DROP, NOT_JUDGED)), own)
    return report


def _line(name: str, verdicts: Counter[tuple[str, str]], own: FiltersConfig) -> Row:
    kept, dropped, rest = (verdicts[name, verdict] for verdict in (KEEP, DROP, NOT_JUDGED))
    threshold = getattr(own, name)
    return {
        "filter": name,
        "of a": FILTERS[name].level,
        "score": FILTERS[name].score,
        "drops": "nothing" if threshold is None else f"{FILTERS[name].drops} {threshold:g} {FILTERS[name].unit}".strip(),
        "kept": 1.0 - dropped / (kept + dropped + rest),
        "dropped": dropped,
        "not judged": rest,
    }


def _show(report: Report, name: str, values: np.ndarray, total: int, own: FiltersConfig) -> None:
    rule, threshold = FILTERS[name], getattr(own, name)
    at = "no threshold" if threshold is None else f"threshold {threshold:g}"
    caption = f"{name}: {rule.score} ({at}, {total - len(values)} of {total} without a score)"
    if values.min() == values.max():
        report.text(f"{caption}; every score is {values[0]:g}")
        return
    report.histogram(values, rule.unit, caption=caption)
    curve = {f"kept, % of {total}, at every other threshold": sweep(name, values, total)}
    report.lines(curve, f"threshold of {name}, {rule.unit}".rstrip(", "), keeps(name, values, total))


def keeps(name: str, values: np.ndarray, total: int) -> str:
    """In words, the thresholds that keep 99, 95, 90 and 50 percent of `total`; what has no score is kept at any."""
    ordered = np.sort(values) if FILTERS[name].drops == "below" else np.sort(values)[::-1]
    said = []
    for percent in (99, 95, 90, 50):
        least_dropped = int((1 - percent / 100) * total)
        if 0 < least_dropped < len(ordered):
            said.append(f"{percent} % at {ordered[least_dropped]:.3g}")
    return f"kept: {', '.join(said)}" if said else "kept, %"


def sweep(name: str, values: np.ndarray, total: int) -> list[tuple[float, float]]:
    """(threshold, percent kept of `total`) at quantiles of the scores; what has no score is kept at any threshold."""
    ordered = np.sort(values)
    points = np.unique(np.quantile(ordered, np.linspace(0.0, 1.0, SWEEP)))
    below = FILTERS[name].drops == "below"
    dropped = np.searchsorted(ordered, points, "left") if below else len(ordered) - np.searchsorted(ordered, points, "right")
    return [(float(x), 100.0 * (1.0 - n / total)) for x, n in zip(points, dropped, strict=True)]
