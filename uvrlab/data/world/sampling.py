"""Drawing scenes: families of siblings that share nearly everything and differ in one or two aspects each.

The siblings are what leaves headroom: a clip has near-twins in its own candidate pool that only the order of events, a direction, a
sound or its timing tells apart. `family_size=1` turns them off.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from uvrlab.data.schema import Split
from uvrlab.data.world import layout, tables
from uvrlab.data.world.scene import (
    Background,
    Camera,
    Event,
    Flaws,
    Object,
    Scene,
    attribute_combos,
)
from uvrlab.data.world.siblings import sibling, signature
from uvrlab.data.world.tables import DEFAULT_DURATION_S, split_side, stable_rng

MIN_DURATION_S = 2.0


def sample_scene(split: Split, index: int, seed: int = 0, *, duration_s: float = DEFAULT_DURATION_S, family_size: int = 4) -> Scene:
    """Scene `index` of a split: the same for the same arguments, anywhere.

    `family_size` consecutive indices are siblings. ValueError for a duration under 2 s, a negative index or an empty family.
    """
    split_side(split)
    if duration_s < MIN_DURATION_S or index < 0 or family_size < 1:
        raise ValueError(
            f"found duration {duration_s:g} s, index {index}, family size {family_size}; "
            f"expected at least {MIN_DURATION_S:g} s, 0 and 1"
        )
    family, member = divmod(index, family_size)
    key = (seed, split, round(duration_s, 3), family_size, family)
    siblings = [_base(split, duration_s, stable_rng("base", *key))]
    aspects: list[tuple[str, ...]] = [("base",)]
    taken = {signature(siblings[0])}
    for number in range(1, family_size):
        made, differs = sibling(siblings[0], taken, stable_rng("sibling", *key, number))
        siblings.append(made)
        aspects.append(differs)
        taken.add(signature(made))
    contrasts = {aspect for differs in aspects[1:] for aspect in differs}
    return replace(
        siblings[member],
        clip_id=_clip_id(split, index, seed, duration_s),
        index=index,
        seed=seed,
        contrasts=tuple(sorted(contrasts)),
        tags=(f"family:{family:06d}", *(f"differs:{a}" for a in aspects[member])),
    )


def _clip_id(split: Split, index: int, seed: int, duration_s: float) -> str:
    world = "world" if seed == 0 else f"world{seed}"
    length = "" if duration_s == DEFAULT_DURATION_S else f"-{duration_s:g}s"
    return f"{world}-{split}-{index:06d}{length}"


def _base(split: Split, duration_s: float, rng: np.random.Generator) -> Scene:
    while True:
        drawn = _cast(split, duration_s, rng)
        if drawn is not None:
            break
    objects, events = drawn
    track = str(rng.choice(tables.TRACKS, p=(0.8, 0.1, 0.1)))
    scene = Scene(
        clip_id="",
        split=split,
        index=0,
        seed=0,
        duration_s=duration_s,
        objects=objects,
        events=events,
        sounds=(),
        camera=_camera(duration_s, rng),
        background=_background(rng),
        track=track,
        flaws=_flaws(rng),
    )
    if track == "sound":
        scene = replace(scene, sounds=layout.sounds(events, duration_s, rng))
    forbidden = [c for c in attribute_combos(scene) if not tables.combo_allowed(split, *c)]
    assert not forbidden, f"{split} drew {forbidden}"
    return scene


def _cast(split: Split, duration_s: float, rng: np.random.Generator) -> tuple[tuple[Object, ...], tuple[Event, ...]] | None:
    """Objects and events; None where no layout of places lets all motions happen (draw again).

    Motions are drawn first and looks second: so every motion is equally frequent in every split, and a question about it cannot be
    guessed from the split's combinations.
    """
    slots = layout.slots(duration_s, rng)
    n_objects = int(rng.choice(4, p=(0.1, 0.25, 0.3, 0.35))) + 1
    movers = layout.movers(len(slots), n_objects, rng)
    motions = [str(rng.choice(tables.MOVES)) for _ in slots]
    looks: list[tuple[str, str]] = []
    for number in range(n_objects):
        mine = [m for m, mover in zip(motions, movers, strict=True) if mover == number] or ["still"]
        free = [look for look in tables.looks_for(split, mine[0]) if look not in looks]
        looks.append(free[int(rng.integers(len(free)))])
    for i, mover in enumerate(movers):  # a second event of an object picks among what its looks may do
        if mover in movers[:i]:
            done = {m for m, o in zip(motions[:i], movers, strict=False) if o == mover} & {"grow", "shrink"}
            choices = [m for m in tables.motions_for(split, *looks[mover]) if m != "still" and m not in done]
            if not choices:
                return None
            motions[i] = str(rng.choice(choices))
    events = tuple(Event(o, m, a, b) for o, m, (a, b) in zip(movers, motions, slots, strict=True))
    sizes = [str(rng.choice(list(tables.SIZES_PX))) for _ in looks]
    for _ in range(60):
        places = rng.permutation(len(tables.PLACES))[:n_objects]
        objects = tuple(
            Object(c, s, size, tables.PLACES[p], still=number not in movers)
            for number, ((c, s), size, p) in enumerate(zip(looks, sizes, places, strict=True))
        )
        if layout.possible(objects, events):
            return _in_reading_order(objects, events)
    return None


def _in_reading_order(objects: tuple[Object, ...], events: tuple[Event, ...]) -> tuple[tuple[Object, ...], tuple[Event, ...]]:
    """Objects by the place where they start, row by row: lists of them then follow what is seen, not the draw."""
    order = sorted(range(len(objects)), key=lambda i: objects[i].place)
    return tuple(objects[i] for i in order), tuple(replace(e, object=order.index(e.object)) for e in events)


def _camera(duration_s: float, rng: np.random.Generator) -> Camera:
    """A move fills a short clip; in a long one it takes about four seconds somewhere."""
    kind = str(rng.choice(tables.CAMERAS))
    if kind == "still" or duration_s <= 8.0:
        return Camera(kind, 0.0, duration_s)
    start = round(float(rng.uniform(0.0, duration_s - 4.0)), 1)
    return Camera(kind, start, round(start + 4.0, 1))


def _background(rng: np.random.Generator) -> Background:
    first, second = rng.permutation(list(tables.HUES))[:2]
    return Background(str(rng.choice(tables.BACKGROUNDS)), (str(first), str(second)), int(rng.integers(2**31)))


def _flaws(rng: np.random.Generator) -> Flaws:
    return Flaws(
        seed=int(rng.integers(2**31)),
        noise=round(float(rng.uniform(0.5, 5.0)), 2),
        gain=round(float(rng.uniform(0.85, 1.12)), 3),
        flicker=round(float(rng.uniform(0.0, 0.05)), 3),
        crf=int(rng.integers(23, 37)),
        floor_db=round(float(rng.uniform(-62.0, -42.0)), 1),
        sample_rate_hz=int(rng.choice((16000, 44100))),
    )
