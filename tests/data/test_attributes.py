"""Attributes of thoughts by hand, and against the world's own traces, which are right by construction."""

from __future__ import annotations

from dataclasses import replace

import pytest

from uvrlab.data.world import Event, Object, Sound, sample_scene, stable_rng, trace
from uvrlab.data.world.attributes import ASPECTS, Told, measure, said, true

BASE = sample_scene("test", 3)


def scene(motions=("left", "up"), sounds=("beep",)):
    """A red circle and a blue star; motion i runs from second i, by the object i modulo 2."""
    things = (Object("red", "circle", "small", (0, 0)), Object("blue", "star", "small", (2, 2)))
    events = tuple(Event(i % 2, motion, float(i), i + 0.9) for i, motion in enumerate(motions))
    return replace(BASE, objects=things, events=events, sounds=tuple(Sound(kind, 0.0, 1.0) for kind in sounds))


def told(thought: str, summary: str = "Red circle moves left.", **fields) -> Told:
    given = {"scene": scene(), "thought_tokens": 10, "summary_tokens": 4, "well_formed": True, **fields}
    return Told(thought=thought, summary=summary, **given)


def of(found, part: str, aspect: str):
    return next(score for score in found.scores if (score.part, score.aspect) == (part, aspect))


def test_a_text_and_a_scene_speak_of_the_same_five_aspects():
    text = "Red circle. First red circle moves up. Then blue star moves left. Sound: beep, hum."
    assert said(text) == {
        "colours": {"red", "blue"},
        "shapes": {"circle", "star"},
        "motions": {"up", "left"},
        "order": {("up", "left")},
        "sounds": {"beep", "hum"},
    }
    assert true(scene())["order"] == {("left", "up")} and true(scene(("left", "up", "left")))["order"] >= {("up", "left")}
    together = replace(scene(), events=(Event(0, "left", 0.0, 1.0), Event(1, "up", 0.0, 1.0)))
    assert true(together)["order"] == set()


def test_precision_and_recall_are_means_over_clips_that_have_a_value():
    """Sounds: the first clip claims beep and hum, one of two is there: precision 1/2, recall 1. The second claims none of its
    one sound: no precision, recall 0. So precision is 1/2 of one clip and recall 1/2 of two. Order is wrong in the first."""
    found = measure(
        [
            told("First red circle moves up. Then blue star moves left. Sound: beep, hum."),
            told("Red circle moves left.", summary="", well_formed=False),
        ]
    )
    sounds, order = of(found, "thought", "sounds"), of(found, "thought", "order")
    assert (sounds.precision.value, sounds.precision.n, sounds.recall.value, sounds.recall.n) == (0.5, 1, 0.5, 2)
    assert (order.precision.value, order.precision.n, order.recall.value, order.recall.n) == (0.0, 1, 0.0, 2)
    assert found.well_formed.value == 0.5 and found.tokens == {"thought": 10.0, "summary": 4.0}
    # summaries: red, circle and left are right in one of two, 3 claims over 8 tokens
    assert found.right_per_token["summary"] == pytest.approx(3 / 8) and of(found, "summary", "colours").recall.value == 0.25


def test_sounds_count_only_where_they_could_be_heard():
    found = measure([told("Sound: beep.", heard=False)])
    assert of(found, "thought", "sounds").recall is None and of(found, "thought", "colours").recall.value == 0.0


def test_chance_is_what_the_same_texts_earn_on_other_clips():
    """Every text says red, every clip has red: chance is 1. Every other clip has the sound said of one: chance lies between."""
    same = measure([told("Red circle moves left.")] * 8)
    assert of(same, "thought", "colours").chance_precision == 1.0
    mixed = [told(f"Sound: {kind}.", scene=scene(sounds=(kind,))) for kind in ("beep", "hum", "beep", "hum")]
    sounds = of(measure(mixed), "thought", "sounds")
    assert sounds.precision.value == 1.0 and 0.0 < sounds.chance_precision < 1.0


def test_the_worlds_own_traces_are_never_wrong_and_errors_lower_them():
    def written(rate: float):
        rows = []
        for i in range(40):
            clip = sample_scene("test", i)
            think, answer, _ = trace(clip, stable_rng("trace", i), error_rate=rate)
            rows.append(Told(clip, think, answer, 40, 20, True))
        return measure(rows, bootstrap=100)

    clean, wrong = written(0.0), written(0.5)
    for aspect in ASPECTS:
        assert of(clean, "thought", aspect).precision.value == of(clean, "summary", aspect).precision.value == 1.0
        assert of(wrong, "thought", aspect).precision.value < 0.9
        assert of(clean, "thought", aspect).chance_precision < 0.8
    assert of(clean, "thought", "colours").recall.value == 1.0 and measure([]) is None
