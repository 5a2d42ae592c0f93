"""Changes from one sibling to another: in their word ranges, true of the target, without looks where a frame shows them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from uvrlab.data.schema import WORD_RANGES, item
from uvrlab.data.world import Scene, mentions, sample_scene, stable_rng
from uvrlab.data.world.changes import aspects
from uvrlab.data.world.tables import COLOURS, SHAPES
from uvrlab.synthesis.captioners.base import STRATEGIES, Captioner, ProviderError
from uvrlab.synthesis.captioners.world import World
from uvrlab.synthesis.view import ClipView

Row = dict[str, Any]
WORLD: Captioner = World()
LOOKS = set(SHAPES) - {"circle"}  # "moves in a circle" is a motion
Clip = Callable[[str, int], Row]


def _item(view: ClipView, at_s: float | None) -> Row:
    start, end, kind = (0.0, 4.0, "video") if at_s is None else (at_s, at_s, "image")
    return item(clip_id=view.row["clip_id"], start_s=start, end_s=end, modalities=[kind])


def _changes(clip: Clip, at_s: float | None, families: int = 12) -> Iterator[tuple[Scene, Scene, str, str]]:
    """(reference, target, strategy, text) of all ordered pairs of siblings."""
    for family in range(families):
        views = [ClipView(clip("train", 4 * family + i), Path()) for i in range(4)]
        for reference, target in permutations(views, 2):
            given = _item(reference, at_s)
            scenes = [Scene.from_json(v.row["scene"]) for v in (reference, target)]
            for strategy in WORLD.strategies(reference, given, target):
                rng = stable_rng(family, strategy, reference.row["clip_id"], target.row["clip_id"])
                yield *scenes, strategy, WORLD.change(reference, given, target, strategy, rng)


def test_a_change_of_a_video_keeps_5_to_15_words_and_says_only_what_holds_of_the_target(world_clip: Clip) -> None:
    found = list(_changes(world_clip, None))
    assert {strategy for *_, strategy, _ in found} == {"action", "viewpoint", "condition"}
    for _, target, strategy, text in found:
        assert WORD_RANGES[strategy][0] <= len(text.split()) <= WORD_RANGES[strategy][1]
        said = mentions(text)
        assert set(said.events) <= {(target.objects[e.object].name, e.motion) for e in target.events}
        assert set(said.sounds) <= {s.kind for s in target.sounds}
        assert set(said.cameras) <= {target.camera.kind}


def test_a_change_of_a_video_is_false_of_the_reference(world_clip: Clip) -> None:
    """An action, a camera or a sound that the text names and the reference does not have, unless time or colour is what differs."""
    for reference, target, _, text in _changes(world_clip, None):
        differ = aspects(reference, target)
        assert differ
        if not set(differ) & {"event", "camera", "sound"}:
            continue
        said = mentions(text)
        old = [(reference.objects[e.object].name, e.motion) for e in reference.events]
        moved = list(said.events) != [e for e in old if e in said.events]
        heard = not set(said.sounds) <= {s.kind for s in reference.sounds}
        assert moved or heard or not set(said.cameras) <= {reference.camera.kind}, (text, differ)


def test_a_change_of_a_frame_names_no_look_that_the_frame_shows(world_clip: Clip) -> None:
    found = list(_changes(world_clip, 1.03))
    assert {strategy for *_, strategy, _ in found} == set(STRATEGIES["TI2V"])
    for reference, target, strategy, text in found:
        assert WORD_RANGES[strategy][0] <= len(text.split()) <= WORD_RANGES[strategy][1]
        bare = set(text.lower().replace(";", " ").replace(".", " ").replace(",", " ").split())
        recoloured = {b.colour for a, b in zip(reference.objects, target.objects, strict=True) if a.colour != b.colour}
        assert not mentions(text).objects and not bare & LOOKS and bare & set(COLOURS) <= recoloured


def test_a_change_of_a_frame_says_only_what_holds_of_the_target(world_clip: Clip) -> None:
    for _, target, strategy, text in _changes(world_clip, 1.03):
        told = text.split(":", 1)[1] if strategy == "identity+negative" else text
        said = mentions(told)
        assert {motion for _, motion in said.events} <= {e.motion for e in target.events}
        assert set(said.sounds) <= {s.kind for s in target.sounds} and set(said.cameras) <= {target.camera.kind}
        if strategy == "identity+negative":
            assert "never" in text.split(":")[0]
            gone = mentions(text.split(":")[0])
            assert not set(gone.sounds) & {s.kind for s in target.sounds}


def test_clips_of_two_families_are_not_compared(world_clip: Clip) -> None:
    first, other = (ClipView(world_clip("train", i), Path()) for i in (0, 4))
    for at_s in (None, 1.0):
        assert WORLD.strategies(first, _item(first, at_s), other) == ()
        with pytest.raises(ProviderError, match="does not lead"):
            WORLD.change(first, _item(first, at_s), other, "action" if at_s is None else "relation", np.random.default_rng(0))


def test_a_later_window_of_the_same_clip_is_a_continuation(world_clip: Clip) -> None:
    for index in range(8):
        row = world_clip("train", index)
        first, later = ClipView({**row, "end_s": 2.0}, Path()), ClipView({**row, "start_s": 2.0}, Path())
        given = item(clip_id=row["clip_id"], start_s=0.0, end_s=2.0, modalities=["video"])
        assert WORLD.strategies(first, given, later) == ("continuation",)
        text = WORLD.change(first, given, later, "continuation", np.random.default_rng(index))
        assert 5 <= len(text.split()) <= 15
        scene = sample_scene("train", index)
        assert {m for _, m in mentions(text).events} <= {"still", *(e.motion for e in scene.events if e.end_s > 2.0)}


@pytest.mark.parametrize("rich", [False, True])
def test_frame_captions_keep_their_range(world_clip: Clip, rich: bool) -> None:
    low, high = (50, 200) if rich else (10, 25)
    for index in range(20):
        view = ClipView(world_clip("train", index), Path())
        assert low <= len(WORLD.frame_caption(view, 1.53, np.random.default_rng(index), rich).split()) <= high
