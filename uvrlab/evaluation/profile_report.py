"""The picture of a model in the report: abilities and datasets beside other models, what moves together, what changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from uvrlab.evaluation import correlations, uvrb
from uvrlab.evaluation.compare import Effect, compare
from uvrlab.evaluation.diagnose import ABILITIES, AVERAGES
from uvrlab.evaluation.published import Scores
from uvrlab.evaluation.results import MAIN, Evaluation, Results, ResultsError
from uvrlab.evaluation.score_tables import score_rows
from uvrlab.report import Report
from uvrlab.runs import Metric

BESIDE = 10  # models and modes in the tables
MIN_MODELS = 4  # below it a correlation has no interval
SHOWN = 8  # queries gained and lost that a report names


def add(
    page: Report,
    models: Mapping[str, Evaluation],
    earlier: Sequence[Results],
    last: Evaluation | None,
    *,
    seed: int,
    bootstrap: int,
) -> None:
    """Add the sections. `models` are this run's by role, the trained one first; `earlier` and `last` are other runs' models."""
    trained = next(iter(models.values()))
    mode = trained.rows[0]["mode"]  # the first configured one
    scores: Scores = {}
    for role, evaluation in models.items():
        scores |= score_rows(evaluation.results, role)
    first = {role: row for role, row in scores.items() if role in models or role.endswith(f":{mode}")}
    for found in reversed(earlier):
        scores |= score_rows(found, found.model_digest[:12])
    shown = {name: scores[name] for name in (*list(scores)[:BESIDE], *first)}
    _abilities(page, shown, first)
    _datasets(page, shown, trained.results)
    _together(page, scores)
    if last is not None:
        _since(page, trained, last, mode, seed, bootstrap)


def _abilities(page: Report, scores: Scores, first: Scores) -> None:
    axes = [a for a in ABILITIES if all(a in row for row in scores.values())]
    wholes = [a for a in AVERAGES if all(a in row for row in scores.values())]
    page.section("Abilities", "Nested averages of each dataset's own metric, as UVRB's paper draws them.")
    if len(axes) > 2:
        page.radar(axes, {name: [row[a] for a in axes] for name, row in first.items()}, "share")
    columns = [*axes, *wholes]
    page.heat(list(scores), columns, [[row[c] for c in columns] for row in scores.values()], "share")


def _datasets(page: Report, scores: Scores, own: Results) -> None:
    order = {f"{sign}{name}": at for at, name in enumerate(uvrb.DATASETS) for sign in ("", uvrb.MIRROR)}
    names = sorted(own.main, key=lambda d: (order.get(d, len(order)), d))
    chance = {s.dataset: s.chance for s in own.scores if s.metric == own.main[s.dataset]}
    rows = [[*(row.get(d) for row in scores.values()), chance.get(d)] for d in names]
    labels = [f"{d} ({known.ability}, {own.main[d]})" if (known := uvrb.find(d)) else f"{d} ({own.main[d]})" for d in names]
    page.heat(labels, [*scores, "chance"], rows, "share", caption="Every dataset by its own metric")


def _together(page: Report, scores: Scores) -> None:
    """Rank correlations of the abilities over all models that are known on this benchmark."""
    axes = [a for a in ABILITIES if all(a in row for row in scores.values())]
    if len(scores) < MIN_MODELS or len(axes) < 2:
        return
    cells = {(c.row, c.column): c.value for c in correlations.matrix({a: [row[a] for row in scores.values()] for a in axes})}
    page.section(
        "What moves together",
        f"Spearman over {len(scores)} models and modes of this benchmark: {', '.join(scores)}. So few make wide intervals: "
        "`uvr diagnose` prints them.",
    )
    page.heat(axes, axes, [[cells.get((a, b)) for b in axes] for a in axes], "", diverging=True)


def _since(page: Report, trained: Evaluation, last: Evaluation, mode: str, seed: int, bootstrap: int) -> None:
    """What changed since the model that was last evaluated on this benchmark."""
    page.section("Since the last run", f"Model {last.results.model_digest[:12]} was the last other one on this benchmark.")
    try:
        effects = compare(trained, last, seed=seed, bootstrap=bootstrap).effects
    except ResultsError as error:
        page.text(str(error))
        return
    own = [e for e in effects if e.mode == mode and e.metric in (MAIN, trained.results.main.get(e.dataset))]
    moved = [e for e in own if e.verdict == "moved"]
    page.text(f"{len(moved)} of {len(own)} datasets and averages moved: {', '.join(e.dataset for e in moved) or 'none'}.")
    page.table([_line(e) for e in own], units={"last": "share", "now": "share"})
    gained, lost = _changed(trained, last, mode)
    rows = [{"query": query, "was": a, "is": b} for query, a, b in (*gained[:SHOWN], *lost[:SHOWN])]
    if rows:
        page.table(
            rows,
            units={"was": "share", "is": "share"},
            caption=f"{len(gained)} queries gained, {len(lost)} lost; the first of each",
        )


def _line(effect: Effect) -> dict[str, object]:
    return {"dataset": effect.dataset, "last": effect.b, "now": effect.a, "difference": _metric(effect), "verdict": effect.verdict}


def _metric(effect: Effect) -> Metric:
    return Metric(value=effect.difference, unit="points", low=effect.low, high=effect.high, n=effect.n)


Change = tuple[str, float, float]


def _changed(now: Evaluation, then: Evaluation, mode: str) -> tuple[list[Change], list[Change]]:
    """(dataset/query, value then, value now) of queries whose dataset's own metric rose, and of those where it fell."""
    before, after = (
        {
            f"{r['dataset']}/{r['query_id']}": r["value"]
            for r in e.rows
            if r["mode"] == mode and r["metric"] == e.results.main[r["dataset"]]
        }
        for e in (then, now)
    )
    both = [(query, before[query], value) for query, value in after.items() if query in before]
    return [c for c in both if c[2] > c[1]], [c for c in both if c[2] < c[1]]
