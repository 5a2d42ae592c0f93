"""Captions and thoughts: in range, true, and telling no more than they should."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from uvrlab.data.schema import SPLITS, STYLES, WORD_RANGES, to_arrow
from uvrlab.data.world import (
    Scene,
    captions,
    frame_caption,
    mentions,
    sample_scene,
    segment,
    stable_rng,
    text_trace,
    to_clip_row,
    trace,
)
from uvrlab.data.world.tables import COLOURS, SHAPES
from uvrlab.data.world.traces import THINK_RANGE

scenes = st.builds(sample_scene, st.sampled_from(SPLITS), st.integers(0, 3000), duration_s=st.sampled_from((2.0, 4.0, 4.0, 45.0)))
seeds = st.integers(0, 10_000)


def _true_events(scene: Scene) -> set[tuple[str | None, str]]:
    moving: set[tuple[str | None, str]] = {(scene.objects[e.object].name, e.motion) for e in scene.events}
    return moving | {(o.name, "still") for o in scene.objects if o.still}


@settings(max_examples=150)
@given(scenes, seeds)
def test_captions_are_in_range_and_say_only_what_is_there(scene: Scene, seed: int) -> None:
    told = captions(scene, stable_rng("test", seed))
    assert tuple(told) == STYLES
    for style, text in told.items():
        low, high = WORD_RANGES[style]
        assert low <= len(text.split()) <= high, (style, text)
        said = mentions(text)
        assert set(said.objects) <= {o.name for o in scene.objects}
        assert set(said.events) <= _true_events(scene), (style, text)
        assert set(said.sounds) <= {s.kind for s in scene.sounds}
        assert set(said.cameras) <= {scene.camera.kind} and set(said.backgrounds) <= {scene.background.style}
    assert not set(re.findall(r"\w+", told["abstract"].lower())) & {*COLOURS, *SHAPES}


@settings(max_examples=60)
@given(scenes, seeds)
def test_a_concise_caption_keeps_the_order_of_events(scene: Scene, seed: int) -> None:
    said = mentions(captions(scene, stable_rng("test", seed))["concise"]).events
    events = [(scene.objects[e.object].name, e.motion) for e in scene.events]
    assert said == tuple(events[: len(said)]) and said


@settings(max_examples=40)
@given(scenes, seeds, st.sampled_from(((0.0, 2.0), (0.5, 1.4), (1.0, 2.0))))
def test_words_about_a_sub_clip_are_in_range_too(scene: Scene, seed: int, window: tuple[float, float]) -> None:
    part = segment(scene, *window)
    for style, text in captions(part, stable_rng("test", seed)).items():
        assert WORD_RANGES[style][0] <= len(text.split()) <= WORD_RANGES[style][1], (style, text)
    assert THINK_RANGE[0] <= len(trace(part, stable_rng(seed))[0].split()) <= THINK_RANGE[1]


def test_siblings_seldom_share_a_caption() -> None:
    """The ceiling of retrieval: over 60 families, the share of clips that the text alone can tell from their siblings."""
    alike = dict.fromkeys(STYLES, 0)
    for family in range(60):
        told = [captions(sample_scene("test", 4 * family + i), stable_rng("c", family)) for i in range(4)]
        for style in STYLES:
            alike[style] += 4 - len({t[style] for t in told})
    limits = {"concise": 0.1, "rich": 0.05, "abstract": 0.15, "keywords": 0.1, "partial": 0.35}
    assert all(alike[style] / 240 < limits[style] for style in STYLES), alike


@settings(max_examples=60)
@given(scenes, seeds, st.booleans())
def test_a_frame_caption_implies_no_motion_and_no_sound(scene: Scene, seed: int, rich: bool) -> None:
    text = frame_caption(scene, scene.duration_s * 0.6, stable_rng("f", seed), rich=rich)
    said = mentions(text)
    assert not (said.events or said.sounds or said.cameras or said.gists), text
    assert (50 if rich else 10) <= len(text.split()) <= (200 if rich else 25), text


def test_a_clip_row_fits_the_table_and_is_always_the_same() -> None:
    rows = [to_clip_row(sample_scene("val", i)) for i in range(5)]
    table = to_arrow("clips", rows)
    assert table.num_rows == 5 and rows[2] == to_clip_row(sample_scene("val", 2))
    assert Scene.from_json(rows[2]["scene"]) == sample_scene("val", 2)


@settings(max_examples=100)
@given(scenes, seeds)
def test_a_thought_is_short_and_true(scene: Scene, seed: int) -> None:
    think, answer, flags = trace(scene, stable_rng("t", seed))
    assert THINK_RANGE[0] <= len(think.split()) <= THINK_RANGE[1] and 0 < len(answer.split()) <= 25 and not flags
    said = mentions(think)
    events = [(scene.objects[e.object].name, e.motion) for e in scene.events]
    assert set(said.objects) == {o.name for o in scene.objects}
    assert said.events == tuple(events[: len(said.events)])
    assert set(said.sounds) <= {s.kind for s in scene.sounds}


def test_errors_come_at_the_stated_rate_and_are_flagged() -> None:
    """400 scenes at a rate of 0.2: colours wrong in 20 % +- 4 of objects; at rate 0 a thought equals the one without errors."""
    wrong = total = 0
    for i in range(400):
        scene = sample_scene("train", i)
        _, _, flags = trace(scene, stable_rng("e", i), error_rate=0.2)
        wrong, total = wrong + flags.count("wrong:colour"), total + len(scene.objects)
        assert {f.partition(":")[0] for f in flags} <= {"wrong"}
    assert abs(wrong / total - 0.2) < 0.04
    with pytest.raises(ValueError, match="share between 0 and 1"):
        trace(sample_scene("train", 0), np.random.default_rng(0), error_rate=1.5)


@settings(max_examples=100)
@given(scenes, seeds, st.sampled_from(STYLES))
def test_a_thought_about_a_text_adds_nothing_to_it(scene: Scene, seed: int, style: str) -> None:
    caption = captions(scene, stable_rng("x", seed))[style]
    think, answer, flags = text_trace(caption, scene, stable_rng("y", seed))
    source, said = mentions(caption), mentions(f"{think} {answer}")
    assert THINK_RANGE[0] <= len(think.split()) <= THINK_RANGE[1] and answer and not flags
    assert set(said.objects) <= set(source.objects) and set(said.sounds) <= set(source.sounds)
    assert set(mentions(think).events) <= set(source.events) and set(said.cameras) <= set(source.cameras)


def test_just_after_is_read_in_the_order_of_happening() -> None:
    said = mentions("A red star spins, just after the blue ring grows.")
    assert said.events == (("blue ring", "grow"), ("red star", "spin"))
