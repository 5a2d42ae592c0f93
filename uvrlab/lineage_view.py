"""Lineage to look at: the chain of a version as a tree, and everything that used one clip."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from uvrlab import promotions, registry, upstream
from uvrlab.data import schema
from uvrlab.lineage import at_hand, clip_tables
from uvrlab.runs import RunDir
from uvrlab.upstream import Link


def draw(version: Path) -> str:
    """The chain of a version, newest first; a run that fed two others is drawn once and named again."""
    entry, home = registry.read_entry(version), version.parent.parent
    log = promotions.events(home)
    known = upstream.carried(version)
    lines = [f"{entry['name']} {entry['digest'][:12]}: {promotions.standing(log, version.name)}"]
    for event in promotions.about(log, version.name):
        said = f": {event['reason']}" if event["reason"] else ""
        lines.append(f"│  {event['when']} {event['action']} by {event['who']}, verdict {event['verdict']}{said[:160]}")
    seen = set[str]()
    for number, name in enumerate(("results", "model")):
        lines += _branch(name, entry[name], known, seen, "", last=number == 1)
    return "\n".join(lines)


def _branch(name: str, digest: str, known: dict[str, Link], seen: set[str], indent: str, last: bool) -> Iterator[str]:
    lead = f"{indent}{'└' if last else '├'}─ {name}: "
    if digest not in known:
        yield f"{lead}{digest[:12]}, not carried"
        return
    m = known[digest].manifest
    again = digest in seen
    yield f"{lead}{m.stage} {digest[:12]}" + (" (above)" if again else f"  code {m.code_digest[:8]}, {len(m.files)} files")
    if again:
        return
    seen.add(digest)
    for number, label in enumerate(sorted(m.inputs), 1):
        yield from _branch(label, m.inputs[label], known, seen, indent + ("   " if last else "│  "), number == len(m.inputs))


def trace_clip(home: Path, sha256: str, roots: Sequence[Path] = ()) -> dict[str, list[dict[str, Any]]]:
    """Every table, model and promotion that used the media with this sha256 (or the start of it), among the runs at hand.

    A model used a clip when a pair or a question that it was trained on shows it; results used it as a part of their benchmark.
    `unknown` lists registered versions whose clips tables are not at hand.
    """
    versions = [home / "versions" / entry["digest"] for entry in registry.versions(home)]
    where = at_hand(versions, roots)
    manifests = {digest: RunDir(path).manifest for digest, path in where.items()}
    clips = {d: _clips(where[d], sha256) for d, m in manifests.items() if m.stage == "ingest"}
    tables = [{"table": name, "run": d, "rows": len(ids)} for d, found in clips.items() for name, ids in found.items() if ids]
    trained = set[str]()
    for digest, m in manifests.items():
        if m.stage == "synthesize" and (ids := clips.get(m.inputs["clips"], {}).get("clips")):
            used = {name: n for name, n in _uses(where[digest], ids).items() if n}
            tables += [{"table": name, "run": digest, "rows": n} for name, n in used.items()]
            trained |= {digest} if used else set()
    judged = {d for d, found in clips.items() if found.get("benchmark/clips")}
    models = [{"stage": m.stage, "run": d} for d, m in manifests.items() if "checks" in m.inputs and trained & _before(where[d])]
    told: dict[str, list[dict[str, Any]]] = {"tables": tables, "models": models, "promotions": [], "unknown": []}
    log = promotions.events(home)
    for version in versions:
        before = _before(version)
        uses = [word for word, found in (("trained on it", trained & before), ("judged by it", judged & before)) if found]
        facts = {"version": version.name, "standing": promotions.standing(log, version.name), "uses": uses}
        facts["decisions"] = [f"{e['seq']} {e['action']} by {e['who']} at {e['when']}" for e in promotions.about(log, version.name)]
        if uses:
            told["promotions"].append(facts)
        elif not before & clips.keys():
            told["unknown"].append({"version": version.name, "problem": "its clips tables are not at hand; pass --runs DIR"})
    return told


def _clips(ingest: Path, sha256: str) -> dict[str, set[str]]:
    return {name: {r["clip_id"] for r in rows if r["media_sha256"].startswith(sha256)} for name, rows in clip_tables(ingest)}


def _uses(uvrd: Path, clips: set[str]) -> dict[str, int]:
    """Rows of each UVRD table that show one of the clips."""
    pairs = schema.read_table("pairs", uvrd / "pairs", ["query", "target", "negatives"])
    shown = [{i["clip_id"] for i in (p["query"], p["target"], *(p["negatives"] or ())) if i} for p in pairs]
    questions = schema.read_table("questions", uvrd / "questions", ["clip_id"])
    return {"pairs": sum(bool(s & clips) for s in shown), "questions": sum(q["clip_id"] in clips for q in questions)}


def _before(run: Path) -> set[str]:
    return set(upstream.carried(run))
