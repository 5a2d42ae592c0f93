"""What a worker does with one clip: `survey` it (can it be used, and for which tasks), then `make` its rows.

A job and its result are plain JSON values, so that a process pool and Ray run the very same functions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from uvrlab.config import SynthesizeConfig
from uvrlab.data.world import stable_rng
from uvrlab.synthesis.captioners import Captioner, ProviderError, captioner
from uvrlab.synthesis.drafts import CUT, MIN_FRAMES, Subject, frames_in, leads
from uvrlab.synthesis.extend import Extension, Row, extend
from uvrlab.synthesis.filters import measure_clip, measure_text
from uvrlab.synthesis.plan import Cell
from uvrlab.synthesis.view import ClipView

Job = dict[str, Any]


@runtime_checkable
class Metered(Protocol):
    """A captioner that costs something."""

    def usage(self) -> dict[str, float]:
        """Requests, tokens, seconds and money since this thread last asked."""


COMPOSED = ("TI2V", "TV2V")  # need a reference that leads to the clip


def job(clip: Row, references: Sequence[Row], cells: Mapping[Cell, int], own: SynthesizeConfig, seed: int, base: Path) -> Job:
    """All that a worker needs to know."""
    wanted = [[cell.task, cell.style, n] for cell, n in cells.items()]
    return {
        "clip": clip,
        "references": list(references),
        "cells": wanted,
        "own": own.model_dump_json(),
        "seed": seed,
        "base": str(base.resolve()),
    }


def name(job: Job) -> str:
    return str(job["clip"]["clip_id"])


def survey(job: Job) -> dict[str, Any]:
    """`filters` rows of the clip, `tasks` that it can be the target of, its caption `styles`, and `reject` where it has no words.

    Raises MediaError where the clip does not decode.
    """
    own, provider = _context(job["own"])
    subject = _subject(job, own, provider)
    found: dict[str, Any] = {"filters": measure_clip(subject.view, own.filters) if own.filters.enabled else []}
    try:
        provider.check(subject.view)
        found["tasks"] = _tasks(subject, job["seed"])
        found["styles"] = dict(provider.styles(subject.view, own.styles))
    except ProviderError as error:
        found["reject"] = {"item": name(job), "reason": "no words", "detail": str(error)}
    return found


def _tasks(subject: Subject, seed: int) -> list[str]:
    """What the captioner writes for this clip: a composed task where a reference leads to it, a cut where it has the frames."""
    able = subject.provider.tasks(subject.view) - (CUT if frames_in(subject.view.row) < MIN_FRAMES else frozenset())

    def led(task: str) -> bool:
        """Each task has its own draws: a shared generator would follow the order of a set, which differs by process."""
        return next(leads(subject, task, stable_rng(seed, "survey", subject.view.row["clip_id"], task)), None) is not None

    return sorted(task for task in able if task not in COMPOSED or led(task))


def make(job: Job) -> dict[str, Any]:
    """The clip's `Extension` as a dict, with the text filters of its pairs as `filters`, and what the captioner used."""
    own, provider = _context(job["own"])
    subject = _subject(job, own, provider)
    cells = {Cell(task, style): n for task, style, n in job["cells"]}
    made: Extension = extend(subject.view, subject.references, cells, provider, own, job["seed"])
    texts = [row for pair in made.pairs for row in measure_text(pair, own.filters)] if own.filters.enabled else []
    used = provider.usage() if isinstance(provider, Metered) else {}
    return {**asdict(made), "filters": texts, "usage": used}


def _subject(job: Job, own: SynthesizeConfig, provider: Captioner) -> Subject:
    base = Path(job["base"])
    return Subject(ClipView(job["clip"], base), [ClipView(row, base) for row in job["references"]], provider, own)


@lru_cache(maxsize=4)
def _context(own: str) -> tuple[SynthesizeConfig, Captioner]:
    config = SynthesizeConfig.model_validate_json(own)
    return config, captioner(config)
