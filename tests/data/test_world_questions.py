"""Questions: fit for their table, blind answers at chance, "both" proven by changing one modality, grounded answers well-formed."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from uvrlab.data.schema import SPLITS, to_arrow
from uvrlab.data.world import Question, Scene, combo_allowed, grounded_response, mentions, questions, sample_scene, stable_rng
from uvrlab.data.world.questions import KINDS, LETTERS
from uvrlab.data.world.scene import overlap_s
from uvrlab.data.world.tables import SOUNDS

RESPONSE = re.compile(
    r"(?:<time>\d+\.\d-\d+\.\d</time><caption>[^<>]+</caption>){1,3}<thinking>[^<>]+</thinking><answer>[^<>]+</answer>"
)


@cache
def asked(split: str = "test", n: int = 600) -> list[tuple[Scene, Question]]:
    """Every question about `n` scenes of a split."""
    drawn = [sample_scene(split, i) for i in range(n)]  # type: ignore[arg-type]
    return [(s, q) for i, s in enumerate(drawn) for q in questions(s, stable_rng("q", i))]


def test_rows_fit_the_table_and_come_back() -> None:
    listed = [q for _, q in asked()]
    assert to_arrow("questions", [q.to_row() for q in listed]).num_rows == len(listed)
    assert len({q.question_id for q in listed}) == len(listed)
    assert all(Question.from_row(q.to_row()) == q for q in listed[:200])
    assert {q.kind for q in listed} == set(KINDS) and {q.needs for q in listed} == {"picture", "sound", "both"}


def test_options_are_four_different_ones_with_the_right_letter_and_spans_lie_inside_the_clip() -> None:
    for scene, question in asked():
        assert all(0.0 <= a < b <= scene.duration_s + 1e-6 for a, b in question.true_spans)
        assert all(one[1] <= two[0] for one, two in itertools.pairwise(question.true_spans))
        if question.options:
            letter, text = question.answer.split(". ", 1)
            assert len(set(question.options)) == 4 and question.options[LETTERS.index(letter)] == text
        assert question.needs == "picture" or scene.track == "sound"


def _right(listed: list[Question], score: Callable[[Question, str], float]) -> float:
    """Share answered right by the best-scored option; a tie counts as a draw among its members."""
    hits = []
    for question in listed:
        scores = [score(question, option) for option in question.options]
        best = [o for o, s in zip(question.options, scores, strict=True) if s == max(scores)]
        hits.append((question.answer_text in best) / len(best))
    return float(np.mean(hits))


@pytest.mark.parametrize("split", ["train", "test"])
def test_a_blind_guess_is_at_chance(split: str) -> None:
    """25 % +- 3 by the letter, by an option's prior (fitted on one half, tried on the other) and by the most usual words."""
    listed = [q for _, q in asked(split) if q.options]
    half = len(listed) // 2
    assert half > 1500
    assert all(abs(n / len(listed) - 0.25) < 0.03 for n in Counter(q.answer[0] for q in listed).values())
    for key in (lambda q, o: (q.question, o), lambda q, o: (q.kind, o), lambda q, o: o):
        shown: Counter[object] = Counter(key(q, o) for q in listed[:half] for o in q.options)
        right: Counter[object] = Counter(key(q, q.answer_text) for q in listed[:half])
        guess = _right(listed[half:], lambda q, o: (right[key(q, o)] + 1) / (shown[key(q, o)] + 4))  # noqa: B023
        assert abs(guess - 0.25) < 0.03
    usual = _right(listed, lambda q, o: float(np.mean([" ".join(q.options).split().count(w) for w in o.split()])))
    assert abs(usual - 0.25) < 0.03


def test_no_option_names_a_combination_of_another_split() -> None:
    """Or a reader who knows what the split may show would strike it out."""
    for scene, question in asked():
        if question.kind == "mover":
            motion = mentions(question.question).events[0][1]
            assert all(combo_allowed(scene.split, *option.split(), motion) for option in question.options)


# Truth of an option about sound and picture, written apart from the generator.


def _meets(scene: Scene, kind: str, name: str) -> bool:
    return any(
        s.kind == kind and scene.objects[e.object].name == name and overlap_s(s, e) > 0.15
        for s in scene.sounds
        for e in scene.events
    )


def _holds(scene: Scene, question: Question, option: str) -> bool:
    heard = next((k for k in SOUNDS if re.search(rf"\b{k.rstrip('s')}", question.question)), "")
    if question.kind == "during":
        return _meets(scene, heard, option)
    if question.kind == "together":
        kind, name = option.split(" and ")
        return _meets(scene, kind, name)
    if question.kind == "matching":
        pairs = [pair.split(" with ") for pair in option.split(", then ")]
        heard_at = [next(s.start_s for s in scene.sounds if s.kind == kind) for kind, _ in pairs]
        return heard_at == sorted(heard_at) and all(_meets(scene, *pair) for pair in pairs)
    if question.kind == "order":
        starts = {s.kind: s.start_s for s in scene.sounds} | {scene.objects[e.object].name: e.start_s for e in scene.events}
        times = [starts[item] for item in option.split(", ")]
        return times == sorted(times)
    raise AssertionError(question.kind)


def _other_sounds(scene: Scene) -> list[Scene]:
    """The same picture with its sounds elsewhere: every rotation of the sounds over the clip by half a second."""
    moved = []
    for shift in np.arange(0.0, scene.duration_s, 0.1):
        starts = [(s.start_s + shift) % (scene.duration_s - 0.4) for s in scene.sounds]
        sounds = tuple(replace(s, start_s=a, end_s=a + 0.4) for s, a in zip(scene.sounds, starts, strict=True))
        moved.append(replace(scene, sounds=sounds))
        kinds = [s.kind for s in sounds]
        moved.append(replace(scene, sounds=tuple(replace(s, kind=k) for s, k in zip(sounds, kinds[::-1], strict=True))))
    return moved


def _other_pictures(scene: Scene) -> list[Scene]:
    """The same sound under another picture: the movers change roles."""
    movers = sorted({e.object for e in scene.events})
    roles = [dict(zip(movers, order, strict=True)) for order in itertools.permutations(movers)]
    return [replace(scene, events=tuple(replace(e, object=role[e.object]) for e in scene.events)) for role in roles]


def test_both_needs_both() -> None:
    """Exactly one option is true; with other sounds another option would be, and with another picture too."""
    listed = [(s, q) for s, q in asked() if q.needs == "both" and q.options]
    assert {q.kind for _, q in listed} >= {"together", "matching", "order", "during"} and len(listed) > 150
    for scene, question in listed:
        true = [o for o in question.options if _holds(scene, question, o)]
        assert true == [question.answer_text], (scene.to_json(), question)
        rivals = [o for o in question.options if o != question.answer_text]
        assert any(_holds(other, question, o) for other in _other_sounds(scene) for o in rivals), question
        assert any(_holds(other, question, o) for other in _other_pictures(scene) for o in rivals), question


def test_every_option_of_a_both_question_is_made_of_what_is_in_the_clip() -> None:
    for scene, question in asked():
        if question.needs == "both":
            there = {o.name for o in scene.objects} | {s.kind for s in scene.sounds}
            assert all(set(re.split(r", then | with | and |, ", o)) <= there for o in question.options)


@settings(max_examples=80)
@given(st.sampled_from(SPLITS), st.integers(0, 2000), st.sampled_from((0.0, 0.3, 3.0)), st.sampled_from((2.0, 4.0, 30.0)))
def test_grounded_responses_are_valid_however_sloppy(split: str, index: int, jitter_s: float, duration_s: float) -> None:
    scene = sample_scene(split, index, duration_s=duration_s)  # type: ignore[arg-type]
    rng = stable_rng("g", index)
    for question in questions(scene, rng):
        text = grounded_response(scene, question, rng, jitter_s=jitter_s)
        assert RESPONSE.fullmatch(text), text
        spans = [tuple(map(float, m)) for m in re.findall(r"<time>([\d.]+)-([\d.]+)</time>", text)]
        assert all(0.0 <= a < b <= duration_s for a, b in spans)
        assert all(one[1] <= two[0] for one, two in itertools.pairwise(spans))
        assert text.endswith(f"<answer>{question.answer}</answer>")
        if jitter_s == 0.0:
            assert np.allclose(spans, question.true_spans[:3], atol=0.051)


def test_a_response_to_a_question_about_another_clip_is_refused() -> None:
    (_, question), other = asked()[0], sample_scene("val", 0)
    with pytest.raises(ValueError, match="expected world-val-000000"):
        grounded_response(other, question, np.random.default_rng(0))
