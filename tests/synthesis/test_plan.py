"""The mix is exact up to rounding, every clip gives the same number of pairs, and a newcomer moves few of the others' cells."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from uvrlab.config import SynthesizeConfig
from uvrlab.synthesis.plan import Cell, cells_at, fit, mix, place

DEFAULT = SynthesizeConfig()


def _totals(names: list[str], shares: dict[Cell, float], pairs: int, seed: int = 0) -> Counter[Cell]:
    total: Counter[Cell] = Counter()
    for u in place(names, seed).values():
        total.update(cells_at(u, shares, pairs))
    return total


def test_default_mix_of_1000_clips_is_the_configured_one() -> None:
    """UVRD has 1,549 K pairs, 879 T2V: 879/1549 x 0.3 x 4,000 = 681 concise; 89/1549 x 4,000 = 230 TI2V; 200: 516 I2V."""
    total = _totals([f"c{i}" for i in range(1000)], mix(DEFAULT.tasks, DEFAULT.styles), 4)
    assert abs(total[Cell("T2V", "concise")] - 681) <= 1
    assert abs(total[Cell("T2T", "concise")] - 77.5) <= 1
    assert abs(total[Cell("TI2V")] - 230) <= 1
    assert abs(total[Cell("I2V")] - 516) <= 1
    assert total.total() == 4000


@given(
    n=st.integers(1, 60),
    pairs=st.integers(1, 9),
    weights=st.lists(st.floats(0.01, 1.0), min_size=1, max_size=8),
    seed=st.integers(0, 5),
)
def test_each_cell_is_within_one_of_its_share_and_each_clip_gives_its_pairs(
    n: int, pairs: int, weights: list[float], seed: int
) -> None:
    shares = {Cell("T2V", str(i)): w / sum(weights) for i, w in enumerate(weights)}
    names = [f"clip-{i}" for i in range(n)]
    assert all(sum(cells_at(u, shares, pairs).values()) == pairs for u in place(names, seed).values())
    total = _totals(names, shares, pairs, seed)
    for cell, share in shares.items():
        assert abs(total[cell] - n * pairs * share) <= 1 + 1e-6


def test_mix_sums_to_one_and_leaves_out_what_has_no_share() -> None:
    shares = mix({"T2V": 0.5, "I2V": 0.5, "V2V": 0.0}, {"concise": 1.0, "rich": 0.0})
    assert shares == {Cell("I2V"): 0.5, Cell("T2V", "concise"): 0.5}


def test_where_half_the_clips_can_give_a_task_these_give_twice_its_share() -> None:
    """100 clips of which 50 give TI2V: 0.2 of all pairs is 0.4 of theirs; the rest divides what is left, 0.6 and 1.0, as 1 to 3."""
    both, less = frozenset({"TI2V", "T2V", "I2V"}), frozenset({"T2V", "I2V"})
    shares = fit({"TI2V": 0.2, "T2V": 0.6, "I2V": 0.2}, {both: 50, less: 50})
    assert shares[both]["TI2V"] == pytest.approx(0.4)
    assert shares[both]["T2V"] == pytest.approx(0.45) and shares[less]["T2V"] == pytest.approx(0.75)
    assert sum(shares[both].values()) == pytest.approx(1.0) == sum(shares[less].values())


def test_what_cannot_be_reached_goes_to_the_other_tasks() -> None:
    """One clip of ten gives nothing but I2V at most, so 0.5 of T2V over nine tenths of the clips is 0.5 of all; V2V is nobody's."""
    few, all_ = frozenset({"I2V"}), frozenset({"T2V", "I2V"})
    shares = fit({"T2V": 0.25, "I2V": 0.25, "V2V": 0.5}, {few: 10, all_: 90, frozenset(): 3})
    assert shares[few] == {"I2V": pytest.approx(1.0)} and shares[frozenset()] == {}
    assert shares[all_]["T2V"] == pytest.approx(5 / 9, abs=1e-4)


@given(
    weights=st.lists(st.floats(0.05, 1.0), min_size=3, max_size=3),
    sizes=st.lists(st.integers(1, 500), min_size=3, max_size=3),
)
def test_every_group_of_clips_has_shares_that_sum_to_one_of_tasks_that_it_can_give(weights: list[float], sizes: list[int]) -> None:
    tasks = dict(zip(("T2V", "TI2V", "TV2V"), weights, strict=True))
    able = dict(zip((frozenset({"T2V"}), frozenset({"T2V", "TI2V"}), frozenset(tasks)), sizes, strict=True))
    for group, shares in fit(tasks, able).items():
        assert set(shares) <= group and sum(shares.values()) == pytest.approx(1.0)


def test_one_more_clip_moves_a_handful_of_a_thousand() -> None:
    shares, names = mix(DEFAULT.tasks, DEFAULT.styles), [f"c{i}" for i in range(1000)]
    before = {name: cells_at(u, shares, 4) for name, u in place(names, 0).items()}
    after = {name: cells_at(u, shares, 4) for name, u in place([*names, "newcomer"], 0).items()}
    assert sum(before[name] != after[name] for name in names) <= 2 * len(shares)


def test_place_depends_on_the_seed_and_not_on_the_order_of_names() -> None:
    names = [f"c{i}" for i in range(50)]
    assert place(names, 1) == place(reversed(names), 1)
    assert place(names, 1) != place(names, 2)


@pytest.mark.parametrize("u", [0.0005, 0.5, 0.9995])
def test_a_single_cell_gets_every_pair(u: float) -> None:
    assert cells_at(u, {Cell("I2V"): 1.0}, 3) == {Cell("I2V"): 3}
