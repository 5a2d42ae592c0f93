"""Which scenes a procedural UVRB of a given size needs."""

from __future__ import annotations

from itertools import count, islice

from uvrlab.data.uvrb import moments
from uvrlab.data.world.uvrb_scenes import ASPECTS, uvrb_scene

KINDS = ("short", *ASPECTS, "long")


def uvrb_plan(queries: int, seed: int) -> dict[str, list[int]]:
    """{kind: indices}: that many short and long scenes, and siblings in each aspect of half as many of the short ones.

    A long video about which nothing can be asked by a picture or a clip is passed over, as is a sibling that cannot be.
    """
    plan = {"short": list(range(queries))}
    for kind in ASPECTS:
        possible = (i for i in range(queries) if uvrb_scene(kind, i, seed) is not None)
        plan[kind] = list(islice(possible, (queries + 1) // 2))
    plan["long"] = list(islice((i for i in count() if _askable(i, seed)), queries))
    return plan


def _askable(index: int, seed: int) -> bool:
    scene = uvrb_scene("long", index, seed)
    windows = moments.pool_windows(scene) if scene is not None else None
    if scene is None or windows is None:
        return False
    return moments.picture_moment(scene, windows) is not None and moments.clip_moment(scene, windows) is not None
