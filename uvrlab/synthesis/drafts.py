"""The query and the target of one pair: task extension to seven modality pairs (GVE, arXiv 2510.27571, V-SynFlow stage 3).

T2T two captions of the clip; T2I a frame's caption and the frame; T2V a caption; TI2V a frame of another clip and what changes;
TV2V a span of 2-10 s and what changes or follows; I2V a frame; V2V a sub-clip. Every cut lies on a frame edge of its file.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from uvrlab.config import SynthesizeConfig
from uvrlab.data.schema import Modality, item
from uvrlab.synthesis.captioners import Captioner, ProviderError
from uvrlab.synthesis.plan import Cell
from uvrlab.synthesis.view import ClipView

Row = dict[str, Any]
SUBCLIP_SHARE = (0.25, 0.5)  # of the clip's length
SUBCLIP_S = (0.5, 10.0)
REFERENCE_S = (2.0, 10.0)  # of a TV2V query
MIN_FRAMES = 4
CUT = frozenset({"T2I", "I2V", "V2V"})  # need a frame or a sub-clip of the clip itself
FRAME_STYLES = ("frame", "frame_rich")


@dataclass(frozen=True)
class Subject:
    """What drafts are made from: the clip, clips that may be references for it, and who writes."""

    view: ClipView
    references: Sequence[ClipView]
    provider: Captioner
    own: SynthesizeConfig


@dataclass(frozen=True)
class Draft:
    """One query and its target. `seen` is the view that shows the query, `wanted` the one that shows the target."""

    query: Row
    target: Row
    style: str
    seen: ClipView
    wanted: ClipView

    @property
    def key(self) -> tuple[Any, ...]:
        """Equal for queries that ask the same."""
        return tuple(self.query[name] for name in ("text", "clip_id", "start_s", "end_s"))


@dataclass(frozen=True)
class Lead:
    """A way to the target: a reference item in its view, what leads on from it, and the strategy."""

    reference: ClipView
    item: Row
    target: ClipView
    strategies: tuple[str, ...] = field(default=())


def draft(subject: Subject, cell: Cell, rng: np.random.Generator) -> Draft | None:
    """A pair of this cell. None where nothing leads from a reference to the clip; ProviderError where it cannot be worded."""
    return DRAFTS[cell.task](subject, cell, rng)


def whole(view: ClipView) -> Row:
    """The clip as an item: its picture, and its sound where it can be heard."""
    row = view.row
    modalities: tuple[Modality, ...] = ("video", "audio") if row["audible"] else ("video",)
    return item(clip_id=row["clip_id"], start_s=row["start_s"], end_s=row["end_s"], modalities=modalities)


def part(view: ClipView, first: int, end: int) -> ClipView:
    """The frames [first, end) of a clip as a clip of its own, on the same clock."""
    row = view.row
    start_s, end_s = (edge(row, frame) for frame in (first, end))
    return replace(view, row={**row, "start_s": start_s, "end_s": end_s, "duration_s": end_s - start_s})


def edge(row: Row, frame: int) -> float:
    """When a frame of the clip begins, on the file's clock; never past the clip's end."""
    return min(round(row["start_s"] + frame / row["fps"], 6), row["end_s"])


def frames_in(row: Row) -> int:
    return round((row["end_s"] - row["start_s"]) * row["fps"])


def subclip(n_frames: int, fps: float, rng: np.random.Generator) -> tuple[int, int]:
    """First frame and end frame (exclusive) of a sub-clip: a quarter to a half of the clip, 0.5 to 10 s, never the whole."""
    wanted_s = min(max(rng.uniform(*SUBCLIP_SHARE) * n_frames / fps, SUBCLIP_S[0]), SUBCLIP_S[1])
    length = min(max(round(wanted_s * fps), 2), n_frames - 1)
    first = int(rng.integers(n_frames - length + 1))
    return first, first + length


def _t2v(subject: Subject, cell: Cell, rng: np.random.Generator) -> Draft:
    view = subject.view
    text = subject.provider.caption(view, cell.style, rng)
    return Draft(item(text=text, modalities=["text"]), whole(view), cell.style, view, view)


def _t2t(subject: Subject, cell: Cell, rng: np.random.Generator) -> Draft | None:
    """Two captions of one clip, in two styles where there are two."""
    view, provider = subject.view, subject.provider
    styles = [s for s, share in provider.styles(view, subject.own.styles).items() if share > 0]
    other = [s for s in styles if s != cell.style] or [cell.style]
    texts = [provider.caption(view, s, rng) for s in (cell.style, other[int(rng.integers(len(other)))])]
    if texts[0] == texts[1]:
        return None
    target = item(text=texts[1], clip_id=view.row["clip_id"], modalities=["text"])
    return Draft(item(text=texts[0], modalities=["text"]), target, cell.style, view, view)


def _t2i(subject: Subject, cell: Cell, rng: np.random.Generator) -> Draft:
    view = subject.view
    at_s, rich = _frame_time(view, rng), bool(rng.random() < 0.5)
    text = subject.provider.frame_caption(view, at_s, rng, rich)
    return Draft(item(text=text, modalities=["text"]), _frame(view, at_s), FRAME_STYLES[rich], view, view)


def _i2v(subject: Subject, cell: Cell, rng: np.random.Generator) -> Draft:
    view = subject.view
    return Draft(_frame(view, _frame_time(view, rng)), whole(view), "", view, view)


def _v2v(subject: Subject, cell: Cell, rng: np.random.Generator) -> Draft:
    view = subject.view
    row = part(view, *subclip(_enough(view), view.row["fps"], rng)).row
    query = item(clip_id=row["clip_id"], start_s=row["start_s"], end_s=row["end_s"], modalities=["video"])
    return Draft(query, whole(view), "", view, view)


def _change(subject: Subject, cell: Cell, rng: np.random.Generator) -> Draft | None:
    """A reference and the text that leads from it to the clip: the first way, in random order, that the captioner knows."""
    for lead in leads(subject, cell.task, rng):
        strategy = lead.strategies[int(rng.integers(len(lead.strategies)))]
        text = subject.provider.change(lead.reference, lead.item, lead.target, strategy, rng)
        query = item(**{**lead.item, "text": text, "modalities": ["text", *lead.item["modalities"]]})
        return Draft(query, whole(lead.target), strategy, lead.reference, lead.target)
    return None


def leads(subject: Subject, task: str, rng: np.random.Generator) -> Iterator[Lead]:
    """Every way to the clip from a frame (TI2V) or a span (TV2V) that the captioner has a strategy for, in random order."""
    ways = [*(_from_frame if task == "TI2V" else _from_span)(subject, rng)]
    for i in rng.permutation(len(ways)):
        way = ways[i]
        if strategies := subject.provider.strategies(way.reference, way.item, way.target):
            yield replace(way, strategies=strategies)


def _from_frame(subject: Subject, rng: np.random.Generator) -> Iterator[Lead]:
    for reference in subject.references:
        if frames_in(reference.row) >= MIN_FRAMES:
            yield Lead(reference, _frame(reference, _frame_time(reference, rng)), subject.view)
    for first, rest in _halves(subject.view, rng):
        yield Lead(first, _frame(first, _frame_time(first, rng)), rest)


def _from_span(subject: Subject, rng: np.random.Generator) -> Iterator[Lead]:
    """A neighbour, its last 10 s where it is longer; or the first part of the clip itself, which the rest continues."""
    for reference in subject.references:
        if frames_in(reference.row) >= REFERENCE_S[0] * reference.row["fps"]:
            yield _span(_last(reference), subject.view)
    for first, rest in _halves(subject.view, rng):
        yield _span(_last(first), rest)


def _halves(view: ClipView, rng: np.random.Generator) -> Iterator[tuple[ClipView, ClipView]]:
    """The clip cut in two parts of at least 2 s and 4 frames, at any frame; nothing where it is too short."""
    n, least = frames_in(view.row), max(MIN_FRAMES, math.ceil(REFERENCE_S[0] * view.row["fps"]))
    if n >= 2 * least:
        cut = int(rng.integers(least, n - least + 1))
        yield part(view, 0, cut), part(view, cut, n)


def _last(view: ClipView) -> ClipView:
    """The last 10 s of a clip."""
    n = frames_in(view.row)
    return part(view, max(0, n - int(REFERENCE_S[1] * view.row["fps"])), n)


def _span(reference: ClipView, target: ClipView) -> Lead:
    row = reference.row
    return Lead(reference, item(clip_id=row["clip_id"], start_s=row["start_s"], end_s=row["end_s"], modalities=["video"]), target)


def _frame(view: ClipView, at_s: float) -> Row:
    return item(clip_id=view.row["clip_id"], start_s=at_s, end_s=at_s, modalities=["image"])


def _frame_time(view: ClipView, rng: np.random.Generator) -> float:
    """The middle of a frame's interval: whichever way a time is rounded, it is this frame."""
    frame = int(rng.integers(_enough(view)))
    return round(view.row["start_s"] + (frame + 0.5) / view.row["fps"], 6)


def _enough(view: ClipView) -> int:
    n_frames = frames_in(view.row)
    if n_frames < MIN_FRAMES:
        raise ProviderError(f"{n_frames} frames are too few to cut; expected at least {MIN_FRAMES}")
    return n_frames


DRAFTS: dict[str, Callable[[Subject, Cell, np.random.Generator], Draft | None]] = {
    "T2T": _t2t,
    "T2I": _t2i,
    "T2V": _t2v,
    "TI2V": _change,
    "TV2V": _change,
    "I2V": _i2v,
    "V2V": _v2v,
}
