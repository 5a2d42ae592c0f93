"""The HTML page of `ingest`: what came in, what was left out and why, and a few clips to look at."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from uvrlab.config import IngestConfig, LimitsConfig
from uvrlab.data.decode import decode_frames
from uvrlab.data.sampling import sample_times
from uvrlab.data.workers import MediaPool, Reject
from uvrlab.report import Report
from uvrlab.report_blocks import Strip
from uvrlab.runs import Metric

if TYPE_CHECKING:
    from uvrlab.data.ingest import Ingested

EXAMPLES, FRAMES = 8, 6
UVRB = (
    "Sixteen rendered datasets that mirror those of UVRB. `reworded`: texts whose first wording was true of a second candidate; "
    "`of several`: queries that stay true of several, all of which count as right; `text misleads`: composed queries in which "
    "another object does the same in a wrong window."
)


def page(
    made: Ingested, strips: Sequence[Strip], counts: Mapping[str, int], metrics: Mapping[str, Metric], warnings: Sequence[str]
) -> Report:
    """Clips by split, length and sound, datasets of the benchmark, rejects, and a strip of some clips."""
    report = Report("Ingest", f"{counts['clips']} clips, {counts['queries']} benchmark queries, {counts['rejects']} rejects")
    report.headline(metrics)
    for warning in warnings:
        report.warning(warning)
    report.section("Clips").table(_splits(made), units={"video": "s"})
    if made.clips:
        report.histogram([c["duration_s"] for c in made.clips], "s", caption="Length of a clip")
    report.section("Benchmark", "Every dataset with its queries and candidates.").table(_datasets(made))
    if made.uvrb:
        report.section("Procedural UVRB", UVRB).table([tally.row() for tally in made.uvrb])
    if made.rejects:
        report.section("Rejects", ", ".join(f"{n} x {why}" for why, n in Counter(r.reason for r in made.rejects).most_common()))
        report.table([r.row() for r in made.rejects], limit=40)
    if strips:
        report.section("Examples", "Evenly spaced over the table.").frames(strips)
    return report


def _splits(made: Ingested) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    for split in dict.fromkeys(c["split"] for c in made.clips):
        clips = [c for c in made.clips if c["split"] == split]
        audible, captioned = sum(c["audible"] for c in clips), sum(bool(c["caption"]) for c in clips)
        seconds = round(sum(c["duration_s"] for c in clips), 1)
        rows.append({"split": split, "clips": len(clips), "video": seconds, "audible": audible, "captioned": captioned})
    return rows


def _datasets(made: Ingested) -> list[dict[str, object]]:
    queries = Counter((q["dataset"], q["ability"], q["task"]) for q in made.benchmark.queries)
    corpus = Counter(c["dataset"] for c in made.benchmark.corpus)
    return [
        {"dataset": name, "ability": ability, "task": task, "queries": n, "candidates": corpus[name]}
        for (name, ability, task), n in queries.items()
    ]


def example_strips(pool: MediaPool, clips: Sequence[dict[str, Any]], out: Path, own: IngestConfig) -> list[Strip]:
    """Film strips of some clips, decoded in workers; one that fails is left out."""
    chosen = clips[:: max(1, len(clips) // EXAMPLES)][:EXAMPLES]
    times = [sample_times(c["end_s"], FRAMES, c["start_s"], c["end_s"]) for c in chosen]
    fixed = {"base": str(out), "limits": own.limits.model_dump()}
    items = ({"uri": c["uri"], "times_s": t, **fixed} for c, t in zip(chosen, times, strict=True))
    return [
        Strip(frames, f"{clip['clip_id']}: {clip['caption'] or 'no caption'}", times_s, detail=clip["split"])
        for clip, times_s, frames in zip(chosen, times, pool.map(frames_of, items), strict=True)
        if not isinstance(frames, Reject)
    ]


def frames_of(item: dict[str, Any]) -> np.ndarray:
    """In a worker: frames (T, H, W, 3) of one example."""
    limits = LimitsConfig(**item["limits"])
    return decode_frames(item["uri"], item["times_s"], max_height=128, base=item["base"], limits=limits)
