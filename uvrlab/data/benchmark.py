"""Benchmark tables from clips: what is asked, what can be found, and which candidates are right.

Datasets of a test split come free: caption -> clip, one frame -> clip (I2V), a sub-clip -> clip (V2V), moments of a video.
Sources that are benchmarks bring their own queries; those whose media is absent or was rejected become rejects, never unanswerable
queries.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from uvrlab.data import schema
from uvrlab.data.schema import STYLE_ABILITIES, Modality, item
from uvrlab.data.sources.common import Candidate, QueryRow, SourceRow, moment_queries
from uvrlab.data.workers import Reject
from uvrlab.data.world.tables import stable_rng

Row = dict[str, Any]
REWORDINGS = 8  # tries to tell two clips apart before their common text gets both as positives


@dataclass
class Benchmark:
    """The tables of a benchmark, and what could not become part of it. `questions` are there where a source knows answers."""

    queries: list[Row] = field(default_factory=list)
    corpus: list[Row] = field(default_factory=list)
    clips: list[Row] = field(default_factory=list)
    questions: list[Row] = field(default_factory=list)
    rejects: list[Reject] = field(default_factory=list)

    def add(self, queries: Iterable[QueryRow], candidates: Iterable[Candidate], clips: Mapping[str, Row]) -> None:
        """Add queries and candidates whose clips exist; a query that loses all positives, or its own clip, is a reject."""
        kept: dict[str, set[str]] = {}
        for candidate in candidates:
            if (clip := clips.get(candidate.clip_id)) is not None:
                kept.setdefault(candidate.dataset, set()).add(candidate.candidate_id)
                self.corpus.append(_corpus_row(candidate, clip))
        for query in queries:
            there = kept.get(query.dataset, set())
            positives = [p for p in query.positives if p in there]
            if not positives or (query.clip_id and query.clip_id not in clips):
                detail = f"media not found: found none of the positives {list(query.positives)[:3]} among the usable clips"
                self.rejects.append(Reject(f"{query.dataset}:{query.query_id}", "missing", detail))
                continue
            self.queries.append(_query_row(query, positives, [p for p in query.pool if p in there]))

    def finish(self, clips: Mapping[str, Row]) -> None:
        """Fill `clips` with every clip that a query or a candidate names; drop datasets without a query."""
        asked = {q["dataset"] for q in self.queries}
        self.corpus = [c for c in self.corpus if c["dataset"] in asked]
        used = {row["item"]["clip_id"] for row in (*self.queries, *self.corpus)} - {None}
        self.clips = [row for clip_id, row in clips.items() if clip_id in used]

    def write(self, folder: Path) -> None:
        """`folder/{queries,corpus,clips}/part-*.parquet`, and `questions` if any; media stay where the clips' URIs say."""
        for table in ("queries", "corpus", "clips", *(["questions"] if self.questions else [])):
            schema.write_table(table, getattr(self, table), folder / table)


def _modalities(clip: Row) -> list[Modality]:
    return ["video", "audio"] if clip["audible"] else ["video"]


def _corpus_row(candidate: Candidate, clip: Row) -> Row:
    start_s = clip["start_s"] if candidate.start_s is None else candidate.start_s
    end_s = clip["end_s"] if candidate.end_s is None else min(candidate.end_s, clip["end_s"])
    target = item(clip_id=candidate.clip_id, start_s=start_s, end_s=end_s, modalities=_modalities(clip))
    return {"dataset": candidate.dataset, "candidate_id": candidate.candidate_id, "item": target}


def _query_row(query: QueryRow, positives: Sequence[str], pool: Sequence[str]) -> Row:
    modalities: list[Modality] = ["text"] if query.text else []
    if query.image_uri or "I" in query.task.split("2")[0]:
        modalities.append("image")
    if "V" in query.task.split("2")[0]:
        modalities.append("video")
    asked = item(
        text=query.text,
        image_uri=query.image_uri,
        clip_id=query.clip_id,
        start_s=query.start_s,
        end_s=query.end_s,
        modalities=modalities,
    )
    columns = {name: getattr(query, name) for name in ("dataset", "ability", "style", "task", "query_id")}
    return {**columns, "item": asked, "positives": list(positives), "pool": list(pool), "instruction": query.instruction}


def visual_queries(prefix: str, clips: Sequence[Row], seed: int) -> list[QueryRow]:
    """For every clip one of its frames (`<prefix>-i2v`) and one sub-clip of a quarter to a half of it (`<prefix>-v2v`)."""
    made = []
    for clip in clips:
        n = round(clip["duration_s"] * clip["fps"])
        if n < 4:
            continue
        rng, name, start_s = stable_rng(seed, "benchmark", clip["clip_id"]), clip["clip_id"], clip["start_s"]
        at_s = round(start_s + (int(rng.integers(n)) + 0.5) / clip["fps"], 6)
        length = max(2, round(float(rng.uniform(0.25, 0.5)) * n))
        first = int(rng.integers(n - length + 1))
        low, high = round(start_s + first / clip["fps"], 6), round(start_s + (first + length) / clip["fps"], 6)
        frame = QueryRow(f"{prefix}-i2v", "VIS", "I2V", name, (name,), clip_id=name, start_s=at_s, end_s=at_s, style="")
        made.append(frame)
        part = replace(frame, dataset=f"{prefix}-v2v", task="V2V", start_s=low, end_s=min(high, clip["end_s"]))
        made.append(part)
    return made


def text_queries(dataset: str, ability: str, style: str, texts: Sequence[tuple[str, str, tuple[str, ...]]]) -> list[QueryRow]:
    """(query id, text, positives) as queries; equal texts become one query with all their positives."""
    merged: dict[str, QueryRow] = {}
    for query_id, text, positives in texts:
        known = merged.get(text)
        if known is None:
            merged[text] = QueryRow(dataset, ability, "T2V", query_id, positives, text=text, style=style)
        else:
            merged[text] = replace(known, positives=tuple(dict.fromkeys((*known.positives, *positives))))
    return list(merged.values())


def add_world(made: Benchmark, clips: Sequence[Row], seed: int) -> None:
    """`world-<style>` for the five caption styles, `world-i2v`, `world-v2v`: all test clips are the candidates of each.

    Every kind of question that a clip allows is asked once.
    """
    from uvrlab.data.world import Scene, captions, questions

    texts: dict[str, list[tuple[str, str, tuple[str, ...]]]] = {style: [] for style in STYLE_ABILITIES}
    seen: set[str] = set()
    for clip in clips:
        scene, rng = Scene.from_json(clip["scene"]), stable_rng(seed, "benchmark", clip["clip_id"])
        text = captions(scene, rng)
        for _ in range(REWORDINGS):
            if not (known := [style for style in texts if text[style] in seen]):
                break
            again = captions(scene, rng)
            text |= {style: again[style] for style in known}
        seen.update(text.values())
        for style, rows in texts.items():
            rows.append((clip["clip_id"], text[style], (clip["clip_id"],)))
        made.questions += [q.to_row() for q in questions(scene, stable_rng(seed, "benchmark questions", clip["clip_id"]))]
    queries = [q for style, rows in texts.items() for q in text_queries(f"world-{style}", STYLE_ABILITIES[style], style, rows)]
    queries += visual_queries("world", clips, seed)
    _add_whole(made, queries, clips, clips)


def add_folder(made: Benchmark, clips: Sequence[Row], rows: Mapping[str, SourceRow], seed: int, captioned: bool) -> None:
    """`folder-captions`, `folder-i2v`, `folder-v2v` and `folder-moments` of the test split.

    Candidates are the test clips, or with `captioned` every clip with a caption. A caption of a cut video is right for all its
    windows.
    """
    test = [c for c in clips if c["split"] == "test"]
    candidates = [c for c in clips if c["split"] == "test" or (captioned and c["caption"])]
    windows: dict[str, list[str]] = {}
    for clip in test:
        windows.setdefault(clip["parent_id"], []).append(clip["clip_id"])
    texts = []
    for clip in test:
        whole = "caption:whole" in clip["tags"]
        positives = tuple(windows[clip["parent_id"]]) if whole else (clip["clip_id"],)
        if clip["caption"] and not (whole and clip["clip_id"] != positives[0]):
            texts.append((clip["clip_id"], clip["caption"], positives))
    queries = text_queries("folder-captions", "CG", "given", texts) + visual_queries("folder", test, seed)
    _add_whole(made, queries, candidates, clips)
    for parent in windows:
        _add_moments(made, rows.get(parent), clips)


def _add_moments(made: Benchmark, row: SourceRow | None, clips: Sequence[Row]) -> None:
    """Moments of one video, asked inside it; only where the video is one clip, so that a span is a span of that clip."""
    own = [c for c in clips if row is not None and c["clip_id"] == row.clip_id]
    if row is None or not row.moments or not own:
        return
    queries = [(f"{row.clip_id}#{i}", m.text, [[m.start_s, m.end_s]]) for i, m in enumerate(row.moments)]
    found = moment_queries("folder-moments", row.clip_id, own[0]["end_s"], queries)
    made.rejects += found.rejects
    made.add(found.queries, found.corpus, {row.clip_id: own[0]})


def _add_whole(made: Benchmark, queries: Sequence[QueryRow], candidates: Sequence[Row], clips: Sequence[Row]) -> None:
    datasets = dict.fromkeys(q.dataset for q in queries)
    corpus = (Candidate(dataset, c["clip_id"], c["clip_id"]) for dataset in datasets for c in candidates)
    made.add(queries, corpus, {c["clip_id"]: c for c in clips})
