"""The stage `synthesize`: clips in, UVRD out (`pairs/`, `traces/`, `questions/`, `filters/`, `rejects.parquet`).

Two passes over the clips table, shard by shard: `survey` measures every clip and asks what it can give; then the mix is planned
over the clips that stay, and `make` writes their rows. Memory holds a few shards and some numbers a clip.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from uvrlab.config import StageConfig, SynthesizeConfig
from uvrlab.data import schema
from uvrlab.runs import Metric, RunError, StageReport, checkpoint_dir
from uvrlab.synthesis.captioners import captioner
from uvrlab.synthesis.executor import executor
from uvrlab.synthesis.families import PAIR_SPLITS
from uvrlab.synthesis.known import Known
from uvrlab.synthesis.pages import page
from uvrlab.synthesis.passes import TABLES, Passes
from uvrlab.synthesis.tally import Tally


def run(config: StageConfig[Any], inputs: dict[str, Path], out: Path) -> StageReport:
    """Write UVRD for the clips of `inputs["clips"]`. Raises RunError where too many clips are rejected or no pair is left."""
    work = Passes(config, inputs["clips"], checkpoint_dir())
    if not work.n_clips:
        raise RunError(f"no clips in the splits {', '.join(PAIR_SPLITS)}; raise ingest.world.train or ingest.splits.train")
    with executor(config.run, captioner(work.own).concurrency) as run_jobs:
        work.survey(run_jobs)
        known = work.known()
        work.make(run_jobs, known)
    tally = Tally.of(work.made, work.n_shards)
    _check(tally, work)
    _gather(work, out)
    return report(tally, known, work, out)


def _check(tally: Tally, work: Passes) -> None:
    """Too many faults, or no pair. Shards with faults are made again by the next attempt: a server may have come back."""
    share = tally.n_faults / max(tally.n_pairs + tally.n_faults, 1)
    if tally.n_pairs and share <= work.own.max_reject_fraction:
        return
    for shards in (work.surveyed, work.made):
        for number in range(work.n_shards):
            if shards is work.surveyed or tally.has_faults[number]:
                shards.forget(number)
    first = tally.first_fault or "no clip gave one"
    if not tally.n_pairs:
        raise RunError(f"no pairs from {work.n_clips} clips: {first}")
    reasons = ", ".join(f"{n} x {reason}" for reason, n in tally.faults.most_common())
    raise RunError(
        f"{share:.1%} of the rows are rejects ({reasons}), expected at most {work.own.max_reject_fraction:.1%}; first: {first}; "
        f"correct the clips or raise synthesize.max_reject_fraction"
    )


def _gather(work: Passes, out: Path) -> None:
    """The tables of UVRD in clip order, a file a shard."""
    for table in TABLES:
        (out / table).mkdir()
        for number in range(work.n_shards):
            target = out / table / f"part-{number:05d}.parquet"
            partial = target.with_suffix(".tmp")
            partial.write_bytes(work.made.file(number, table).read_bytes())
            partial.replace(target)
    rejects = [row for number in range(work.n_shards) for row in work.made.rows(number, "rejects")]
    schema.write_file("rejects", rejects, out / "rejects.parquet")


def report(tally: Tally, known: Known, work: Passes, out: Path) -> StageReport:
    """Counts by task, style and split, and what a reader should know about them."""
    counts = {name: tally.rows[name] for name in (*TABLES, "rejects")}
    by_task, by_style = Counter[str](), Counter[str]()
    for (task, style), n in sorted(tally.cells.items()):
        by_task[f"task_{task}"] += n
        by_style[f"style_{style}"] += n if style else 0
    counts |= {**by_task, **{k: n for k, n in sorted(by_style.items()) if n}}
    counts |= {f"split_{split}": n for split, n in sorted(tally.splits.items())}
    warnings = _warnings(tally, known, work.own)
    metrics = {
        "pairs": Metric(value=tally.n_pairs, unit="pairs"),
        "clips": Metric(value=tally.n_clips, unit="clips"),
        "clips kept": Metric(value=known.n_clips, unit="clips"),
    }
    shown = page(tally, known, work.source, out / "filters", work.own, warnings)
    cost = work.seconds | {f"captioner_{name}": float(value) for name, value in tally.usage.items()}
    return StageReport(stage="synthesize", metrics=metrics, counts=counts, warnings=warnings, cost=cost, page=shown)


def _warnings(tally: Tally, known: Known, own: SynthesizeConfig) -> list[str]:
    warnings = []
    if unable := [task for task, share in own.tasks.items() if share and not known.able[task]]:
        warnings.append(f"no clip gives {', '.join(unable)} under provider {own.provider}: their shares went to the other tasks")
    if tally.duplicates:
        warnings.append(
            f"{tally.duplicates} pairs left out: their clip already has that very query; lower synthesize.pairs_per_clip"
        )
    if tally.unled:
        warnings.append(f"{tally.unled} pairs left out: no reference leads to their clip")
    if known.able["TI2V"] and not (own.filters.enabled and own.filters.embedder):
        warnings.append("TI2V queries were not tried without their image; set synthesize.filters.embedder")
    if not tally.splits["train"]:
        warnings.append("no train pairs: every clip is in val or rl")
    return warnings
