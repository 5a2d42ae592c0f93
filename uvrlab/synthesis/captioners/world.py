"""Words of the procedural world, read from the scene graph: all true by construction.

Information profiles are not applied here: what a caption dwells on follows from what sets its clip apart from its siblings. Times
of items are on the clip's clock, as in the scene.
"""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

import numpy as np

from uvrlab.data.world import Scene, captions, changes, frame_caption, questions, segment, text_trace, trace
from uvrlab.synthesis.captioners.base import Fluent, ProviderError, Row, Thought, follows, task_of
from uvrlab.synthesis.plan import Cell
from uvrlab.synthesis.view import ClipView

SLACK_S = 0.05  # a row that ends this much before its scene is the whole of it


class World(Fluent):
    """The scene graph in the clip's `scene` column; a row that is a window of its scene is worded as that window."""

    name, version, concurrency = "world", "world-1", 1

    def check(self, view: ClipView) -> None:
        if not view.row["scene"]:
            raise ProviderError("no scene graph; set synthesize.provider=given or rules for clips that are not rendered")
        scene_of(view)

    def strategies(self, reference: ClipView, item: Row, target: ClipView) -> tuple[str, ...]:
        if follows(reference, item, target):
            return ("continuation",) if task_of(item) == "TV2V" else ()
        old, new = scene_of(reference), scene_of(target)
        if task_of(item) == "TV2V":
            return changes.video_strategies(old, new)
        return changes.image_strategies(old, item["start_s"] - reference.row["start_s"], new)

    def caption(self, view: ClipView, style: str, rng: np.random.Generator) -> str:
        return captions(scene_of(view), rng)[style]

    def frame_caption(self, view: ClipView, at_s: float, rng: np.random.Generator, rich: bool = False) -> str:
        return frame_caption(scene_of(view), at_s - view.row["start_s"], rng, rich=rich)

    def change(self, reference: ClipView, item: Row, target: ClipView, strategy: str, rng: np.random.Generator) -> str:
        old, new = scene_of(reference), scene_of(target)
        try:
            if strategy == "continuation" and follows(reference, item, target):
                return changes.continuation(new, rng)
            if task_of(item) == "TV2V":
                return changes.video_change(old, new, strategy, rng)
            return changes.image_change(old, item["start_s"] - reference.row["start_s"], new, strategy, rng)
        except ValueError as error:
            raise ProviderError(str(error)) from error

    def query_trace(self, view: ClipView, cell: Cell, query: Row, rng: np.random.Generator, error_rate: float) -> Thought | None:
        scene, start_s = scene_of(view), view.row["start_s"]
        if query["modalities"] == ["text"]:
            return _thought(text_trace(query["text"], scene, rng))
        if "video" in query["modalities"]:
            seen = segment(scene, query["start_s"] - start_s, query["end_s"] - start_s)
            seen = seen if "audio" in query["modalities"] else replace(seen, sounds=(), track="none")
            return _thought(trace(seen, rng, error_rate=error_rate))
        words = frame_caption(scene, query["start_s"] - start_s, rng)
        return words, words.split(".")[0].strip() + ".", []

    def target_trace(self, view: ClipView, rng: np.random.Generator, error_rate: float) -> Thought | None:
        return _thought(trace(scene_of(view), rng, error_rate=error_rate))

    def questions(self, view: ClipView, rng: np.random.Generator) -> list[Row]:
        return [_question(question, view.row["start_s"]) for question in questions(scene_of(view), rng)]


def scene_of(view: ClipView) -> Scene:
    """The scene that the row shows, on its own clock. Raises ProviderError for a row of another version."""
    row = view.row
    try:
        scene = Scene.from_json(row["scene"])
        whole = row["start_s"] == 0.0 and row["end_s"] >= scene.duration_s - SLACK_S
        return scene if whole else segment(scene, row["start_s"], min(row["end_s"], scene.duration_s))
    except ValueError as error:
        raise ProviderError(str(error)) from error


def _question(question: Any, start_s: float) -> Row:
    """A row of the questions table; spans move from the scene's clock to the file's."""
    row = {k: v for k, v in asdict(question).items() if k != "kind"}
    spans = [{"start_s": start_s + start, "end_s": start_s + end} for start, end in question.true_spans]
    return {**row, "options": list(question.options), "true_spans": spans}


def _thought(found: tuple[Any, ...]) -> Thought:
    think, answer, *flags = found
    return think, answer, list(flags[0]) if flags else []
