"""Parts of a reward add up; what is unscored stays unscored."""

from __future__ import annotations

import numpy as np
import pytest

from uvrlab.rewards.base import WEIGHTS, combine


def test_the_grounding_reward_is_format_plus_answer_plus_half_of_both_judges() -> None:
    """1 + 0.5 + (0.8 + 0.4) / 2 = 2.1; the most is 3."""
    parts = {"format": [1.0, 1.0], "answer": [0.5, 1.0], "consistency": [0.8, 1.0], "completeness": [0.4, 1.0]}
    np.testing.assert_allclose(combine(parts, WEIGHTS["grounding"]), [2.1, 3.0])


def test_a_rollout_whose_judge_failed_is_dropped_not_punished() -> None:
    found = combine({"format": [1.0, 1.0, 0.0], "embedding": np.array([0.5, np.nan, 0.2])}, WEIGHTS["grpo"])
    np.testing.assert_allclose(found, [1.5, np.nan, 0.2])
    np.testing.assert_allclose(combine({"a": [None, 1.0]}, {"a": 2.0}), [np.nan, 2.0])


def test_faults_say_what_was_found() -> None:
    with pytest.raises(ValueError, match=r"parts \['a'\] and weights \['b'\]"):
        combine({"a": [1.0]}, {"b": 1.0})
    with pytest.raises(ValueError, match=r"'a': 1, 'b': 2"):
        combine({"a": [1.0], "b": [1.0, 2.0]}, {"a": 1.0, "b": 1.0})
    with pytest.raises(ValueError, match="a: found shape"):
        combine({"a": [float("inf")]}, {"a": 1.0})
