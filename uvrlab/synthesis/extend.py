"""One clip in, its rows of UVRD out: V-SynFlow's task extension (GVE, arXiv 2510.27571, V-SynFlow stage 3).

A pure function of the clip row, its cells and the seed. T2V is a caption -> the clip; I2V is one frame -> the clip; V2V is a
sub-clip cut on frame edges -> the clip. The clip is always the target: picture, and sound where the clip is audible.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from uvrlab.config import SynthesizeConfig
from uvrlab.data.schema import STYLE_ABILITIES, Modality, item
from uvrlab.data.world import stable_rng
from uvrlab.synthesis.captioners import Captioner, ProviderError
from uvrlab.synthesis.plan import Cell
from uvrlab.synthesis.view import ClipView

Row = dict[str, Any]
ABILITIES = {**STYLE_ABILITIES, "given": "CG", "": "VIS"}
SUBCLIP_SHARE = (0.25, 0.5)  # of the clip's length
SUBCLIP_S = (0.5, 10.0)
MIN_FRAMES = 4
REDRAWS = 8  # before a query that the clip already has is left out


@dataclass
class Extension:
    """The rows of one clip; `duplicates` counts pairs left out because the clip already has that very query."""

    pairs: list[Row] = field(default_factory=list)
    traces: list[Row] = field(default_factory=list)
    questions: list[Row] = field(default_factory=list)
    rejects: list[Row] = field(default_factory=list)
    duplicates: int = 0

    def add(self, other: Extension) -> None:
        """Append the rows of another clip."""
        for table in ("pairs", "traces", "questions", "rejects"):
            getattr(self, table).extend(getattr(other, table))
        self.duplicates += other.duplicates


def extend(
    clip: Row, cells: Mapping[Cell, int], provider: Captioner, own: SynthesizeConfig, seed: int, base: Path = Path()
) -> Extension:
    """The pairs that `cells` asks for, with traces and questions. A fault of one pair or of the whole clip is a reject row."""
    out, seen, view = Extension(), set[tuple[Any, ...]](), ClipView(clip, base)
    try:
        provider.check(view)
        out.questions = _questions(view, provider, seed)
    except ProviderError as error:
        out.rejects.append({"item": clip["clip_id"], "reason": "no words", "detail": str(error)})
        return out
    target = item(clip_id=clip["clip_id"], start_s=clip["start_s"], end_s=clip["end_s"], modalities=_target_modalities(clip))
    for cell, number in ((cell, n) for cell, count in cells.items() for n in range(count)):
        pair_id = f"{clip['clip_id']}:{cell}:{number}"
        try:
            query = _new_query(view, cell, provider, stable_rng(seed, "query", pair_id), seen)
        except ProviderError as error:
            out.rejects.append({"item": pair_id, "reason": "no query", "detail": str(error)})
            continue
        if query is None:
            out.duplicates += 1
            continue
        out.pairs.append(_pair(pair_id, clip, cell, query, target, provider))
        out.traces += _traces(pair_id, view, cell, query, provider, own.trace_error_rate, seed)
    return out


def _target_modalities(clip: Row) -> tuple[Modality, ...]:
    return ("video", "audio") if clip["audible"] else ("video",)


def _new_query(view: ClipView, cell: Cell, provider: Captioner, rng: np.random.Generator, seen: set[tuple[Any, ...]]) -> Row | None:
    """A query that this clip does not have yet, or None; it enters `seen`."""
    for _ in range(REDRAWS):
        query = _query(view, cell, provider, rng)
        key = tuple(query[name] for name in ("text", "start_s", "end_s"))
        if key not in seen:
            seen.add(key)
            return query
    return None


def _query(view: ClipView, cell: Cell, provider: Captioner, rng: np.random.Generator) -> Row:
    clip = view.row
    if cell.task == "T2V":
        return item(text=provider.caption(view, cell.style, rng), modalities=["text"])
    n_frames = round((clip["end_s"] - clip["start_s"]) * clip["fps"])
    if n_frames < MIN_FRAMES:
        raise ProviderError(f"{n_frames} frames are too few for a {cell.task} query; expected at least {MIN_FRAMES}")
    if cell.task == "I2V":
        # the middle of a frame's interval: whichever way a time is rounded, it is this frame
        at_s = round(clip["start_s"] + (int(rng.integers(n_frames)) + 0.5) / clip["fps"], 6)
        return item(clip_id=clip["clip_id"], start_s=at_s, end_s=at_s, modalities=["image"])
    low, high = subclip(n_frames, clip["fps"], rng)
    start_s, end_s = (round(clip["start_s"] + frame / clip["fps"], 6) for frame in (low, high))
    return item(clip_id=clip["clip_id"], start_s=start_s, end_s=min(end_s, clip["end_s"]), modalities=["video"])


def subclip(n_frames: int, fps: float, rng: np.random.Generator) -> tuple[int, int]:
    """First frame and end frame (exclusive) of a sub-clip: a quarter to a half of the clip, 0.5 to 10 s, never the whole."""
    wanted_s = min(max(rng.uniform(*SUBCLIP_SHARE) * n_frames / fps, SUBCLIP_S[0]), SUBCLIP_S[1])
    length = min(max(round(wanted_s * fps), 2), n_frames - 1)
    first = int(rng.integers(n_frames - length + 1))
    return first, first + length


def _pair(pair_id: str, clip: Row, cell: Cell, query: Row, target: Row, provider: Captioner) -> Row:
    return {
        "pair_id": pair_id,
        "task": cell.task,
        "ability": ABILITIES[cell.style],
        "style": cell.style,
        "split": clip["split"],
        "query": query,
        "target": target,
        "negatives": [],
        "provider": provider.name,
        "prompt_version": provider.version,
        "scores": "{}",
    }


def _traces(pair_id: str, view: ClipView, cell: Cell, query: Row, provider: Captioner, error_rate: float, seed: int) -> list[Row]:
    """Query and target traces from separate generators: neither side's wording depends on the other's."""
    sides = {
        "query": provider.query_trace(view, cell, query, stable_rng(seed, "query trace", pair_id), error_rate),
        "target": provider.target_trace(view, stable_rng(seed, "target trace", pair_id), error_rate),
    }
    rows = []
    for side, thought in sides.items():
        if thought is not None:
            think, answer, flags = thought
            named = {"pair_id": pair_id, "side": side, "provider": provider.name}
            rows.append({**named, "think": think, "answer": answer, "flags": flags})
    return rows


def _questions(view: ClipView, provider: Captioner, seed: int) -> list[Row]:
    clip = view.row
    rows = provider.questions(view, stable_rng(seed, "questions", clip["clip_id"]))
    return [{**row, "clip_id": clip["clip_id"], "split": clip["split"]} for row in rows]
