"""The part of the evaluation report about hearing: search with picture and sound, and with either alone, before and after."""

from __future__ import annotations

from typing import Any

from uvrlab.data.hearing import DATASETS
from uvrlab.evaluation import hearing
from uvrlab.evaluation.answers_report import SHOWN
from uvrlab.evaluation.hearing import CONDITIONS
from uvrlab.evaluation.metrics import PairedEffect
from uvrlab.evaluation.results import Evaluation, tabulate
from uvrlab.report import Report
from uvrlab.runs import Metric, StageReport

TITLE = "Does hearing help search?"
LEAD = (
    "R@1 in a small pool by the disc vector; a modality is really removed from every candidate. In `conflict` two sounds have "
    "changed places, and the pool holds each picture with them in their own too. `alone at best`: what that modality can find."
)
DEAF = "The model does not hear, so the queries about hearing were not asked."


def add(report: StageReport, bench: Any, trained: Evaluation | None, base: Evaluation | None, seed: int) -> None:
    """A section and headline metrics for both models; nothing where the benchmark asks nothing about hearing."""
    page: Report = report.page
    if trained is None or base is None:
        if bench.hearing:
            report.warnings.append(DEAF)
            page.section(TITLE).warning(DEAF)
        return
    asked = [known for name, known in DATASETS.items() if name in trained.results.main]
    models = {"before": base, "after": trained}
    tables = {name: tabulate(found.rows)[0] for name, found in models.items()}
    rows: list[dict[str, Any]] = []
    bars: dict[str, dict[str, Metric]] = {}
    gains: dict[str, dict[str, Metric]] = {name: {} for name in models}
    for known in asked:
        best = {"picture alone at best": known.alone["v"], "sound alone at best": known.alone["a"]}
        for name, found in models.items():
            scores = {c: found.results.score(known.name, mode=c) for c in CONDITIONS}
            shares = {SHOWN[c]: Metric(value=s.value, unit="share", low=s.low, high=s.high, n=s.n) for c, s in scores.items()}
            gains[name][known.needs] = gain = _points(hearing.gain(tables[name], known.name, seed))
            row = {"query needs": known.needs, "model": name, **shares, "A+V over picture": gain, "chance": scores["av"].chance}
            rows.append(row | best)
            bars[f"{known.needs}, {name}"] = shares
        report.metrics |= {f"hear_{known.needs}": shares[SHOWN["av"]], f"hear_{known.needs}_gain": gain}
    page.section(TITLE, LEAD)
    page.table(rows, units=dict.fromkeys(("chance", "picture alone at best", "sound alone at best"), "share"))
    page.bars(bars, "share", chance={label: row["chance"] for label, row in zip(bars, rows, strict=True)})
    more = (hearing.gain_over(tables["after"], tables["before"], known.name, seed) for known in asked)
    gains["after - before"] = {known.needs: _points(effect) for known, effect in zip(asked, more, strict=True)}
    for name, shown in gains.items():
        page.effects(shown, caption=f"A+V - picture only, {name}")


def _points(effect: PairedEffect) -> Metric:
    return Metric(value=effect.difference, unit="points", low=effect.low, high=effect.high, n=effect.n)
