"""What the nano backbone reads about texts and pictures, the learning rate, and what a sitting is known by."""

from __future__ import annotations

import numpy as np
import pytest

from uvrlab.data import world
from uvrlab.data.packing import Turn
from uvrlab.rewards.text import format_reward
from uvrlab.training.pretrain import PretrainConfig, learning_rate, sitting
from uvrlab.training.pretrain_data import Mix, conversations

THOUGHTS = Mix(text={"rewrite": 0.0, "trace": 1.0}, image={"caption": 0.0, "trace": 1.0})


def _turns(view: str, mix: Mix, count: int = 40) -> list[Turn]:
    scenes = (world.sample_scene("pretrain", i, family_size=1) for i in range(count))
    rng = np.random.default_rng(0)
    return [turn for scene in scenes for turn in conversations(scene, view, 3, 120, mix, rng)[1]]


@pytest.mark.parametrize("view", ["text", "image"])
def test_a_thought_has_the_asked_form_and_is_read_out(view: str) -> None:
    turns = _turns(view, THOUGHTS)
    assert len(turns) >= 40 and all(turn.embed and format_reward(turn.response) == 1.0 for turn in turns)


def test_a_thought_about_a_text_says_what_the_text_says() -> None:
    for turn in _turns("text", THOUGHTS):
        read, said = world.mentions(turn.prompt), world.mentions(turn.response)
        assert set(said.objects) <= set(read.objects) and set(said.sounds) <= set(read.sounds)
        assert set(said.cameras) <= set(read.cameras) and set(said.backgrounds) <= set(read.backgrounds)


def test_texts_are_rewritten_or_thought_about_by_their_shares() -> None:
    """A fifth of some 60 turns is rewritten: 12, with a spread of 3."""
    turns = _turns("text", Mix())
    rewritten = sum(not turn.embed for turn in turns)
    assert len(turns) / 20 < rewritten < len(turns) * 0.45


def test_the_learning_rate_rises_to_its_peak_and_falls_to_a_tenth() -> None:
    """Ten steps of warm-up: a tenth of the peak at the first; at the last of 110 steps cos(99/100 pi) is all but -1."""
    config = PretrainConfig(steps=110, warmup_steps=10, learning_rate=1.0)
    assert learning_rate(config, 0) == pytest.approx(0.1) and learning_rate(config, 9) == learning_rate(config, 10) == 1.0
    assert learning_rate(config, 60) == pytest.approx(0.55) and learning_rate(config, 109) == pytest.approx(0.1, abs=1e-3)


def test_a_sitting_is_known_by_its_recipe_and_by_the_weights_that_it_goes_on_from() -> None:
    first, again = PretrainConfig(), PretrainConfig()
    assert sitting(first) == sitting(again)
    assert len({sitting(c) for c in (first, PretrainConfig(steps=7), PretrainConfig(start="nano-omni"))}) == 3
