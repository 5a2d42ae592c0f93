"""Captions without a model: the clip's own caption where it has one, and what was measured; nothing is guessed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from uvrlab.data.media import MediaError
from uvrlab.data.schema import WORD_RANGES
from uvrlab.synthesis.captioners import picture, wording
from uvrlab.synthesis.captioners.answers import text_problems
from uvrlab.synthesis.captioners.base import (
    WORDLESS,
    Profile,
    ProviderError,
    Row,
    Thought,
    draw_profile,
    repeats_a_video,
    task_of,
)
from uvrlab.synthesis.captioners.facts import HEIGHT, Facts, measure_facts
from uvrlab.synthesis.captioners.wording import Generator, Part, assemble, pick, sentence
from uvrlab.synthesis.plan import Cell
from uvrlab.synthesis.view import ClipView

LIGHTER, LOUDER_DB, LIVELIER = 25.0, 9.0, 3.0  # differences that a viewer notices: of luma, of level, a ratio of motions
SLACK_S = 0.05


class Rules:
    """A given caption plus dominant colours, light, motion, the view's own motion, cuts and loudness, each with its time."""

    name, version, concurrency = "rules", "rules-1", 1

    def check(self, view: ClipView) -> None:
        return None

    def tasks(self, view: ClipView) -> frozenset[str]:
        return WORDLESS | {"T2T", "T2I", "T2V", "TI2V", "TV2V"}

    def styles(self, view: ClipView, wanted: Mapping[Any, float]) -> Mapping[Any, float]:
        return wanted

    def strategies(self, reference: ClipView, item: Row, target: ClipView) -> tuple[str, ...]:
        if reference.row["parent_id"] != target.row["parent_id"]:
            return ()
        later = item["end_s"] <= target.row["start_s"] + SLACK_S
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
            return _valid("frame_rich", _rich_frame(luma, colours, fields, float(frame.std()), rng))
        rows = wording.row_sentences(fields)
        lead = f"{pick(('a', 'a still,'), rng)} {wording.look_phrase(luma, colours)}"
        first = int(rng.integers(3))
        parts = [(0, 0, sentence(lead)), (1, 1, rows[first]), *((5, 2 + i, row) for i, row in enumerate(rows) if i != first)]
        parts.append((6, 9, f"About {round(100 * colours[0][1])} percent of it is {colours[0][0]}."))
        return _valid("frame", assemble(parts, *WORD_RANGES["frame"]))

    def change(self, reference: ClipView, item: Row, target: ClipView, strategy: str, rng: Generator) -> str:
        if strategy not in self.strategies(reference, item, target):
            raise ProviderError(f"{strategy} does not lead from {reference.row['clip_id']} to {target.row['clip_id']}")
        old, new = measure_facts(reference), measure_facts(target)
        if task_of(item) == "TI2V":
            return _valid(strategy, _image_change(old, new, strategy, rng))
        if strategy == "continuation":
            said = [wording.view_phrase(new.view, rng), wording.motion_phrase(new)]
            text = f"{pick(('after this', 'next', 'what follows:'), rng)} {' with '.join(s for s in said if s)}"
        else:
            text = f"{pick(('the same video, but', 'as in this video, but'), rng)} {_CHANGES[strategy](old, new)}"
        return _valid(strategy, sentence(text))

    def query_trace(self, view: ClipView, cell: Cell, query: Row, rng: Generator, error_rate: float) -> Thought | None:
        if "text" in query["modalities"]:
            return None
        if "video" in query["modalities"]:
            seen = {"start_s": query["start_s"], "end_s": query["end_s"], "caption": None}
            heard = {"audible": view.row["audible"] and "audio" in query["modalities"]}
            return _thought(measure_facts(ClipView({**view.row, **seen, **heard}, view.base)), None, rng)
        words = self.frame_caption(view, query["start_s"], rng)
        return words, words.split(".")[0].strip() + ".", []

    def target_trace(self, view: ClipView, rng: Generator, error_rate: float) -> Thought | None:
        given = None if repeats_a_video(view) else view.row["caption"]
        return _thought(measure_facts(view), given, rng)

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


def write(style: str, facts: Facts, given: str | None, profile: Profile, rng: Generator) -> str:
    """One caption from the given one (None: there is none) and the facts. Raises ProviderError where they do not suffice."""
    return _valid(style, _STYLES[style](facts, given, profile, rng))


def _valid(kind: str, text: str) -> str:
    if faults := text_problems(kind, text):
        raise ProviderError(f"{kind}: {'; '.join(faults)}: {text!r}")
    return text


def _concise(facts: Facts, given: str | None, profile: Profile, rng: Generator) -> str:
    """The given caption where it is short enough, else the look; facts follow up to ten words, and now and then one more."""
    low, high = WORD_RANGES["concise"]
    short = [clause for clause in wording.clauses(given) if len(clause.split()) <= high]
    text = short[0] if short else f"a {wording.look_phrase(facts.luma, facts.colours)}"
    more = int(rng.random() < 0.5)
    for phrase in wording.by_profile(facts, profile, rng):
        wanted = len(text.split()) < low or more > 0
        if wanted and phrase not in text and len(f"{text}; {phrase}".split()) <= high:
            more -= len(text.split()) >= low
            text = f"{text}; {phrase}"
    return sentence(text)


def _rich(facts: Facts, given: str | None, profile: Profile, rng: Generator) -> str:
    parts: list[Part] = [(0, i, sentence(c)) for i, c in enumerate(wording.clauses(given)[:1])]
    parts.append((1, 10, sentence(f"the clip shows a {wording.look_phrase(facts.luma, facts.colours)}")))
    parts += [(2 if profile == "spatial" else 4, 20 + i, text) for i, text in enumerate(wording.row_sentences(facts.fields))]
    parts += [(2 if profile == "temporal" else 3, 30 + i, text) for i, text in enumerate(wording.timeline(facts, rng))]
    parts.append((1 if profile == "other" else 3, 60, sentence(f"there is {wording.sound_phrase(facts)}")))
    parts.append((3, 61, sentence(f"over {facts.duration_s:.1f} seconds there is {wording.cut_phrase(facts)}")))
    parts += [(5 + i, 70 + i, text) for i, text in enumerate(_details(facts))]
    low, high = WORD_RANGES["rich"]
    return assemble(parts, low, high, enough=low + 10)


def _details(facts: Facts) -> list[str]:
    """True sentences of falling interest, for clips that leave a rich caption too short."""
    shares = [f"{name} covers about {round(100 * share)} percent of the picture" for name, share in facts.colours]
    lumas = [s.luma for s in facts.stretches]
    light = "stays much the same" if max(lumas) - min(lumas) < LIGHTER else "changes as the clip goes on"
    texts = [sentence(" and ".join(shares)), f"The light {light} from the first frame to the last."]
    if facts.sound is not None:
        texts.append(f"The mean level of the sound is {facts.sound.level_db:.0f} decibels below full scale.".replace("-", ""))
    texts.append(sentence(f"taken as a whole there is {wording.motion_phrase(facts)}"))
    shape = (
        "taller than wide"
        if facts.height > facts.width
        else "as wide as it is tall"
        if facts.height == facts.width
        else "wider than tall"
    )
    texts.append(f"The picture is {shape}, and this was measured on {facts.frames} frames of the clip.")
    texts.append("Colours are named by what most pixels of a part show, and motion by how far pixels travel between two frames.")
    return texts


def _abstract(facts: Facts, given: str | None, profile: Profile, rng: Generator) -> str:
    pace = "still" if facts.motion < 0.05 else "calm" if facts.motion < 1.0 else "lively" if facts.motion < 6.0 else "busy"
    light = "dark" if facts.luma < 65 else "dim" if facts.luma < 105 else "bright"
    parts: list[Part] = [(0, 0, sentence(f"a {pace}, {light} {pick(('piece of footage', 'scene', 'recording'), rng)}"))]
    steady = {"still": "seen from one fixed point", "nearly still": "seen from nearly one point", "unclear": ""}
    viewpoint = steady.get(facts.view, "seen from a viewpoint that travels")
    takes = "told in one take" if not facts.cuts_s else f"put together from {len(facts.cuts_s) + 1} shots"
    parts.append((1, 1, sentence(f"it is {' and '.join(s for s in (viewpoint, takes) if s)}")))
    places = {s.place for s in facts.stretches if s.place and s.motion >= 0.1}
    spread = (
        "nowhere in particular" if not places else "one part of the picture" if len(places) == 1 else "several parts of the picture"
    )
    parts.append((2, 2, f"What happens, happens in {spread}." if places else f"What happens, happens {spread}."))
    heard = {"none": "comes without sound", "silent": "has a sound track that is silent", "sound": "can be heard as well as seen"}
    parts.append((2, 3, f"It {heard[facts.track]}."))
    if facts.sound is not None:
        even = "rises at single moments" if facts.sound.loud else "keeps to one level"
        parts.append((3, 4, f"What is heard {even}."))
    lively = [s.motion for s in facts.stretches]
    if len(lively) > 1 and max(lively) > LIVELIER * min(lively) and max(lively) >= 1.0:
        half = "first" if int(np.argmax(lively)) < len(lively) / 2 else "second"
        parts.append((3, 5, f"Most of the activity falls into the {half} half."))
    else:
        parts.append((3, 5, "The activity is much the same from beginning to end."))
    parts.append((5, 6, "No more than that can be told from light, motion and sound alone."))
    return assemble(parts, *WORD_RANGES["abstract"])


def _keywords(facts: Facts, given: str | None, profile: Profile, rng: Generator) -> str:
    words = wording.keywords(given)[:14]
    colours = [name for name, _ in facts.colours]
    said = wording.colour_words(facts.colours)
    measured = [p.replace(",", "") for p in wording.by_profile(facts, profile, rng) if p != said]
    parts: list[Part] = [(0, i, word) for i, word in enumerate(words)]
    parts += [(1, 50 + i, name) for i, name in enumerate(colours)]
    parts += [(1 + i, 60 + i, phrase.removeprefix("the ")) for i, phrase in enumerate(measured)]
    low, high = WORD_RANGES["keywords"]
    return assemble(parts, low, high if rng.random() < 0.5 else 20, joiner=", ")


def _partial(facts: Facts, given: str | None, profile: Profile, rng: Generator) -> str:
    """One aspect or one stretch of the clip, never the whole."""
    part = facts.stretches[int(rng.integers(len(facts.stretches)))]
    options = {
        "temporal": f"between {part.start_s:.1f} and {part.end_s:.1f} seconds {wording.stretch_clause(part, rng)}",
        "spatial": pick(wording.row_sentences(facts.fields), rng).rstrip(".").lower(),
        "other": f"there is {wording.sound_phrase(facts)}, in a {wording.look_phrase(facts.luma, facts.colours)}",
    }
    lead = pick(("in part of this clip", "in one stretch of the video", "somewhere in this recording"), rng)
    text = f"{lead}, {options[profile]}"
    if len(text.split()) < WORD_RANGES["partial"][0]:
        text += f", with {wording.colour_words(part.colours)} tones"
    return sentence(text)


_STYLES: dict[str, Callable[[Facts, str | None, Profile, Generator], str]] = {
    "concise": _concise,
    "rich": _rich,
    "abstract": _abstract,
    "keywords": _keywords,
    "partial": _partial,
}


def _rich_frame(luma: float, colours: picture.Shares, fields: Any, contrast: float, rng: Generator) -> str:
    shares = [f"about {round(100 * share)} percent are {name}" for name, share in colours]
    hard = "strong" if contrast > 60 else "moderate" if contrast > 30 else "weak"
    parts: list[Part] = [
        (0, 0, sentence(f"a still, {wording.look_phrase(luma, colours)}")),
        *((1, 1 + i, text) for i, text in enumerate(wording.row_sentences(fields))),
        (2, 5, f"Of all its pixels {' and '.join(shares)}."),
        (2, 6, f"The contrast between its light and dark parts is {hard}."),
        (5, 7, "Each part is named by the colour that covers most of it."),
        (6, 8, "What is told here was measured in this one frame, and holds for no other moment."),
    ]
    return assemble(parts, *WORD_RANGES["frame_rich"])


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


def _thought(facts: Facts, given: str | None, rng: Generator) -> Thought:
    said = [*wording.clauses(given)[-1:], f"the picture is {brightness(facts)} and {wording.colour_words(facts.colours)}"]
    said += [s for s in (wording.view_phrase(facts.view, rng), wording.motion_phrase(facts), wording.cut_phrase(facts)) if s]
    said.append(wording.sound_phrase(facts))
    answer = _concise(facts, given, "temporal", rng)
    return " ".join(sentence(s) for s in said), answer, []


def brightness(facts: Facts) -> str:
    return picture.brightness_word(facts.luma)
