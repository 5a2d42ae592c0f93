"""Siblings: copies of a scene that differ in one or two named aspects, and the signature that tells any two scenes apart."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from uvrlab.data.world import tables
from uvrlab.data.world.layout import place_sound, possible
from uvrlab.data.world.scene import Scene, attribute_combos, events_during

Generator = np.random.Generator
_TRIES = 200


def signature(scene: Scene) -> tuple[object, ...]:
    """What a careful viewer could write down: objects, events in order, camera, background, each sound and what it falls on."""
    starts = [e.start_s for e in scene.events]
    sounds = [(s.kind, events_during(scene, s), sum(t <= s.start_s for t in starts)) for s in scene.sounds]
    return (
        tuple((o.name, o.size, o.place) for o in scene.objects),
        tuple((e.object, e.motion) for e in scene.events),
        scene.camera.kind,
        scene.background,
        tuple(sounds),
        scene.track,
    )


def sibling(base: Scene, taken: set[tuple[object, ...]], rng: Generator) -> tuple[Scene, tuple[str, ...]]:
    """A legal scene whose signature is not in `taken`, and the names of the aspects (one, or two in one of five) that differ."""
    names = list(CHANGES)
    for attempt in range(_TRIES):
        count = 2 if rng.random() < 0.2 or attempt > _TRIES // 2 else 1
        picked = [names[int(i)] for i in rng.permutation(len(names))[:count]]
        made: Scene | None = base
        for name in picked:
            made = CHANGES[name](made, rng) if made is not None else None
        if made is not None and signature(made) not in taken and legal(made):
            return made, tuple(sorted(picked))
    raise RuntimeError(f"no sibling found in {_TRIES} tries for {base.to_json()}; choose a smaller family_size")


def legal(scene: Scene) -> bool:
    """Whether the scene can happen: names differ, motions fit, and its split may show every combination."""
    if len({o.name for o in scene.objects}) < len(scene.objects) or not possible(scene.objects, scene.events):
        return False
    return all(tables.combo_allowed(scene.split, *combo) for combo in attribute_combos(scene))


def _pick(items: list[int] | list[str], rng: Generator) -> int:
    return int(rng.integers(len(items)))


def _mover(scene: Scene, rng: Generator) -> Scene | None:
    """Another object does one of the motions."""
    number = int(rng.integers(len(scene.events)))
    event = scene.events[number]
    others = [o for o in range(len(scene.objects)) if o != event.object]
    if not others:
        return None
    changed = replace(event, object=others[_pick(others, rng)])
    events = (*scene.events[:number], changed, *scene.events[number + 1 :])
    moving = {e.object for e in events}
    objects = tuple(replace(o, still=i not in moving) for i, o in enumerate(scene.objects))
    return replace(scene, events=events, objects=objects)


def _motion(scene: Scene, rng: Generator) -> Scene | None:
    """One event is another motion, the opposite one where there is one."""
    number = int(rng.integers(len(scene.events)))
    event = scene.events[number]
    opposite = tables.OPPOSITES.get(event.motion)
    look = scene.objects[event.object]
    choices = [m for m in tables.motions_for(scene.split, look.colour, look.shape) if m not in ("still", event.motion)]
    if not choices:
        return None
    motion = opposite if opposite in choices and rng.random() < 0.7 else choices[_pick(choices, rng)]
    changed = replace(event, motion=motion)
    return replace(scene, events=(*scene.events[:number], changed, *scene.events[number + 1 :]))


def _order(scene: Scene, rng: Generator) -> Scene | None:
    """Two neighbouring events change places; the times, and so the sound track, stay."""
    if len(scene.events) < 2:
        return None
    number = int(rng.integers(len(scene.events) - 1))
    first, second = scene.events[number], scene.events[number + 1]
    swapped = (
        replace(first, object=second.object, motion=second.motion),
        replace(second, object=first.object, motion=first.motion),
    )
    return replace(scene, events=(*scene.events[:number], *swapped, *scene.events[number + 2 :]))


def _sound(scene: Scene, rng: Generator) -> Scene | None:
    """One sound is of another kind."""
    if not scene.sounds:
        return None
    number = int(rng.integers(len(scene.sounds)))
    heard = {s.kind for s in scene.sounds}
    free = [k for k in tables.SOUNDS if k not in heard]
    if not free:
        return None
    changed = replace(scene.sounds[number], kind=free[_pick(free, rng)])
    return replace(scene, sounds=(*scene.sounds[:number], changed, *scene.sounds[number + 1 :]))


def _timing(scene: Scene, rng: Generator) -> Scene | None:
    """One sound falls elsewhere among the events."""
    if not scene.sounds:
        return None
    number = int(rng.integers(len(scene.sounds)))
    others = [s for i, s in enumerate(scene.sounds) if i != number]
    moved = place_sound(scene.sounds[number].kind, scene.events, others, scene.duration_s, rng)
    if moved is None:
        return None
    return replace(scene, sounds=tuple(sorted([*others, moved], key=lambda s: s.start_s)))


def _camera(scene: Scene, rng: Generator) -> Scene:
    others = [k for k in tables.CAMERAS if k != scene.camera.kind]
    kind = others[_pick(others, rng)]
    end = min(scene.duration_s, 4.0) if scene.camera.kind == "still" and scene.duration_s > 8.0 else scene.camera.end_s
    return replace(scene, camera=replace(scene.camera, kind=kind, end_s=end))


def _colour(scene: Scene, rng: Generator) -> Scene:
    number = int(rng.integers(len(scene.objects)))
    old = scene.objects[number]
    others = [c for c in tables.COLOURS if c != old.colour]
    changed = replace(old, colour=others[_pick(others, rng)])
    return replace(scene, objects=(*scene.objects[:number], changed, *scene.objects[number + 1 :]))


CHANGES: dict[str, Callable[[Scene, Generator], Scene | None]] = {
    "mover": _mover,
    "motion": _motion,
    "order": _order,
    "sound": _sound,
    "timing": _timing,
    "camera": _camera,
    "colour": _colour,
}
