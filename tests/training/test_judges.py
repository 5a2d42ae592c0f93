"""r_cons and r_comp from a judge's scores, and the rubric judge of the world: hand-worked cases and truth against lies."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest

from tests.training.judged import asked, blank, some_questions, sounding, swapped
from uvrlab.data.questions import Asked
from uvrlab.data.world import grounded_response, stable_rng
from uvrlab.data.world.tables import SOUNDS
from uvrlab.data.world.words import SOUND_WORDS
from uvrlab.training.judges import Claim, Evidence, auc, judge_responses
from uvrlab.training.judges_world import WorldJudge, rests_on
from uvrlab.training.spans import Footage, grounded_pairs

QUESTION = Asked("q", "clip", "train", "Which sound comes first?", (), "bell", "sound")
FILM = Footage("clip", np.zeros((16, 8, 8, 3), np.uint8), 4.0, None, 16000, 4.0)


@dataclass
class Table:
    """Scores by caption; completeness by the number of spans."""

    scores: dict[str, float | None]
    joined: float | None = 0.5
    name: str = "table"
    asked: list[str] = field(default_factory=list)

    def consistency(self, claims):
        self.asked += [claim.caption for claim in claims]
        return [self.scores[claim.caption] for claim in claims]

    def completeness(self, evidence):
        return [self.joined for _ in evidence]


def response(*pairs: tuple[str, str]) -> str:
    said = "".join(f"<time>{time}</time><caption>{caption}</caption>" for time, caption in pairs)
    return f"{said}<thinking>so</thinking><answer>bell</answer>"


def judged(judge, *texts, rules="strict"):
    return judge_responses(judge, texts, [FILM] * len(texts), [QUESTION] * len(texts), rules)


def test_consistency_is_the_mean_over_spans_and_a_refused_form_earns_nothing():
    judge = Table({"a": 1.0, "b": 0.25})
    found = judged(judge, response(("0.0-1.0", "a"), ("1.0-2.0", "b")), response(("2.0-1.0", "a")), "no form")
    assert found.consistency == [0.625, 0.0, 0.0]
    assert found.completeness == [0.5, 0.0, 0.0]
    assert found.failures == 0


def test_equal_claims_of_a_group_are_judged_once():
    judge = Table({"a": 1.0})
    judged(judge, *[response(("0.0-1.0", "a"))] * 4)
    assert judge.asked == ["a"]


def test_a_failed_judge_drops_the_response_and_is_counted():
    judge = Table({"a": 1.0, "lost": None})
    found = judged(judge, response(("0.0-1.0", "a"), ("1.0-2.0", "lost")), response(("0.0-1.0", "a")))
    assert found.consistency == [None, 1.0] and found.completeness == [0.5, 0.5] and found.failures == 1
    assert judged(Table({"a": 1.0}, joined=None), response(("0.0-1.0", "a"))).failures == 1


def test_a_span_that_cannot_be_cut_counts_as_0_and_zeroes_completeness():
    """Only published rules let such a span through."""
    text = response(("0.0-1.0", "a"), ("5.0-6.0", "a"))
    published = judged(Table({"a": 1.0}), text, rules="published")
    assert published.consistency == [0.5] and published.completeness == [0.0] and published.failures == 0
    assert judged(Table({"a": 1.0}), text).consistency == [0.0]


def test_a_score_outside_0_to_1_is_an_error_of_the_judge():
    with pytest.raises(ValueError, match=r"a judge gave 1\.5"):
        judged(Table({"a": 1.5}), response(("0.0-1.0", "a")))


def test_auc_by_hand():
    """Pairs of (2, 3) with (1, 2): 2>1, 2=2, 3>1, 3>2."""
    assert auc([2, 3], [1, 2]) == pytest.approx(3.5 / 4)
    assert auc([0, 0], [1]) == 0.0


# --- the world's rubric ---


def scenes():
    return sounding(24)


def claims_of(scene, text):
    return [Claim(blank(scene), *pair) for pair in grounded_pairs(text, scene.duration_s, "strict")]


def test_true_responses_earn_nearly_everything_and_shifted_ones_less():
    true, other = [], []
    for scene, wrong in zip(scenes(), scenes()[1:], strict=False):
        judge = WorldJudge({scene.clip_id: scene})
        for question in some_questions(scene):
            text = grounded_response(scene, question, stable_rng(question.question_id))
            true += judge.consistency(claims_of(scene, text))
        for question in some_questions(wrong):
            text = grounded_response(wrong, question, stable_rng(question.question_id))
            other += judge.consistency(claims_of(scene, text))
    assert np.mean(true) > 0.98
    assert auc(true, other) > 0.98


def test_the_judge_hears_a_swapped_sound():
    before, after = [], []
    for scene in scenes():
        sound = scene.sounds[0]
        other = swapped(scene, next(k for k in SOUNDS if k not in {s.kind for s in scene.sounds}))
        claim = Claim(blank(scene), (sound.start_s, sound.end_s), f"{SOUND_WORDS[sound.kind][0]} is heard.")
        before += WorldJudge({scene.clip_id: scene}).consistency([claim])
        after += WorldJudge({scene.clip_id: other}).consistency([claim])
    assert before == [1.0] * len(before) and after == [0.0] * len(after)


def test_a_caption_that_claims_nothing_earns_nothing():
    scene = scenes()[0]
    claims = [Claim(blank(scene), (0.0, 4.0), caption) for caption in ("Something goes on here.", "")]
    assert WorldJudge({scene.clip_id: scene}).consistency(claims) == [0.0, 0.0]


def test_true_spans_are_more_complete_than_the_whole_clip_or_its_rest():
    """Over questions whose answer rests on something with a time. The judge never sees the spans; here they are its measure."""
    true, whole, tenth = [], [], []
    for scene in scenes():
        judge, film = WorldJudge({scene.clip_id: scene}), blank(scene)
        for question in some_questions(scene):
            if question.kind in ("colour", "background", "camera") or not question.true_spans:
                continue
            spans = (question.true_spans, ((0.0, 4.0),), ((3.8, 4.0),))
            scores = judge.completeness([Evidence(film, tuple(s), asked(question)) for s in spans])
            for bag, score in zip((true, whole, tenth), scores, strict=True):
                bag.append(score)
    assert np.mean(true) > 0.85
    assert np.mean(true) > np.mean(whole) + 0.2 > np.mean(tenth)


def test_what_an_answer_rests_on_is_read_from_its_words():
    scene = scenes()[0]
    sound = scene.sounds[0]
    assert [s.kind for s in rests_on(scene, f"Which sound is it? {sound.kind}")].count(sound.kind) >= 1
    assert rests_on(scene, "What colour is it? red") == []
    assert [(h.start_s, h.end_s) for h in rests_on(scene, "Where is the red star at the start?")] == [(0.0, 1.0)]


def test_a_clip_without_a_scene_is_refused_with_a_remedy():
    with pytest.raises(ValueError, match=r"real-1 has no scene graph.*choose judge"):
        WorldJudge.of([{"clip_id": "real-1", "scene": None}])
