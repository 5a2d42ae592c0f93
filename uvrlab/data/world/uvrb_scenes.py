"""The clips that the procedural UVRB's datasets share: short ones, a sibling of each that differs in one seen aspect, long ones.

UVRB is about what is seen, so none has a sound track. All show the test split's combinations only. A scene follows from its kind,
its index and the seed; a larger benchmark adds scenes and changes none.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from uvrlab.data.world import tables
from uvrlab.data.world.sampling import sample_scene
from uvrlab.data.world.scene import Object, Scene
from uvrlab.data.world.siblings import CHANGES, legal, signature
from uvrlab.data.world.tables import stable_rng

Generator = np.random.Generator
LONG_S = (30, 60)
LONG_FPS = 8.0  # half of a short clip's: frames are what a long video costs
_TRIES = 200


def uvrb_scene(kind: str, index: int, seed: int) -> Scene | None:
    """Scene `index` of a kind: `short`, `long`, or one of ASPECTS (a sibling of short scene `index`); None where none was found."""
    world = "uvrb" if seed == 0 else f"uvrb{seed}"
    if kind == "long":
        duration_s = float(stable_rng("uvrb long", seed, index).integers(LONG_S[0], LONG_S[1] + 1))
        scene = sample_scene("test", index, seed, duration_s=duration_s, family_size=1)
        return replace(_silent(scene), clip_id=f"{world}-long-{index:06d}", fps=LONG_FPS)
    scene = replace(_silent(sample_scene("test", index, seed, family_size=1)), clip_id=f"{world}-{index:06d}")
    return scene if kind == "short" else _sibling(scene, kind)


def _silent(scene: Scene) -> Scene:
    return replace(scene, sounds=(), track="none", contrasts=(), tags=())


def _sibling(scene: Scene, kind: str) -> Scene | None:
    rng = stable_rng("uvrb sibling", kind, scene.clip_id)
    for _ in range(_TRIES):
        made = ASPECTS[kind](scene, rng)
        if made is not None and signature(made) != signature(scene) and legal(made):
            return replace(made, clip_id=f"{scene.clip_id}-{kind}", tags=(f"differs:{kind}",))
    return None


def _place(scene: Scene, rng: Generator) -> Scene:
    """One object starts elsewhere, or two have changed places."""
    number = int(rng.integers(len(scene.objects)))
    place = tables.PLACES[int(rng.integers(len(tables.PLACES)))]
    old = scene.objects[number].place
    moved = [replace(o, place=old) if o.place == place else o for o in scene.objects]
    moved[number] = replace(scene.objects[number], place=place)
    return _reordered(scene, moved)


def _reordered(scene: Scene, objects: list[Object]) -> Scene:
    """Objects stand in reading order in every scene."""
    order = sorted(range(len(objects)), key=lambda i: objects[i].place)
    events = tuple(replace(e, object=order.index(e.object)) for e in scene.events)
    return replace(scene, objects=tuple(objects[i] for i in order), events=events)


def _looks(scene: Scene, rng: Generator) -> Scene:
    """One object has another colour or another shape."""
    number = int(rng.integers(len(scene.objects)))
    old = scene.objects[number]
    if rng.random() < 0.5:
        new = replace(old, colour=str(rng.choice([c for c in tables.COLOURS if c != old.colour])))
    else:
        new = replace(old, shape=str(rng.choice([s for s in tables.SHAPES if s != old.shape])))
    return replace(scene, objects=(*scene.objects[:number], new, *scene.objects[number + 1 :]))


def _time(scene: Scene, rng: Generator) -> Scene | None:
    """Events in another order, or one of them by another object or another motion. None where an object would do the same twice:
    then an order can hardly be told.
    """
    made = CHANGES[str(rng.choice(("order", "mover", "motion"), p=(0.6, 0.2, 0.2)))](scene, rng)
    distinct = [len({(e.object, e.motion) for e in s.events}) == len(s.events) for s in (scene, made) if s is not None]
    return made if all(distinct) else None


ASPECTS: dict[str, Callable[[Scene, Generator], Scene | None]] = {
    "place": _place,
    "looks": _looks,
    "time": _time,
    "camera": CHANGES["camera"],
}
