"""The scene graph: determinism, the compositional split, families, sub-clips."""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from uvrlab.data.schema import SPLITS
from uvrlab.data.world import Scene, attribute_combos, combo_allowed, sample_scene, segment
from uvrlab.data.world.scene import overlap_s
from uvrlab.data.world.siblings import signature
from uvrlab.data.world.tables import CAMERAS, COLOURS, MOTIONS, MOVES, SHAPES

scenes = st.builds(
    sample_scene, st.sampled_from(SPLITS), st.integers(0, 5000), st.integers(0, 3), duration_s=st.sampled_from((2.0, 4.0, 33.0))
)


def test_a_scene_is_a_function_of_its_arguments_on_any_machine() -> None:
    scene = sample_scene("test", 7)
    assert scene == sample_scene("test", 7) != sample_scene("test", 7, seed=1)
    assert (scene.clip_id, scene.index, scene.split) == ("world-test-000007", 7, "test")
    assert sample_scene("val", 3, 2, duration_s=45.0).clip_id == "world2-val-000003-45s"


@settings(max_examples=40)
@given(scenes)
def test_json_goes_there_and_back(scene: Scene) -> None:
    assert Scene.from_json(scene.to_json()) == scene


def test_a_text_that_is_no_scene_is_refused() -> None:
    with pytest.raises(ValueError, match="not a scene"):
        Scene.from_json('{"clip_id": "x"}')


def test_sides_share_no_combination_and_the_train_side_shows_every_pair() -> None:
    """8 colours x 6 shapes x 11 motions = 528 combinations; 6, 2 and 3 of 11 residues give each side that share of them."""
    every = list(itertools.product(COLOURS, SHAPES, MOTIONS))
    sides = {split: {combo for combo in every if combo_allowed(split, *combo)} for split in SPLITS}
    assert sides["pretrain"] == sides["train"] == sides["rl"]
    assert [len(sides[s]) for s in ("train", "val", "test")] == [288, 96, 144]
    assert len(sides["train"] | sides["val"] | sides["test"]) == len(every)
    for a, b in itertools.combinations(range(3), 2):
        assert {(c[a], c[b]) for c in sides["train"]} == {(c[a], c[b]) for c in every}


@settings(max_examples=80)
@given(scenes)
def test_a_scene_keeps_its_own_rules(scene: Scene) -> None:
    assert all(combo_allowed(scene.split, *combo) for combo in attribute_combos(scene))
    assert 1 <= len(scene.objects) <= 4 and len({o.name for o in scene.objects}) == len({o.place for o in scene.objects})
    assert {i for i, o in enumerate(scene.objects) if not o.still} == {e.object for e in scene.events}
    assert all(0.0 <= e.start_s < e.end_s <= scene.duration_s for e in scene.events)
    assert all(0.8 <= round(e.end_s - e.start_s, 3) <= 2.0 for e in scene.events)
    assert list(scene.events) == sorted(scene.events, key=lambda e: e.start_s)
    for one, two in itertools.combinations(scene.events, 2):
        assert overlap_s(one, two) <= 0.21 and (one.object != two.object or overlap_s(one, two) == 0.0)
    for one, two in itertools.combinations(scene.sounds, 2):
        assert overlap_s(one, two) == 0.0
    for sound in scene.sounds:
        assert scene.track == "sound" and sound.end_s <= scene.duration_s + 1e-6
        assert sound.event is None or sound.start_s == scene.events[sound.event].start_s
    if scene.duration_s == 4.0:
        assert 1 <= len(scene.events) <= 4 and len(scene.sounds) <= 3


def _parts(scene: Scene) -> dict[str, object]:
    """What each aspect is about; everything else must be shared."""
    return {
        "colour": [o.colour for o in scene.objects],
        "camera": scene.camera.kind,
        "sound": sorted(s.kind for s in scene.sounds),
        "timing": [s.start_s for s in scene.sounds],
        "motion": [e.motion for e in scene.events],
        "mover": [e.object for e in scene.events],
        "other": ([(o.shape, o.size, o.place) for o in scene.objects], scene.background, scene.flaws, scene.track),
    }


def test_siblings_differ_in_exactly_the_aspects_that_their_tags_name() -> None:
    touched = {"order": {"motion", "mover"}, "timing": {"timing", "sound"}}  # a moved sound may change the order of sounds
    for family in range(60):
        base, *others = (sample_scene("train", 4 * family + i) for i in range(4))
        assert base.tags == (f"family:{family:06d}", "differs:base")
        assert len({signature(s) for s in (base, *others)}) == 4
        for other in others:
            named = {t.removeprefix("differs:") for t in other.tags[1:]}
            free = set().union(*(touched.get(n, {n}) for n in named))
            before, after = _parts(base), _parts(other)
            assert {k for k in before if before[k] != after[k]} <= free
            assert 1 <= len(named) <= 2 and named <= set(other.contrasts) and other.contrasts == base.contrasts


def test_a_family_of_one_has_no_siblings() -> None:
    scene = sample_scene("train", 11, family_size=1)
    assert scene.tags == ("family:000011", "differs:base") and scene.contrasts == ()


def test_motions_and_cameras_are_equally_frequent_and_one_clip_in_ten_is_silent_or_has_no_track() -> None:
    """2,000 scenes: each of 10 motions 10 % +- 2.5, each of 5 cameras 20 % +- 4, silent and missing 10 % +- 3."""
    drawn = [sample_scene("test", i, family_size=1) for i in range(2000)]
    firsts = Counter(s.events[0].motion for s in drawn)
    assert all(abs(firsts[m] / 2000 - 0.1) < 0.025 for m in MOVES)
    assert all(abs(n / 2000 - 0.2) < 0.04 for n in Counter(s.camera.kind for s in drawn).values()) and len(CAMERAS) == 5
    tracks = Counter(s.track for s in drawn)
    assert abs(tracks["silent"] / 2000 - 0.1) < 0.03 and abs(tracks["none"] / 2000 - 0.1) < 0.03


@pytest.mark.parametrize(
    ("split", "index", "options"),
    [("dev", 0, {}), ("test", -1, {}), ("test", 0, {"duration_s": 0.5}), ("test", 0, {"family_size": 0})],
)
def test_what_cannot_be_drawn_is_refused(split: str, index: int, options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="expected"):
        sample_scene(split, index, **options)  # type: ignore[arg-type]


def test_a_sub_clip_has_its_own_clock_and_clipped_events() -> None:
    scene = next(s for s in (sample_scene("train", i) for i in range(50)) if len(s.events) == 3 and s.events[0].motion == "right")
    whole = segment(scene, 0.0, scene.duration_s)
    assert replace(whole, clip_id=scene.clip_id) == scene
    cut = round(scene.events[0].end_s + 0.0, 1)
    late = segment(scene, cut, 4.0)
    assert late.duration_s == pytest.approx(4.0 - cut) and len(late.events) == 2
    assert late.events[0].start_s == pytest.approx(scene.events[1].start_s - cut, abs=1e-6)
    mover = scene.events[0].object
    row, column = scene.objects[mover].place
    assert late.objects[mover].place == (row, column + 1)
    with pytest.raises(ValueError, match="not inside"):
        segment(scene, 3.0, 4.5)
