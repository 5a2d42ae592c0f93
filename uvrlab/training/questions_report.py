"""The report of `grounding` and `fusion`: held-out answers before and after, what was kept, the reward's parts over time, and
sampled responses on the timeline of their clips.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from uvrlab.config import StageConfig
from uvrlab.data.world import Scene
from uvrlab.evaluation import metrics
from uvrlab.report import Report, Step, Strip
from uvrlab.rewards.base import Array
from uvrlab.runs import Metric, StageReport
from uvrlab.training.grounding_films import Films
from uvrlab.training.questions import Questions, Rewarder
from uvrlab.training.questions_heldout import CONDITIONS, Measured
from uvrlab.training.spans import Footage, grounded_pairs
from uvrlab.training.stage_report import begin

Ends = tuple[Measured | None, Measured | None]
SHOWN = {"av": "A+V", "v": "picture only", "a": "sound only"}
SAMPLES = 4  # responses that are drawn


def make(
    config: StageConfig[Any],
    chosen: Questions,
    rewarder: Rewarder,
    ends: Ends,
    history: Sequence[dict[str, float]],
    table: Sequence[dict[str, Any]],
    rejects: Sequence[Any],
    warnings: Sequence[str],
    films: Films,
    out: Path,
) -> StageReport:
    """Write rejects and build the stage report with its page."""
    flags = sorted(Counter(flag for row in table for flag in row["flags"]).items())
    counts = {"questions": len(chosen.samples), "rollouts": len(table), **{f"rollouts {k}": n for k, n in flags}}
    unmeasured = "no held-out questions" if ends[0] is None else None
    report = begin(config, counts, rejects, out, unmeasured=unmeasured, warnings=warnings)
    report.metrics |= _metrics(ends, history, config.run.seed)
    report.page = _page(config, chosen, rewarder, ends, history, table, films, report)
    return report


def values(measured: Measured) -> dict[str, Array]:
    """What was measured of each held-out question or pair, by name."""
    found: dict[str, Array] = {f"answers_{condition}": right for condition, right in measured.answers.items()}
    for needs in sorted(set(measured.needs)):
        mine = np.array([n == needs for n in measured.needs])
        found |= {f"answers_{needs}_{condition}": right[mine] for condition, right in measured.answers.items()}
    found["form"] = measured.form
    kept = {"disc_r1": measured.disc, "gen_r1": measured.gen}
    return found | {name: held.hits for name, held in kept.items() if held is not None}


def _metrics(ends: Ends, history: Sequence[dict[str, float]], seed: int) -> dict[str, Metric]:
    found: dict[str, Metric] = {}
    for when, measured in zip(("before", "after"), ends, strict=True):
        for name, known in values(measured).items() if measured else ():
            low, high = metrics.bootstrap_interval(known, seed)
            found[f"{name}_{when}"] = Metric(value=float(known.mean()), unit="share", low=low, high=high, n=len(known))
    if history:
        found["final_reward"] = Metric(value=round(history[-1]["reward"], 6), unit="reward")
        found["final_kl"] = Metric(value=round(history[-1].get("kl", 0.0), 6), unit="nats a token")
    return found


def _page(
    config: StageConfig[Any],
    chosen: Questions,
    rewarder: Rewarder,
    ends: Ends,
    history: Sequence[dict[str, float]],
    table: Sequence[dict[str, Any]],
    films: Films,
    report: StageReport,
) -> Report:
    own = config.own
    titles = {"grounding": "Grounding by reinforcement", "fusion": "Fusion of sound and picture by reinforcement"}
    page = Report(titles[config.stage], "responses with spans and captions, rewarded without any true span")
    headline = ("answers_av_before", "answers_av_after", "form_before", "form_after", "disc_r1_before", "disc_r1_after")
    page.headline({name: report.metrics[name] for name in headline if name in report.metrics})
    for warning in report.warnings:
        page.warning(warning)
    if ends[0] is not None and ends[1] is not None:
        _moved(page, ends[0], ends[1], config.run.seed)
    page.section(
        "Curves", f"{own.questions} questions a step, {own.group_size} responses each. Each point is one step, no average."
    )
    _curves(page, rewarder, history)
    page.section("Responses", "The best and the worst of a question of the last step, on the timeline of its clip.")
    for row in drawn(table):
        page.walk(timeline(row, chosen, films), caption=f"{row['prompt_id']}, sample {row['sample']}")
    counts = Counter(flag for row in table for flag in row["flags"])
    page.table([{"flag": flag, "rollouts": n, "share": n / len(table)} for flag, n in sorted(counts.items())], caption="Flags")
    return page


def _moved(page: Report, before: Measured, after: Measured, seed: int) -> None:
    page.section(
        "What moved", f"Held out, after minus before, 95 % paired bootstrap, seed {seed}. disc_r1 and gen_r1 are retention."
    )
    early, changes = values(before), []
    for name, late in values(after).items():
        effect = metrics.paired_bootstrap(late, early[name], seed=seed)
        change = Metric(value=effect.difference, unit="points", low=effect.low, high=effect.high, n=effect.n)
        changes.append({"measure": name, "before": float(early[name].mean()), "change": change, "verdict": effect.verdict})
    page.table(changes, units={"before": "share"})
    page.bars(
        {
            f"{needs}, {when}": {SHOWN[c]: float(values(m)[f"answers_{needs}_{c}"].mean()) for c in CONDITIONS}
            for needs in sorted(set(before.needs))
            for when, m in (("before", before), ("after", after))
        },
        "share right",
        caption="Answers by what a question needs",
    )


def _curves(page: Report, rewarder: Rewarder, history: Sequence[dict[str, float]]) -> None:
    drawings = (
        ("Reward and its parts", ("reward", *rewarder.weights), "reward"),
        ("Questions without any difference in reward", ("flat_groups",), "share of questions"),
        ("Distance to the start", ("kl",), "nats a token"),
        ("Length", ("tokens",), "tokens"),
    )
    for title, names, unit in drawings:
        series = {name: [(row["step"], row[name]) for row in history] for name in names if history and name in history[0]}
        if series:
            page.lines(series, "step", unit, caption=title)


def drawn(table: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The best and the worst response to each of the first questions of the last step."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for row in table:
        if row["step"] == table[-1]["step"]:
            groups.setdefault(row["prompt_id"], []).append(row)
    ranked = [sorted(group, key=lambda row: (row["advantage"], -row["sample"])) for group in groups.values()]
    return [row for group in ranked[: SAMPLES // 2] for row in (group[-1], group[0])]


def timeline(row: dict[str, Any], chosen: Questions, films: Films) -> list[Step]:
    """Question and frames, what truly happens, what the response claims, and what it earned."""
    question = chosen.asked[row["prompt_id"]]
    film = films(question.clip_id)
    claims = [
        (a, min(b, film.duration_s), text) for (a, b), text in grounded_pairs(row["completion"], film.duration_s, "published") or []
    ]
    sound = (film.wave if film.wave is not None else np.zeros(round(film.duration_s * film.rate_hz), np.float32), film.rate_hz)
    scene = chosen.clips[question.clip_id]["scene"]
    rewards = {name: "unscored" if value is None else value for name, value in json.loads(row["rewards"]).items()}
    steps = [
        Step(
            "Question",
            f"{question.prompt} (needs {question.needs}; right: {question.answer})",
            strip=_strip(film, question.clip_id),
        )
    ]
    if scene:
        steps.append(Step("What happens", sound=sound, spans=_events(Scene.from_json(scene), film.duration_s)))
    inside = [(a, b, text) for a, b, text in claims if a < b]
    steps.append(
        Step(
            "What the response says", "" if inside else "no span inside the clip", code=row["completion"], sound=sound, spans=inside
        )
    )
    steps.append(
        Step("What it earned", rows=[{**rewards, "advantage": round(row["advantage"], 3), "flags": ", ".join(row["flags"])}])
    )
    return steps


def _strip(film: Footage, name: str) -> Strip:
    every = max(1, len(film.frames) // 8)
    frames = film.frames[::every][:8]
    return Strip(frames, name, tuple((i * every + 0.5) / film.fps for i in range(len(frames))))


def _events(scene: Scene, duration_s: float) -> list[tuple[float, float, str]]:
    """Events and sounds of the scene graph: for the reader, never for the reward."""
    events = [(e.start_s, e.end_s, f"{scene.objects[e.object].name} {e.motion}") for e in scene.events]
    return [
        (a, min(b, duration_s), what)
        for a, b, what in [*events, *((s.start_s, s.end_s, s.kind) for s in scene.sounds)]
        if a < duration_s
    ]
