"""From a registered version to production: the gate's verdict, recorded; an override with its reason; a rollback.

Whatever is decided becomes a line of the log (promotions.py), and the listing and the cards follow it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from uvrlab import promotions, registry, runs, signing
from uvrlab.card import fixed_part, standing
from uvrlab.gate import GatePolicy, judge
from uvrlab.runs import RunDir, RunError


def propose(
    home: Path,
    digest: str,
    policy: GatePolicy,
    *,
    incumbent_results: Path | None = None,
    checks: Path | None = None,
    override: str = "",
) -> dict[str, Any]:
    """Judge version `digest` of `home` against the version in production, record the decision, and return the verdict.

    `incumbent_results` are fresh results of the model in production, where its own stem from another benchmark. `override` is the
    reason to promote whatever the gate says. A version that is in production already is not judged again. Raises RunError for an
    altered version, or when production moved meanwhile.
    """
    version = find_version(home, digest)
    registry.verify_version(version)
    with promotions.locked(home):
        log, current = promotions.settle(home), promotions.production(home)
        refresh(home)
    if current == version.name:
        return _verdict_of(home, log, version.name)
    verdict = judge(version / "results", _incumbent(home, current, incumbent_results), policy, checks).as_json()
    if held := _held_back(log, version.name):
        verdict |= {"verdict": "blocked", "exit_code": 1, "reasons": [held, *verdict["reasons"]]}
    action: promotions.Action = "promote" if not verdict["exit_code"] else "override" if override else "block"
    with promotions.locked(home):
        if not _said_before(promotions.settle(home), version.name, action, current, verdict):
            promotions.record(
                home,
                action,
                version.name,
                expected=current,
                verdict=verdict,
                reason=override if action == "override" else "; ".join(verdict["reasons"]),
                signer=signing.fingerprint(version / registry.SIGNER),
            )
        refresh(home)
    return verdict


def rollback(home: Path, reason: str = "") -> promotions.Event:
    """Put the version before the current one back into production."""
    event = promotions.rollback(home, reason)
    with promotions.locked(home):
        refresh(home)
    return event


def refresh(home: Path) -> None:
    """Let the listing and the cards follow the log. Needs the lock of `home`."""
    log = promotions.events(home)
    for version in sorted((home / "versions").glob(f"[!.]*/{registry.ENTRY}")):
        card = version.parent / registry.CARD
        said, old = standing(promotions.about(log, version.parent.name)), card.read_text()
        if (new := fixed_part(old) + said) != old:
            partial = card.with_name(f".{card.name}.tmp")
            partial.write_text(new)
            partial.replace(card)
    registry.write_listing(home)


def find_version(home: Path, digest: str) -> Path:
    """The folder of a version by its digest or the start of it. Raises RunError naming what there is."""
    found = [p.parent for p in sorted((home / "versions").glob(f"{digest}*/{registry.ENTRY}"))]
    if len(found) != 1:
        known = ", ".join(entry["digest"][:12] for entry in registry.versions(home)) or "none"
        raise RunError(f"{home}: {len(found)} versions start with {digest!r}; expected one of {known}")
    return found[0]


def _incumbent(home: Path, current: str | None, fresh: Path | None) -> Path | None:
    if current is None:
        return fresh
    model = registry.read_entry(find_version(home, current))["model"]
    if fresh and (judged := RunDir(fresh).manifest.inputs.get("model")) != model:
        raise RunError(f"{fresh} judges model {str(judged)[:12]}, expected production's, {model[:12]}; evaluate that one")
    return fresh or find_version(home, current) / "results"


def _held_back(log: list[promotions.Event], version: str) -> str:
    """A run of the pipeline must not bring back what a person took out."""
    if promotions.standing(log, version) != "rolled back":
        return ""
    last = promotions.about(log, version)[-1]
    why = last["reason"] or "no reason given"
    return f"was rolled back by {last['who']} at {last['when']} ({why}); only an override brings it back"


def _verdict_of(home: Path, log: list[promotions.Event], version: str) -> dict[str, Any]:
    """The verdict under which the version in production was promoted last."""
    event = [e for e in log if e["version"] == version and e["verdict_digest"]][-1]
    return promotions.read_verdict(home, event["verdict_digest"])


def _said_before(log: list[promotions.Event], version: str, action: str, current: str | None, verdict: Mapping[str, Any]) -> bool:
    told = [e for e in promotions.about(log, version) if e["action"] != "rollback"][-1:]
    same = (action, current, runs.digest_json(json.loads(json.dumps(verdict))))
    return action == "block" and [(e["action"], e["production"], e["verdict_digest"]) for e in told] == [same]
