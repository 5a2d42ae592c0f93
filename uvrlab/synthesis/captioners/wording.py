"""Measured facts in words: phrases and sentences that say what was measured, and nothing beyond."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

import numpy as np

from uvrlab.synthesis.captioners.base import Profile, ProviderError
from uvrlab.synthesis.captioners.facts import Facts, Stretch
from uvrlab.synthesis.captioners.loudness import level_word
from uvrlab.synthesis.captioners.picture import COLUMNS, ROWS, Shares, brightness_word, colour_words

Generator = np.random.Generator
Part = tuple[int, int, str]  # priority, position, text
VIEWS: dict[str, tuple[str, ...]] = {
    "still": ("the view stays still", "the view is fixed"),
    "nearly still": ("the view stays almost still", "the view is nearly steady"),
    "left": ("the view goes left", "the view travels to the left"),
    "right": ("the view goes right", "the view travels to the right"),
    "up": ("the view goes up", "the view travels upwards"),
    "down": ("the view goes down", "the view travels downwards"),
    "in": ("the view draws closer", "the view goes forwards or zooms in"),
    "out": ("the view draws back", "the view goes backwards or zooms out"),
    "about": ("the view moves in changing directions", "the view moves about"),
}
LIGHTER, LOUDER_DB, LIVELIER = 25.0, 9.0, 3.0  # differences that a viewer notices: of luma, of level, a ratio of motions
TOWARDS = {"left": "towards the left", "right": "towards the right", "up": "upwards", "down": "downwards"}
_STOP = frozenset(
    {"and", "are", "being", "for", "from", "had", "has", "have", "her", "him", "his", "into", "its", "off", "one", "over", "she"}
    | {"some", "that", "the", "their", "them", "there", "they", "this", "two", "under", "very", "was", "were", "while", "with"}
)


def pick(options: Sequence[str], rng: Generator) -> str:
    return options[int(rng.integers(len(options)))]


def sentence(text: str) -> str:
    return text[0].upper() + text[1:].rstrip(".;, ") + "."


def view_phrase(word: str, rng: Generator) -> str:
    """Empty where the view's motion is not clear."""
    return pick(VIEWS[word], rng) if word in VIEWS else ""


def motion_phrase(found: Facts | Stretch) -> str:
    """ "strong motion in the bottom left, towards the right"."""
    edges = ((0.05, "hardly any motion"), (1.0, "little motion"), (6.0, "some motion"), (float("inf"), "strong motion"))
    words = next(word for edge, word in edges if found.motion < edge)
    if found.motion < 0.05:
        return words
    where = f" in the {found.place}" if found.place else ""
    return words + where + (f"{',' if where else ''} {TOWARDS[found.heading]}" if found.heading and found.motion >= 0.3 else "")


def cut_phrase(facts: Facts) -> str:
    """Cuts by number and time."""
    if not facts.cuts_s:
        return "no cut"
    times = [f"{t:.1f}" for t in facts.cuts_s]
    if len(times) <= 3:
        return f"{'a cut' if len(times) == 1 else 'cuts'} at {' and '.join(times)} seconds"
    return f"{len(times)} cuts, the first at {times[0]} seconds"


def sound_phrase(facts: Facts) -> str:
    """The track, its level, and where it stands out."""
    if facts.sound is None:
        return "no sound" if facts.track == "none" else "a silent sound track"
    words, loud = f"{level_word(facts.sound.level_db)} sound", facts.sound.loud
    if not loud:
        return words
    times = [f"{a:.1f}" for a, _ in loud[:3]]
    return f"{words}, louder at {' and '.join(times)} seconds" if len(loud) <= 3 else f"{words}, louder at {len(loud)} moments"


def look_phrase(luma: float, colours: Shares) -> str:
    """ "dark picture, mostly grey and brown"."""
    return f"{brightness_word(luma)} picture, {colour_words(colours)}"


def row_sentences(fields: Iterable[tuple[tuple[str, str], Shares]]) -> list[str]:
    """The colours of the three rows of the picture, from the top."""
    leading = {place: found[0][0] for place, found in fields}
    texts = []
    for row in ROWS:
        names = [leading[row, column] for column in COLUMNS]
        where = {"top": "At the top", "middle": "Across the middle", "bottom": "At the bottom"}[row]
        if len(set(names)) == 1:
            texts.append(f"{where} the picture is {names[0]} from left to right.")
        else:
            texts.append(f"{where} it is {names[0]} on the left, {names[1]} in the centre and {names[2]} on the right.")
    return texts


def stretch_clause(part: Stretch, rng: Generator) -> str:
    """What happens in one stretch, without its time."""
    view, motion = view_phrase(part.view, rng), motion_phrase(part)
    text = f"{view}, with {motion}" if view else f"there is {motion}"
    return f"{text}, and the sound stands out" if part.loud else text


def timeline(facts: Facts, rng: Generator) -> list[str]:
    """A sentence a stretch, with its times; neighbours that would read alike are one."""
    runs: list[tuple[Stretch, float]] = []
    for part in facts.stretches:
        same = runs and _gist(runs[-1][0]) == _gist(part) and not any(abs(part.start_s - c) < 0.06 for c in facts.cuts_s)
        runs[-1:] = [(runs[-1][0], part.end_s)] if same else [*runs[-1:], (part, part.end_s)]
    texts = []
    for part, end_s in runs:
        when = f"from {part.start_s:.1f} to {end_s:.1f} seconds"
        colours = f"; the picture is {colour_words(part.colours)}" if len(runs) > 1 else ""
        texts.append(sentence(f"{when} {stretch_clause(part, rng)}{colours}"))
    return texts


def _gist(part: Stretch) -> tuple[object, ...]:
    return part.view, motion_phrase(part), part.loud, tuple(name for name, _ in part.colours)


def overview(facts: Facts, rng: Generator) -> dict[Profile, list[str]]:
    """Short phrases by kind of information, the most telling first."""
    temporal = [p for p in (view_phrase(facts.view, rng), motion_phrase(facts), cut_phrase(facts)) if p]
    spatial = [colour_words(facts.colours), *([f"action in the {facts.place}"] if facts.place and facts.motion >= 0.1 else [])]
    shape = "upright" if facts.height > facts.width else "square" if facts.height == facts.width else "wide"
    other = [sound_phrase(facts), f"{brightness_word(facts.luma)} {shape} picture", f"about {facts.duration_s:.1f} seconds long"]
    return {"temporal": temporal, "spatial": spatial, "other": other}


def by_profile(facts: Facts, profile: Profile, rng: Generator) -> list[str]:
    """All short phrases, those of the profile first."""
    found = overview(facts, rng)
    order: list[Profile] = [profile, *(p for p in ("temporal", "spatial", "other") if p != profile)]
    return [phrase for name in order for phrase in found[name]]


def clauses(caption: str | None) -> list[str]:
    """A given caption, its first sentence, and its start up to a semicolon or colon: each true where the whole is."""
    whole = " ".join((caption or "").split()).rstrip(".")
    first = whole.split(". ")[0]
    start = re.split(r"[;:](?= [^\"'])", first)[0]
    return [clause for clause in dict.fromkeys([whole, first, start]) if clause]


def keywords(caption: str | None) -> list[str]:
    """The words of a caption that carry its content, in order."""
    bare = [w.strip(".,;:!?\"'()").lower() for w in (caption or "").split()]
    return list(dict.fromkeys(w for w in bare if len(w) > 2 and w not in _STOP))


def assemble(parts: Iterable[Part], low: int, high: int, joiner: str = " ", enough: int | None = None) -> str:
    """The most important parts that fit, in order of position; once `enough` words stand, parts of priority 5 and up stay out.

    Raises ProviderError where they do not reach `low` words.
    """
    taken: list[Part] = []
    total = 0
    for part in sorted(parts):
        size = len(part[2].split())
        if total + size <= high and not (part[0] >= 5 and total >= (low if enough is None else enough)):
            taken.append(part)
            total += size
    if total < low:
        raise ProviderError(f"the measured facts give {total} words, expected {low} to {high}")
    return joiner.join(text for _, _, text in sorted(taken, key=lambda p: p[1]))
