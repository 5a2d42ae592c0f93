"""The five caption styles, a still's rich caption and a thought, from measured facts and the given caption where there is one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from uvrlab.data.schema import WORD_RANGES
from uvrlab.synthesis.captioners import picture, wording
from uvrlab.synthesis.captioners.answers import text_problems
from uvrlab.synthesis.captioners.base import Profile, ProviderError, Thought
from uvrlab.synthesis.captioners.facts import Facts
from uvrlab.synthesis.captioners.wording import LIGHTER, LIVELIER, Generator, Part, assemble, pick, sentence


def write(style: str, facts: Facts, given: str | None, profile: Profile, rng: Generator) -> str:
    """One caption from the given one (None: there is none) and the facts. Raises ProviderError where they do not suffice."""
    return valid(style, _STYLES[style](facts, given, profile, rng))


def valid(kind: str, text: str) -> str:
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
    light = picture.brightness_word(facts.luma)
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


def rich_frame(luma: float, colours: picture.Shares, fields: Any, contrast: float, rng: Generator) -> str:
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


def thought(facts: Facts, given: str | None, rng: Generator) -> Thought:
    said = [
        *wording.clauses(given)[-1:],
        f"the picture is {picture.brightness_word(facts.luma)} and {wording.colour_words(facts.colours)}",
    ]
    said += [s for s in (wording.view_phrase(facts.view, rng), wording.motion_phrase(facts), wording.cut_phrase(facts)) if s]
    said.append(wording.sound_phrase(facts))
    answer = _concise(facts, given, "temporal", rng)
    return " ".join(sentence(s) for s in said), answer, []
