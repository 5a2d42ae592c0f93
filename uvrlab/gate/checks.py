"""The leakage and drift reports behind a candidate: reached by its chain of manifests, or given."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from uvrlab.runs import MANIFEST, RunDir, RunError, sha256_file
from uvrlab.upstream import Link, carried

REPORT = "verdict.json"
SHOWN = 5


@dataclass(frozen=True)
class Checks:
    """`state` is green, red, or absent: nothing proves that no judged clip was trained on. `problems` say which checks, or why."""

    state: str
    digest: str | None = None
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)  # what a green report leaves open


def read_checks(results: RunDir | None, given: Path | None) -> Checks:
    """Read the report of every `validate` run that the candidate was trained behind. Raises RunError for an altered one.

    `given` takes the place of the one that it equals, or that judged the same training data against another benchmark.
    """
    if given is None and results is None:
        return Checks("absent", problems=["bare results: no manifest leads to the leakage and drift reports; pass --checks DIR"])
    try:
        expected = _behind(results) if results else []
    except RunError as error:
        if given is None:
            return Checks("absent", problems=[str(error)])
        expected = []
    judged_on = results.manifest.inputs.get("benchmark") if results else None
    found = [] if given is None else [_given(given, expected, judged_on)]
    replaced = found[0].digest if found else None
    about = {_data(link) for link in expected if link.digest == replaced}
    if given is not None and (given / MANIFEST).is_file():
        about.add(_data(Link(RunDir(given).manifest, given)))
    found += [_judge(link.folder / REPORT, link, judged_on) for link in expected if _data(link) not in about]
    return _together(found)


def _behind(results: RunDir) -> list[Link]:
    """The validate runs behind the candidate's training stages, the last stage's first."""
    known, found = carried(results.path), dict[str, Link]()
    digest: str | None = results.manifest.inputs["model"]
    while digest:
        model = known.get(digest)
        checks = model.manifest.inputs.get("checks") if model else None
        if model is None or checks not in known:
            missing = f"checks {checks[:12]}" if checks else f"model {digest[:12]} or its checks"
            raise RunError(f"{results.path} carries no manifest of {missing}; pass --checks DIR, the validate run")
        found[checks] = known[checks]
        digest = model.manifest.inputs.get("model")
    return list(found.values())


def _given(given: Path, expected: Sequence[Link], judged_on: str | None) -> Checks:
    link = Link(RunDir(given).manifest, given) if (given / MANIFEST).is_file() else None
    if expected and (link is None or _data(link) not in {_data(e) for e in expected}):
        raise RunError(f"--checks {given}: found {link.digest[:12] if link else 'no run'}, the candidate was trained behind run "
                       f"{expected[0].digest[:12]}; pass that one, or one on the same clips and UVRD")  # fmt: skip
    return _judge(given if given.is_file() else given / REPORT, link, judged_on)


def _data(link: Link) -> tuple[str | None, ...]:
    """What a validate run judged, but for the benchmark."""
    return tuple(link.manifest.inputs.get(name) for name in ("clips", "uvrd"))


def _judge(report: Path, link: Link | None, judged_on: str | None) -> Checks:
    if not report.is_file():
        raise RunError(f"no {REPORT} at {report.parent}; expected the output of the validate stage")
    if link and {f.path: f.sha256 for f in link.manifest.files}.get(REPORT) != sha256_file(report):
        raise RunError(f"{report} was altered: it does not match the manifest of run {link.digest[:12]}; restore it")
    passed, checks = _read(report)
    digest = link.digest if link else None
    failed = [f"{c['table']}: {c['name']} ({c['failed']} of {c['checked']} rows)" for c in checks if not c["passed"]]
    if failed or not passed:
        return Checks("red", digest, failed[:SHOWN] or [f"{report} says that it did not pass"])
    tables = {c["table"] for c in checks}
    if "leakage" not in tables:
        return Checks("absent", digest, [f"{report} holds no check of leakage; run validate with its benchmark"])
    against = link.manifest.inputs.get("benchmark") if link else judged_on
    if judged_on and against != judged_on:
        return Checks("absent", digest, [f"leakage was checked against benchmark run {str(against)[:12]}, the results are on "
                                         f"{judged_on[:12]}; run validate with it and pass --checks DIR"])  # fmt: skip
    drift = [] if "drift" in tables else ["no drift report: the candidate's data were validated without a reference run"]
    allowed = [f"{c['name']}: {c['failed']} of {c['checked']} do, which the recipe allows"
               for c in checks if c["table"] == "leakage" and c["failed"]]  # fmt: skip
    return Checks("green", digest, notes=[*drift, *allowed])


def _read(report: Path) -> tuple[bool, list[dict[str, Any]]]:
    try:
        content = json.loads(report.read_text())
        checks = [{key: c[key] for key in ("table", "name", "passed", "checked", "failed")} for c in content["checks"]]
        return bool(content["passed"]), checks
    except (ValueError, KeyError, TypeError) as error:
        raise RunError(f"{report} is no report of the validate stage ({error!r}); restore it") from error


def _together(found: Sequence[Checks]) -> Checks:
    """Green where all are; the digest is that of the first."""
    worst = min(found, key=lambda one: ("red", "absent", "green").index(one.state))
    notes = list(dict.fromkeys(note for one in found for note in one.notes))
    return Checks(worst.state, found[0].digest, worst.problems, notes)
