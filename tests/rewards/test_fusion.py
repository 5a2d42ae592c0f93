"""The attention bonus: a truth table a rule, unscored rollouts, and proof that the term moves advantages and gradients."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from uvrlab.losses.policy import LossInputs, advantages, policy_loss
from uvrlab.rewards.fusion import RULES, attention_bonus

CASES = list(itertools.product((0.0, 1.0), repeat=3))  # (A+V, V, A): 000 001 010 011 100 101 110 111


@pytest.mark.parametrize(
    ("rule", "paid"),
    [
        ("ge", [1, 0, 0, 0, 1, 1, 1, 1]),  # pays for three wrong answers, and for what one modality already solves
        ("gt", [0, 0, 0, 0, 1, 0, 0, 0]),  # only for what needs both
        ("group", [0, 0, 0, 0, 1, 1, 1, 1]),  # groups of one: as ge, but a wrong answer earns nothing
    ],
)
def test_truth_table(rule: str, paid: list[int]) -> None:
    for case, expected in zip(CASES, paid, strict=True):
        assert attention_bonus(*([score] for score in case), rule=rule) == [0.3 * expected], case
    if rule != "group":
        columns = [list(column) for column in zip(*CASES, strict=True)]
        assert attention_bonus(*columns, rule=rule, alpha=0.5) == [0.5 * expected for expected in paid]


def test_the_default_is_the_published_rule() -> None:
    assert attention_bonus([0, 0.5, 0.4], [0, 0.5, 0.5], [0, 0.2, 0]) == [0.3, 0.3, 0.0]


@pytest.mark.parametrize(
    ("av", "v", "a", "expected"),
    [
        ([1, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0], [0.3, 0.3, 0, 0]),  # means 1/2, 1/4, 0
        ([1, 1, 0, 0], [0, 0, 1, 1], [0, 0, 0, 0], [0.3, 0.3, 0, 0]),  # means are equal, whichever rollouts were right
        ([1, 0, 0, 0], [1, 1, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]),  # 1/4 < 1/2
        ([1, 0, 0, 0], [0, 0, 0, 0], [1, 1, 0, 0], [0, 0, 0, 0]),
        ([1, 0.5, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0], [0.3, 0.15, 0, 0]),  # a soft score earns its share
        ([0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]),
        ([1, None, 0, 1], [0, None, None, 1], [0, 0, 0, 0], [0.3, None, 0, 0.3]),  # means over what was scored: 2/3, 1/2
        ([1, 0], [None, None], [0, 0], [None, None]),
    ],
)
def test_group_compares_means_and_pays_right_answers(av, v, a, expected) -> None:
    assert attention_bonus(av, v, a, rule="group") == expected


def test_necessity_is_the_share_of_the_answers_probability_that_is_lost() -> None:
    """Mean log p of the reference: ln .8 with both; .2 without sound, .4 without picture. min(ln 4, ln 2): 1 - 1/2 of alpha."""
    both, v, a = math.log(0.8), math.log(0.2), math.log(0.4)
    assert attention_bonus([both], [v], [a], rule="necessity") == pytest.approx([0.3 * 0.5])
    assert attention_bonus([both], [both], [a], rule="necessity") == [0.0]  # the picture alone is as good
    assert attention_bonus([v], [both], [both], rule="necessity") == [0.0]  # worse with both than with one
    assert attention_bonus([-0.1], [-500.0], [-500.0], rule="necessity") == pytest.approx([0.3])


logs = st.floats(-50, 0)


@settings(max_examples=200)
@given(logs, logs, logs, st.floats(0, 5))
def test_necessity_is_bounded_and_rises_with_the_drop(av: float, v: float, a: float, more: float) -> None:
    [bonus] = attention_bonus([av], [v], [a], rule="necessity")
    [greater] = attention_bonus([av], [v - more], [a - more], rule="necessity")
    assert 0 <= bonus <= greater <= 0.3
    assert (bonus == 0) == (min(av - v, av - a) <= 0)


@pytest.mark.parametrize("rule", ["ge", "gt", "necessity"])
def test_a_rollout_that_lacks_a_score_stays_unscored_and_the_others_do_not(rule: str) -> None:
    for at in range(3):
        scores = [[-1.0, -1.0], [-2.0, -2.0], [-2.0, -2.0]]
        whole = attention_bonus(*scores, rule=rule)
        scores[at][0] = None
        assert attention_bonus(*scores, rule=rule) == [None, whole[1]]


@pytest.mark.parametrize("rule", RULES)
def test_the_term_is_live(rule: str) -> None:
    """Four rollouts with equal other rewards: the bonus alone makes advantages and a gradient; without it there is none."""
    av, v, a = [1.0, 0.0, 1.0, 0.0], [0.0, 0.5, 0.0, 0.5], [0.0, 0.0, 0.0, 0.0]
    bonus = torch.tensor(attention_bonus(av, v, a, rule=rule))
    assert bonus.var() > 0
    gradients = []
    for rewards in (torch.ones(4), torch.ones(4) + bonus):
        logp = torch.full((4, 3), -1.0, requires_grad=True)
        policy_loss(LossInputs(logp, torch.ones(4, 3), advantages(rewards, 4).values)).loss.backward()
        gradients.append(logp.grad)
    assert not gradients[0].any()
    assert gradients[1][0].lt(0).all()  # more of what pays
    assert gradients[1][1].gt(0).all()


def test_an_empty_list_has_no_bonus() -> None:
    assert [attention_bonus([], [], [], rule=rule) for rule in RULES] == [[]] * 4


def test_faults_say_what_was_found() -> None:
    with pytest.raises(ValueError, match=r"found rule 'le'.*expected one of ge, gt, group, necessity"):
        attention_bonus([1.0], [1.0], [1.0], rule="le")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="alpha -1"):
        attention_bonus([1.0], [1.0], [1.0], alpha=-1)
    with pytest.raises(ValueError, match="2 scores with both, 1 of video, 1 of audio"):
        attention_bonus([1.0, 0.0], [1.0], [1.0])
    with pytest.raises(ValueError, match="score_a: found a NaN"):
        attention_bonus([1.0], [1.0], [math.nan])
    with pytest.raises(ValueError, match="score_v: found shape"):
        attention_bonus([1.0], [-math.inf], [0.0])
