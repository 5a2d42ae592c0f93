"""What leads from one scene to another, in words: the composed queries of GVE (a frame or a video, plus a text), always true.

Siblings differ in one or two aspects each, so two of them in up to four. A text to a frame names things by where they stand in that
frame, never by their looks: without the picture it cannot be answered. A text to a video names every aspect that differs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from uvrlab.data.world import words
from uvrlab.data.world.motion import object_state, place_at
from uvrlab.data.world.scene import Scene, Sound, events_during
from uvrlab.data.world.words import count_words, pick

Generator = np.random.Generator
IMAGE_WORDS, VIDEO_WORDS = (5, 50), (5, 15)
ASPECTS = ("event", "camera", "sound", "timing", "colour")
_STRATEGY_OF = {"event": "action", "camera": "viewpoint", "sound": "condition", "timing": "condition", "colour": "condition"}


def aspects(reference: Scene, target: Scene) -> tuple[str, ...] | None:
    """In which of ASPECTS two scenes differ; None where they differ in anything else, and are not to be compared."""
    if _cast(reference) != _cast(target) or len(reference.events) != len(target.events):
        return None
    return tuple(aspect for aspect in ASPECTS if _VALUE[aspect](reference) != _VALUE[aspect](target))


def _cast(scene: Scene) -> tuple[object, ...]:
    looks = tuple((o.shape, o.size, o.place) for o in scene.objects)
    return looks, scene.background, scene.track, len(scene.sounds)


def _timing(scene: Scene) -> tuple[object, ...]:
    return tuple((events_during(scene, s), _after(scene, s)) for s in scene.sounds)


def _after(scene: Scene, sound: Sound) -> int:
    """How many events have begun when a sound begins."""
    return sum(e.start_s <= sound.start_s for e in scene.events)


_VALUE: dict[str, Callable[[Scene], object]] = {
    "event": lambda scene: [(e.object, e.motion) for e in scene.events],
    "camera": lambda scene: scene.camera.kind,
    "sound": lambda scene: sorted(s.kind for s in scene.sounds),
    "timing": _timing,
    "colour": lambda scene: [o.colour for o in scene.objects],
}


# To a video.


def video_strategies(reference: Scene, target: Scene) -> tuple[str, ...]:
    """`action`, `viewpoint`, `condition`: what a text of 5-15 words can say that leads from one video to the other; maybe none."""
    found = aspects(reference, target)
    if not found or not VIDEO_WORDS[0] <= count_words(_video_text(reference, target, found[0], None)) <= VIDEO_WORDS[1]:
        return ()
    return tuple(dict.fromkeys(_STRATEGY_OF[aspect] for aspect in found))


def video_change(reference: Scene, target: Scene, strategy: str, rng: Generator) -> str:
    """Every aspect in which the target differs, that of `strategy` first; 5-15 words. ValueError where it does not apply."""
    if strategy not in video_strategies(reference, target):
        raise ValueError(
            f"{strategy} does not lead from {reference.clip_id} to {target.clip_id}: {aspects(reference, target)} differ"
        )
    first = next(a for a in aspects(reference, target) or () if _STRATEGY_OF[a] == strategy)
    text = _video_text(reference, target, first, rng)
    return text if count_words(text) <= VIDEO_WORDS[1] else _video_text(reference, target, first, None)


def _video_text(reference: Scene, target: Scene, first: str, rng: Generator | None) -> str:
    found = aspects(reference, target) or ()
    order = [first, *(a for a in found if a != first)]
    clauses = [clause for aspect in order if (clause := _CLAUSE[aspect](reference, target, rng))]
    lead = _pick(("but now", "the same, but", "this time", "as before, but"), rng)
    return words.sentence(f"{lead} {' and '.join(clauses)}")


def _pick(options: Sequence[str], rng: Generator | None) -> str:
    """Any wording, or without a generator the first, which is the shortest."""
    return options[0] if rng is None else pick(options, rng)


def _event_clause(reference: Scene, target: Scene, rng: Generator | None) -> str:
    """The events that differ, in the order of the target."""
    pairs = zip(reference.events, target.events, strict=True)
    changed = [new for old, new in pairs if (old.object, old.motion) != (new.object, new.motion)]
    link = " before " if len(changed) == 2 else ", then "
    return link.join(f"the {target.objects[e.object].name} {_pick(words.MOTION_WORDS[e.motion], rng)}" for e in changed)


def _camera_clause(reference: Scene, target: Scene, rng: Generator | None) -> str:
    return _pick(words.CAMERA_WORDS[target.camera.kind], rng)


def _sound_clause(reference: Scene, target: Scene, rng: Generator | None) -> str:
    new = [s.kind for s in target.sounds if s.kind not in {r.kind for r in reference.sounds}]
    return heard(new or [s.kind for s in target.sounds], rng)


def heard(kinds: Sequence[str], rng: Generator | None) -> str:
    """ "a bell and clicks are heard": in any wording, or without a generator in the shortest."""
    said = [_pick(words.SOUND_WORDS[kind], rng) for kind in dict.fromkeys(kinds)]
    return f"{words.list_words(said)} {'are' if len(said) > 1 or said[0] == 'clicks' else 'is'} heard"


def _timing_clause(reference: Scene, target: Scene, rng: Generator | None) -> str:
    """When the sounds that fall elsewhere are heard; a sound of a new kind is said by `_sound_clause`, at its time here."""
    before = {(s.kind, events_during(reference, s), _after(reference, s)) for s in reference.sounds}
    moved = [s for s in target.sounds if (s.kind, events_during(target, s), _after(target, s)) not in before]
    return " and ".join(f"{heard([s.kind], rng)} {_when(target, s, rng, _full_name)}" for s in moved)


def _full_name(scene: Scene, number: int) -> str:
    return f"the {scene.objects[number].name}"


def _when(scene: Scene, sound: Sound, rng: Generator | None, name: Callable[[Scene, int], str]) -> str:
    doing = events_during(scene, sound)
    if doing:
        event, link = scene.events[doing[0]], "while"
    elif (begun := _after(scene, sound)) > 0:
        event, link = scene.events[begun - 1], "after"
    else:
        event, link = scene.events[0], "before"
    return f"{link} {name(scene, event.object)} {_pick(words.MOTION_WORDS[event.motion], rng)}"


def _colour_clause(reference: Scene, target: Scene, rng: Generator | None) -> str:
    changed = [(a, b) for a, b in zip(reference.objects, target.objects, strict=True) if a.colour != b.colour]
    return " and ".join(f"the {old.name} is {new.colour}" for old, new in changed)


_CLAUSE: dict[str, Callable[[Scene, Scene, Generator | None], str]] = {
    "event": _event_clause,
    "camera": _camera_clause,
    "sound": _sound_clause,
    "timing": _timing_clause,
    "colour": _colour_clause,
}


def continuation(target: Scene, rng: Generator) -> str:
    """What a later window of the same clip shows, in 5-15 words: its first event, else its sounds, else its camera."""
    if target.events:
        event = target.events[0]
        what = f"the {target.objects[event.object].name} {pick(words.MOTION_WORDS[event.motion], rng)}"
    elif target.sounds:
        what = f"{heard([target.sounds[0].kind], rng)} while nothing moves"
    else:
        what = f"nothing moves and {pick(words.CAMERA_WORDS[target.camera.kind], rng)}"
    return words.sentence(f"{pick(('after this', 'next', 'what follows:', 'then'), rng)} {what}")


# To a frame.


def image_strategies(reference: Scene, at_s: float, target: Scene) -> tuple[str, ...]:
    """Which of identity+action, identity+scene, identity+negative and relation lead from the reference's frame to the target."""
    found = aspects(reference, target)
    if not found or not target.events or _referents(reference, at_s) is None:
        return ()
    options = {
        "identity+action": True,
        "identity+scene": bool({"camera", "colour"} & set(found)),
        "identity+negative": bool(_missing(reference, target)),
        "relation": len({e.object for e in target.events[:2]}) == 2,
    }
    return tuple(name for name, holds in options.items() if holds)


def image_change(reference: Scene, at_s: float, target: Scene, strategy: str, rng: Generator) -> str:
    """What the target shows of the things in the reference's frame at `at_s`; at most 50 words. ValueError where it does not apply.

    What sets the family apart (`contrasts`) comes first, since siblings share the frame: the text alone must tell them apart.
    """
    names = _referents(reference, at_s)
    if names is None or strategy not in image_strategies(reference, at_s, target):
        raise ValueError(f"{strategy} does not lead from a frame of {reference.clip_id} at {at_s:g} s to {target.clip_id}")
    recoloured = [i for i, (a, b) in enumerate(zip(reference.objects, target.objects, strict=True)) if a.colour != b.colour]
    clauses = {
        "event": _acts(target, names, strategy, rng),
        "camera": pick(words.CAMERA_WORDS[target.camera.kind], rng),
        "sound": " and ".join(f"{heard([s.kind], rng)} {_when(target, s, rng, lambda _, i: names[i])}" for s in target.sounds[:2]),
        "colour": " and ".join(f"{names[i]} is {target.objects[i].colour}" for i in recoloured),
    }
    lead = pick(("from this picture", "with these figures", "the same figures"), rng)
    if strategy == "identity+negative":
        never = _missing(reference, target, names)
        lead += f", but {never[int(rng.integers(len(never)))]}"
    parts = [clauses[a] for a in _order(strategy, target, bool(recoloured)) if clauses[a]]
    text = f"{lead}: {parts[0]}"
    for part in parts[1:]:
        if count_words(f"{text}; {part}") <= IMAGE_WORDS[1]:
            text += f"; {part}"
    return words.sentence(text)


def _referents(reference: Scene, at_s: float) -> dict[int, str] | None:
    """What to call each object: its place in the frame. None where one is not to be seen, or two share a place."""
    moment = np.array([at_s])
    if not all(object_state(reference, i, moment).visible[0] for i in range(len(reference.objects))):
        return None
    places = [words.place_words(place_at(reference, i, at_s)) for i in range(len(reference.objects))]
    return {i: f"the {place} one" for i, place in enumerate(places)} if len(set(places)) == len(places) else None


def _order(strategy: str, target: Scene, recoloured: bool) -> list[str]:
    """Aspects by importance: the strategy's own, a look that the frame shows otherwise, what sets the family apart, the rest."""
    own = ["camera"] if strategy == "identity+scene" and "camera" in target.contrasts else ["event"]
    looks = ["colour"] if recoloured else []
    apart = {"event": {"mover", "motion", "order"}, "sound": {"sound", "timing"}, "camera": {"camera"}}
    wanted = [aspect for aspect, names in apart.items() if names & set(target.contrasts)]
    return list(dict.fromkeys([*looks, *own, *wanted] if strategy == "identity+scene" else [*own, *looks, *wanted]))


def _acts(target: Scene, names: dict[int, str], strategy: str, rng: Generator) -> str:
    """The target's events in order, as many as fit into 30 words."""
    text = ""
    for number, event in enumerate(target.events):
        link = "" if number == 0 else " before " if number == 1 and strategy == "relation" else ", then "
        clause = f"{link}{names[event.object]} {pick(words.MOTION_WORDS[event.motion], rng)}"
        if count_words(text + clause) > 30:
            break
        text += clause
    return text


def _missing(reference: Scene, target: Scene, names: Mapping[int, str] | None = None) -> list[str]:
    """What holds of the reference and not of the target, said as "... never ..."."""
    shown, kinds = {(e.object, e.motion) for e in target.events}, {s.kind for s in target.sounds}
    gone = [e for e in reference.events if (e.object, e.motion) not in shown]
    quiet = [s.kind for s in reference.sounds if s.kind not in kinds and s.kind != "clicks"]
    found = [f"{names[e.object] if names else 'it'} never {words.MOTION_WORDS[e.motion][0]}" for e in gone]
    found += [f"{words.SOUND_WORDS[kind][0]} is never heard" for kind in quiet]
    if "still" not in (reference.camera.kind, target.camera.kind) and reference.camera.kind != target.camera.kind:
        found.append(words.CAMERA_WORDS[reference.camera.kind][0].replace("camera ", "camera never "))
    return found
