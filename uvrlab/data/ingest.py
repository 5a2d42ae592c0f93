"""The stage `ingest`: sources in, clips and a benchmark out (`clips/`, `media/`, `benchmark/`, `rejects.parquet`).

Reading names, measuring, cutting and asking are in `sources/`, `measure.py`, `cutting.py` and `benchmark.py`; here they are put
together. Media faults are reject rows; a stage with too many of them fails.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from uvrlab.config import IngestConfig, SourceConfig, StageConfig
from uvrlab.data import benchmark, cutting, schema
from uvrlab.data.benchmark import Benchmark
from uvrlab.data.hearing import add_hearing
from uvrlab.data.ingest_page import example_strips, page
from uvrlab.data.measure import Measured, copies, measure_all, proxies
from uvrlab.data.places import rooted, write_places
from uvrlab.data.shards import ShardWriter
from uvrlab.data.sources import read_source
from uvrlab.data.sources.common import Material, SourceRow, root_of
from uvrlab.data.sources.world import blocks, hearing_blocks, uvrb_blocks, world_clips
from uvrlab.data.uvrb.build import Tally, add_uvrb
from uvrlab.data.workers import MediaPool, Reject
from uvrlab.progress import Progress
from uvrlab.report_blocks import Strip
from uvrlab.runs import Metric, RunError, StageReport

Row = dict[str, Any]


@dataclass
class Ingested:
    """What the stage collects; `decoded` and `reused` count media files."""

    clips: list[Row] = field(default_factory=list)
    judged: list[Row] = field(default_factory=list)  # clips of benchmark sources; they never stand in `clips`
    rejects: list[Reject] = field(default_factory=list)
    benchmark: Benchmark = field(default_factory=Benchmark)
    uvrb: list[Tally] = field(default_factory=list)  # of the procedural UVRB, a dataset each
    roots: dict[str, str] = field(default_factory=dict)  # where the folders of the sources are
    decoded: int = 0
    reused: int = 0


def run(config: StageConfig[Any], inputs: dict[str, Path], out: Path) -> StageReport:
    """Write clips and benchmark of the configured sources. Raises RunError without a usable clip or with too many rejects."""
    own: IngestConfig = config.own
    sources = {"source": own.source, **{f"benchmark-{i}": source for i, source in enumerate(own.benchmark_sources)}}
    made = Ingested(roots={name: root_of(source.path) for name, source in sources.items() if source.path})
    write_places(out, made.roots)
    with MediaPool(config.run.workers, own.limits) as pool:
        with ShardWriter(out / "media") as shards:
            for name, source in sources.items():
                if source.kind == "world":
                    _add_world(made, pool, shards, own)
                else:
                    _add_material(made, _read(name, source, made.roots[name]), pool, shards, own, out)
        strips = example_strips(pool, made.clips or made.judged, out, own)
    _check(made, own)
    made.rejects += made.benchmark.rejects
    made.benchmark.finish({row["clip_id"]: row for row in (*made.clips, *made.judged)})
    schema.write_table("clips", made.clips, out / "clips")
    made.benchmark.write(out / "benchmark")
    schema.write_file("rejects", [r.row() for r in made.rejects], out / "rejects.parquet")
    return report(made, strips, own)


def _read(name: str, source: SourceConfig, root: str) -> Material:
    """What a source names, every URI counted from its root, so that no row depends on where the folder lies."""
    found = read_source(source)
    queries = [replace(q, image_uri=rooted(q.image_uri, root, name)) if q.image_uri else q for q in found.queries]
    rows = [replace(row, uri=rooted(row.uri, root, name)) for row in found.rows]
    return replace(found, rows=rows, queries=queries, evaluation_only=found.evaluation_only or name != "source")


def _add_world(made: Ingested, pool: MediaPool, shards: ShardWriter, own: IngestConfig) -> None:
    splits, mirrors, families = list(blocks(own.world)), list(uvrb_blocks(own.world)), list(hearing_blocks(own.world))
    progress = Progress("ingest", sum(len(block.items) for block in (*splits, *mirrors, *families)), "clips")

    def done(rendered: int, reused: int) -> None:
        made.decoded, made.reused = made.decoded + rendered, made.reused + reused
        progress.step(rendered + reused)

    mirrored, heard = list[Row](), list[Row]()
    for wanted, clips in ((splits, made.clips), (mirrors, mirrored), (families, heard)):
        for found in world_clips(pool, own.world, wanted, shards, done):
            if isinstance(found, Reject):
                made.rejects.append(found)
            else:
                clips.append(found)
    benchmark.add_world(made.benchmark, [c for c in made.clips if c["split"] == "test"], own.seed)
    made.judged += [*mirrored, *heard]
    if mirrors:
        made.uvrb = add_uvrb(made.benchmark, mirrored, own.seed)
    add_hearing(made.benchmark, heard, own.world, own.seed)


def _add_material(made: Ingested, material: Material, pool: MediaPool, shards: ShardWriter, own: IngestConfig, out: Path) -> None:
    made.rejects += material.rejects
    measured = _measure(made, material.rows, pool, own, out)
    rows = [row for row in material.rows if row.uri in measured]
    shas = {row.clip_id: measured[row.uri].sha256 for row in rows}
    splits = dict.fromkeys(shas, "test") if material.evaluation_only else cutting.assign_splits(rows, shas, own, own.seed)
    clips: list[Row] = []
    for row, current in _carried(made, rows, measured, pool, shards, own, out):
        clips += cutting.clip_rows(row, current, own, splits[row.clip_id])
    clips, short = cutting.too_short(clips, own.min_clip_s)
    made.rejects += short
    if material.evaluation_only:
        made.judged += clips
        made.benchmark.add(material.queries, material.corpus, {c["clip_id"]: c for c in clips})
    else:
        made.clips += clips
        by_id = {row.clip_id: row for row in rows}
        benchmark.add_folder(made.benchmark, clips, by_id, own.seed, captioned=own.benchmark == "captioned")


def _measure(made: Ingested, rows: Sequence[SourceRow], pool: MediaPool, own: IngestConfig, out: Path) -> dict[str, Measured]:
    """{URI: measurement} of everything usable; rejects are named by clip id, not by path."""
    uris = list(dict.fromkeys(row.uri for row in rows))
    names = {row.uri: row.clip_id for row in reversed(rows)}
    progress, measured = Progress("ingest", len(uris), "videos"), {}
    for uri, found in zip(uris, measure_all(pool, uris, own, out), strict=True):
        if isinstance(found, Reject):
            made.rejects.append(Reject(names[uri], found.reason, found.detail))
        else:
            measured[uri] = found
            made.decoded, made.reused = made.decoded + found.decoded, made.reused + (not found.decoded)
        progress.step()
    return measured


def _carried(
    made: Ingested,
    rows: Sequence[SourceRow],
    measured: dict[str, Measured],
    pool: MediaPool,
    shards: ShardWriter,
    own: IngestConfig,
    out: Path,
) -> Iterator[tuple[SourceRow, Measured]]:
    """Rows with the media they will refer to: the source's own, or a proxy or copy in our shards (one a content)."""
    if own.media == "reference":
        yield from ((row, measured[row.uri]) for row in rows)
        return
    jobs = {measured[row.uri].sha256: (row.uri, measured[row.uri]) for row in reversed(rows)}
    carried = proxies(pool, list(jobs.values()), own, out) if own.media == "proxy" else copies(list(jobs.values()), own, out)
    written: dict[str, tuple[str, Measured] | Reject] = {}
    for (sha256, (_, before)), found in zip(jobs.items(), carried, strict=True):
        if isinstance(found, Reject):
            written[sha256] = found
            continue
        data, probe = found
        written[sha256] = shards.add(f"{sha256}.mp4" if own.media == "proxy" else sha256, data), replace(before, probe=probe)
    for row in rows:
        entry = written[measured[row.uri].sha256]
        if isinstance(entry, Reject):
            made.rejects.append(Reject(row.clip_id, entry.reason, entry.detail))
        else:
            yield replace(row, uri=entry[0]), entry[1]


def _check(made: Ingested, own: IngestConfig) -> None:
    if not made.clips and not made.judged:
        first = f"; first reject: {made.rejects[0].item}: {made.rejects[0].detail}" if made.rejects else ""
        raise RunError(f"found no usable clip in source {own.source.kind!r}, expected at least one{first}")
    ids = Counter(clip["clip_id"] for clip in (*made.clips, *made.judged))
    if twice := [clip_id for clip_id, n in ids.items() if n > 1]:
        raise RunError(f"{len(twice)} clip ids stand in two sources, first {twice[0]!r}; rename the files of one of them")
    _few("videos", made.rejects, len(made.clips) + len(made.judged), own.max_reject_fraction)
    _few("queries", made.benchmark.rejects, len(made.benchmark.queries), own.max_reject_fraction)


def _few(what: str, rejects: Sequence[Reject], n_good: int, most: float) -> None:
    if len(rejects) > most * (n_good + len(rejects)):
        reasons = ", ".join(f"{n} x {reason}" for reason, n in Counter(r.reason for r in rejects).most_common())
        raise RunError(
            f"{len(rejects)} of {n_good + len(rejects)} {what} are rejects ({reasons}), expected at most {most:.0%}; first: "
            f"{rejects[0].item}: {rejects[0].detail}; correct the source or raise ingest.max_reject_fraction"
        )


def report(made: Ingested, strips: Sequence[Strip], own: IngestConfig) -> StageReport:
    """Counts and what a reader should know about them."""
    counts = {"clips": len(made.clips), "decoded": made.decoded, "reused": made.reused, "rejects": len(made.rejects)}
    counts |= {f"split_{split}": n for split, n in sorted(Counter(c["split"] for c in made.clips).items())}
    counts |= {f"reject_{reason}": n for reason, n in sorted(Counter(r.reason for r in made.rejects).items())}
    counts |= {"queries": len(made.benchmark.queries), "candidates": len(made.benchmark.corpus)}
    warnings = _warnings(made, own)
    seconds = sum(c["duration_s"] for c in made.clips)
    metrics = {
        "clips": Metric(value=len(made.clips), unit="clips"),
        "video": Metric(value=round(seconds, 3), unit="s"),
        "audible": Metric(value=sum(c["audible"] for c in made.clips), unit="clips"),
    }
    return StageReport(
        stage="ingest", metrics=metrics, counts=counts, warnings=warnings, page=page(made, strips, counts, metrics, warnings)
    )


def _warnings(made: Ingested, own: IngestConfig) -> list[str]:
    warnings = []
    if not made.benchmark.queries:
        warnings.append("the benchmark has no query: no clip fell into the test split; raise ingest.splits.test")
    if made.clips and not any(c["split"] == "train" for c in made.clips):
        warnings.append("no clip is in the train split; raise ingest.splits.train or ingest.world.train")
    uncaptioned = sum(not c["caption"] for c in made.clips)
    if uncaptioned:
        warnings.append(f"{uncaptioned} of {len(made.clips)} clips have no caption: only frames and sub-clips can ask for them")
    shared = [sha for sha, n in Counter((c["media_sha256"], c["start_s"]) for c in made.clips).items() if n > 1]
    if shared:
        warnings.append(f"{len(shared)} contents stand in the source more than once; equal files share a split")
    return warnings
