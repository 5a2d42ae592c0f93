"""The world's vocabulary: several ways to say each thing, and the way back from a text to what it mentions.

Every phrase belongs to exactly one meaning, so `mentions` is exact on our own texts and a fair measure of a model's.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from uvrlab.data.world.scene import Event, Scene, Sound, events_during, overlap_s
from uvrlab.data.world.tables import COLOURS, SHAPES

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


def list_words(items: Sequence[str]) -> str:
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"


def sentence(text: str) -> str:
    return text[0].upper() + text[1:].rstrip(".") + "."


def count_words(text: str) -> int:
    """Words as the validation counts them: runs without white space."""
    return len(text.split())


@dataclass(frozen=True)
class Mentions:
    """What a text says, in the order it says it. `events` holds (object name, or None where the text names none; motion)."""

    objects: tuple[str, ...]
    events: tuple[tuple[str | None, str], ...]
    sounds: tuple[str, ...]
    cameras: tuple[str, ...]
    backgrounds: tuple[str, ...]


@cache
def _matcher() -> tuple[re.Pattern[str], dict[str, tuple[str, str]]]:
    meanings: dict[str, tuple[str, str]] = {f"{c} {s}": ("object", f"{c} {s}") for c in COLOURS for s in SHAPES}
    for aspect, table in (("motion", MOTION_WORDS), ("camera", CAMERA_WORDS)):
        for key, phrases in table.items():
            meanings |= {phrase.removeprefix("the "): (aspect, key) for phrase in phrases}
    meanings |= {word: ("sound", key) for key in SOUND_WORDS for word in ("click", "clicks") if key == "clicks"}
    meanings |= {key: ("sound", key) for key in SOUND_WORDS} | {"chirping": ("sound", "chirp")}
    meanings |= {"beeping": ("sound", "beep")}
    meanings |= {word: ("background", key) for key, word in BACKGROUND_WORDS.items()}
    longest_first = sorted(meanings, key=len, reverse=True)
    return re.compile(r"\b(" + "|".join(map(re.escape, longest_first)) + r")\b"), meanings


def mentions(text: str) -> Mentions:
    """Objects, events, sounds, camera moves and background styles that a text of this world names. A motion belongs to the last object
    named before it; repeats of an object or a sound count once."""
    pattern, meanings = _matcher()
    found: dict[str, list[str]] = {"object": [], "sound": [], "camera": [], "background": []}
    events: list[tuple[str | None, str]] = []
    last: str | None = None
    for match in pattern.finditer(text.lower()):
        aspect, key = meanings[match.group(1)]
        if aspect == "motion":
            events.append((last, key))
            continue
        last = key if aspect == "object" else last
        if key not in found[aspect]:
            found[aspect].append(key)
    return Mentions(
        tuple(found["object"]),
        tuple(events),
        tuple(found["sound"]),
        tuple(found["camera"]),
        tuple(found["background"]),
    )
