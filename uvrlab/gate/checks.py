"""The leakage and drift reports behind a candidate: reached by its chain of manifests, or given."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

from uvrlab.runs import MANIFEST, RunDir, RunError, sha256_file
from uvrlab.upstream import Link, carried

REPORT = "verdict.json"
SHOWN = 5


@dataclass(frozen=True)
class Checks:
    """`state` is green, red, absent (bare results have no chain) or unreachable; `failed` says which checks, or why."""

    state: str
    digest: str | None = None
    failed: list[str] = field(default_factory=list)


def read_checks(results: RunDir | None, given: Path | None) -> Checks:
    """Read the report of the `validate` run that the candidate was trained behind. Raises RunError for an altered one."""
    if given is None and results is None:
        return Checks("absent", failed=["bare results: no manifest leads to the leakage and drift reports; pass --checks DIR"])
    try:
        expected = _expected(results) if results else None
    except RunError as error:
        expected = None
        if given is None:
            return Checks("unreachable", failed=[str(error)])
    if given is None:
        assert expected is not None
        return _judge(expected.folder / REPORT, expected)
    link = Link(RunDir(given).manifest, given) if (given / MANIFEST).is_file() else None
    if expected and (link is None or link.digest != expected.digest):
        raise RunError(f"--checks {given}: found {link.digest[:12] if link else 'no run'}, the candidate was trained behind run "
                       f"{expected.digest[:12]}; pass that one")  # fmt: skip
    return _judge(given if given.is_file() else given / REPORT, link)


def _expected(results: RunDir) -> Link:
    runs = carried(results.path)
    model = runs.get(results.manifest.inputs["model"])
    digest = model.manifest.inputs.get("checks") if model else None
    if digest not in runs:
        missing = f"checks {digest[:12]}" if digest else f"model {results.manifest.inputs['model'][:12]} or its checks"
        raise RunError(f"{results.path} carries no manifest of {missing}; pass --checks DIR, the validate run")
    return runs[digest]


def _judge(report: Path, link: Link | None) -> Checks:
    if not report.is_file():
        raise RunError(f"no {REPORT} at {report.parent}; expected the output of the validate stage")
    if link:
        listed = {f.path: f.sha256 for f in link.manifest.files}
        if listed.get(REPORT) != sha256_file(report):
            raise RunError(f"{report} was altered: it does not match the manifest of run {link.digest[:12]}; restore it")
    content = json.loads(report.read_text())
    failed = [f"{c['table']}: {c['name']} ({c['failed']} of {c['checked']} rows)" for c in content["checks"] if not c["passed"]]
    digest = link.digest if link else None
    if failed or not content["passed"]:
        return Checks("red", digest, failed[:SHOWN] or [f"{report} says that it did not pass"])
    return Checks("green", digest)
