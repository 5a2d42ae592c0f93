"""The part of the evaluation report about modes: what each is worth and costs, the router, and what thoughts get right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from uvrlab.data.world.attributes import Attributes, Told, aspect_rows, form_row
from uvrlab.evaluation import mode_summary, uvrb
from uvrlab.evaluation.compare import compare
from uvrlab.evaluation.results import MAIN, Evaluation, ModeCost, Routing, Table, is_bound, tabulate
from uvrlab.report import Report
from uvrlab.runs import Metric, StageReport

if TYPE_CHECKING:
    from uvrlab.evaluation.evaluate import Outcome

SHOWN = 12  # thoughts
AVERAGE = "AVG_D"


def add(report: StageReport, outcome: Outcome, base: Evaluation, seed: int) -> None:
    """Sections, metrics and measured milliseconds; nothing but those where the model was evaluated by its disc vector alone."""
    report.cost |= {f"ms_a_query_{mode}": round(ms, 3) for mode, ms in outcome.milliseconds.items()}
    found = outcome.evaluation.results
    if not found.modes:
        return
    page: Report = report.page
    page.section("Modes", "One model, read in several ways: mean over datasets of their own metrics, 95 % bootstrap over queries.")
    table, abilities = tabulate(outcome.evaluation.rows)
    weights = uvrb.weights(abilities)[AVERAGE]
    page.table([_row(one, outcome, table, weights, seed) for one in found.modes], units={"tokens a query": "", "ms a query": "ms"})
    datasets = list(found.main)
    cells = [[found.score(d, mode=one.mode).value for d in datasets] for one in found.modes]
    page.heat([one.mode for one in found.modes], datasets, cells, "share", caption="Mode by dataset")
    _over_first(page, outcome.evaluation)
    curve = [(float(m.mode.partition("@")[2]), _average(outcome, m.mode).value) for m in found.modes if m.mode.startswith("pass@")]
    if curve:
        page.lines({"pass@k": curve}, "k", "share", caption="Any of k sampled thoughts finds it")
    if found.routing is not None:
        _routing(report, found.routing)
    if found.attributes is not None:
        _attributes(report, found.attributes, base.results.attributes, outcome.told)


def _over_first(page: Report, found: Evaluation) -> None:
    """Each further mode against the first one, dataset by dataset, on the same queries of the same model."""
    first, *others = (one.mode for one in found.results.modes)
    for mode in others:
        effects = compare(found, found, seed=found.results.seed, bootstrap=found.results.bootstrap, modes=(mode, first)).effects
        shown = [e for e in effects if e.metric in (MAIN, found.results.main.get(e.dataset))]
        page.effects(
            {e.dataset: Metric(value=e.difference, unit="points", low=e.low, high=e.high, n=e.n) for e in shown},
            caption=f"{mode} - {first}",
        )


def _average(outcome: Outcome, mode: str) -> Any:
    return outcome.evaluation.results.score(AVERAGE, MAIN, mode)


def _row(one: ModeCost, outcome: Outcome, table: Table, weights: Mapping[str, float], seed: int) -> dict[str, Any]:
    found, score = outcome.evaluation.results, _average(outcome, one.mode)
    first = found.modes[0].mode
    row = {
        "mode": one.mode,
        "is": "a bound: looks at the truth" if is_bound(one.mode) else "a search",
        AVERAGE: Metric(value=score.value, unit="share", low=score.low, high=score.high, n=score.n),
    }
    if one.mode != first:
        change = mode_summary.effect(table, weights, found.main, one.mode, first, seed)
        row[f"over {first}"] = Metric(value=change.difference, unit="points", low=change.low, high=change.high, n=change.n)
    return row | {
        "thought about": Metric(value=one.thinks, unit="share"),
        "tokens a query": round(one.query_tokens, 1),
        "ms a query": round(outcome.milliseconds[one.mode], 2),
        "tokens a candidate, once": round(one.candidate_tokens, 1),
        "thoughts without a vector": one.fallbacks,
    }


def _routing(report: StageReport, found: Routing) -> None:
    page: Report = report.page
    gains = {"oracle": found.oracle_gain, "auto": found.auto_gain}
    page.effects(gains, caption=f"Over {found.better_single}")
    spent = "" if found.token_share is None else f", with {found.token_share:.0%} of the tokens of think"
    if found.realised is None:
        page.text(f"The oracle gains nothing over {found.better_single}, so there is nothing to route for{spent}.")
        return
    report.metrics["auto_realised"] = found.realised
    share, single = found.realised, found.better_single
    page.text(
        f"The router thinks about {found.thinks:.0%} of {found.n} queries and realises {share.value:.0%} ({share.low:.0%} to "
        f"{share.high:.0%}) of what the oracle gains over {single}{spent}. The oracle has {found.oracle:.1%}; two modes that hit "
        f"without regard to each other would give one of {found.oracle_if_independent:.1%}."
    )


def _attributes(report: StageReport, after: Attributes, before: Attributes | None, told: Sequence[Told]) -> None:
    page: Report = report.page
    page.section(
        "What thoughts get right",
        "Greedy thoughts about clips against their scene graphs; chance is what the same texts earn against other clips.",
    )
    sides = {"before": before, "after": after} if before else {"after": after}
    report.metrics["well_formed_thoughts"] = after.well_formed
    page.table([form_row(name, side) for name, side in sides.items()], caption="Form and length")
    page.table([row for name, side in sides.items() for row in aspect_rows(name, side)], caption="Precision and recall")
    page.table([_beside(one) for one in told[:SHOWN]], caption="Some thoughts")


def _beside(one: Told) -> dict[str, Any]:
    things = one.scene.objects
    events = sorted(one.scene.events, key=lambda event: event.start_s)
    seen = ", then ".join(f"{things[event.object].name} {event.motion}" for event in events) or ", ".join(o.name for o in things)
    heard = ", ".join(dict.fromkeys(sound.kind for sound in one.scene.sounds))
    said = {"thought": one.thought, "summary": one.summary, "well-formed": one.well_formed}
    return {"clip": one.scene.clip_id, "true": "; ".join(part for part in (seen, heard) if part), **said}
