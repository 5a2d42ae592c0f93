"""Where words come from. A provider turns one clip row into captions, traces and questions; nothing else may write text.

`world` reads the scene graph and knows all five styles. `given` has just the caption that came with the clip, in the style `given`:
it writes no traces and no questions, because it knows nothing beyond that caption.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any, Protocol

import numpy as np

from uvrlab.synthesis.plan import GIVEN, Cell

Row = dict[str, Any]
Thought = tuple[str, str, list[str]]  # think, answer, flags


class ProviderError(ValueError):
    """This clip cannot be worded: it becomes a reject row with this reason."""


class Provider(Protocol):
    """Words about one clip. Every method is a pure function of its arguments."""

    name: str
    version: str

    def check(self, clip: Row) -> None:
        """Raise ProviderError where the clip lacks what the provider reads."""

    def styles(self, clip: Row, wanted: Mapping[Any, float]) -> Mapping[Any, float]:
        """The styles it can write for this clip, with their shares; empty: no text queries."""

    def caption(self, clip: Row, style: str, rng: np.random.Generator) -> str: ...

    def query_trace(self, clip: Row, cell: Cell, query: Row, rng: np.random.Generator, error_rate: float) -> Thought | None: ...

    def target_trace(self, clip: Row, rng: np.random.Generator, error_rate: float) -> Thought | None: ...

    def questions(self, clip: Row, rng: np.random.Generator) -> list[Row]: ...


class Given:
    """The clip's own caption."""

    name, version = "given", "given-1"

    def check(self, clip: Row) -> None:
        return None

    def styles(self, clip: Row, wanted: Mapping[Any, float]) -> Mapping[Any, float]:
        # one text for all windows of a cut video would make each a false negative of the others: the first window keeps it
        repeated = "caption:whole" in (clip["tags"] or ()) and clip["start_s"] > 0
        return {GIVEN: 1.0} if (clip["caption"] or "").strip() and not repeated else {}

    def caption(self, clip: Row, style: str, rng: np.random.Generator) -> str:
        return str(clip["caption"]).strip()

    def query_trace(self, clip: Row, cell: Cell, query: Row, rng: np.random.Generator, error_rate: float) -> Thought | None:
        return None

    def target_trace(self, clip: Row, rng: np.random.Generator, error_rate: float) -> Thought | None:
        return None

    def questions(self, clip: Row, rng: np.random.Generator) -> list[Row]:
        return []


class World:
    """The scene graph in the clip's `scene` column; times of items are on the clip's clock, as in the scene."""

    name, version = "world", "world-1"

    def check(self, clip: Row) -> None:
        if not clip["scene"]:
            raise ProviderError("no scene graph; set synthesize.provider=given for clips that are not rendered")
        _scene(clip)

    def styles(self, clip: Row, wanted: Mapping[Any, float]) -> Mapping[Any, float]:
        return wanted

    def caption(self, clip: Row, style: str, rng: np.random.Generator) -> str:
        from uvrlab.data.world import captions

        return captions(_scene(clip), rng)[style]

    def query_trace(self, clip: Row, cell: Cell, query: Row, rng: np.random.Generator, error_rate: float) -> Thought | None:
        from uvrlab.data.world import frame_caption, segment, text_trace, trace

        scene, start_s = _scene(clip), clip["start_s"]
        if cell.task == "T2V":
            return _thought(text_trace(query["text"], scene, rng))
        if cell.task == "V2V":
            seen = segment(scene, query["start_s"] - start_s, query["end_s"] - start_s)
            seen = seen if "audio" in query["modalities"] else replace(seen, sounds=(), track="none")
            return _thought(trace(seen, rng, error_rate=error_rate))
        words = frame_caption(scene, query["start_s"] - start_s, rng)
        return words, words.split(".")[0].strip() + ".", []

    def target_trace(self, clip: Row, rng: np.random.Generator, error_rate: float) -> Thought | None:
        from uvrlab.data.world import trace

        return _thought(trace(_scene(clip), rng, error_rate=error_rate))

    def questions(self, clip: Row, rng: np.random.Generator) -> list[Row]:
        from uvrlab.data.world import questions

        return [_question(question, clip["start_s"]) for question in questions(_scene(clip), rng)]


PROVIDERS: dict[str, type[Provider]] = {"given": Given, "world": World}


def _scene(clip: Row) -> Any:
    from uvrlab.data.world import Scene

    try:
        return Scene.from_json(clip["scene"])
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
