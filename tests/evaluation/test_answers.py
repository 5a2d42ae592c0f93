"""Answers under four conditions: what each condition holds, rows and their comparison, modality bias by hand, blind is chance."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from uvrlab.data.items import FeaturedItem, MediaShape
from uvrlab.data.questions import Asked
from uvrlab.data.world import questions, sample_scene, stable_rng
from uvrlab.evaluation import answers, results
from uvrlab.evaluation.compare import compare
from uvrlab.models.respond import CONDITIONS, under

ASKED = Asked("q", "clip", "test", "Which sound is heard?", ("bell", "hum", "drum", "beep"), "A. bell", "sound")


def featured(sound: bool = True) -> FeaturedItem:
    shape = MediaShape(video=(4, 8, 8), seconds_per_grid=1.0, mel=400 if sound else 0, audio=100 if sound else 0)
    return FeaturedItem("q", ASKED.prompt, None, shape, video=np.zeros((64, 8)), audio=np.zeros((100, 8)) if sound else None)


def test_a_condition_really_removes_its_modality():
    held = {c: (item.video is not None, item.audio is not None, item.text) for c in CONDITIONS for item in [under(featured(), c)]}
    text = ASKED.prompt
    assert held == {"av": (True, True, text), "v": (True, False, text), "a": (False, True, text), "blind": (False, False, text)}
    assert under(featured(False), "av").shape == under(featured(False), "v").shape
    assert under(featured(False), "a").shape == under(featured(False), "blind").shape == MediaShape()


def response(answer: str, span: str = "1.0-2.0", caption: str = "a bell is heard") -> str:
    return f"<time>{span}</time><caption>{caption}</caption><thinking>so</thinking><answer>{answer}</answer>"


TRUTH = answers.Truth({"q": [(1.0, 3.0)]}, {}, {"clip": 4.0})


def rows_of(responses: list[answers.Response], truth: answers.Truth = TRUTH) -> list[dict[str, Any]]:
    return answers.rows(responses, truth, model_digest="m", benchmark_digest="b")


def test_rows_hold_accuracy_everywhere_and_spans_where_everything_is_given():
    found = rows_of([answers.Response(ASKED, c, response("A. bell")) for c in CONDITIONS])
    values = {(row["mode"], row["metric"]): row["value"] for row in found}
    assert {metric for _, metric in values} == {"accuracy", "format", "IoU", "R@0.3", "R@0.5"}
    assert values["av", "IoU"] == 0.5 and values["av", "R@0.5"] == 1.0 and ("v", "IoU") not in values
    assert {values[c, "accuracy"] for c in CONDITIONS} == {1.0}


def test_a_broken_form_has_no_spans_but_may_be_right():
    values = {row["metric"]: row["value"] for row in rows_of([answers.Response(ASKED, "av", response("A. bell", span="2.0-1.0"))])}
    assert values == {"accuracy": 1.0, "format": 0.0, "IoU": 0.0, "R@0.3": 0.0, "R@0.5": 0.0}


def test_an_invented_sound_is_counted_where_the_scene_is_known():
    scene = replace(sample_scene("test", 0), sounds=())
    truth = replace(TRUTH, scenes={"clip": scene})
    (value,) = (r["value"] for r in rows_of([answers.Response(ASKED, "av", response("A"))], truth) if r["metric"] == "invented")
    assert value == 1.0


def table(right: dict[str, list[int]]) -> list[dict[str, Any]]:
    """Accuracy rows: {condition: 0 or 1 a question}."""
    asked = [replace(ASKED, question_id=f"q{i}") for i in range(len(right["av"]))]
    truth = answers.Truth({}, {}, {"clip": 4.0})
    said = [
        answers.Response(question, c, response("A" if hit else "B"))
        for c, hits in right.items()
        for question, hit in zip(asked, hits, strict=True)
    ]
    return rows_of(said, truth)


def test_modality_bias_by_hand():
    """A+V 3 of 4, picture 2 of 4, sound 1 of 4. One question is lost by hearing it, two are gained; +1/4 over the picture."""
    found = answers.modality_bias(table({"av": [1, 1, 1, 0], "v": [1, 0, 0, 1], "a": [0, 0, 1, 0], "blind": [0, 0, 0, 0]}))
    assert (found.worse, found.better, found.n) == (0.25, 0.5, 4)
    assert found.gain.difference == pytest.approx(0.25)
    with pytest.raises(ValueError, match="same questions"):
        answers.modality_bias(table({"av": [1]}))


def test_two_models_are_compared_question_by_question_and_chance_is_that_of_the_options():
    good = answers.summarise(table({c: [1, 1, 1, 0] for c in CONDITIONS}), seed=0, bootstrap=100)
    bad = answers.summarise(table({c: [1, 0, 0, 0] for c in CONDITIONS}), seed=0, bootstrap=100)
    assert good.results.score("answers-sound", "accuracy", "v").chance == 0.25
    (effect,) = (e for e in compare(good, bad).effects if (e.dataset, e.mode, e.metric) == ("answers-sound", "av", "accuracy"))
    assert (effect.difference, effect.n) == (0.5, 4)
    assert isinstance(good, results.Evaluation)


def test_a_reader_of_the_text_alone_is_at_chance():
    """The best constant letter on 240 clips of the test split stays within 3 standard errors of 1/4, by what questions need."""
    letters: dict[str, list[str]] = {}
    for index in range(240):
        scene = sample_scene("test", index)
        for question in questions(scene, stable_rng("blind", scene.clip_id)):
            if question.options:
                letters.setdefault(question.needs, []).append(question.answer[0])
    for needs, given in letters.items():
        best = max(given.count(letter) for letter in "ABCD") / len(given)
        assert best < 0.25 + 3 * (0.25 * 0.75 / len(given)) ** 0.5 + 0.01, (needs, best, len(given))
