"""Clips on both sides: what trains a model must not be what judges it.

Three kinds of evidence: the same media content (sha256), the same source video (`parent_id`), and in the world the same
attribute combination (colour, shape, motion). The judged clips are those of queries and positives; a mere distractor of a corpus
judges nobody.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from uvrlab.data import schema
from uvrlab.validation.suites import SAMPLE_ROWS, Verdict

COLUMNS = ("clip_id", "parent_id", "media_sha256", "split", "source", "scene")
Row = dict[str, Any]


@dataclass(frozen=True)
class Leak:
    """One piece of evidence that `train_clip` and `judged_clip` are not independent."""

    kind: str
    train_clip: str
    judged_clip: str
    evidence: str

    def as_json(self) -> dict[str, str]:
        return asdict(self)


def train_side(clips: Path, uvrd: Path) -> list[Row]:
    """Clips outside the test split, and any clip that a pair or a question uses."""
    used = {item["clip_id"] for pair in schema.read_table("pairs", uvrd / "pairs", ["query", "target"]) for item in pair.values()}
    used |= {row["clip_id"] for row in schema.read_table("questions", uvrd / "questions", ["clip_id"])}
    rows = schema.read_table("clips", clips / "clips", COLUMNS)
    return [row for row in rows if row["split"] != "test" or row["clip_id"] in used]


def judged_side(benchmark: Path) -> list[Row]:
    """Benchmark clips that a query shows or expects."""
    folder = benchmark / "benchmark"
    clip_of = {
        (row["dataset"], row["candidate_id"]): row["item"]["clip_id"] for row in schema.read_table("corpus", folder / "corpus")
    }
    wanted: set[str | None] = set()
    for query in schema.read_table("queries", folder / "queries", ["dataset", "item", "positives"]):
        wanted.add(query["item"]["clip_id"])
        wanted.update(clip_of.get((query["dataset"], positive)) for positive in query["positives"])
    return [row for row in schema.read_table("clips", folder / "clips", COLUMNS) if row["clip_id"] in wanted]


def _combos(row: Row) -> Iterable[str]:
    if not row["scene"]:
        return ()
    from uvrlab.data.world import Scene, attribute_combos

    return ("/".join(combo) for combo in attribute_combos(Scene.from_json(row["scene"])))


KINDS: dict[str, Callable[[Row], Iterable[str]]] = {
    "media content": lambda row: filter(None, [row["media_sha256"]]),
    "source video": lambda row: [f"{row['source']}:{row['parent_id']}"] if row["parent_id"] else [],
    "attribute combination": _combos,
}


def find_leaks(train: list[Row], judged: list[Row]) -> list[Leak]:
    """Every leak, one a (kind, judged clip, evidence), by hashing: linear in both sides."""
    leaks = []
    for kind, evidence_of in KINDS.items():
        seen: dict[str, str] = {}
        for row in train:
            for evidence in evidence_of(row):
                seen.setdefault(evidence, row["clip_id"])
        for row in judged:
            leaks += [Leak(kind, seen[e], row["clip_id"], e) for e in sorted(set(evidence_of(row)) & seen.keys())]
    return leaks


def verdicts(leaks: list[Leak], judged: list[Row], allowed: int) -> list[Verdict]:
    """One verdict a kind of evidence: at most `allowed` judged clips may leak."""
    by_kind: dict[str, set[str]] = defaultdict(set)
    for leak in leaks:
        by_kind[leak.kind].add(leak.judged_clip)
    return [
        Verdict(
            "leakage",
            f"no judged clip shares its {kind} with the training side",
            len(by_kind[kind]) <= allowed,
            len(judged),
            len(by_kind[kind]),
            sorted(by_kind[kind])[:SAMPLE_ROWS],
        )
        for kind in KINDS
    ]
