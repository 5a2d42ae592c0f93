"""Span measures against hand-worked cases and a brute-force clock, and invented sounds on known scenes."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from uvrlab.data.questions import Asked
from uvrlab.data.world import Scene, grounded_response, questions, sample_scene, stable_rng
from uvrlab.evaluation.grounded import invents_sound, parsed, span_iou, span_recall
from uvrlab.models.respond import is_right

BELL = Asked("q", "c", "test", "Which sound is heard?", ("bell", "hum", "drum", "beep"), "A. bell", "sound")


def said(answer: str) -> str:
    return f"<time>0.0-1.0</time><caption>x</caption><thinking>y</thinking><answer>{answer}</answer>"


def test_an_answer_is_right_by_letter_or_words_whatever_the_form_of_the_rest():
    assert is_right(said("A. bell"), BELL) and is_right(said("bell"), BELL) and is_right("<answer>A</answer>", BELL)
    assert not any(is_right(text, BELL) for text in (said("B. hum"), "A. bell", ""))
    open_ = replace(BELL, options=(), answer="red star")
    assert is_right(said("the red star"), open_)
    assert not is_right(said("red ring"), open_)  # half of the words earn a reward, but are not right


def test_iou_by_hand():
    """[0, 2) with [1, 3): 1 s of 3. Two spans against one that covers both: 2 s of 4."""
    assert span_iou([(0, 2)], [(1, 3)]) == pytest.approx(1 / 3)
    assert span_iou([(0, 1), (3, 4)], [(0, 4)]) == pytest.approx(0.5)
    assert span_iou([(1, 2)], [(1, 2)]) == 1.0
    assert span_iou([], [(1, 2)]) == 0.0
    with pytest.raises(ValueError, match="expected at least one"):
        span_iou([(0, 1)], [])


tenths = st.lists(st.tuples(st.integers(0, 30), st.integers(1, 10)), min_size=1, max_size=4).map(
    lambda rows: [(a / 10, (a + b) / 10) for a, b in rows]
)


@settings(max_examples=150)
@given(tenths, tenths)
def test_iou_is_that_of_a_clock_of_tenths(predicted, true):
    def ticks(spans):
        return {i for a, b in spans for i in range(round(a * 10), round(b * 10))}

    p, t = ticks(predicted), ticks(true)
    assert span_iou(predicted, true) == pytest.approx(len(p & t) / len(p | t))


def test_recall_counts_true_spans_that_are_met():
    """[0, 1) is met with IoU 1/2 by [0, 2), [3, 4) not at all."""
    predicted, true = [(0.0, 2.0)], [(0.0, 1.0), (3.0, 4.0)]
    assert [span_recall(predicted, true, level) for level in (0.3, 0.5, 0.51)] == [0.5, 0.5, 0.0]


def scenes(count: int) -> list[Scene]:
    made = (sample_scene("test", i, family_size=1) for i in range(200))
    return [scene for scene in made if scene.sounds][:count]


def test_true_responses_invent_no_sound_and_answer_right():
    for scene in scenes(12):
        for question in questions(scene, stable_rng("q", scene.clip_id)):
            text = grounded_response(scene, question, stable_rng("r", question.question_id))
            response = parsed(text, scene.duration_s)
            assert not invents_sound(response, scene), text
            assert span_iou(response.spans, question.true_spans) > 0.9 or len(question.true_spans) > 3
            row = {k: v for k, v in question.to_row().items() if k != "true_spans"}
            assert is_right(text, Asked(**{**row, "options": question.options}))


def test_a_sound_of_another_time_or_of_no_time_is_invented():
    scene = next(s for s in scenes(50) if s.sounds[0].start_s >= 0.5)
    sound = scene.sounds[0]
    caption = f"a {sound.kind} is heard" if sound.kind != "clicks" else "clicks are heard"
    right = (
        f"<time>{sound.start_s:.1f}-{sound.end_s:.1f}</time><caption>{caption}</caption><thinking>y</thinking><answer>z</answer>"
    )
    early = f"<time>0.0-{sound.start_s:.1f}</time><caption>{caption}</caption><thinking>y</thinking><answer>z</answer>"
    others = [s for s in scene.sounds[1:] if s.kind == sound.kind]
    assert not invents_sound(parsed(right, 4.0), scene)
    assert invents_sound(parsed(early, 4.0), scene) or others
    assert invents_sound(parsed(right, 4.0), replace(scene, sounds=()))
    assert not invents_sound(parsed(said("z"), 4.0), replace(scene, sounds=()))
