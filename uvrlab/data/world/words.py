"""The world's vocabulary: several ways to say each thing, and the way back from a text to what it mentions.

Every phrase belongs to exactly one meaning, so `mentions` is exact on our own texts and a fair measure of a model's.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from uvrlab.data.schema import WORD_RANGES
from uvrlab.data.world.scene import Event, Scene, Sound, events_during, overlap_s
from uvrlab.data.world.tables import COLOURS, HUES, SHAPES

MOTION_WORDS: dict[str, tuple[str, ...]] = {
    "left": ("moves left", "slides to the left", "drifts left", "glides leftwards"),
    "right": ("moves right", "slides to the right", "drifts right", "glides rightwards"),
    "up": ("moves up", "rises", "climbs upwards", "floats up"),
    "down": ("moves down", "sinks", "drops downwards", "descends"),
    "orbit": ("circles around", "moves in a circle", "travels in a loop"),
    "bounce": ("bounces", "hops up and down", "jumps repeatedly"),
    "spin": ("spins", "rotates on the spot", "turns around itself"),
    "grow": ("grows", "gets bigger", "swells"),
    "shrink": ("shrinks", "gets smaller", "dwindles"),
    "blink": ("blinks", "flashes on and off", "flickers"),
    "still": ("stays still", "does not move", "rests in place"),
}
SIZE_WORDS = {"small": ("small", "little", "tiny"), "medium": ("medium", "mid-sized"), "large": ("large", "big")}
SOUND_WORDS: dict[str, tuple[str, ...]] = {
    "beep": ("a beep", "a beeping tone"),
    "hum": ("a hum", "a low hum"),
    "siren": ("a siren", "a wailing siren"),
    "chirp": ("a chirp", "a chirping sound"),
    "whoosh": ("a whoosh", "a rushing whoosh"),
    "clicks": ("clicks", "a train of clicks"),
    "bell": ("a bell", "a ringing bell"),
    "drum": ("a drum", "a beating drum"),
}
CAMERA_WORDS: dict[str, tuple[str, ...]] = {
    "still": ("the camera is fixed", "the view is steady", "the shot is static"),
    "pan_left": ("the camera pans left", "the view sweeps left", "the camera swings to the left"),
    "pan_right": ("the camera pans right", "the view sweeps right", "the camera swings to the right"),
    "zoom_in": ("the camera zooms in", "the view closes in", "the camera pushes closer"),
    "zoom_out": ("the camera zooms out", "the view widens", "the camera pulls back"),
}
BACKGROUND_WORDS = {
    "plain": "plain",
    "gradient": "shaded",
    "stripes": "striped",
    "checks": "checked",
    "dots": "dotted",
    "noise": "grainy",
}
# What an abstract caption says instead. Sounds and camera moves keep a phrase of their own each, so they can be read back.
MOVES_GIST = {
    "left": "sideways travel",
    "right": "sideways travel",
    "up": "vertical travel",
    "down": "vertical travel",
    "orbit": "circling",
    "bounce": "hopping",
    "spin": "turning",
    "grow": "a change of size",
    "shrink": "a change of size",
    "blink": "a vanishing act",
    "still": "rest",
}
SOUND_GIST = {
    "beep": "electronic tones",
    "hum": "deep droning",
    "siren": "an alarm",
    "chirp": "birdlike calls",
    "whoosh": "rushing air",
    "clicks": "a rattle",
    "bell": "a metallic chime",
    "drum": "heavy beats",
}
CAMERA_GIST: dict[str, tuple[str, ...]] = {
    "still": ("The viewpoint never changes.", "We watch from one fixed point."),
    "pan_left": ("Our gaze travels towards the left.", "The viewpoint wanders leftward."),
    "pan_right": ("Our gaze travels towards the right.", "The viewpoint wanders rightward."),
    "zoom_in": ("We come nearer as it goes on.", "The viewpoint draws closer."),
    "zoom_out": ("We back away as it goes on.", "The viewpoint withdraws slowly."),
}
NUMBERS = ("no", "one", "two", "three", "four")
ROWS, COLUMNS = ("top", "middle", "bottom"), ("left", "centre", "right")


@dataclass(frozen=True)
class Moment:
    """One item of a clip's timeline: an event with the sounds that fall together with it, or a sound alone."""

    start_s: float
    end_s: float
    event: Event | None
    sounds: tuple[Sound, ...]


def timeline(scene: Scene) -> list[Moment]:
    """Events and lone sounds by start; a sound joins the one event that it shares most time with (at least 0.2 s)."""
    joined: dict[int, list[Sound]] = {}
    lone: list[Sound] = []
    for sound in scene.sounds:
        together = events_during(scene, sound)
        if together:
            best = max(together, key=lambda i: (i == sound.event, overlap_s(scene.events[i], sound)))
            joined.setdefault(best, []).append(sound)
        else:
            lone.append(sound)
    moments = [Moment(e.start_s, e.end_s, e, tuple(joined.get(i, ()))) for i, e in enumerate(scene.events)]
    moments += [Moment(s.start_s, s.end_s, None, (s,)) for s in lone]
    return sorted(moments, key=lambda m: (m.start_s, m.event is None))


def pick(options: Sequence[str], rng: np.random.Generator) -> str:
    return options[int(rng.integers(len(options)))]


def with_article(noun: str) -> str:
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def place_words(place: tuple[int, int]) -> str:
    """ "top left", "centre", "middle right", ..."""
    return "centre" if place == (1, 1) else f"{ROWS[place[0]]} {COLUMNS[place[1]]}"


def background_words(scene: Scene) -> str:
    """ "striped grey": the style and the first hue."""
    return f"{BACKGROUND_WORDS[scene.background.style]} {scene.background.hues[0]}"


def setting(text: str) -> str | None:
    """The background that a text names by style and hue, as `background_words` does."""
    found = re.search(rf"\b({'|'.join(BACKGROUND_WORDS.values())}) ({'|'.join(HUES)})\b", text.lower())
    return found.group(0) if found else None


def list_words(items: Sequence[str]) -> str:
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"


def sentence(text: str) -> str:
    return text[0].upper() + text[1:].rstrip(".") + "."


def count_words(text: str) -> int:
    """Words as the validation counts them: runs without white space."""
    return len(text.split())


def fit(parts: Sequence[tuple[int, int, str]], style: str, joiner: str = " ") -> str:
    """Parts are (priority, position, text): the most important are taken while they fit, then put in order of position."""
    low, high = WORD_RANGES[style]
    taken: list[tuple[int, int, str]] = []
    total = 0
    for part in sorted(parts):
        if total + count_words(part[2]) <= high:
            taken.append(part)
            total += count_words(part[2])
    text = joiner.join(part[2] for part in sorted(taken, key=lambda p: p[1]))
    if not low <= count_words(text) <= high:
        raise AssertionError(f"{style} caption has {count_words(text)} words, expected {low}-{high}: {text!r}")
    return text


def named(scene: Scene, number: int, rng: np.random.Generator, size_share: float) -> str:
    """ "red star", or with probability `size_share` "big red star"."""
    thing = scene.objects[number]
    return f"{pick(SIZE_WORDS[thing.size], rng)} {thing.name}" if rng.random() < size_share else thing.name


@dataclass(frozen=True)
class Mentions:
    """What a text says: each list in the order of mention, without repeats but for `events`.

    `events` holds (object name, or None where the text names none; motion) in the order in which they happen; `gists` what an
    abstract text says of its motions.
    """

    objects: tuple[str, ...]
    events: tuple[tuple[str | None, str], ...]
    sounds: tuple[str, ...]
    cameras: tuple[str, ...]
    backgrounds: tuple[str, ...]
    gists: tuple[str, ...]


@cache
def _matcher() -> tuple[re.Pattern[str], dict[str, tuple[str, str]]]:
    """One pattern over all phrases, longest first, and the (aspect, meaning) of each."""
    meanings = {f"{c} {s}": ("object", f"{c} {s}") for c in COLOURS for s in SHAPES}
    for aspect, table in (("motion", MOTION_WORDS), ("camera", CAMERA_WORDS), ("camera", CAMERA_GIST)):
        for key, phrases in table.items():
            meanings |= {_bare(phrase): (aspect, key) for phrase in phrases}
    for sounds in (SOUND_WORDS, SOUND_GIST):
        for key, said in sounds.items():
            meanings |= {_bare(phrase): ("sound", key) for phrase in ((said,) if isinstance(said, str) else said)}
    meanings |= {phrase: ("gist", phrase) for phrase in MOVES_GIST.values()}
    meanings |= {word: ("background", key) for key, word in BACKGROUND_WORDS.items()}
    meanings |= {"just after": ("after", "")}
    longest_first = sorted(meanings, key=len, reverse=True)
    return re.compile(r"\b(" + "|".join(map(re.escape, longest_first)) + r")\b"), meanings


def _bare(phrase: str) -> str:
    """A phrase as it is searched: lower case, no article, no full stop."""
    return re.sub(r"^(the|an?) ", "", phrase.lower().rstrip("."))


def mentions(text: str) -> Mentions:
    """What a text of this world names; other words are passed over. A motion belongs to the last object named before it."""
    pattern, meanings = _matcher()
    found: dict[str, list[str]] = {"object": [], "sound": [], "camera": [], "background": [], "gist": []}
    events: list[tuple[str | None, str]] = []
    last: str | None = None
    earlier = False
    for match in pattern.finditer(text.lower()):
        aspect, key = meanings[match.group(1)]
        if aspect == "motion":
            events.insert(len(events) - 1 if earlier and events else len(events), (last, key))
            earlier = False
        elif aspect == "after":
            earlier = True
        elif key not in found[aspect]:
            found[aspect].append(key)
        last = key if aspect == "object" else last
    named, sounds, cameras, backgrounds, gists = (tuple(found[a]) for a in ("object", "sound", "camera", "background", "gist"))
    return Mentions(named, tuple(events), sounds, cameras, backgrounds, gists)
