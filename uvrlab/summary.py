"""The text that ends a whole run, whatever engine ran it: before and after, where the time went, where the report is."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from uvrlab.config import Config
from uvrlab.runs import StageReport

BAR = 30


def closing_table(config: Config, reports: Mapping[str, StageReport], root: Path) -> str:
    """Lines of at most about 100 columns; `root` is the folder that holds one run directory a stage."""
    lines = [*_before_after(config, root), "", *_seconds(reports), ""]
    lines += [f"report: {root / 'evaluate' / 'report.html'}"] if "evaluate" in reports else []
    return "\n".join(lines)


def _before_after(config: Config, root: Path) -> list[str]:
    from uvrlab.evaluation import results
    from uvrlab.evaluation.compare import compare

    if not (root / "evaluate" / "results.json").exists():
        return []
    after, before = results.read(root / "evaluate"), results.read(root / "evaluate" / "base")
    main = after.results.main
    wanted = [e for e in compare(after, before, seed=config.run.seed).effects if e.metric == main.get(e.dataset, e.metric)]
    mode = config.evaluate.modes[0]
    shown = [e for e in wanted if e.mode == mode and (e.dataset in main or e.dataset == "AVG_D")]
    lines = [f"{'dataset':<18} {'metric':<6} {'n':>5} {'chance':>7}  {'before':>7}  {'after':>22}  {'difference':>24}  verdict"]
    for e in shown:
        score = after.results.score(e.dataset, mode=mode)
        chance = f"{100 * score.chance:6.1f}%" if score.chance is not None else " " * 7
        interval = f"{100 * e.a:5.1f}% [{100 * score.low:4.1f}, {100 * score.high:4.1f}]"
        change = f"{100 * e.difference:+5.1f} [{100 * e.low:+5.1f}, {100 * e.high:+5.1f}]"
        lines.append(
            f"{e.dataset:<18} {score.metric:<6} {e.n:>5} {chance:>7}  {100 * e.b:6.1f}%  {interval:>22}  {change:>24}  {e.verdict}"
        )
    return [*lines, f"base: {config.backbone}; intervals: 95 % bootstrap over queries; seed {config.run.seed}"]


def _seconds(reports: Mapping[str, StageReport]) -> list[str]:
    seconds = {name: report.cost.get("seconds", 0.0) for name, report in reports.items()}
    total = sum(seconds.values()) or 1.0
    lines = [f"{name:<12} {s:7.1f} s  {'#' * round(BAR * s / total)}" for name, s in seconds.items()]
    peak = max((report.cost.get("peak_memory_bytes", 0.0) for report in reports.values()), default=0.0)
    return [*lines, f"{'total':<12} {sum(seconds.values()):7.1f} s, peak memory of a process {peak / 2**30:.1f} GiB"]
