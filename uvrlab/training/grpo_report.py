"""The report of `grpo`: what moved on held-out pairs, the curves of reward, KL and length, and rollouts beside their rewards."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from uvrlab.config import StageConfig
from uvrlab.data.world.attributes import Attributes, aspect_rows, form_row
from uvrlab.evaluation import metrics
from uvrlab.report import Report
from uvrlab.runs import Metric, StageReport
from uvrlab.training.grpo_heldout import Measured
from uvrlab.training.pairs import Pair
from uvrlab.training.stage_report import NO_PAIRS, begin

Ends = tuple[Measured | None, Measured | None]
UNITS = {"disc_r1": "R@1", "gen_r1": "R@1", "embedding_reward": "r*d"}
CURVES = (
    ("Reward", ("reward", "format", "embedding"), "reward", "Means over a step's rollouts."),
    ("Terms of the embedding reward", ("rank", "gap"), "share, cosine", "r: positives in the top G; d: gap to the negatives."),
    ("Groups without any difference", ("flat_groups",), "share of groups", "All rewards equal: nothing to learn from."),
    ("Distance to the start", ("kl",), "nats a token", "k3 estimate against the model that the stage started from."),
    ("Entropy", ("entropy",), "nats a token", "Of the next token, over rollouts."),
    ("Length", ("tokens",), "tokens", "Mean of a completion, turn end included."),
)


def make(
    config: StageConfig[Any],
    chosen: Sequence[Pair],
    ends: Ends,
    history: Sequence[dict[str, float]],
    table: Sequence[dict[str, Any]],
    rejects: Sequence[Any],
    warnings: Sequence[str],
    out: Path,
) -> StageReport:
    """Write rejects and build the stage report with its page."""
    flags = Counter(flag for row in table for flag in row["flags"])
    counts = {"rl_pairs": len(chosen), "rollouts": len(table), **{f"rollouts {k}": n for k, n in flags.items()}}
    unmeasured = NO_PAIRS if ends[0] is None else None
    report = begin(config, counts, rejects, out, unmeasured=unmeasured, warnings=warnings)
    report.metrics |= _metrics(ends, history, config.run.seed)
    report.page = _page(config, ends, history, table, flags, report)
    return report


def values(measured: Measured) -> dict[str, np.ndarray]:
    """What was measured of each held-out pair, by name; NaN where a pair has none."""
    return {"disc_r1": measured.disc.hits, "gen_r1": measured.gen.hits, "embedding_reward": measured.rewards}


def _metrics(ends: Ends, history: Sequence[dict[str, float]], seed: int) -> dict[str, Metric]:
    found: dict[str, Metric] = {}
    for when, measured in zip(("before", "after"), ends, strict=True):
        for name, all_of_them in values(measured).items() if measured else ():
            known = all_of_them[~np.isnan(all_of_them)]
            if len(known):
                low, high = metrics.bootstrap_interval(known, seed)
                found[f"{name}_{when}"] = Metric(value=float(known.mean()), unit=UNITS[name], low=low, high=high, n=len(known))
        if measured:
            share = measured.well_formed / measured.thoughts
            found[f"well_formed_{when}"] = Metric(value=share, unit="share of greedy thoughts", n=measured.thoughts)
        if measured and measured.attributes:
            said = measured.attributes
            right = 100 * said.right_per_token["summary"]
            found[f"summary_right_{when}"] = Metric(value=right, unit="attributes in 100 tokens", n=said.n)
    if history:
        found["final_reward"] = Metric(value=round(history[-1]["reward"], 6), unit="reward")
        found["final_kl"] = Metric(value=round(history[-1].get("kl", 0.0), 6), unit="nats a token")
    return found


def _page(
    config: StageConfig[Any],
    ends: Ends,
    history: Sequence[dict[str, float]],
    table: Sequence[dict[str, Any]],
    flags: Counter[str],
    report: StageReport,
) -> Report:
    own = config.own
    page = Report("Reasoning by reinforcement", "thoughts rewarded by what their vectors retrieve; one adapter on frozen towers")
    page.headline({name: metric for name, metric in report.metrics.items() if name.rpartition("_")[0] in UNITS})
    for warning in report.warnings:
        page.warning(warning)
    if ends[0] is not None and ends[1] is not None:
        _moved(page, ends[0], ends[1], config.run.seed)
        _told(page, {"before": ends[0].attributes, "after": ends[1].attributes})
    page.section("Curves", f"{own.pairs} pairs a step, {own.group_size} rollouts a side. Each point is one step, no average.")
    for title, names, unit, lead in CURVES:
        series = {name: [(row["step"], row[name]) for row in history] for name in names if history and name in history[0]}
        if series:
            page.lines(series, "step", unit, caption=f"{title}. {lead}")
    page.section("Rollouts", "The best and the worst of a prompt, beside what they earned; first and last step.")
    page.table(samples(table), units={"tokens": ""}, caption="Samples")
    page.table([{"flag": flag, "rollouts": n, "share": n / len(table)} for flag, n in sorted(flags.items())], caption="Flags")
    return page


def _moved(page: Report, before: Measured, after: Measured, seed: int) -> None:
    page.section("What moved", f"Held-out pairs, after minus before, 95 % paired bootstrap, seed {seed}.")
    changes = []
    for name, late in values(after).items():
        early = values(before)[name]
        both = ~np.isnan(early) & ~np.isnan(late)
        if both.sum() > 1:
            effect = metrics.paired_bootstrap(late[both], early[both], seed=seed)
            change = Metric(value=effect.difference, unit=UNITS[name], low=effect.low, high=effect.high, n=effect.n)
            changes.append({"measure": name, "before": float(early[both].mean()), "change": change, "verdict": effect.verdict})
    page.table(changes)
    page.text(
        f"R@1 among the held-out targets of a kind, chance {before.disc.chance:.3%}. Of {after.thoughts} greedy thoughts "
        f"{before.well_formed} were well-formed before and {after.well_formed} after, in {before.tokens:.1f} and "
        f"{after.tokens:.1f} tokens; {before.fallbacks} and {after.fallbacks} had no vector, so that the disc vector stands in."
    )


def _told(page: Report, ends: Mapping[str, Attributes | None]) -> None:
    """What greedy thoughts about held-out clips get right, before and after; nothing where no clip has a scene graph."""
    known = {name: found for name, found in ends.items() if found is not None}
    if known:
        page.section("What thoughts get right", "Against scene graphs; chance is what the same texts earn against other clips.")
        page.table([form_row(name, found) for name, found in known.items()], caption="Form and length")
        page.table([row for name, found in known.items() for row in aspect_rows(name, found)], caption="Precision and recall")


def samples(table: Sequence[dict[str, Any]], prompts: int = 3) -> list[dict[str, Any]]:
    """The best and the worst rollout of a few prompts of the first and the last step, with their parts."""
    if not table:
        return []
    found = []
    for step in dict.fromkeys((table[0]["step"], table[-1]["step"])):
        groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
        for row in table:
            if row["step"] == step:
                groups.setdefault((row["prompt_id"], row["side"]), []).append(row)
        for group in list(groups.values())[:prompts]:
            ranked = sorted(group, key=lambda row: (row["advantage"], -row["sample"]))
            found += [_shown(row) for row in (ranked[-1], ranked[0])]
    return found


def _shown(row: dict[str, Any]) -> dict[str, Any]:
    parts = {name: "unscored" if value is None else value for name, value in json.loads(row["rewards"]).items()}
    shown = {"step": row["step"], "prompt": row["prompt_id"], "side": row["side"], "completion": row["completion"]}
    return {**shown, "tokens": row["n_tokens"], **parts, "advantage": round(row["advantage"], 3), "flags": ", ".join(row["flags"])}
