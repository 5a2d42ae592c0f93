"""The two passes over the clips table, in shards that are kept when they are finished and not made again."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from uvrlab.config import StageConfig, SynthesizeConfig
from uvrlab.data.schema import iter_rows
from uvrlab.data.workers import Reject
from uvrlab.progress import Progress
from uvrlab.synthesis import jobs
from uvrlab.synthesis.drafts import whole
from uvrlab.synthesis.executor import Map, Result
from uvrlab.synthesis.families import references, shards
from uvrlab.synthesis.filters import apply
from uvrlab.synthesis.filters.similarity import domains, measure_similarity
from uvrlab.synthesis.known import Known
from uvrlab.synthesis.shards import Shards, by_shard
from uvrlab.synthesis.unaided import measure_unaided
from uvrlab.synthesis.view import ClipView

Row = dict[str, Any]
TABLES = ("pairs", "traces", "questions", "filters")


class Passes:
    """The two passes: which shards there are, how they are made, and where they are kept."""

    def __init__(self, config: StageConfig[Any], source: Path, folder: Path) -> None:
        self.own: SynthesizeConfig = config.own
        self.seed, self.device, self.source = config.run.seed, config.run.device, source
        self.surveyed, self.made = Shards(folder / "surveyed"), Shards(folder / "made")
        sizes = [sum(map(len, families)) for families in self._shards()]
        self.n_shards, self.n_clips = len(sizes), sum(sizes)
        self.seconds: dict[str, float] = {}
        self._embedder: Any = None

    def _shards(self) -> Iterator[list[list[Row]]]:
        return shards(self.source / "clips", self.own.clips_per_shard)

    def survey(self, run: Map) -> None:
        """First pass: every clip is measured."""
        progress = Progress("survey", self.n_clips, "clips")

        def pending() -> Iterator[tuple[int, list[jobs.Job]]]:
            for number, families in enumerate(self._shards()):
                if self.surveyed.has(number):
                    progress.resume(progress.done + sum(map(len, families)))
                    continue
                yield number, [self._job(clip, references(i, family), {}) for family in families for i, clip in enumerate(family)]

        for number, own, results in by_shard(pending(), lambda stream: run(jobs.survey, stream, jobs.name)):
            found = {jobs.name(job): r for job, r in zip(own, results, strict=True) if not isinstance(r, Reject)}
            rejects = [r.row() for r in results if isinstance(r, Reject)] + [r["reject"] for r in found.values() if "reject" in r]
            rows = [row for r in found.values() for row in r["filters"]]
            able = {name: [r["tasks"], r["styles"]] for name, r in found.items() if "tasks" in r}
            clips = {jobs.name(job): {name: job["clip"][name] for name in ("split", "source", "tags")} for job in own}
            self.surveyed.write(number, {"filters": rows, "rejects": rejects}, {"able": able, "clips": clips})
            progress.step(len(own))
        self.seconds["survey_s"] = round(progress.seconds, 2)

    def make(self, run: Map, known: Known) -> None:
        """Second pass: the rows of the clips that stay."""
        progress = Progress("synthesize", self.n_clips, "clips")
        clips: dict[int, dict[str, Row]] = {}

        def pending() -> Iterator[tuple[int, list[jobs.Job]]]:
            for number, families in enumerate(self._shards()):
                if self.made.has(number):
                    progress.resume(progress.done + sum(map(len, families)))
                    continue
                clips[number] = {clip["clip_id"]: clip for family in families for clip in family}
                kept = [[clip for clip in family if known.stays(clip["clip_id"])] for family in families]
                wanted = [(clip, references(i, family)) for family in kept for i, clip in enumerate(family)]
                yield number, [self._job(clip, near, known.cells(clip["clip_id"])) for clip, near in wanted]

        for number, _, results in by_shard(pending(), lambda stream: run(jobs.make, stream, jobs.name)):
            own = clips.pop(number)
            self._finish(number, own, results, known)
            progress.step(len(own))
        self.seconds["make_s"] = round(progress.seconds, 2)

    def _job(self, clip: Row, near: list[Row], cells: Any) -> jobs.Job:
        return jobs.job(clip, near, cells, self.own, self.seed, self.source)

    def _finish(self, number: int, clips: dict[str, Row], results: list[Result], known: Known) -> None:
        """Put a shard together: what its workers made, less what the filters of pairs drop."""
        made = [r for r in results if not isinstance(r, Reject)]
        tables = {name: [row for r in made for row in r[name]] for name in (*TABLES, "rejects")}
        tables["filters"] += self._embedded(tables["pairs"], clips)
        dropped = apply(tables["filters"]).pairs
        scores = _scores(tables["filters"])
        kept = [row for row in tables["pairs"] if row["pair_id"] not in dropped]
        tables["pairs"] = [{**row, "scores": json.dumps(scores.get(row["pair_id"], {}), sort_keys=True)} for row in kept]
        tables["traces"] = [row for row in tables["traces"] if row["pair_id"] not in dropped]
        gone = [known.dropped[name] for name in clips if name in known.dropped]
        faults = self.surveyed.rows(number, "rejects") + [r.row() for r in results if isinstance(r, Reject)]
        tables["rejects"] = [*gone, *faults, *tables["rejects"], *dropped.values()]
        measured = self.surveyed.rows(number, "filters") + [row for name in clips for row in known.twins.get(name, ())]
        tables["filters"] = measured + tables["filters"]
        left = {key: sum(r[key] for r in made) for key in ("duplicates", "unled")}
        used: Counter[str] = Counter()
        for one in made:
            used.update(one["usage"])
        self.made.write(number, tables, {"clips": len(clips), "usage": used, **left})

    def _embedded(self, pairs: list[Row], clips: dict[str, Row]) -> list[Row]:
        """The filters that need an embedder; none without one."""
        own = self.own.filters
        if not (own.enabled and own.embedder and pairs):
            return []
        arguments = (pairs, clips, self.source, own, self._loaded(own.embedder))
        return measure_similarity(*arguments) + measure_unaided(*arguments)

    def known(self) -> Known:
        """What the finished survey comes to. With an embedder, clips that look alike are compared by their vectors too."""
        own = self.own.filters
        judges = (self._vectors, domains(own.embedder)) if own.enabled and own.embedder else ()
        return Known.of(self.surveyed, self.n_shards, self.own, self.seed, *judges)

    def _vectors(self, wanted: Sequence[str]) -> dict[str, np.ndarray]:
        """Unit vectors of whole clips by id."""
        from uvrlab.data.items import ClipIndex

        names = set(wanted)
        rows = [row for row in iter_rows("clips", self.source / "clips") if row["clip_id"] in names]
        index = ClipIndex().add_rows(rows, self.source)
        items = [index.item(whole(ClipView(row, self.source)), row["clip_id"]) for row in rows]
        found = self._loaded(str(self.own.filters.embedder)).encode_or_reject(items)
        return {rows[i]["clip_id"]: vector for i, vector in zip(found.kept, found.vectors, strict=True)}

    def _loaded(self, embedder: str) -> Any:
        if self._embedder is None:
            from uvrlab.models.encode import Embedder

            self._embedder = Embedder.load(embedder, device=self.device)
        return self._embedder


def _scores(rows: Sequence[Row]) -> dict[str, dict[str, float]]:
    """{pair id: {filter: score}}, from rows of the table `filters`."""
    found: dict[str, dict[str, float]] = defaultdict(dict)
    for row in rows:
        if row["pair_id"] is not None and row["score"] is not None:
            found[row["pair_id"]][row["filter"]] = row["score"]
    return found
