"""Families of clips in which picture and sound vary apart, for queries that ask which of the two a search needs.

A family has five casts of the test split that act in the same slots of time, a sibling of each that differs in one seen aspect, and
eleven tracks of two sounds, each of which begins with one of two events and ends inside it. A clip is a picture with a track: clips
with one picture have the same frames, clips with one track the same samples. No kind of sound goes with any motion in this world,
so a sound can be out of its place only by what its family does elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise

import numpy as np

from uvrlab.data.world import tables
from uvrlab.data.world.layout import SOUND_S
from uvrlab.data.world.sampling import sample_scene
from uvrlab.data.world.scene import Event, Scene, Sound
from uvrlab.data.world.siblings import CHANGES, legal, signature
from uvrlab.data.world.tables import stable_rng

Generator = np.random.Generator
CASTS = 5
PICTURES = 2 * CASTS  # picture CASTS + i is the sibling of picture i
# Tracks 0 to 4 are neighbours on a circle of five kinds, 5 to 9 the same in the other order, so that each of the ten stands to the
# others as any other does. The last has two kinds of its own.
CIRCLE = 5
TRACKS = 2 * CIRCLE + 1
ASPECTS = ("mover", "motion", "order", "camera", "colour")
_TRIES = 200


@dataclass(frozen=True)
class _Family:
    """Silent pictures, and what their tracks are made of: kinds in a fixed order with a pitch each, and (event, seconds) twice."""

    pictures: tuple[Scene, ...]
    kinds: tuple[str, ...]
    pitches: tuple[float, ...]
    sounding: tuple[tuple[int, float], tuple[int, float]]


def hearing_scene(picture: int, track: int, index: int, seed: int = 0) -> Scene:
    """Picture 0-9 with track 0-10 of family `index`: the same for the same arguments, anywhere. ValueError for another number."""
    if not (0 <= picture < PICTURES and 0 <= track < TRACKS and index >= 0):
        raise ValueError(f"found picture {picture}, track {track}, family {index}; expected 0-{PICTURES - 1}, 0-{TRACKS - 1}, 0-")
    family = _family(index, seed)
    scene = family.pictures[picture]
    sounds = []
    for kind, (number, length_s) in zip(_kinds(track), family.sounding, strict=True):
        start_s = scene.events[number].start_s
        sounds.append(Sound(family.kinds[kind], start_s, round(start_s + length_s, 1), number, family.pitches[kind]))
    name = hearing_id(picture, track, index, seed)
    return replace(scene, clip_id=name, index=index, seed=seed, sounds=tuple(sounds), track="sound")


def hearing_id(picture: int, track: int, index: int, seed: int = 0) -> str:
    """The clip id of a picture with a track."""
    return f"{'hear' if seed == 0 else f'hear{seed}'}-{index:06d}-p{picture:02d}-t{track:02d}"


def _kinds(track: int) -> tuple[int, int]:
    """Numbers of the family's kinds that are heard first and second."""
    if track == 2 * CIRCLE:
        return CIRCLE, CIRCLE + 1
    first, second = track % CIRCLE, (track + 1) % CIRCLE
    return (first, second) if track < CIRCLE else (second, first)


@lru_cache(maxsize=16)
def _family(index: int, seed: int) -> _Family:
    rng = stable_rng("hearing", seed, index)
    while True:
        casts = _casts(seed, rng)
        pictures = [*casts, *(made for cast in casts if (made := _sibling(cast, rng)) is not None)]
        if len(pictures) == PICTURES:
            break
    first, second = sorted(int(i) for i in rng.permutation(len(casts[0].events))[:2])
    sounding = ((first, _seconds(casts[0].events[first], rng)), (second, _seconds(casts[0].events[second], rng)))
    kinds = tuple(str(kind) for kind in rng.permutation(tables.SOUNDS))
    return _Family(tuple(pictures), kinds, tuple(round(float(p), 3) for p in rng.uniform(0.9, 1.1, len(kinds))), sounding)


def _seconds(event: Event, rng: Generator) -> float:
    """How long the sound of an event lasts: it ends before the event does, so it falls on no other."""
    return round(float(rng.uniform(SOUND_S[0], min(SOUND_S[1], event.end_s - event.start_s - 0.1))), 1)


def _casts(seed: int, rng: Generator) -> list[Scene]:
    """Five scenes in one rhythm, with nothing that any two of them both show, under the same flaws; fewer where too few fit."""
    found: list[Scene] = []
    for _ in range(_TRIES):
        scene = _silent(sample_scene("test", int(rng.integers(2**31)), seed, family_size=1))
        if found and len(scene.events) == len(found[0].events):
            times = zip(scene.events, found[0].events, strict=True)
            events = tuple(replace(own, start_s=slot.start_s, end_s=slot.end_s) for own, slot in times)
            scene = replace(scene, events=events, flaws=found[0].flaws)
        elif found:
            continue
        known = {act for other in found for act in _acts(other)}
        if _tellable(scene) and legal(scene) and not known & set(_acts(scene)):
            found.append(scene)
        if len(found) == CASTS:
            break
    return found


def _silent(scene: Scene) -> Scene:
    return replace(scene, sounds=(), contrasts=(), tags=())


def _acts(scene: Scene) -> list[tuple[str, str]]:
    """(object, motion) of every event: what a text names."""
    return [(scene.objects[e.object].name, e.motion) for e in scene.events]


def _tellable(scene: Scene) -> bool:
    """Whether there are two events at least, one behind the other, and no act is done twice."""
    acts, events = _acts(scene), scene.events
    apart = all(a.end_s <= b.start_s for a, b in pairwise(events))
    return len(acts) > 1 and apart and len(set(acts)) == len(acts)


def _sibling(cast: Scene, rng: Generator) -> Scene | None:
    for _ in range(_TRIES):
        made = CHANGES[str(rng.choice(ASPECTS))](cast, rng)
        if made is not None and signature(made) != signature(cast) and legal(made) and _tellable(made):
            return made
    return None
