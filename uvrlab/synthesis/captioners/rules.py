"""Captions without a model: the clip's own caption where it has one, and what was measured; nothing is guessed."""

from __future__ import annotations

from collections.abc import Callable

from uvrlab.data.media import MediaError
from uvrlab.data.schema import WORD_RANGES
from uvrlab.synthesis.captioners import picture, wording
from uvrlab.synthesis.captioners.base import (
    Fluent,
    ProviderError,
    Row,
    Thought,
    draw_profile,
    follows,
    repeats_a_video,
    task_of,
)
from uvrlab.synthesis.captioners.facts import HEIGHT, Facts, measure_facts
from uvrlab.synthesis.captioners.styles import rich_frame, thought, valid, write
from uvrlab.synthesis.captioners.wording import LIGHTER, LIVELIER, LOUDER_DB, Generator, assemble, pick, sentence
from uvrlab.synthesis.plan import Cell
from uvrlab.synthesis.view import ClipView


class Rules(Fluent):
    """A given caption plus dominant colours, light, motion, the view's own motion, cuts and loudness, each with its time."""

    name, version, concurrency = "rules", "rules-2", 1

    def strategies(self, reference: ClipView, item: Row, target: ClipView) -> tuple[str, ...]:
        if reference.row["parent_id"] != target.row["parent_id"]:
            return ()
        later = follows(reference, item, target)
        if reference.row["clip_id"] == target.row["clip_id"]:
            return ("continuation",) if later and task_of(item) == "TV2V" else ()
        old, new = measure_facts(reference), measure_facts(target)
        if task_of(item) == "TI2V":
            return ("identity+action", *(("identity+scene",) if _scene_change(old, new) else ()))
        options = {"continuation": later, **{name: bool(words(old, new)) for name, words in _CHANGES.items()}}
        return tuple(name for name, holds in options.items() if holds)

    def caption(self, view: ClipView, style: str, rng: Generator) -> str:
        given = None if repeats_a_video(view) else view.row["caption"]
        return write(style, measure_facts(view), given, draw_profile(rng), rng)

    def frame_caption(self, view: ClipView, at_s: float, rng: Generator, rich: bool = False) -> str:
        try:
            frame = view.frames([at_s], max_height=HEIGHT)
        except MediaError as error:
            raise ProviderError(f"not measured: {error}") from error
        numbers = picture.colour_numbers(frame)
        fields = tuple(picture.regions(numbers).items())
        luma, colours = float(picture.luma(frame)[0]), picture.shares(numbers)
        if rich:
            return valid("frame_rich", rich_frame(luma, colours, fields, float(frame.std()), rng))
        rows = wording.row_sentences(fields)
        lead = f"{pick(('a', 'a still,'), rng)} {wording.look_phrase(luma, colours)}"
        first = int(rng.integers(3))
        parts = [(0, 0, sentence(lead)), (1, 1, rows[first]), *((5, 2 + i, row) for i, row in enumerate(rows) if i != first)]
        parts.append((6, 9, f"About {round(100 * colours[0][1])} percent of it is {colours[0][0]}."))
        return valid("frame", assemble(parts, *WORD_RANGES["frame"]))

    def change(self, reference: ClipView, item: Row, target: ClipView, strategy: str, rng: Generator) -> str:
        if strategy not in self.strategies(reference, item, target):
            raise ProviderError(f"{strategy} does not lead from {reference.row['clip_id']} to {target.row['clip_id']}")
        old, new = measure_facts(reference), measure_facts(target)
        if task_of(item) == "TI2V":
            return valid(strategy, _image_change(old, new, strategy, rng))
        if strategy == "continuation":
            text = _continuation(new, rng)
        else:
            text = f"{pick(('the same video, but', 'as in this video, but'), rng)} {_CHANGES[strategy](old, new)}"
        return valid(strategy, sentence(text))

    def query_trace(self, view: ClipView, cell: Cell, query: Row, rng: Generator, error_rate: float) -> Thought | None:
        if "text" in query["modalities"]:
            return None
        if "video" in query["modalities"]:
            seen = {"start_s": query["start_s"], "end_s": query["end_s"], "caption": None}
            heard = {"audible": view.row["audible"] and "audio" in query["modalities"]}
            return thought(measure_facts(ClipView({**view.row, **seen, **heard}, view.base)), None, rng)
        words = self.frame_caption(view, query["start_s"], rng)
        return words, words.split(".")[0].strip() + ".", []

    def target_trace(self, view: ClipView, rng: Generator, error_rate: float) -> Thought | None:
        given = None if repeats_a_video(view) else view.row["caption"]
        return thought(measure_facts(view), given, rng)

    def questions(self, view: ClipView, rng: Generator) -> list[Row]:
        return []

    def facts(self, view: ClipView) -> list[str]:
        """What was measured, a line each: shown beside the clip in reports."""
        found = measure_facts(view)
        lines = [f"{found.frames} frames in {found.duration_s:g} s", wording.look_phrase(found.luma, found.colours)]
        lines += [
            f"view {found.view}, {wording.motion_phrase(found)} ({found.motion:g} % of a height a second)",
            wording.cut_phrase(found),
        ]
        level = f" ({found.sound.level_db:g} dBFS)" if found.sound else ""
        return [*lines, wording.sound_phrase(found) + level]


def _continuation(new: Facts, rng: Generator) -> str:
    """The view and what moves in it; the view alone where both are too many words, the motion where the view is unclear."""
    lead, most = pick(("after this", "next", "what follows:"), rng), WORD_RANGES["continuation"][1]
    view, motion = wording.view_phrase(new.view, rng), wording.motion_phrase(new)
    if not view:
        return f"{lead} there is {motion}"
    text = f"{lead} {view} with {motion}"
    return text if len(text.split()) <= most else f"{lead} {view}"


def _viewpoint(old: Facts, new: Facts) -> str:
    moved = "unclear" not in (old.view, new.view) and old.view != new.view and {old.view, new.view} != {"still", "nearly still"}
    return wording.VIEWS[new.view][0] if moved else ""


def _condition(old: Facts, new: Facts) -> str:
    said = []
    if abs(new.luma - old.luma) >= LIGHTER:
        said.append("the picture is brighter" if new.luma > old.luma else "the picture is darker")
    if old.sound and new.sound and abs(new.sound.level_db - old.sound.level_db) >= LOUDER_DB:
        said.append("the sound is louder" if new.sound.level_db > old.sound.level_db else "the sound is fainter")
    return " and ".join(said)


def _action(old: Facts, new: Facts) -> str:
    if max(old.motion, new.motion) < 0.3 or max(old.motion, new.motion) < LIVELIER * max(min(old.motion, new.motion), 0.01):
        return ""
    return f"with {wording.motion_phrase(new)}"


_CHANGES: dict[str, Callable[[Facts, Facts], str]] = {"viewpoint": _viewpoint, "condition": _condition, "action": _action}


def _scene_change(old: Facts, new: Facts) -> str:
    """Colours that the target has and the reference has not."""
    fresh = [name for name, _ in new.colours if name not in {n for n, _ in old.colours}]
    return f"where much of the picture is {' and '.join(fresh)}" if fresh else ""


def _image_change(old: Facts, new: Facts, strategy: str, rng: Generator) -> str:
    lead = pick(("from the video of this picture, a part", "the same video as this picture, a moment"), rng)
    if strategy == "identity+scene":
        return sentence(f"{lead} {_scene_change(old, new)}")
    said = [s for s in (wording.view_phrase(new.view, rng), f"there is {wording.motion_phrase(new)}") if s]
    return sentence(f"{lead} where {' and '.join(said)}, with {wording.sound_phrase(new)}")
