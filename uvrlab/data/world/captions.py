"""Captions of a scene in the five styles of GVE, true by construction and within the published word ranges by construction.

concise 10-25 words, rich 80-200, abstract 30-100 (no colour or shape of any object), keywords 5-30, partial 10-70 (an event or
aspect, not the whole). Words are counted as runs without white space.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from uvrlab.data.schema import WORD_RANGES
from uvrlab.data.world import words
from uvrlab.data.world.prose import abstract_caption, partial_caption, rich_caption
from uvrlab.data.world.scene import Scene
from uvrlab.data.world.tables import stable_rng
from uvrlab.data.world.words import Moment, count_words, fit, named, pick, sentence, with_article


def captions(scene: Scene, rng: np.random.Generator) -> dict[str, str]:
    """One caption a style. Draws again with the same `rng` give other wordings and another choice of what fits."""
    return {
        "concise": _concise(scene, rng),
        "rich": rich_caption(scene, rng),
        "abstract": abstract_caption(scene, rng),
        "keywords": _keywords(scene, rng),
        "partial": partial_caption(scene, rng),
    }


def to_clip_row(scene: Scene) -> dict[str, Any]:
    """The columns of the `clips` table that do not depend on the media file; the caption is a concise one, always the same."""
    return {
        "clip_id": scene.clip_id,
        "parent_id": scene.clip_id.split("@")[0],
        "start_s": 0.0,
        "end_s": scene.duration_s,
        "duration_s": scene.duration_s,
        "caption": _concise(scene, stable_rng("caption", scene.clip_id)),
        "source": "world",
        "licence": "CC0-1.0",
        "split": scene.split,
        "tags": list(scene.tags),
        "scene": scene.to_json(),
    }


def _concise(scene: Scene, rng: np.random.Generator) -> str:
    """Events in order with the sounds that fall on them, the background, then camera and the rest while there is room.

    What sets the clip apart from its siblings comes first, as a person who knows the others would write it.
    """
    low, high = WORD_RANGES["concise"]
    wanted, spare = _concise_extras(scene, rng)
    background = f"on {with_article(words.background_words(scene))} background"
    apart = wanted[:1] if "camera" in scene.contrasts else []
    text = _concise_events(scene, rng, high - sum(count_words(part) for part in (*apart, background)), high)
    for number, extra in enumerate([*apart, background, *wanted, *spare]):
        needed = number < len(apart) + 1 + len(wanted) or count_words(text) < low
        if needed and extra not in text and count_words(f"{text} {extra}") <= high:
            text += f", {extra}" if extra.startswith("while") else f" {extra}"
    return sentence(text)


def _concise_events(scene: Scene, rng: np.random.Generator, room: int, high: int) -> str:
    """The fullest wording of the timeline that fits into `room`, or into `high` where sounds set the clip apart.

    With sounds or without, with articles or bare, all moments or the first.
    """
    moments = words.timeline(scene)
    apart = bool({"sound", "timing"} & set(scene.contrasts))
    sounds = apart or bool(rng.random() < 0.5)
    bare = len(scene.events) > 2 or bool(rng.random() < 0.3)
    full = ((sounds, bare, 9, room), (sounds, True, 9, room), *([(True, True, 9, high)] if apart else []))
    for with_sounds, short, limit, most in (*full, (False, True, 9, room), (False, True, 4, room), (False, True, 3, room)):
        text = ", ".join(_concise_moments(moments[:limit], scene, rng, with_sounds, short))
        if text and count_words(text) <= most:
            return text
    return words.list_words([with_article(o.name) for o in scene.objects])


def _concise_moments(moments: Sequence[Moment], scene: Scene, rng: np.random.Generator, sounds: bool, bare: bool) -> list[str]:
    clauses: list[str] = []
    for moment in moments:
        heard = words.list_words([words.SOUND_WORDS[s.kind][0] for s in moment.sounds]) if sounds and moment.sounds else ""
        then = "then " if clauses else ""
        if moment.event is not None:
            thing = scene.objects[moment.event.object]
            name = thing.name if bare else with_article(named(scene, moment.event.object, rng, 0.3))
            motion = words.MOTION_WORDS[moment.event.motion]
            clauses.append(f"{then}{name} {motion[0] if bare else pick(motion, rng)}{' with ' + heard if heard else ''}")
        elif heard:
            clauses.append(f"{then}{heard} alone")
    return clauses


def _concise_extras(scene: Scene, rng: np.random.Generator) -> tuple[list[str], list[str]]:
    """Extras to be added while they fit, the contrasts first; and true ones to fall back on when ten words are not met."""
    camera = f"while {pick(words.CAMERA_WORDS[scene.camera.kind], rng)}"
    beside = [f"beside {with_article(o.name)}" for o in scene.objects if o.still]
    first = [camera] if "camera" in scene.contrasts else []
    first += beside[:2] if "colour" in scene.contrasts else []
    chances = [(0.3 if scene.camera.kind == "still" else 0.6, camera), *((0.3, text) for text in beside)]
    rest = [text for chance, text in chances if rng.random() < chance and text not in first]
    return first + [rest[int(i)] for i in rng.permutation(len(rest))], [camera]


def _keywords(scene: Scene, rng: np.random.Generator) -> str:
    """Comma-separated: objects with their motions in order, sounds, camera, background."""
    parts: list[tuple[int, int, str]] = []
    for position, moment in enumerate(words.timeline(scene)):
        if moment.event is not None:
            name = scene.objects[moment.event.object].name
            parts.append((0, position, f"{name} {pick(words.MOTION_WORDS[moment.event.motion][:2], rng)}"))
        for sound in moment.sounds:
            parts.append((1, 100 + position, sound.kind))
    for number, thing in enumerate(scene.objects):
        if not any(e.object == number for e in scene.events):
            parts.append((2 + number, 50 + number, thing.name))
    camera = pick(words.CAMERA_WORDS[scene.camera.kind], rng).removeprefix("the ")
    parts.append((1 if "camera" in scene.contrasts else int(rng.integers(1, 5)), 200, camera))
    parts.append((int(rng.integers(2, 6)), 201, f"{words.background_words(scene)} background"))
    return fit(parts, "keywords", ", ")
