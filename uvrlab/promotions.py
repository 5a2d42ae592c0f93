"""Which version is in production, and why: an append-only, hash-chained log, and a pointer that follows it.

`promotions.jsonl` holds one line a decision: promote, block, override or rollback. Appending a line is the commit;
`production.json` is replaced atomically right after it and is what readers open. A kill between the two leaves the old pointer,
whole, and the next command completes it (`settle`); a torn last line was never committed and is cut off. The chain finds every
altered or removed line, the pointer, which holds the newest hash, removed last lines; a log and a pointer rewritten as a whole are
found by whoever kept that hash.
"""

from __future__ import annotations

import getpass
import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from uvrlab import runs
from uvrlab.runs import RunError

LOG, POINTER, VERDICTS = "promotions.jsonl", "production.json", "verdicts"
GENESIS = "0" * 64
PATIENCE_S = 20.0  # how long a second promotion waits for the first
Action = Literal["promote", "block", "override", "rollback"]
Event = dict[str, Any]


def production(home: Path) -> str | None:
    """The digest of the version in production, as its readers see it."""
    pointer = home / POINTER
    return json.loads(pointer.read_text())["digest"] if pointer.is_file() else None


def events(home: Path) -> list[Event]:
    """Every committed decision, oldest first. Raises RunError naming the first line that breaks the chain."""
    log = home / LOG
    text = log.read_bytes() if log.is_file() else b""
    lines = text.split(b"\n")[:-1]  # what follows the last newline was never committed
    found, previous = list[Event](), GENESIS
    for number, line in enumerate(lines, 1):
        try:
            event = json.loads(line)
            intact = event["seq"] == number and event["prev"] == previous and event["hash"] == _hash(event) and line == _line(event)
        except (ValueError, KeyError, TypeError):
            intact = False
        if not intact:
            raise RunError(
                f"{log}, line {number}: the hash chain breaks, so it was altered or one before it is missing; restore the log"
            )
        previous = event["hash"]
        found.append(event)
    return found


def stack(log: list[Event]) -> list[str]:
    """Versions in the order in which they reached production and were not rolled back; the last one is in production."""
    found = list[str]()
    for event in log:
        if event["action"] in ("promote", "override"):
            found.append(event["version"])
        elif event["action"] == "rollback":
            found.pop()
    return found


def settle(home: Path) -> list[Event]:
    """Complete what a killed process began, and return the log. Needs the lock of `home`.

    Raises RunError where the log has lost lines that the pointer knows: a kill never does that.
    """
    log = home / LOG
    told = events(home)
    if lost := lost_line(home, told):
        raise RunError(
            f"{log} has {len(told)} lines and not line {lost} as {home / POINTER} knows it: one of the two was altered; restore it"
        )
    if torn(log):
        with log.open("r+b") as file:
            file.truncate(log.read_bytes().rfind(b"\n") + 1)
    pointer = pointer_of(told)
    if pointer and _read(home / POINTER) != pointer:
        runs.write_json(home / POINTER, pointer)
    return told


def torn(log: Path) -> bool:
    """Does the log end in half a line?"""
    return log.is_file() and not (log.read_bytes() or b"\n").endswith(b"\n")


def lost_line(home: Path, log: list[Event]) -> int | None:
    """The number of a line that the pointer, which is written after the log, knows and the log lacks; None where none is."""
    pointer = _read(home / POINTER)
    if not isinstance(pointer, dict) or pointer.get("hash") in {event["hash"] for event in log}:
        return None
    return pointer["seq"] if isinstance(pointer.get("seq"), int) else None


def pointer_of(log: list[Event]) -> dict[str, Any] | None:
    """What `production.json` must say after these events."""
    in_production = stack(log)
    return {"digest": in_production[-1], "seq": log[-1]["seq"], "hash": log[-1]["hash"]} if in_production else None


def record(
    home: Path,
    action: Action,
    version: str,
    *,
    expected: str | None,
    verdict: Mapping[str, Any] | None = None,
    reason: str = "",
    signer: str | None = None,
) -> Event:
    """Append one decision, and point production at `version` where it says so.

    `expected` is the version that was in production when the decision was taken; where another one is there now, RunError names
    it and its promoter, and nothing changes. Needs the lock of `home`.
    """
    log = settle(home)
    if (now := production(home)) != expected:
        raise RunError(_lost(log, now, expected, version))
    event = {
        "seq": len(log) + 1,
        "prev": log[-1]["hash"] if log else GENESIS,
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "who": os.environ.get("UVR_WHO") or getpass.getuser(),
        "action": action,
        "version": version,
        "production": expected,
        "verdict": verdict["verdict"] if verdict else None,
        "verdict_digest": _keep(home, verdict) if verdict else None,
        "policy_digest": verdict["policy_digest"] if verdict else None,
        "reason": reason,
        "signer": signer,
    }
    event["hash"] = _hash(event)
    _append(home / LOG, _line(event) + b"\n")
    settle(home)
    return event


def rollback(home: Path, reason: str = "") -> Event:
    """Put back the version that was in production before. Raises RunError where there is none, or it was removed."""
    with locked(home):
        before = stack(settle(home))
        if len(before) < 2:
            raise RunError(f"{home}: nothing to roll back to; found {len(before)} promoted versions, expected 2")
        if not (home / "versions" / before[-2]).is_dir():
            raise RunError(f"{home}: version {before[-2][:12]} was removed, so it cannot be put back; register its runs again")
        return record(home, "rollback", before[-2], expected=before[-1], reason=reason)


def about(log: list[Event], version: str) -> list[Event]:
    """The events that concern one version, the rollbacks that took it out of production included."""
    return [e for e in log if e["version"] == version or (e["action"] == "rollback" and e["production"] == version)]


def standing(log: list[Event], version: str) -> str:
    """Where the last decision on a version left it: the gate's word, `overridden`, `rolled back`, `restored`, or `registered`."""
    told = about(log, version)
    if not told:
        return "registered"
    last = told[-1]
    if last["action"] == "rollback":
        return "restored" if last["version"] == version else "rolled back"
    return "overridden" if last["action"] == "override" else str(last["verdict"])


def read_verdict(home: Path, digest: str) -> dict[str, Any]:
    """A kept verdict. Raises RunError where it is missing or altered."""
    file = home / VERDICTS / f"{digest}.json"
    try:
        verdict = runs.read_exact(file)
        intact = runs.digest_json(verdict) == digest
    except (OSError, ValueError):
        intact = False
    if not intact:
        raise RunError(f"{file} is missing or was altered; restore it")
    return verdict


@contextmanager
def locked(home: Path) -> Iterator[None]:
    """The lock of a registered name; waits a while for another holder, then says who is asked to wait."""
    deadline = time.monotonic() + PATIENCE_S
    with ExitStack() as held:
        while True:
            try:
                held.enter_context(runs.lock(home))
                break
            except RunError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)
        yield


def _lost(log: list[Event], now: str | None, expected: str | None, version: str) -> str:
    last = next((e for e in reversed(log) if e["action"] != "block"), None)
    by = f" ({last['action']} by {last['who']} at {last['when']})" if last else ""
    was = expected[:12] if expected else "nothing"
    return (
        f"production is now {now[:12] if now else 'empty'}{by}, but {version[:12]} was judged against {was}; "
        "nothing was changed, gate it again"
    )


def _keep(home: Path, verdict: Mapping[str, Any]) -> str:
    digest = runs.digest_json(dict(verdict))
    (home / VERDICTS).mkdir(parents=True, exist_ok=True)
    runs.write_json(home / VERDICTS / f"{digest}.json", dict(verdict))
    return digest


def _append(log: Path, line: bytes) -> None:
    with log.open("ab") as file:
        file.write(line)
        file.flush()
        os.fsync(file.fileno())


def _hash(event: Event) -> str:
    return runs.digest_json({key: value for key, value in event.items() if key != "hash"})


def _line(event: Event) -> bytes:
    return json.dumps(event, sort_keys=True, ensure_ascii=False).encode()


def _read(file: Path) -> Any:
    try:
        return json.loads(file.read_text())
    except (OSError, ValueError):
        return None
