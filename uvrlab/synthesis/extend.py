"""One clip in, its rows of UVRD out: V-SynFlow's task extension (GVE, arXiv 2510.27571, V-SynFlow stage 3).

A pure function of the clip, its references, its cells and the seed. The clip, or a part of it, is always on the target's side.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from uvrlab.config import SynthesizeConfig
from uvrlab.data.schema import STYLE_ABILITIES
from uvrlab.data.world import stable_rng
from uvrlab.synthesis import traces
from uvrlab.synthesis.captioners import Captioner, ProviderError
from uvrlab.synthesis.captioners.base import Thought
from uvrlab.synthesis.drafts import Draft, Subject, draft
from uvrlab.synthesis.plan import Cell
from uvrlab.synthesis.view import ClipView

Row = dict[str, Any]
TABLES = ("pairs", "traces", "questions", "rejects")
ABILITIES = {**STYLE_ABILITIES, "given": "CG", "frame": "CG", "frame_rich": "FG"}  # else by task
ABILITY_OF = {"I2V": "VIS", "V2V": "VIS", "TI2V": "CMP", "TV2V": "CMP"}
REDRAWS = 8  # before a query that the clip already has, or that nothing leads to, is left out


@dataclass
class Extension:
    """The rows of one clip. `duplicates` counts pairs left out because the clip already has that very query, `unled` those to which
    no reference leads."""

    pairs: list[Row] = field(default_factory=list)
    traces: list[Row] = field(default_factory=list)
    questions: list[Row] = field(default_factory=list)
    rejects: list[Row] = field(default_factory=list)
    duplicates: int = 0
    unled: int = 0

    def reject(self, name: str, reason: str, detail: str) -> None:
        self.rejects.append({"item": name, "reason": reason, "detail": detail})


def extend(
    view: ClipView,
    references: Sequence[ClipView],
    cells: Mapping[Cell, int],
    provider: Captioner,
    own: SynthesizeConfig,
    seed: int,
) -> Extension:
    """The pairs that `cells` asks for, with traces and questions. A fault of one pair or of the whole clip is a reject row."""
    out, seen, clip_id = Extension(), set[tuple[Any, ...]](), view.row["clip_id"]
    try:
        provider.check(view)
    except ProviderError as error:
        out.reject(clip_id, "no words", str(error))
        return out
    try:
        out.questions = _questions(view, provider, seed)
    except ProviderError as error:
        out.reject(f"{clip_id}/questions", "no questions", str(error))
    subject = Subject(view, references, provider, own)
    for cell, number in ((cell, n) for cell, count in cells.items() for n in range(count)):
        pair_id = f"{clip_id}:{cell}:{number}"
        try:
            made = _new_draft(subject, cell, stable_rng(seed, "query", pair_id), seen, out)
            if made is not None:
                pair, thoughts = _pair(pair_id, view.row, cell, made, provider), _traces(pair_id, cell, made, subject, seed, out)
                out.pairs.append(pair)
                out.traces += thoughts
        except ProviderError as error:
            out.reject(pair_id, "no query", str(error))
    return out


def _new_draft(subject: Subject, cell: Cell, rng: np.random.Generator, seen: set[tuple[Any, ...]], out: Extension) -> Draft | None:
    """A draft that asks what this clip is not asked yet; it enters `seen`. None, and counted, where there is none."""
    made = None
    for _ in range(REDRAWS):
        made = draft(subject, cell, rng)
        if made is not None and made.key not in seen:
            seen.add(made.key)
            return made
    if made is None:
        out.unled += 1
    else:
        out.duplicates += 1
    return None


def _pair(pair_id: str, clip: Row, cell: Cell, made: Draft, provider: Captioner) -> Row:
    return {
        "pair_id": pair_id,
        "task": cell.task,
        "ability": ABILITY_OF.get(cell.task) or ABILITIES[made.style],
        "style": made.style,
        "split": clip["split"],
        "query": made.query,
        "target": made.target,
        "negatives": [],
        "provider": provider.name,
        "prompt_version": provider.version,
        "scores": "{}",
    }


def _traces(pair_id: str, cell: Cell, made: Draft, subject: Subject, seed: int, out: Extension) -> list[Row]:
    """Query and target traces from separate generators: neither side's wording depends on the other's. Unfit ones are rejects."""
    rows = []
    for side in ("query", "target"):
        try:
            thought = _thought(side, cell, made, subject, stable_rng(seed, f"{side} trace", pair_id))
        except ProviderError as error:
            out.reject(f"{pair_id}/{side}", "no trace", str(error))
            continue
        if thought is None:
            continue
        think, answer, flags = thought
        if fault := traces.fault(think, answer):
            out.reject(f"{pair_id}/{side}", f"trace:{fault[0]}", fault[1])
        else:
            named = {"pair_id": pair_id, "side": side, "provider": subject.provider.name}
            rows.append({**named, "think": think, "answer": answer, "flags": flags})
    return rows


def _thought(side: str, cell: Cell, made: Draft, subject: Subject, rng: np.random.Generator) -> Thought | None:
    """What an annotator thinks who sees this side alone."""
    provider, error_rate = subject.provider, subject.own.trace_error_rate
    if side == "target" and "video" in made.target["modalities"]:
        return provider.target_trace(made.wanted, rng, error_rate)
    if side == "target":
        return provider.query_trace(made.wanted, cell, made.target, rng, error_rate)
    thought = provider.query_trace(made.seen, cell, made.query, rng, error_rate)
    if thought is None or made.query["modalities"][0] != "text" or len(made.query["modalities"]) == 1:
        return thought
    # a captioner describes the reference; what is sought is the reference with the change
    think, answer, flags = thought
    asked = made.query["text"]
    return f"{think} The text asks: {asked}", f"{answer.rstrip('. ')}; {asked[0].lower()}{asked[1:]}", flags


def _questions(view: ClipView, provider: Captioner, seed: int) -> list[Row]:
    clip = view.row
    rows = provider.questions(view, stable_rng(seed, "questions", clip["clip_id"]))
    return [{**row, "clip_id": clip["clip_id"], "split": clip["split"]} for row in rows]
