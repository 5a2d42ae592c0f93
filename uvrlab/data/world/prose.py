"""Captions in sentences: rich, abstract and partial ones, and captions of a single frame."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from uvrlab.data.schema import WORD_RANGES
from uvrlab.data.world import words
from uvrlab.data.world.motion import object_state, place_at
from uvrlab.data.world.scene import Scene, events_during
from uvrlab.data.world.words import NUMBERS, Moment, count_words, fit, named, pick, sentence, with_article


def _when(start_s: float, end_s: float, rng: np.random.Generator) -> str:
    forms = (
        f"from {start_s:.1f} to {end_s:.1f} seconds",
        f"between {start_s:.1f} and {end_s:.1f} seconds",
        f"at about {start_s:.1f} seconds",
    )
    return pick(forms, rng)


def _moment_sentence(moment: Moment, scene: Scene, rng: np.random.Generator) -> str:
    """One sentence about one moment, with its time, and with its sounds."""
    when = _when(moment.start_s, moment.end_s, rng)
    heard = words.list_words([pick(words.SOUND_WORDS[s.kind], rng) for s in moment.sounds]) if moment.sounds else ""
    if moment.event is None:
        return sentence(f"{when} {heard} {pick(('sounds', 'comes'), rng)} from off screen while nothing moves")
    text = f"{when} the {named(scene, moment.event.object, rng, 0.3)} {pick(words.MOTION_WORDS[moment.event.motion], rng)}"
    if heard:
        on_screen = any(s.event is not None for s in moment.sounds)
        text += f", together with {heard}" if on_screen else f", while {heard} comes from off screen"
    return sentence(text)


def rich_caption(scene: Scene, rng: np.random.Generator) -> str:
    parts: list[tuple[int, int, str]] = []
    count = NUMBERS[len(scene.objects)]
    thing = pick(("object", "shape", "figure"), rng)
    shows = pick(("shows", "presents", "contains"), rng)
    things = thing if len(scene.objects) == 1 else f"{thing}s"
    setting = with_article(words.background_words(scene))
    parts.append((1, 0, f"The clip {shows} {count} {things} on {setting} background."))
    for number, item in enumerate(scene.objects):
        look = with_article(f"{pick(words.SIZE_WORDS[item.size], rng)} {item.name}")
        verb = pick(("starts in the", "begins in the", "is first seen in the"), rng)
        parts.append((1, 10 + number, sentence(f"{look} {verb} {words.place_words(item.place)}")))
        if item.still:
            parts.append((3, 300 + number, sentence(f"the {item.name} {pick(words.MOTION_WORDS['still'], rng)} throughout")))
    for number, moment in enumerate(words.timeline(scene)):
        parts.append((2, 100 + number, _moment_sentence(moment, scene, rng)))
    parts.append(
        (
            2,
            400,
            sentence(
                f"{pick(('meanwhile', 'over the clip', 'all the while'), rng)} {pick(words.CAMERA_WORDS[scene.camera.kind], rng)}"
            ),
        )
    )
    parts.append((2, 401, _sound_summary(scene, rng)))
    parts += [(4 + i, 500 + i, text) for i, text in enumerate(_closing(scene, rng))]
    return fit(_enough(parts, *WORD_RANGES["rich"]), "rich")


def _enough(parts: list[tuple[int, int, str]], low: int, high: int) -> list[tuple[int, int, str]]:
    """Drop the least important parts once the lower bound, plus a little, is met: filler is there to reach it, not to be read."""
    kept: list[tuple[int, int, str]] = []
    total = 0
    for part in sorted(parts):
        if part[0] >= 5 and total >= low + 10:
            break
        kept.append(part)
        total += count_words(part[2])
    return kept


def _sound_summary(scene: Scene, rng: np.random.Generator) -> str:
    if scene.track != "sound":
        return pick(("The clip is silent from start to end.", "There is no sound at all."), rng)
    if not scene.sounds:
        return pick(("Only a faint noise floor is heard.", "No clear sound is heard, just faint noise."), rng)
    kinds = [words.SOUND_WORDS[s.kind][0] for s in scene.sounds]
    kinds = list(dict.fromkeys(kinds))
    return sentence(f"{pick(('what is heard, in order, is', 'the sound track has'), rng)} {words.list_words(kinds)}")


def _closing(scene: Scene, rng: np.random.Generator) -> list[str]:
    """True sentences of falling interest; together they lift the poorest scene over eighty words."""
    texts = []
    for number, thing in enumerate(scene.objects):
        place = words.place_words(place_at(scene, number, scene.duration_s))
        texts.append(sentence(f"at the end the {thing.name} is in the {place}"))
    texts.append(sentence(f"the clip lasts about {scene.duration_s:.1f} seconds and has no cut"))
    texts.append("Apart from these things nothing else comes into view, and nothing leaves the scene for good.")
    texts.append(
        sentence(f"the background mixes {scene.background.hues[0]} and {scene.background.hues[1]} tones and keeps its pattern")
    )
    texts.append("Every object is a flat figure of one colour with a dark edge and a small dark mark.")
    texts.append("There are no people, no letters and no other things to be seen from the first to the last frame.")
    texts.append("The light stays nearly the same all the time, with a little grain over the whole picture.")
    return texts


def abstract_caption(scene: Scene, rng: np.random.Generator) -> str:
    """The gist: theme, amount and kinds of activity in order, who acts, what kind of sound world, viewpoint."""
    pace = ("motionless", "calm", "measured", "lively", "busy")[min(len(scene.events), 4)]
    theme = pick(("play of simple figures", "study of simple forms in motion", "little geometric scene"), rng)
    crowd = ("a lone figure", "a pair of figures", "a small group", "a full stage")[len(scene.objects) - 1]
    parts = [(0, 0, sentence(f"{with_article(pace)} {theme} with {crowd}"))]
    gists = [words.MOVES_GIST[e.motion] for e in scene.events]
    if gists:
        steps = [g for i, g in enumerate(gists) if i == 0 or g != gists[i - 1]][:6]
        opening = pick(("it is a matter of", "the action is", "we see"), rng)
        parts.append((1, 1, sentence(f"{opening} {', then '.join(steps)}")))
        actors = len({e.object for e in scene.events})
        parts.append((2, 2, "One figure does all the work." if actors == 1 else "Several figures take their turns."))
    parts.append((1, 3, _abstract_sound(scene, rng)))
    parts.append((1, 4, pick(words.CAMERA_GIST[scene.camera.kind], rng)))
    rest = any(o.still for o in scene.objects)
    parts.append((3, 5, "Some of the company only looks on." if rest else "Nobody merely looks on."))
    setting = with_article(words.background_words(scene))
    parts.append((2, 6, f"All of it happens before {setting} backdrop, as in a short demonstration film."))
    return fit(parts, "abstract")


def _abstract_sound(scene: Scene, rng: np.random.Generator) -> str:
    if not scene.sounds:
        return pick(("It unfolds without any sound worth naming.", "It is quiet from beginning to end."), rng)
    kinds = list(dict.fromkeys(words.SOUND_GIST[s.kind] for s in scene.sounds))[:5]
    tied = sum(s.event is not None for s in scene.sounds)
    link = "in step with the action" if tied * 2 > len(scene.sounds) else "mostly on its own, apart from the action"
    return sentence(f"{pick(('one hears', 'the ear gets', 'there is'), rng)} {words.list_words(kinds)}, {link}")


def partial_caption(scene: Scene, rng: np.random.Generator) -> str:
    """Two parts of the clip: an event and what stands next to it, a sound, the camera, or where an object is; and the background.

    What sets the family's clips apart is the likelier choice, or no reader could tell which sibling is meant.
    """
    differs = set(scene.contrasts)
    weights = {
        "event": bool(scene.events) * (2 + 3 * len(differs & {"mover", "motion", "order"})),
        "sound": bool(scene.sounds) * (1 + 3 * len(differs & {"sound", "timing"})),
        "camera": 1 + 3 * ("camera" in differs),
        "object": 1 + 3 * ("colour" in differs),
    }
    chances = np.array(list(weights.values()), dtype=float)
    chosen = [str(c) for c in rng.choice(list(weights), 2, replace=False, p=chances / chances.sum())]
    text = "; ".join(_PARTIAL[part](scene, rng) for part in chosen)
    lead = pick(("in part of this clip", "at one point", "somewhere in the video", "in one stretch of it"), rng)
    setting = "" if "camera" in chosen else f"; the background is {words.background_words(scene)}"
    return sentence(f"{lead} {text}{setting}")


def _partial_event(scene: Scene, rng: np.random.Generator) -> str:
    number = int(rng.integers(len(scene.events)))
    event = scene.events[number]
    name = with_article(named(scene, event.object, rng, 0.5))
    text = f"{name} {pick(words.MOTION_WORDS[event.motion], rng)}, {_part_of_clip(scene, event.start_s)}"
    neighbours = [i for i in (number - 1, number + 1) if 0 <= i < len(scene.events)]
    if neighbours and rng.random() < 0.8:
        other = neighbours[int(rng.integers(len(neighbours)))]
        return f"{text}, just {'after' if other < number else 'before'} the {_event_words(scene, other, rng)}"
    return f"{text}, for about {event.end_s - event.start_s:.1f} seconds"


def _partial_sound(scene: Scene, rng: np.random.Generator) -> str:
    sound = scene.sounds[int(rng.integers(len(scene.sounds)))]
    doing = events_during(scene, sound)
    together = f"while the {_event_words(scene, doing[0], rng)}" if doing else "while nothing moves"
    return f"there is {pick(words.SOUND_WORDS[sound.kind], rng)}, {together}, {_part_of_clip(scene, sound.start_s)}"


def _partial_camera(scene: Scene, rng: np.random.Generator) -> str:
    name = with_article(named(scene, int(rng.integers(len(scene.objects))), rng, 0.5))
    background = with_article(words.background_words(scene))
    return f"{pick(words.CAMERA_WORDS[scene.camera.kind], rng)} over {background} background with {name} on it"


def _partial_object(scene: Scene, rng: np.random.Generator) -> str:
    number = int(rng.integers(len(scene.objects)))
    others = [o.name for i, o in enumerate(scene.objects) if i != number]
    beside = f"together with {with_article(pick(others, rng))}" if others else "with no other figure near it"
    place = words.place_words(scene.objects[number].place)
    return f"{with_article(named(scene, number, rng, 1.0))} is to be seen, at first in the {place}, {beside}"


_PARTIAL: dict[str, Callable[[Scene, np.random.Generator], str]] = {
    "event": _partial_event,
    "sound": _partial_sound,
    "camera": _partial_camera,
    "object": _partial_object,
}


def _event_words(scene: Scene, number: int, rng: np.random.Generator) -> str:
    event = scene.events[number]
    return f"{scene.objects[event.object].name} {pick(words.MOTION_WORDS[event.motion], rng)}"


def _part_of_clip(scene: Scene, time_s: float) -> str:
    third = min(2, int(3 * time_s / scene.duration_s))
    return ("early in the clip", "around the middle of the clip", "towards the end of the clip")[third]


def frame_caption(scene: Scene, time_s: float, rng: np.random.Generator, *, rich: bool = False) -> str:
    """What one frame shows: looks, places and background, no motion, no sound, no before or after.

    10-25 words, or 50-200 with `rich`. An object that blinks and is off at `time_s` is not mentioned.
    """
    moment = np.array([time_s])
    seen = [i for i in range(len(scene.objects)) if object_state(scene, i, moment).visible[0]]
    background = with_article(words.background_words(scene))
    shown = [f"{with_article(named(scene, i, rng, 1.0))} in the {words.place_words(place_at(scene, i, time_s))}" for i in seen]
    if not rich:
        text = f"{words.list_words(shown) if shown else 'nothing but an empty scene'} on {background} background"
        if count_words(text) > 25:
            text = f"{words.list_words([with_article(scene.objects[i].name) for i in seen])} on {background} background"
        return sentence(text if count_words(text) >= 10 else f"a still picture of {text}, nothing else")
    count = NUMBERS[len(seen)]
    texts = [f"A still picture with {count} simple figure{'' if len(seen) == 1 else 's'} on {background} background."]
    texts += [sentence(f"there is {text}") for text in shown]
    texts.append(f"The background mixes {scene.background.hues[0]} and {scene.background.hues[1]} tones.")
    texts.append("Each figure is flat, of one colour, with a dark edge and a small dark mark on it.")
    texts.append("There are no people, no letters and no other things, and a little grain lies over the whole picture.")
    return " ".join(texts)
