"""The verdict on a candidate: errors before scores, then checks and floors, then paired evidence. It promotes nothing."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field

from uvrlab.evaluation.metrics import bootstrap_interval, stratified_mean
from uvrlab.evaluation.results import Frozen
from uvrlab.gate import evidence
from uvrlab.gate.checks import Checks, read_checks
from uvrlab.gate.evidence import Evidence
from uvrlab.gate.policy import GatePolicy
from uvrlab.gate.slices import Decision, Paired, Pairs, Slice, decide, distinct, headline_slice, slices
from uvrlab.runs import RunError, digest_json

PROMOTED, FIRST, BLOCKED, UNDECIDED = "promoted", "first", "blocked", "cannot judge"
EXIT = {PROMOTED: 0, FIRST: 0, BLOCKED: 1, UNDECIDED: 2}
FAULTY = (RunError, ValueError, OSError, KeyError, TypeError)  # files that are missing, altered, or not what they should be


class Verdict(Frozen):
    """What the gate says. It holds no time and no path, so equal evidence gives an equal digest."""

    schema_: int = Field(default=1, alias="schema")
    verdict: str
    exit_code: int
    reasons: tuple[str, ...]
    warnings: tuple[str, ...] = ()
    policy_digest: str
    policy: dict[str, Any]
    candidate: dict[str, str | None]
    incumbent: dict[str, str | None] | None
    checks: dict[str, Any]
    headline: dict[str, Any] | None = None
    slices: tuple[dict[str, Any], ...] = ()
    distinct_slices: int = 0

    @property
    def digest(self) -> str:
        return digest_json(self.as_json())

    def as_json(self) -> dict[str, Any]:
        return self.model_dump(mode="json", by_alias=True)


@dataclass
class Findings:
    """What speaks against promotion: `harm` decides at once, a `doubt` keeps the gate from deciding, the rest is `unproven`."""

    harm: list[str] = field(default_factory=list)
    doubts: list[str] = field(default_factory=list)
    unproven: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def word(self, first: bool) -> str:
        if self.harm:
            return BLOCKED
        if self.doubts:
            return UNDECIDED
        return BLOCKED if self.unproven else FIRST if first else PROMOTED


def judge(candidate: Path, incumbent: Path | None, policy: GatePolicy, checks: Path | None = None) -> Verdict:
    """Judge RESULTS against RESULTS. Faults of the candidate block; whatever keeps the evidence from deciding is `cannot judge`."""
    found, state = Findings(), Checks("not read")
    try:
        ours = evidence.open_results(candidate)
        state = read_checks(ours.run, checks)
    except FAULTY as error:
        found.harm.append(f"error: {_one_line(error)}")
        return _verdict(policy, found, None, None, state, [], 0, first=False)
    theirs, decisions, n_slices = None, list[Decision](), 0
    _note_checks(state, found)
    if incumbent is not None and evidence.is_vacant(incumbent):
        incumbent = None
        found.warnings.append("nothing is in production yet: floors only")
    try:
        mode = mode_of(ours, policy)
        _note_floors(ours, mode, policy, found)
        if incumbent is not None:
            theirs = evidence.open_results(incumbent)
            if _comparable(ours, theirs, mode, found):
                decisions, n_slices = compare(pair(ours, theirs, mode), ours.abilities, policy)
                note(decisions, found)
    except FAULTY as error:
        found.doubts.append(_one_line(error))
    return _verdict(policy, found, ours, theirs, state, decisions, n_slices, first=incumbent is None)


def compare(pairs: Pairs, abilities: dict[str, str], policy: GatePolicy) -> tuple[list[Decision], int]:
    """Decisions on the headline, then on every slice, and the number of distinct slices."""
    wanted = slices(pairs, abilities, policy)
    n_slices = distinct(wanted)
    return [decide(s, policy, n_slices) for s in (headline_slice(pairs, abilities, policy.headline), *wanted)], n_slices


def note(decisions: list[Decision], found: Findings) -> None:
    """Turn decisions into findings."""
    for d in decisions:
        shown = f"{d.kind} {d.slice}: {points(d.difference)} (one-sided bounds {points(d.low)} and {points(d.high)}, n {d.n})"
        if d.decision == "under-powered":
            found.doubts.append(
                f"{shown} is under-powered: it decides {points(d.decidable)} at best, the margin is {points(d.margin)}; "
                f"it needs about {d.n_needed} queries"
            )
        elif d.decision == "dropped":
            found.harm.append(f"{shown} dropped by more than the margin of {points(d.margin)}")
        elif d.decision == "may have dropped":
            found.harm.append(f"{shown} may have dropped by the margin of {points(d.margin)} or more")
        elif d.decision == "worse":
            found.harm.append(f"{shown} is worse than the incumbent")
        elif d.decision == "not better":
            found.unproven.append(f"{shown} is not shown to be better than the incumbent")


def pair(ours: Evidence, theirs: Evidence, mode: str) -> Pairs:
    """Each dataset's own metric, query by query, in one mode."""
    found = {}
    for dataset, metric in ours.evaluation.results.main.items():
        a, b = (side.table[mode, metric, dataset] for side in (ours, theirs))
        ids = sorted(a)
        found[dataset] = Paired(ids, np.array([(a[q], b[q]) for q in ids], dtype=float))
    return found


def mode_of(ours: Evidence, policy: GatePolicy) -> str:
    """The mode that is judged. Raises ValueError where the policy must name one."""
    modes = ours.modes()
    wanted = policy.mode or ("speed" if "speed" in modes else modes[0])
    if wanted not in modes or (policy.mode is None and wanted != "speed" and len(modes) > 1):
        raise ValueError(f"the candidate was evaluated in {', '.join(modes)}; name one of them as `mode` in the policy")
    return wanted


def _note_checks(state: Checks, found: Findings) -> None:
    if state.state == "red":
        found.harm += [f"checks are red: {problem}" for problem in state.problems]
    else:
        found.doubts += [f"checks are out of reach: {problem}" for problem in state.problems]
    found.warnings += state.notes


def _note_floors(ours: Evidence, mode: str, policy: GatePolicy, found: Findings) -> None:
    pairs = pair(ours, ours, mode)
    for name, floor in policy.floors.items():
        wanted = headline_slice(pairs, ours.abilities, name)
        values, strata = _column(wanted)
        if floor == "chance":
            low, _ = bootstrap_interval(
                values, policy.seed, policy.bootstrap, strata=strata, weights=wanted.weights, level=2 * policy.confidence - 1
            )
            chance = _chance(ours, mode, wanted)
            if chance is None:
                found.doubts.append(f"floor of {name}: results.json holds no chance level; evaluate the model again")
            elif low <= chance:
                found.harm.append(f"floor of {name}: lower bound {points(low)} is not above chance, {points(chance)}")
        elif (value := stratified_mean(values, strata, wanted.weights)) < floor:
            found.harm.append(f"floor of {name}: found {points(value)}, expected at least {points(floor)}")


def _column(wanted: Slice) -> tuple[list[float], list[str]]:
    pairs = [(float(v), d) for d in wanted.weights for v in wanted.values[d][:, 0]]
    return [v for v, _ in pairs], [d for _, d in pairs]


def _chance(ours: Evidence, mode: str, wanted: Slice) -> float | None:
    summary = ours.evaluation.results
    levels = {s.dataset: s.chance for s in summary.scores if s.mode == mode and s.metric == summary.main[s.dataset]}
    found = [(w, levels.get(d)) for d, w in wanted.weights.items()]
    return None if any(level is None for _, level in found) else sum(w * (level or 0.0) for w, level in found)


def _comparable(ours: Evidence, theirs: Evidence, mode: str, found: Findings) -> bool:
    missing = evidence.missing_queries(ours, theirs, mode)
    found.harm += missing
    if differing := evidence.differences(ours, theirs, mode):
        found.doubts += [*differing, f"evaluate the incumbent again: {evidence.remedy(ours, theirs)}"]
    elif ours.run and theirs.run and ours.run.manifest.code_digest != theirs.run.manifest.code_digest:
        found.warnings.append("the two were evaluated by different code; evaluate the incumbent again to rule that out")
    return not (differing or missing)


def _verdict(
    policy: GatePolicy,
    found: Findings,
    ours: Evidence | None,
    theirs: Evidence | None,
    state: Checks,
    decisions: list[Decision],
    n_slices: int,
    *,
    first: bool,
) -> Verdict:
    word = found.word(first)
    told = [d.as_json() for d in decisions]
    return Verdict(
        verdict=word,
        exit_code=EXIT[word],
        reasons=(*found.harm, *found.doubts, *found.unproven),
        warnings=tuple(found.warnings),
        policy_digest=policy.digest,
        policy=policy.digest_view(),
        candidate=ours.identity() if ours else {},
        incumbent=theirs.identity() if theirs else None,
        checks={"state": state.state, "digest": state.digest},
        headline=told[0] if told else None,
        slices=tuple(told[1:]),
        distinct_slices=n_slices,
    )


def points(share: float) -> str:
    return f"{100 * share:+.2f} points"


def _one_line(error: BaseException) -> str:
    return " ".join((repr(error) if isinstance(error, KeyError | TypeError) else str(error)).split())[:500]
