"""The mix is exact up to rounding, every clip gives the same number of pairs, and a newcomer moves few of the others' cells."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from uvrlab.config import SynthesizeConfig
from uvrlab.synthesis.plan import Cell, cells_at, mix, place

DEFAULT = SynthesizeConfig()


def _totals(names: list[str], shares: dict[Cell, float], pairs: int, seed: int = 0) -> Counter[Cell]:
    total: Counter[Cell] = Counter()
    for u in place(names, seed).values():
        total.update(cells_at(u, shares, pairs))
    return total


def test_default_mix_of_1000_clips_is_the_configured_one() -> None:
    """0.7 x 0.3 x 4,000 = 840 concise, 0.7 x 0.2 x 4,000 = 560 rich, 0.15 x 4,000 = 600 I2V."""
    total = _totals([f"c{i}" for i in range(1000)], mix(DEFAULT.tasks, DEFAULT.styles), 4)
    assert abs(total[Cell("T2V", "concise")] - 840) <= 1
    assert abs(total[Cell("T2V", "rich")] - 560) <= 1
    assert abs(total[Cell("I2V")] - 600) <= 1
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
