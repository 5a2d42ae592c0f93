"""The kinds of questions: each maker yields every draft that a scene allows, with distractors drawn the way right answers are."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from uvrlab.data.world import tables, words
from uvrlab.data.world.scene import Event, Scene, Sound, events_during, overlap_s

N_OPTIONS = 4
Span = tuple[float, float]
Maker = Callable[[Scene, np.random.Generator], Iterator["Draft"]]


@dataclass(frozen=True)
class Draft:
    """A question before its options: `wrong` holds three distractors, or is None where only an open form is fair."""

    text: str
    answer: str
    wrong: tuple[str, ...] | None
    spans: tuple[Span, ...]


def _others(answer: str, pool: Sequence[str], preferred: Sequence[str], rng: np.random.Generator) -> tuple[str, ...]:
    """Three distractors: those in the clip first, then others of the pool."""
    near = [p for p in dict.fromkeys(preferred) if p != answer]
    far = [p for p in pool if p != answer and p not in near]
    near = [near[int(i)] for i in rng.permutation(len(near))]
    return tuple([*near, *(far[int(i)] for i in rng.permutation(len(far)))][: N_OPTIONS - 1])


def _name(scene: Scene, event: Event) -> str:
    return scene.objects[event.object].name


def _span(happening: Event | Sound) -> Span:
    return happening.start_s, happening.end_s


def _whole(scene: Scene) -> tuple[Span, ...]:
    return ((0.0, scene.duration_s),)


def _unique(items: Sequence[str]) -> list[str]:
    return [item for item in items if items.count(item) == 1]


def _clear_start(scene: Scene, event: Event) -> bool:
    """No other event starts within 0.3 s, so "first" and "last" are plain to see."""
    return all(e is event or abs(e.start_s - event.start_s) > 0.3 for e in scene.events)


# Picture ---------------------------------------------------------------------------------------------------------------------


def _mover(scene: Scene, rng: np.random.Generator) -> Iterator[Draft]:
    """Distractors could do the motion in this split, or the split would give the answer away."""
    for event in scene.events:
        doers = {_name(scene, e) for e in scene.events if e.motion == event.motion}
        fit = [" ".join(look) for look in tables.looks_for(scene.split, event.motion)]
        pool = [name for name in fit if name not in doers]
        movers = [_name(scene, e) for e in scene.events if _name(scene, e) in pool]
        if len(doers) == 1:
            text = f"Which object {words.pick(words.MOTION_WORDS[event.motion], rng)}?"
            yield Draft(text, _name(scene, event), _others(_name(scene, event), pool, movers, rng), (_span(event),))


def _first_motion(scene: Scene, rng: np.random.Generator) -> Iterator[Draft]:
    for word, event in (("first", scene.events[0]), ("last", scene.events[-1])) if len(scene.events) > 1 else ():
        if _clear_start(scene, event):
            phrases = {m: words.MOTION_WORDS[m][0] for m in tables.MOVES}
            wrong = _others(phrases[event.motion], list(phrases.values()), [phrases[e.motion] for e in scene.events], rng)
            yield Draft(f"What does the {word} object to move do?", phrases[event.motion], wrong, (_span(event),))


def _first_mover(scene: Scene, rng: np.random.Generator) -> Iterator[Draft]:
    movers = [_name(scene, e) for e in scene.events]
    for word, event in (("first", scene.events[0]), ("last", scene.events[-1])) if len(set(movers)) > 1 else ():
        if _clear_start(scene, event):
            made_up = [
                f"{c} {s}" for c in tables.COLOURS for s in tables.SHAPES if f"{c} {s}" not in {o.name for o in scene.objects}
            ]
            wrong = _others(_name(scene, event), made_up, movers, rng)
            yield Draft(f"Which object moves {word}?", _name(scene, event), wrong, (_span(event),))


def _colour(scene: Scene, rng: np.random.Generator) -> Iterator[Draft]:
    """Asked about things that move: which looks may rest depends on the split."""
    shapes = [o.shape for o in scene.objects]
    for thing in scene.objects:
        if thing.shape in _unique(shapes) and not thing.still:
            wrong = _others(thing.colour, list(tables.COLOURS), [o.colour for o in scene.objects if not o.still], rng)
            yield Draft(f"What colour is the {thing.shape}?", thing.colour, wrong, _whole(scene))


def _place(scene: Scene, rng: np.random.Generator) -> Iterator[Draft]:
    places = [words.place_words(p) for p in tables.PLACES]
    for thing in scene.objects:
        answer = words.place_words(thing.place)
        wrong = _others(answer, places, [words.place_words(o.place) for o in scene.objects], rng)
        yield Draft(f"Where is the {thing.name} at the start?", answer, wrong, ((0.0, min(1.0, scene.duration_s)),))


def _camera(scene: Scene, rng: np.random.Generator) -> Iterator[Draft]:
    phrases = {k: v[0] for k, v in words.CAMERA_WORDS.items()}
    answer = phrases[scene.camera.kind]
    span = ((scene.camera.start_s, scene.camera.end_s),)
    yield Draft("What does the camera do?", answer, _others(answer, list(phrases.values()), (), rng), span)


def _background(scene: Scene, rng: np.random.Generator) -> Iterator[Draft]:
    answer = words.BACKGROUND_WORDS[scene.background.style]
    yield Draft(
        "What is the background like?", answer, _others(answer, list(words.BACKGROUND_WORDS.values()), (), rng), _whole(scene)
    )


# Sound -----------------------------------------------------------------------------------------------------------------------


def _heard(scene: Scene, rng: np.random.Generator) -> Iterator[Draft]:
    kinds = [s.kind for s in scene.sounds]
    for sound in scene.sounds:
        if kinds.count(sound.kind) == 1:
            pool = [k for k in tables.SOUNDS if k not in kinds]
            yield Draft("Which of these sounds is heard?", sound.kind, _others(sound.kind, pool, (), rng), (_span(sound),))


def _first_sound(scene: Scene, rng: np.random.Generator) -> Iterator[Draft]:
    kinds = [s.kind for s in scene.sounds]
    for word, sound in (("first", scene.sounds[0]), ("last", scene.sounds[-1])) if len(set(kinds)) > 1 else ():
        yield Draft(f"Which sound comes {word}?", sound.kind, _others(sound.kind, tables.SOUNDS, kinds, rng), (_span(sound),))


# Both ------------------------------------------------------------------------------------------------------------------------


def _solo(scene: Scene, sound: Sound) -> Event | None:
    """The one event during a sound that occurs once; None where the question would be open to dispute."""
    if [s.kind for s in scene.sounds].count(sound.kind) > 1:
        return None
    during = events_during(scene, sound)
    touched = [e for e in scene.events if overlap_s(e, sound) > 0.0]
    return scene.events[during[0]] if len(during) == 1 and len(touched) == 1 else None


def _during(scene: Scene, rng: np.random.Generator) -> Iterator[Draft]:
    """Open with two or three movers, a list with four; with one modality gone every mover is as likely."""
    movers = list(dict.fromkeys(_name(scene, e) for e in scene.events))
    for sound in scene.sounds:
        event = _solo(scene, sound)
        if event is not None and len(movers) > 1:
            wrong = _others(_name(scene, event), (), movers, rng) if len(movers) >= N_OPTIONS else None
            heard = words.pick(words.SOUND_WORDS[sound.kind], rng)
            verb = "are" if sound.kind == "clicks" and heard == "clicks" else "is"
            yield Draft(f"Which object is moving while {heard} {verb} heard?", _name(scene, event), wrong, (_span(event),))


def _together(scene: Scene, rng: np.random.Generator) -> Iterator[Draft]:
    """Two sounds by two movers, of which exactly one pair meets in time."""
    movers = list(dict.fromkeys(_name(scene, e) for e in scene.events))
    kinds = [s.kind for s in scene.sounds]
    for sound in scene.sounds:
        event = _solo(scene, sound)
        if event is None:
            continue
        mine = _name(scene, event)
        for other in (s for s in scene.sounds if s.kind != sound.kind and kinds.count(s.kind) == 1):
            met = {_name(scene, e) for e in scene.events if overlap_s(e, other) > 0.0}
            for rival in movers:
                if rival == mine or {rival, mine} & met:
                    continue
                pairs = [f"{k} and {o}" for k in (sound.kind, other.kind) for o in (mine, rival)]
                yield Draft("Which sound and which moving object go together in time?", pairs[0], tuple(pairs[1:]), (_span(event),))


def _matching(scene: Scene, rng: np.random.Generator) -> Iterator[Draft]:
    """Two sounds, each on its own mover: hearing gives the sounds in order, sight the movers, and only both the pairs."""
    solo = [(s, e) for s in scene.sounds if (e := _solo(scene, s)) is not None]
    for (sound, event), (later, other) in ((a, b) for i, a in enumerate(solo) for b in solo[i + 1 :]):
        one, two = _name(scene, event), _name(scene, other)
        once = [_name(scene, e) for e in scene.events]
        if one == two or once.count(one) > 1 or once.count(two) > 1 or event.end_s > other.start_s:
            continue
        pairs = [((s, o), (t, p)) for s, t in ((sound, later), (later, sound)) for o, p in ((one, two), (two, one))]
        told = [f"{s.kind} with {o}, then {t.kind} with {p}" for (s, o), (t, p) in pairs]
        yield Draft("Which sound goes with which moving object?", told[0], tuple(told[1:]), (_span(event), _span(other)))


def _sound_at(scene: Scene, rng: np.random.Generator) -> Iterator[Draft]:
    """Open: which of the clip's sounds falls on the motion of one of its movers."""
    movers = {_name(scene, e) for e in scene.events}
    for sound in scene.sounds:
        event = _solo(scene, sound)
        if event is None or len(scene.sounds) < 2 or len(movers) < 2:
            continue
        rivals = [s for s in scene.sounds if s is not sound and overlap_s(s, event) > 0.0]
        once = [_name(scene, e) for e in scene.events].count(_name(scene, event)) == 1
        if not rivals and once:
            yield Draft(f"Which sound is heard while the {_name(scene, event)} moves?", sound.kind, None, (_span(event),))


def _order(scene: Scene, rng: np.random.Generator) -> Iterator[Draft]:
    """Two orders of two events by two positions of a sound: sight gives the one, hearing alone neither."""
    names = [_name(scene, e) for e in scene.events]
    kinds = [s.kind for s in scene.sounds]
    for first, second in ((a, b) for i, a in enumerate(scene.events) for b in scene.events[i + 1 :]):
        one, two = _name(scene, first), _name(scene, second)
        if names.count(one) > 1 or names.count(two) > 1 or first.end_s > second.start_s:
            continue
        for sound in (s for s in scene.sounds if kinds.count(s.kind) == 1):
            place = _position(sound, first, second)
            if place is None:
                continue
            other = int(rng.choice(3, p=_ORDER_OTHER[place]))
            orders = [_ordered(a, b, sound.kind, p) for a, b in ((one, two), (two, one)) for p in (place, other)]
            spans = (_span(first), _span(sound), _span(second))
            yield Draft("In which order do these come?", orders[0], tuple(orders[1:]), spans)


# Which other position stands in the list. Sounds fall before, between and after two events in shares of 0.34, 0.25 and 0.41
# (measured); with these chances each of two positions in a list is as often the right one.
_ORDER_OTHER = ((0.0, 0.27, 0.73), (0.37, 0.0, 0.63), (0.615, 0.385, 0.0))


def _position(sound: Sound, first: Event, second: Event) -> int | None:
    """0 before both, 1 between, 2 after both; None where it overlaps one of them."""
    if sound.end_s <= first.start_s:
        return 0
    if first.end_s <= sound.start_s and sound.end_s <= second.start_s:
        return 1
    return 2 if second.end_s <= sound.start_s else None


def _ordered(one: str, two: str, sound: str, place: int) -> str:
    items = [one, two]
    items.insert(place, sound)
    return ", ".join(items)


def _after(scene: Scene, rng: np.random.Generator) -> Iterator[Draft]:
    """What moves next after a sound that falls in a gap, with movers on both sides of it."""
    movers = list(dict.fromkeys(_name(scene, e) for e in scene.events))
    for sound in scene.sounds:
        later = [e for e in scene.events if e.start_s >= sound.end_s]
        busy = any(overlap_s(e, sound) > 0.0 for e in scene.events)
        once = [s.kind for s in scene.sounds].count(sound.kind) == 1
        if later and not busy and once and len(movers) > 1 and _clear_start(scene, later[0]):
            answer = _name(scene, later[0])
            wrong = _others(answer, (), movers, rng) if len(movers) >= N_OPTIONS else None
            heard = words.SOUND_WORDS[sound.kind][0]
            yield Draft(f"Which object moves next after {heard}?", answer, wrong, (_span(sound), _span(later[0])))


KINDS: dict[str, tuple[str, Maker]] = {
    "mover": ("picture", _mover),
    "first_motion": ("picture", _first_motion),
    "first_mover": ("picture", _first_mover),
    "colour": ("picture", _colour),
    "place": ("picture", _place),
    "camera": ("picture", _camera),
    "background": ("picture", _background),
    "heard": ("sound", _heard),
    "first_sound": ("sound", _first_sound),
    "during": ("both", _during),
    "together": ("both", _together),
    "matching": ("both", _matching),
    "sound_at": ("both", _sound_at),
    "order": ("both", _order),
    "after": ("both", _after),
}
