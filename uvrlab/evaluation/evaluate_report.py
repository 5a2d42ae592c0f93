"""The report of `evaluate`: before and after with intervals and chance, hits and misses as film strips, and one query walked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from uvrlab.config import EvaluateConfig, StageConfig
from uvrlab.evaluation import failures, known, profile_report
from uvrlab.evaluation.compare import Comparison, compare
from uvrlab.evaluation.failures import frames
from uvrlab.evaluation.modes import SINGLES
from uvrlab.evaluation.results import MAIN, Evaluation, Score
from uvrlab.evaluation.tasks import Task, query_text
from uvrlab.report import Report, Step, Strip
from uvrlab.runs import Metric, StageReport

SHOWN = 3  # hits and misses a report draws
LISTED = 100  # queries it lists


def make(
    config: StageConfig[EvaluateConfig], bench: Any, trained: Evaluation, base: Evaluation, incumbent: Evaluation | None
) -> StageReport:
    """Metrics, warnings and the page."""
    own = config.own
    effects = compare(trained, base, seed=config.run.seed, bootstrap=own.bootstrap)
    report = StageReport(
        stage=config.stage,
        metrics=_metrics(trained, base, own.modes[0]),
        counts={"datasets": len(bench.tasks), "queries": sum(len(task.queries) for task in bench.tasks), "clips": len(bench.index)},
    )
    page = Report(
        "Evaluation",
        f"{len(bench.tasks)} datasets, exact search, {'modes' if len(own.modes) > 1 else 'mode'} {', '.join(own.modes)}",
    )
    page.headline({name: metric for name, metric in report.metrics.items() if name == "base_AVG_D" or not name.startswith("base_")})
    _before_after(page, trained, base, effects)
    if incumbent is not None:
        _against(page, compare(trained, incumbent, seed=config.run.seed, bootstrap=own.bootstrap))
    models = {"trained": trained, "before": base} | ({"incumbent": incumbent} if incumbent is not None else {})
    digests = trained.results.benchmark_digest, trained.results.model_digest
    prompts = trained.results.sampling.get("prompts")
    same = {role: found for role, found in models.items() if found.results.benchmark_digest == digests[0]}
    others, last = known.earlier(*digests, prompts), known.last(*digests, prompts)
    profile_report.add(page, same, others, last, seed=config.run.seed, bootstrap=own.bootstrap)
    known.remember(trained)
    failures.add(page, bench, trained)
    shown = _main_text_task(bench.tasks, trained)
    if shown is not None:
        _gallery(page, bench, shown, trained)
    report.page = page
    return report


def _metric(score: Score) -> Metric:
    return Metric(value=score.value, unit=score.metric, low=score.low, high=score.high, n=score.n)


def _metrics(trained: Evaluation, base: Evaluation, mode: str) -> dict[str, Metric]:
    """Each data set's own metric and the average over data sets, in the first configured mode."""
    found: dict[str, Metric] = {}
    for label, evaluation in (("", trained), ("base_", base)):
        found |= {
            f"{label}{s.dataset}": _metric(s)
            for s in evaluation.results.scores
            if (s.metric, s.mode) == (_main(evaluation, s.dataset), mode)
        }
        averages = [s for s in evaluation.results.averages if (s.metric, s.mode) == (MAIN, mode) and s.dataset.startswith("AVG")]
        found |= {f"{label}{s.dataset}": _metric(s).model_copy(update={"unit": "share"}) for s in averages}
    return found


def _main(evaluation: Evaluation, dataset: str) -> str:
    return evaluation.results.main[dataset]


def _before_after(page: Report, trained: Evaluation, base: Evaluation, effects: Comparison) -> None:
    own = [e for e in effects.effects if e.mode in SINGLES and e.metric in (MAIN, trained.results.main.get(e.dataset))]
    chance = {s.dataset: s.chance for s in trained.results.scores if s.metric == _main(trained, s.dataset)}
    rows = [
        {
            "dataset": e.dataset,
            "mode": e.mode,
            "n": e.n,
            "chance": chance.get(e.dataset),
            "before": e.b,
            "after": e.a,
            "difference": Metric(value=e.difference, unit="points", low=e.low, high=e.high, n=e.n),
            "smallest detectable": e.minimum_detectable,
            "verdict": e.verdict,
        }
        for e in own
    ]
    page.section("Before and after", "The starting point against the trained model on the same queries; 95 % paired bootstrap.")
    units = {"chance": "share", "before": "share", "after": "share", "smallest detectable": "points"}
    page.table(rows, units=units)
    page.bars({f"{e.dataset}, {e.mode}": {"before": e.b, "after": e.a} for e in own}, "share")
    merged: dict[str, dict[str, Any]] = {}
    for score in (s for s in trained.results.scores if s.mode in SINGLES):
        row = merged.setdefault(f"{score.dataset}, {score.mode}", {"dataset": score.dataset, "mode": score.mode, "n": score.n})
        row[score.metric] = score.value
    page.table(list(merged.values()), units=dict.fromkeys(("R@1", "R@5", "R@10", "MRR"), "share"), caption="After, every metric")


def _against(page: Report, effects: Comparison) -> None:
    page.section("Against the incumbent")
    page.effects({e.dataset: Metric(value=e.difference, unit="points", low=e.low, high=e.high, n=e.n) for e in effects.effects})


def _main_text_task(found: Sequence[Task], trained: Evaluation) -> Task | None:
    """The text task with the most queries, then the highest score, so that there are hits to show."""
    with_text = [task for task in found if (task.queries[0].item or {}).get("text")]
    value = {s.dataset: s.value for s in trained.results.scores if s.metric == _main(trained, s.dataset)}
    return max(with_text, key=lambda task: (len(task.queries), value[task.dataset]), default=None)


def _gallery(page: Report, bench: Any, task: Task, trained: Evaluation) -> None:
    mode = trained.rows[0]["mode"]  # the first configured one
    rows = {r["query_id"]: r for r in trained.rows if (r["dataset"], r["metric"], r["mode"]) == (task.dataset, "R@1", mode)}
    hits = [q for q in task.queries if rows[q.query_id]["first_relevant_rank"] == 1]
    misses = sorted((q for q in task.queries if q not in hits), key=lambda q: -rows[q.query_id]["first_relevant_rank"])
    page.section(f"Hits and misses on {task.dataset}", "A miss is followed by the clip that was ranked first instead.")
    page.frames([_strip(bench, task, query, rows[query.query_id], "hit") for query in hits[:SHOWN]], caption="Hits")
    strips = []
    for query in misses[:SHOWN]:
        row = rows[query.query_id]
        strips.append(_strip(bench, task, query, row, "miss"))
        strips.append(Strip(frames(bench, task.corpus[row["top_ids"][0]]), "ranked first instead", detail=row["top_ids"][0]))
    page.frames(strips, caption="Worst misses")
    page.table([_found(query, rows[query.query_id]) for query in task.queries], caption="Every query", limit=LISTED)
    if walked := (hits or misses):
        _walk(page, bench, task, walked[0], rows[walked[0].query_id])


def _found(query: Any, row: Mapping[str, Any]) -> dict[str, Any]:
    """One query's line: what was asked, what was right, where it came, and what came first."""
    first = row["first_relevant_rank"]
    return {
        "query": query_text(query.item),
        "right": ", ".join(query.positives),
        "rank": first,
        "ranked first": row["top_ids"][0],
        "verdict": "hit" if first == 1 else "miss",
    }


def _strip(bench: Any, task: Task, query: Any, row: Mapping[str, Any], verdict: str) -> Strip:
    detail = f"rank {row['first_relevant_rank']} of {row['n_candidates']}: {query.positives[0]}"
    return Strip(frames(bench, task.corpus[query.positives[0]]), query_text(query.item), verdict=verdict, detail=detail)


def _walk(page: Report, bench: Any, task: Task, query: Any, row: Mapping[str, Any]) -> None:
    page.section("One query from words to rank")
    ranked = [
        {"rank": place, "candidate": name, "relevant": name in query.positives} for place, name in enumerate(row["top_ids"], 1)
    ]
    page.walk(
        [
            Step("The query", query_text(query.item)),
            Step("Its clip", strip=Strip(frames(bench, task.corpus[query.positives[0]]), query.positives[0])),
            Step(
                "The ranking",
                f"{row['n_candidates']} candidates by cosine; the clip came {row['first_relevant_rank']}.",
                rows=ranked,
            ),
        ]
    )
