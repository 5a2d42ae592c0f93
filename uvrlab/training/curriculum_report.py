"""The report of `curriculum`: what moved, what was kept, the schedule by epoch, mined negatives to look at, and the cost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from uvrlab.config import CurriculumConfig, StageConfig
from uvrlab.data.decoding import Sampling, decode_items
from uvrlab.data.workers import Reject
from uvrlab.evaluation import metrics
from uvrlab.report import Report, Strip
from uvrlab.rewards.base import Array
from uvrlab.runs import Metric, StageReport
from uvrlab.training import sft_report
from uvrlab.training.curriculum import sigma_at
from uvrlab.training.curriculum_epochs import Epoch
from uvrlab.training.curriculum_heldout import Measured
from uvrlab.training.curriculum_mining import task_of
from uvrlab.training.curriculum_replay import Answer
from uvrlab.training.mining import audit, summary
from uvrlab.training.pairs import Pair

AUDITED = 4  # rows of each verdict
DRAWN = 4  # of them, as film strips
MARGIN = 0.02  # that disc R@1 may lose


def make(
    config: StageConfig[CurriculumConfig],
    train: Sequence[Pair],
    held_out: Sequence[Pair],
    answers: Sequence[Answer],
    ends: tuple[Measured, Measured],
    epochs: Sequence[Epoch],
    history: Sequence[dict[str, float]],
    rejects: Sequence[Any],
    cost: Mapping[str, float],
    out: Path,
) -> StageReport:
    """Write rejects and build the stage report with its page."""
    report = sft_report.begin(config, train, held_out, ends[0].disc, rejects, out)
    report.metrics |= _metrics(ends, history, config.run.seed)
    report.counts |= {"replayed_answers": len(answers), "mined_negatives": sum(len(epoch.mined) for epoch in epochs)}
    report.counts |= {f"steps_{kind}": n for kind, n in sorted(Counter(s.kind for e in epochs for s in e.steps).items())}
    report.cost |= {**cost}
    report.warnings += [*_lost(ends, config.run.seed), *_not_replayed(config.own, epochs)]
    report.page = _page(config, train, answers, ends, epochs, history, report)
    return report


def _metrics(ends: tuple[Measured, Measured], history: Sequence[dict[str, float]], seed: int) -> dict[str, Metric]:
    found: dict[str, Metric] = {}
    for when, measured in zip(("before", "after"), ends, strict=True):
        known = {"disc_r1": measured.disc.hits, **measured.kept()} if measured.disc else measured.kept()
        for name, values in known.items():
            low, high = metrics.bootstrap_interval(values, seed)
            unit = "R@1" if name.endswith("r1") else "share"
            found[f"{name}_{when}"] = Metric(value=float(values.mean()), unit=unit, low=low, high=high, n=len(values))
    if history:
        found["final_loss"] = Metric(value=round(history[-1]["loss"], 6), unit="nats")
    return found


def _effect(late: Array, early: Array, seed: int) -> Metric:
    """The paired change of a mean."""
    effect = metrics.paired_bootstrap(late, early, seed=seed)
    return Metric(value=effect.difference, unit="points", low=effect.low, high=effect.high, n=effect.n)


def _points(change: Metric) -> str:
    low, high = (100 * (end or 0.0) for end in (change.low, change.high))
    return f"{100 * change.value:+.1f} points [{low:+.1f}, {high:+.1f}], n = {change.n}"


def _lost(ends: tuple[Measured, Measured], seed: int) -> list[str]:
    """Warnings: abilities that have shrunk."""
    before = ends[0].kept()
    changes = {name: _effect(late, before[name], seed) for name, late in ends[1].kept().items()}
    return [f"{name} fell: {_points(change)}" for name, change in changes.items() if (change.high or 0.0) < 0]


def _first_line(ends: tuple[Measured, Measured], seed: int) -> str:
    """Whether the plain vector has kept what it could."""
    if ends[0].disc is None or ends[1].disc is None:
        return "disc R@1 was not measured."
    change = _effect(ends[1].disc.hits, ends[0].disc.hits, seed)
    told = "is" if (change.low or 0.0) > -MARGIN else "is not shown to be"
    return f"disc R@1 {told} non-inferior at {100 * MARGIN:.0f} points to the model before this stage: {_points(change)}."


def _not_replayed(own: CurriculumConfig, epochs: Sequence[Epoch]) -> list[str]:
    kinds = {step.kind for epoch in epochs for step in epoch.steps}
    why = {
        "generative": "no train pairs with thoughts on both sides",
        "grounding": "the start model gave no well-formed and right answer to a train question",
    }
    wanted = {"generative": own.replay.generative, "grounding": own.replay.grounding}
    return [
        f"no {kind} replay: {why[kind]}" for kind, share in wanted.items() if round(share * own.epoch_steps) and kind not in kinds
    ]


def _page(
    config: StageConfig[CurriculumConfig],
    train: Sequence[Pair],
    answers: Sequence[Answer],
    ends: tuple[Measured, Measured],
    epochs: Sequence[Epoch],
    history: Sequence[dict[str, float]],
    report: StageReport,
) -> Report:
    seed = config.run.seed
    page = Report("Curriculum", "hard negatives and the Modality Pyramid, with replay of what earlier stages taught")
    first = ("disc_r1_before", "disc_r1_after", "gen_r1_before", "gen_r1_after")
    page.text(_first_line(ends, seed))
    page.headline({name: report.metrics[name] for name in first if name in report.metrics})
    for warning in report.warnings:
        page.warning(warning)
    sft_report.moved(page, ends[0].disc, ends[1].disc, seed)
    _kept(page, ends, seed)
    _schedule(page, config.own, train, epochs)
    _negatives(page, config.own, train, epochs, seed)
    sft_report.losses(page, history)
    _replayed(page, answers)
    _cost(page, report.cost)
    return page


def _kept(page: Report, ends: tuple[Measured, Measured], seed: int) -> None:
    before, rows = ends[0].kept(), []
    for name, late in ends[1].kept().items():
        change = _effect(late, before[name], seed)
        verdict = "moved" if (change.low or 0) > 0 or (change.high or 0) < 0 else "not shown"
        rows.append({"ability": name, "before": float(before[name].mean()), "change": change, "verdict": verdict})
    page.section(
        "What was kept", f"Held out, after minus before, 95 % paired bootstrap, seed {seed}. Thoughts and answers are greedy."
    )
    page.table(rows, units={"before": "share"})


def _schedule(page: Report, own: CurriculumConfig, train: Sequence[Pair], epochs: Sequence[Epoch]) -> None:
    tasks, numbers = list(epochs[0].shares), range(1, len(epochs) + 1)
    prober = "the configured prober" if own.prober else "the model that the stage started from"
    page.section(
        "Schedule",
        f"{own.schedule}, score {own.score}: {prober} probes epoch 1, then the model at the end of the last epoch; "
        f"at most {own.probe_pairs} pairs a task.",
    )
    series = {task: [(float(n), epoch.shares[task]) for n, epoch in zip(numbers, epochs, strict=True)] for task in tasks}
    page.lines(series, "epoch", "probability", caption="Probability of a task")
    columns = [f"epoch {n}" for n in numbers]
    page.heat(tasks, columns, [[epoch.scores[task] for epoch in epochs] for task in tasks], own.score, caption="Score of a task")
    drawn = [Counter(train[s.rows[0]].group for s in epoch.steps if s.kind == "pairs") for epoch in epochs]
    replayed = [Counter(s.kind for s in epoch.steps if s.kind != "pairs") for epoch in epochs]
    names = [*tasks, *sorted({kind for counts in replayed for kind in counts})]
    rows = [{"drawn": n, **{c: (a | b)[n] for c, a, b in zip(columns, drawn, replayed, strict=True)}} for n in names]
    page.table(rows, units=dict.fromkeys(columns, "steps"), caption="Steps, replay included")
    if own.schedule in ("pyramid", "reversed"):
        page.key_values({f"sigma, epoch {n}": sigma_at(n - 1, own.epochs, *own.sigma) for n in numbers})


def _negatives(page: Report, own: CurriculumConfig, train: Sequence[Pair], epochs: Sequence[Epoch], seed: int) -> None:
    page.section(
        "Mined negatives",
        f"Tasks {', '.join(own.mined_tasks) or 'none'}: ranks {own.mining.first_rank}-{own.mining.last_rank} of the "
        "epoch's prober; a candidate that scores more than the margins allow is taken for a likely false negative.",
    )
    rows = [{"epoch": n, **_counted(epoch, train, own)} for n, epoch in enumerate(epochs, 1)]
    page.table(rows, units={"gap": "cosine"}, caption="Verdicts; gap: mean distance of a kept negative to its positive")
    known = {pair.pair_id: pair for pair in train}
    chosen = audit([row for epoch in _different(epochs) for row in epoch.mined], AUDITED, seed)
    page.table([_shown(row, known) for row in chosen], caption="A sample to look at: were they negatives?")
    for row in [row for row in chosen if known[row["query_id"]].target.has_media][:DRAWN]:
        page.frames(_strips(row, known))


def _different(epochs: Sequence[Epoch]) -> list[Epoch]:
    """The epochs with rows of their own."""
    return [epoch for n, epoch in enumerate(epochs) if n == 0 or epoch.mined != epochs[0].mined]


def _counted(epoch: Epoch, train: Sequence[Pair], own: CurriculumConfig) -> dict[str, float]:
    asked = {
        train[i].pair_id for step in epoch.steps if step.kind == "pairs" for i in step.rows if task_of(train[i]) in own.mined_tasks
    }
    rows = [row for row in epoch.mined if row["query_id"] in asked]
    return summary(rows, len(asked), own.mining)


def _shown(row: Mapping[str, Any], known: Mapping[str, Pair]) -> dict[str, Any]:
    query, other = known[row["query_id"]], known[row["corpus_id"]]
    said = {"query": query.query.text or query.pair_id, "candidate's own query": other.query.text or other.pair_id}
    cut = {name: text if len(text) <= 120 else f"{text[:117]}..." for name, text in said.items()}
    return {**cut, **{name: row[name] for name in ("rank", "score", "positive_score", "verdict")}}


def _strips(row: Mapping[str, Any], known: Mapping[str, Pair]) -> list[Strip]:
    """Frames of the pair's own target and of the candidate."""
    pairs = {"own target": known[row["query_id"]], "candidate": known[row["corpus_id"]]}
    found = decode_items([pair.target for pair in pairs.values()], Sampling(n_frames=4))
    strips = []
    for (name, pair), decoded in zip(pairs.items(), found, strict=True):
        if (
            isinstance(decoded, Reject)
            or (picture := decoded[0].frames if decoded[0].frames is not None else decoded[0].image) is None
        ):
            continue
        words = f"{name}, {row['verdict']}: {(pair.query.text or pair.pair_id)[:200]}"
        strips.append(Strip(picture if picture.ndim == 4 else picture[None], words))
    return strips


def _replayed(page: Report, answers: Sequence[Answer]) -> None:
    if answers:
        page.section(
            "Replayed answers", f"{len(answers)} of the start model's own, well-formed and right; at most three are shown."
        )
        for answer in answers[:3]:
            page.details(answer.item.text or answer.question_id, answer.text)


def _cost(page: Report, cost: Mapping[str, float]) -> None:
    total = sum(cost[name] for name in ("probing_s", "mining_s", "training_s"))
    page.section("Cost", "Seconds on the clock, the measurements at both ends left out; after a resume what was done since.")
    page.table(
        [{"part": name, "seconds": cost[name], "share": cost[name] / max(total, 1e-9)} for name in cost if name.endswith("_s")]
    )


def numbers(epochs: Sequence[Epoch]) -> list[dict[str, Any]]:
    """Scores, probabilities and drawn steps of each epoch as JSON values, for the run directory."""
    return [
        {
            "epoch": n,
            "scores": epoch.scores,
            "probabilities": epoch.shares,
            "steps": dict(sorted(Counter(step.kind for step in epoch.steps).items())),
            "mined": dict(sorted(Counter(row["verdict"] for row in epoch.mined).items())),
        }
        for n, epoch in enumerate(epochs, 1)
    ]
