"""The stage `synthesize`: clips in, UVRD out (`pairs/`, `traces/`, `questions/`, `rejects.parquet`).

Only train, val and rl clips become pairs: a pretrain clip is for the backbone alone, a test clip for the benchmark alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from uvrlab.config import StageConfig, SynthesizeConfig
from uvrlab.data import schema
from uvrlab.progress import Progress
from uvrlab.runs import Metric, RunError, StageReport
from uvrlab.synthesis.captioners import Captioner, captioner
from uvrlab.synthesis.extend import Extension, Row, extend
from uvrlab.synthesis.pages import page
from uvrlab.synthesis.plan import Cell, cells_at, mix, place
from uvrlab.synthesis.view import ClipView

PAIR_SPLITS = ("train", "val", "rl")
TABLES = ("pairs", "traces", "questions")


def run(config: StageConfig[Any], inputs: dict[str, Path], out: Path) -> StageReport:
    """Write UVRD for the clips of `inputs["clips"]`. Raises RunError where too many clips are rejected or no pair is left."""
    own: SynthesizeConfig = config.own
    clips = [c for c in schema.read_table("clips", inputs["clips"] / "clips") if c["split"] in PAIR_SPLITS]
    if not clips:
        raise RunError(f"no clips in the splits {', '.join(PAIR_SPLITS)}; raise ingest.world.train or ingest.splits.train")
    provider = captioner(own)
    made = Extension()
    progress = Progress("synthesize", len(clips), "clips")
    for clip, cells in plan(clips, provider, own, config.run.seed):
        made.add(extend(clip, cells, provider, own, config.run.seed, inputs["clips"]))
        progress.step()
    if not made.pairs:
        first = made.rejects[0]["detail"] if made.rejects else "no clip gave one"
        raise RunError(f"no pairs from {len(clips)} clips: {first}")
    _check_rejects(made, own.max_reject_fraction)
    write(made, out)
    return report(made, clips, inputs["clips"], own)


def plan(clips: list[Row], provider: Captioner, own: SynthesizeConfig, seed: int) -> Iterable[tuple[Row, dict[Cell, int]]]:
    """Every clip with its cells, in table order. The mix holds within each split, and apart for clips without words."""
    groups: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    styles = {clip["clip_id"]: provider.styles(ClipView(clip, Path()), own.styles) for clip in clips}
    for clip in clips:
        groups.setdefault((clip["split"], tuple(sorted(styles[clip["clip_id"]]))), []).append(clip["clip_id"])
    places = {name: u for names in groups.values() for name, u in place(names, seed).items()}
    for clip in clips:
        shares = mix(own.tasks, styles[clip["clip_id"]])
        yield clip, cells_at(places[clip["clip_id"]], shares, own.pairs_per_clip)


def _check_rejects(made: Extension, most: float) -> None:
    share = len(made.rejects) / (len(made.pairs) + len(made.rejects))
    if share > most:
        reasons = ", ".join(f"{n} x {reason}" for reason, n in Counter(r["reason"] for r in made.rejects).most_common())
        raise RunError(
            f"{share:.1%} of the rows are rejects ({reasons}), expected at most {most:.1%}; first: {made.rejects[0]['detail']}; "
            f"correct the clips or raise synthesize.max_reject_fraction"
        )


def write(made: Extension, out: Path) -> None:
    """The tables of UVRD, in clip order."""
    for table in TABLES:
        schema.write_table(table, getattr(made, table), out / table)
    schema.write_file("rejects", made.rejects, out / "rejects.parquet")


def report(made: Extension, clips: list[Row], source: Path, own: SynthesizeConfig) -> StageReport:
    """Counts by task, style and split, and what a reader should know about them."""
    counts = {name: len(getattr(made, name)) for name in (*TABLES, "rejects")}
    for key in ("task", "style", "split"):
        named = Counter(f"{key}_{pair[key]}" for pair in made.pairs if pair[key])
        counts |= dict(sorted(named.items()))
    warnings = []
    if made.duplicates:
        warnings.append(
            f"{made.duplicates} pairs left out: their clip already has that very query; lower synthesize.pairs_per_clip"
        )
    if not counts.get("split_train"):
        warnings.append("no train pairs: every clip is in val or rl")
    metrics = {"pairs": Metric(value=len(made.pairs), unit="pairs"), "clips": Metric(value=len(clips), unit="clips")}
    return StageReport(
        stage="synthesize", metrics=metrics, counts=counts, warnings=warnings, page=page(made, clips, source, own, warnings)
    )
