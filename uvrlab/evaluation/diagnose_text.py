"""A diagnosis and the findings as plain text for a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from uvrlab.evaluation.correlations import Correlation
from uvrlab.evaluation.diagnose import ABILITIES, AVERAGES, WHOLE, Diagnosis, Predictor
from uvrlab.evaluation.findings import Finding, departures
from uvrlab.evaluation.published import UVRD_K

COLUMNS = (
    *("", "claim", "columns", "published", "Spearman", "interval", "Pearson", "n", "models", "verdict"),
    *("ours", "interval", "n"),
)
UNITS = "scores are shares in [0, 1]; intervals are 95 %"


def diagnosis_text(found: Diagnosis) -> str:
    """Correlations with intervals, predictors of the whole, weak abilities, and the mix to synthesise next."""
    law = "Bonett-Wright" if found.method == "spearman" else "Fisher z"
    lines = [
        f"{found.method.capitalize()} over n = {len(found.models)} models: {', '.join(found.models)}",
        f"({UNITS}, {law}, - below n = 4)",
        "",
        *_matrix(found),
    ]
    if found.datasets:
        title = (
            f"Which dataset predicts the whole (mean of the {len(found.datasets)} datasets; the rest leaves the dataset itself out)"
        )
        lines += ["", title, *_predictors(found.datasets)]
    if found.abilities:
        lines += ["", f"Which ability predicts the whole ({WHOLE}, which contains some of them)", *_predictors(found.abilities)]
    if found.weak:
        lines += ["", *_weak(found), "", *_mix(found.mix)]
    return "\n".join([*lines, *(f"note: {note}" for note in found.notes)])


def _matrix(found: Diagnosis) -> list[str]:
    """Below the diagonal, the interval under each coefficient: of the abilities, else of all columns."""
    names = [n for n in found.columns if n in (*ABILITIES, *AVERAGES)]
    names = names if len(names) > 1 else list(found.columns)
    cells = {(cell.row, cell.column): cell for cell in found.cells}
    rows: list[list[str]] = [["", *names[:-1]]]
    for place, row in enumerate(names[1:], 1):
        below = [cells[row, column] for column in names[:place]]
        rows.append([row, *(_number(c.value) for c in below)])
        rows.append(["", *(_interval(c.low, c.high) for c in below)])
    return table(rows)


def _predictors(predictors: Sequence[Predictor]) -> list[str]:
    rest = any(p.rest for p in predictors)
    rows = [["", "whole", "interval", *(["the rest", "interval"] if rest else [])]]
    for p in predictors:
        rows.append([p.column, *_both(p.whole), *(_both(p.rest) if p.rest else [])])
    return table(rows)


def _weak(found: Diagnosis) -> list[str]:
    whose = "our own models" if len(found.focus) < len(found.models) else "all models"
    rows = [["", "mean", "best", ""], *([w.ability, f"{w.mean:.3f}", f"{w.best:.3f}", w.best_model] for w in found.weak)]
    return [f"Which ability is weak: {found.weak[0].ability} (mean of {whose}, n = {len(found.focus)})", *table(rows)]


def _mix(mix: Mapping[tuple[str, str], float]) -> list[str]:
    """The mix by task beside the published one, and as the recipe's own keys."""
    tasks, styles = recipe_shares(mix)
    published = {task: count / sum(UVRD_K.values()) for task, count in UVRD_K.items()}
    rows = [["", "share", "published UVRD"]]
    rows += [[task, f"{tasks.get(task, 0):.3f}", f"{share:.3f}"] for task, share in published.items()]
    return [
        "What to synthesise next (share = weight in the average x headroom; no dataset measures T2T and T2I)",
        *table(rows),
        "synthesize:",
        f"  tasks: {{{', '.join(f'{name}: {share:g}' for name, share in tasks.items())}}}",
        *([f"  styles: {{{', '.join(f'{name}: {share:g}' for name, share in styles.items())}}}"] if styles else []),
    ]


def recipe_shares(mix: Mapping[tuple[str, str], float]) -> tuple[dict[str, float], dict[str, float]]:
    """Shares of tasks, and of caption styles within T2V, each rounded to three decimals that sum to 1."""
    tasks: dict[str, float] = {}
    for (task, _), share in mix.items():
        tasks[task] = tasks.get(task, 0.0) + share
    return _rounded(tasks), _rounded({style: share for (task, style), share in mix.items() if task == "T2V"})


def _rounded(shares: Mapping[str, float]) -> dict[str, float]:
    total = sum(shares.values())
    found = {name: round(share / total, 3) for name, share in sorted(shares.items(), key=lambda s: -s[1])}
    if found:
        largest = next(iter(found))
        found[largest] = round(1 - sum(share for name, share in found.items() if name != largest), 3)
    return found


def findings_text(found: Sequence[Finding], own: Sequence[str] = ()) -> str:
    """The claims as rows, then where the paper departs from its tables."""
    rows: list[Sequence[str]] = [COLUMNS]
    for f in found:
        c = f.claim
        again = [*_both(f.spearman, 3), _number(f.pearson.value, 3), str(f.spearman.n)]
        mine = [*_both(f.ours, 3), str(f.ours.n)] if f.ours else ["not measured", "", ""]
        rows.append([str(c.finding), c.words, f"{c.row} x {c.column}", _number(c.published), *again, c.group, f.verdict, *mine])
    whose = f"ours: Spearman over {', '.join(own)}" if own else "ours: no evaluate run given; add --results RUN for each model"
    told = [f"- {line}" for line in departures(found)]
    return "\n".join([*table(rows), f"({UNITS}; {whose})", "", "Where the paper departs from its tables", *told])


def _both(c: Correlation, digits: int = 2) -> list[str]:
    return [_number(c.value, digits), _interval(c.low, c.high)]


def _number(value: float | None, digits: int = 2) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _interval(low: float | None, high: float | None) -> str:
    return "-" if low is None or high is None else f"[{low:.2f}, {high:.2f}]"


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows as lines, columns aligned: the first to the left, the others by what they hold, two spaces between."""
    widths = [max(len(row[i]) for row in rows if i < len(row)) for i in range(max(map(len, rows)))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=False)).rstrip() for row in rows]
