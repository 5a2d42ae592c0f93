"""What every captioner is: the only way that words about clips enter UVRD (GVE, arXiv 2510.27571, V-SynFlow stage 2).

A captioner reads a `ClipView` and writes captions, frame captions, changes between two clips, traces and questions. What it cannot
write for a clip it says beforehand (`tasks`, `styles`, `strategies`); what fails all the same is a `ProviderError`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Protocol, get_args, runtime_checkable

import numpy as np

from uvrlab.synthesis.plan import Cell
from uvrlab.synthesis.view import ClipView

Row = dict[str, Any]
Thought = tuple[str, str, list[str]]  # think, answer, flags
Task = Literal["T2T", "T2I", "T2V", "TI2V", "TV2V", "I2V", "V2V"]
TASKS: frozenset[str] = frozenset(get_args(Task))
WORDLESS: frozenset[str] = frozenset({"I2V", "V2V"})  # need frames alone, whoever writes

# How a target may differ from its reference, by pair task; the paper's strategies. Their word limits are in schema.WORD_RANGES.
STRATEGIES: dict[str, tuple[str, ...]] = {
    "TI2V": ("identity+action", "identity+scene", "identity+negative", "relation"),
    "TV2V": ("continuation", "viewpoint", "condition", "action"),
}

SLACK_S = 0.05  # spans that overlap by less follow one another

Profile = Literal["spatial", "temporal", "other"]
PROFILES: dict[Profile, float] = {"spatial": 0.3, "temporal": 0.6, "other": 0.1}


class ProviderError(ValueError):
    """This clip cannot be worded: it becomes a reject row with this reason."""


class Captioner(Protocol):
    """Words about clips. Every method is a pure function of its arguments (`openai`: of them and its cache)."""

    name: str
    version: str
    concurrency: int  # how many threads may usefully call it at once; 1 where the work is this machine's own

    def check(self, view: ClipView) -> None:
        """Raise ProviderError where the clip lacks what the captioner reads."""

    def tasks(self, view: ClipView) -> frozenset[str]:
        """The pair tasks that it can write for with this clip as the target; reads the row alone, decodes nothing."""

    def styles(self, view: ClipView, wanted: Mapping[Any, float]) -> Mapping[Any, float]:
        """The styles it can write for this clip, with their shares; empty: no text queries. Decodes nothing."""

    def strategies(self, reference: ClipView, item: Row, target: ClipView) -> tuple[str, ...]:
        """The strategies by which `change` can lead from the reference item (a frame: TI2V, a span: TV2V) to the target."""

    def caption(self, view: ClipView, style: str, rng: np.random.Generator) -> str:
        """A caption within the word range of its style."""

    def frame_caption(self, view: ClipView, at_s: float, rng: np.random.Generator, rich: bool = False) -> str:
        """What the frame at `at_s` (file's clock) shows, without implied motion: 10-25 words, rich 50-200."""

    def change(self, reference: ClipView, item: Row, target: ClipView, strategy: str, rng: np.random.Generator) -> str:
        """The text that turns the reference item into a query for the target: at most 50 words to an image, 5-15 to a video."""

    def query_trace(self, view: ClipView, cell: Cell, query: Row, rng: np.random.Generator, error_rate: float) -> Thought | None:
        """A thought about the query alone; None: none is written. `error_rate` is for providers that know the truth."""

    def target_trace(self, view: ClipView, rng: np.random.Generator, error_rate: float) -> Thought | None:
        """A thought about the target alone."""

    def questions(self, view: ClipView, rng: np.random.Generator) -> list[Row]:
        """Rows of the questions table without clip_id and split."""


class Fluent:
    """What captioners share that can word any clip: they lack nothing, and write for every task in the styles that are wanted."""

    def check(self, view: ClipView) -> None:
        return None

    def tasks(self, view: ClipView) -> frozenset[str]:
        return TASKS

    def styles(self, view: ClipView, wanted: Mapping[Any, float]) -> Mapping[Any, float]:
        return wanted


@runtime_checkable
class Measuring(Protocol):
    """A captioner that can show what it measured."""

    def facts(self, view: ClipView) -> list[str]:
        """A line a fact. Raises ProviderError where the clip does not decode."""


def draw_profile(rng: np.random.Generator) -> Profile:
    """What a caption dwells on: 30 % spatial, 60 % temporal, 10 % other information."""
    return list(PROFILES)[int(rng.choice(len(PROFILES), p=list(PROFILES.values())))]


def task_of(item: Row) -> str:
    """TI2V where the reference is a frame, TV2V where it is a span."""
    return "TI2V" if "image" in item["modalities"] else "TV2V"


def follows(reference: ClipView, item: Row, target: ClipView) -> bool:
    """Whether the target comes after the reference's item in one and the same video."""
    return reference.row["parent_id"] == target.row["parent_id"] and item["end_s"] <= target.row["start_s"] + SLACK_S


def unable(captioner: str, what: str) -> ProviderError:
    """The error of a method that a captioner does not serve."""
    return ProviderError(f"provider {captioner} writes no {what}; ask tasks() and strategies() first")


def repeats_a_video(view: ClipView) -> bool:
    """Whether the clip's caption is one that an earlier window of the same video already has.

    One text for all windows would make each a false negative of the others: the first window keeps it.
    """
    return "caption:whole" in (view.row["tags"] or ()) and view.row["start_s"] > 0
