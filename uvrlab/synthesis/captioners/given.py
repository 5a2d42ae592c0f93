"""The caption that came with the clip, in the style `given`; no traces and no questions, since nothing beyond it is known."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from uvrlab.synthesis.captioners.base import WORDLESS, Row, Thought, repeats_a_video, unable
from uvrlab.synthesis.plan import GIVEN, Cell
from uvrlab.synthesis.view import ClipView


class Given:
    """The clip's own caption."""

    name, version, concurrency = "given", "given-1", 1

    def check(self, view: ClipView) -> None:
        return None

    def tasks(self, view: ClipView) -> frozenset[str]:
        return WORDLESS | ({"T2V"} if self.styles(view, {}) else set())

    def styles(self, view: ClipView, wanted: Mapping[Any, float]) -> Mapping[Any, float]:
        return {GIVEN: 1.0} if (view.row["caption"] or "").strip() and not repeats_a_video(view) else {}

    def strategies(self, reference: ClipView, item: Row, target: ClipView) -> tuple[str, ...]:
        return ()

    def caption(self, view: ClipView, style: str, rng: np.random.Generator) -> str:
        return str(view.row["caption"]).strip()

    def frame_caption(self, view: ClipView, at_s: float, rng: np.random.Generator, rich: bool = False) -> str:
        raise unable(self.name, "frame captions")

    def change(self, reference: ClipView, item: Row, target: ClipView, strategy: str, rng: np.random.Generator) -> str:
        raise unable(self.name, "changes")

    def query_trace(self, view: ClipView, cell: Cell, query: Row, rng: np.random.Generator, error_rate: float) -> Thought | None:
        return None

    def target_trace(self, view: ClipView, rng: np.random.Generator, error_rate: float) -> Thought | None:
        return None

    def questions(self, view: ClipView, rng: np.random.Generator) -> list[Row]:
        return []
