"""The arithmetic behind a decision, by hand; and what the printed size promises, by counting."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from uvrlab.config import ConfigError
from uvrlab.gate.policy import GatePolicy, load_policy
from uvrlab.gate.slices import Paired, Slice, adjusted, decide, distinct, quantiles, slices

POLICY = GatePolicy()


def _slice(wins: int, losses: int, n: int, kind: str = "dataset") -> Slice:
    pairs = [(1.0, 0.0)] * wins + [(0.0, 1.0)] * losses + [(1.0, 1.0)] * (n - wins - losses)
    return Slice("x", kind, {"x": np.array(pairs)}, {"x": 1.0})


def test_the_adjusted_by_hand():
    """n = 98, 7 wins, 3 losses; with one of each added 12 of 100 differ, mean (8 - 4) / 100:
    sqrt((0.12 - 0.04**2) / 100) = 0.03441."""
    assert adjusted(_slice(7, 3, 98)) == pytest.approx((0.04, 0.034409), abs=1e-5)
    assert adjusted(_slice(0, 0, 98)) == pytest.approx((0.0, (0.02 / 100) ** 0.5))


def test_two_data_sets_add_their_weighted_variances():
    one = _slice(7, 3, 98)
    both = Slice("a", "ability", {"x": one.values["x"], "y": one.values["x"]}, {"x": 0.5, "y": 0.5})
    assert adjusted(both)[1] == pytest.approx(adjusted(one)[1] / 2**0.5)


def test_the_decidable_margin_by_hand():
    """z(0.95) + z(1 - 0.1 / 2) = 2 x 1.6449; with 0.1 alone for the headline 1.6449 + 1.2816. Of 7 wins and 3 losses an equal
    model explains 3 and 3, with one of each added 8 of 100; the planned size allows 3 points more."""
    assert quantiles(POLICY, 2) == pytest.approx(3.2897, abs=1e-4)
    assert quantiles(POLICY, None) == pytest.approx(2.9264, abs=1e-4)
    decision = decide(_slice(7, 3, 98), POLICY, 2)
    assert decision.decidable == pytest.approx((0.08 / 100) ** 0.5 * 3.2897, abs=1e-4)
    assert decision.n_needed == pytest.approx(98 * (0.08 + 0.03) / 100 * (3.2897 / 0.03) ** 2, abs=1)


@pytest.mark.parametrize(
    ("kind", "counts", "decision"),
    [
        ("dataset", (10, 10, 2000), "not inferior"),
        ("dataset", (10, 25, 2000), "not inferior"),
        ("dataset", (0, 60, 2000), "may have dropped"),
        ("dataset", (0, 90, 2000), "dropped"),
        ("dataset", (60, 10, 2000), "better"),
        ("dataset", (5, 5, 100), "under-powered"),
        ("dataset", (0, 30, 100), "dropped"),
        ("dataset", (4, 0, 4), "under-powered"),
        ("headline", (30, 5, 2000), "better"),
        ("headline", (10, 10, 2000), "not better"),
        ("headline", (5, 30, 2000), "worse"),
        ("headline", (5, 5, 100), "under-powered"),
    ],
)
def test_decisions(kind, counts, decision):
    assert decide(_slice(*counts, kind), POLICY, 2).decision == decision


def test_an_ability_with_one_data_set_is_counted_once():
    pairs = {d: Paired(["q"], np.ones((1, 2))) for d in "xyz"}
    found = slices(pairs, {"x": "CG", "y": "S", "z": "S"}, POLICY)
    assert [s.name for s in found] == ["CG", "S", "x", "y", "z"] and distinct(found) == 4


def test_at_the_size_that_is_printed_an_equal_slice_passes_and_a_true_drop_does_not():
    """400 draws of n_needed queries, one in twenty differs: an equal slice fails at most 10 % + 4 sd, a drop of 3 points
    passes at most 5 % + 4 sd."""
    pilot = decide(_slice(25, 25, 1000), POLICY, 1)
    draws = np.random.default_rng(7)
    equal, dropped = 0, 0
    for _ in range(400):
        for loss in (0.025, 0.055):
            wins, losses, _ = draws.multinomial(pilot.n_needed, [0.025, loss, 1 - 0.025 - loss])
            low = decide(_slice(wins, losses, pilot.n_needed), POLICY.model_copy(update={"bootstrap": 500}), 1).low
            equal += loss == 0.025 and low <= -POLICY.margin
            dropped += loss == 0.055 and low > -POLICY.margin
    assert equal <= 400 * 0.10 + 24 and dropped <= 400 * 0.05 + 17.5


def test_a_faulty_policy_names_the_key(tmp_path: Path):
    (tmp_path / "p.yaml").write_text("margn: 0.03\n")
    with pytest.raises(ConfigError, match="margn: Extra inputs are not permitted"):
        load_policy(tmp_path / "p.yaml")
    (tmp_path / "p.yaml").write_text("margin: 3\n")
    with pytest.raises(ConfigError, match="margin: Input should be less than 1"):
        load_policy(tmp_path / "p.yaml")
    with pytest.raises(ConfigError, match="no policy at"):
        load_policy(tmp_path / "absent.yaml")
