"""The report of a contrastive training stage: what moved on held-out pairs, how the losses fell, what it cost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from uvrlab.config import StageConfig
from uvrlab.evaluation import metrics
from uvrlab.report import Report
from uvrlab.runs import Metric, StageReport
from uvrlab.training import stage_report
from uvrlab.training.heldout import HeldOut
from uvrlab.training.pairs import Pair


def make(
    config: StageConfig[Any],
    train: Sequence[Pair],
    held_out: Sequence[Pair],
    before: HeldOut | None,
    after: HeldOut | None,
    history: Sequence[dict[str, float]],
    rejects: Sequence[Any],
    out: Path,
) -> StageReport:
    """Write rejects and build the stage report with its page."""
    report = begin(config, train, held_out, before, rejects, out)
    report.metrics |= _metrics(before, after, history, config.run.seed)
    report.page = _page(config, train, before, after, history, report)
    return report


def begin(
    config: StageConfig[Any],
    train: Sequence[Pair],
    held_out: Sequence[Pair],
    before: HeldOut | None,
    rejects: Sequence[Any],
    out: Path,
) -> StageReport:
    """The start of the report of a stage that trains on pairs."""
    counts = {"train_pairs": len(train), "held_out_pairs": len(held_out)}
    unmeasured = stage_report.NO_PAIRS if before is None else None
    return stage_report.begin(config, counts, rejects, out, unmeasured=unmeasured)


def _metrics(before: HeldOut | None, after: HeldOut | None, history: Sequence[dict[str, float]], seed: int) -> dict[str, Metric]:
    found: dict[str, Metric] = {}
    for name, held in (("r1_before", before), ("r1_after", after)):
        if held is not None:
            low, high = metrics.bootstrap_interval(held.hits, seed)
            found[name] = Metric(value=float(held.hits.mean()), unit="R@1", low=low, high=high, n=len(held.hits))
    if history:
        found["final_loss"] = Metric(value=round(history[-1]["loss"], 6), unit="nats")
    return found


def _page(
    config: StageConfig[Any],
    train: Sequence[Pair],
    before: HeldOut | None,
    after: HeldOut | None,
    history: Sequence[dict[str, float]],
    report: StageReport,
) -> Report:
    page = Report("Supervised fine-tuning", "one adapter on frozen towers: contrastive and next-token losses")
    page.headline(report.metrics)
    for warning in report.warnings:
        page.warning(warning)
    moved(page, before, after, config.run.seed)
    losses(page, history)
    page.section("Data")
    counts = Counter(pair.group for pair in train)
    page.table([{"dataset": name, "train pairs": n} for name, n in sorted(counts.items())])
    return page


def moved(page: Report, before: HeldOut | None, after: HeldOut | None, seed: int) -> None:
    """The section on held-out retrieval, where it was measured."""
    if before is None or after is None:
        return
    effect = metrics.paired_bootstrap(after.hits, before.hits, seed=seed)
    page.section("What moved", f"Held-out disc R@1, n = {effect.n}, seed {seed}, chance {after.chance:.3%}.")
    page.text(
        f"After minus before: {100 * effect.difference:+.1f} points, 95 % interval {100 * effect.low:+.1f} to "
        f"{100 * effect.high:+.1f}: {effect.verdict}."
    )
    page.bars(_by_group(before, after), "R@1", chance=after.chance, caption="By task and caption style")


def losses(page: Report, history: Sequence[dict[str, float]]) -> None:
    """The section on the losses; a step has a point where it had the loss."""
    if history:
        names = dict.fromkeys(name for row in history for name in row if name != "step")
        page.section("Losses", "Single batches, not averages.")
        page.lines({name: [(row["step"], row[name]) for row in history if name in row] for name in names}, "step", "nats")


def _by_group(before: HeldOut, after: HeldOut) -> dict[str, dict[str, float]]:
    rows: dict[str, dict[str, float]] = {}
    for group in sorted(set(after.groups)):
        mine = np.array([g == group for g in after.groups])
        rows[group] = {"before": float(before.hits[mine].mean()), "after": float(after.hits[mine].mean())}
    return rows
