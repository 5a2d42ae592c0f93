"""The permutation test: its p-value by hand, its size on no drift, and that families are thinned to one row."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from uvrlab.config import ValidateConfig
from uvrlab.data import schema
from uvrlab.runs import RunError
from uvrlab.validation import reference
from uvrlab.validation.columns import limit
from uvrlab.validation.drift import Drift, drift, measured, mmd_test, one_a_group
from uvrlab.validation.reference import judge


def _mmd2(x: np.ndarray, y: np.ndarray, width: float) -> float:
    def mean(a: np.ndarray, b: np.ndarray) -> float:
        return float(np.mean([np.exp(-np.sum((p - q) ** 2) / width) for p in a for q in b]))

    return mean(x, x) + mean(y, y) - 2 * mean(x, y)


def test_the_statistic_is_the_textbook_mmd_with_the_median_distance() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(7, 3)), rng.normal(1, 1, size=(5, 3))
    rows = np.concatenate([x, y])
    middle = np.median([np.sum((a - b) ** 2) for a, b in itertools.combinations(rows, 2)])
    assert mmd_test(x, y)[0] == pytest.approx(_mmd2(x, y, middle), abs=1e-6)


def test_the_p_value_counts_the_splits_that_lie_as_far_apart() -> None:
    """Three zeros against three ones: 2 of the 20 splits are as far apart, so p is near 0.1 and cannot be below 1/(1+P)."""
    x, y = np.zeros((3, 1)), np.ones((3, 1))
    assert mmd_test(x, y, permutations=2000)[1] == pytest.approx(0.1, abs=0.02)
    far = mmd_test(np.zeros((50, 1)), np.ones((50, 1)), permutations=99)
    assert far[1] == 0.01


def test_no_drift_fires_about_as_often_as_stated() -> None:
    rng = np.random.default_rng(1)
    fires = [mmd_test(*rng.standard_t(3, size=(2, 40, 4)), seed=i, permutations=99)[1] <= 0.05 for i in range(300)]
    assert 0.02 <= np.mean(fires) <= 0.085


def test_too_few_rows_are_not_judged() -> None:
    assert drift("x", np.zeros((5, 2)), np.zeros((500, 2))) == Drift("x", 5, 500, None, None)
    assert judge([Drift("x", 5, 500, None, None)], 0.01) == []


def test_a_family_gives_one_row_drawn_at_random() -> None:
    groups = ["a"] * 5 + ["b"] + ["c"] * 3
    rows = one_a_group(groups, seed=1)
    assert sorted(groups[i] for i in rows) == ["a", "b", "c"]
    assert len({tuple(sorted(one_a_group(groups, seed=s))) for s in range(40)}) > 5
    assert len(one_a_group(range(100), most=10)) == 10


def test_all_tests_together_keep_the_stated_rate() -> None:
    tests = [Drift("a", 90, 90, 0.1, 0.004), Drift("b", 90, 90, 0.1, 0.006), Drift("c", 9, 9, None, None)]
    assert [v.passed for v in judge(tests, 0.01)] == [False, True]
    assert all(v.passed for v in judge(tests, 0.0))


def test_measured_columns_are_scaled_together_and_constants_fall_out() -> None:
    now = pd.DataFrame({"duration_s": [1.0, 2, 4], "fps": 25.0, "width": 64, "height": 64, "has_audio": True, "audible": True})
    now["loudness_db"] = [-20.0, None, -30.0]
    current, before = measured(now, now)
    assert current.shape == (3, 2) and np.array_equal(current, before)
    assert np.concatenate([current, before]).std(axis=0) == pytest.approx([1, 1])


def test_few_rows_raise_the_limit_of_a_column() -> None:
    assert limit(20_000, 20_000, 0.1) == 0.1
    assert limit(200, 200, 0.1) == pytest.approx(0.4)


@pytest.mark.parametrize("n", [50, 500, 2000])
def test_chance_alone_stays_below_the_limit_of_a_column(n: int) -> None:
    """Wasserstein distance (mean gap of sorted values) in spreads, of normal and skewed values; Jensen-Shannon of 7 classes."""
    rng = np.random.default_rng(n)
    far = []
    for _ in range(200):
        for values in (rng.normal(size=(2, n)), rng.exponential(size=(2, n))):
            x, y = np.sort(values, axis=1)
            far.append(np.abs(x - y).mean() / x.std())
        p, q = (rng.multinomial(n, [0.4, 0.2, 0.1, 0.1, 0.1, 0.05, 0.05]) / n for _ in range(2))
        far.append(np.sqrt(max(0.0, entropy((p + q) / 2) - (entropy(p) + entropy(q)) / 2)))
    assert np.mean(np.array(far) > limit(n, n, 0.0)) <= 0.005


def entropy(p: np.ndarray) -> float:
    return float(-(p[p > 0] * np.log(p[p > 0])).sum())


@pytest.fixture
def rewritten(sound_tables: Path, tmp_path: Path) -> Path:
    """The same pairs, every text query replaced by one sentence."""
    rows = schema.read_table("pairs", sound_tables / "uvrd" / "pairs")
    for row in rows:
        if row["query"]["text"]:
            row["query"]["text"] = "An entirely different text about the weather in the north, said again and again."
    schema.write_table("pairs", rows, tmp_path / "reference" / "pairs")
    return tmp_path / "reference"


def test_a_reworded_run_drifts_and_the_same_run_does_not(sound_tables: Path, rewritten: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("uvrlab.validation.drift.FEWEST_ROWS", 3)
    monkeypatch.setattr("uvrlab.validation.columns.NOISE", 1.0)
    inputs = {"clips": sound_tables / "in", "uvrd": sound_tables / "uvrd"}
    _, same = reference.compare({**inputs, "reference": inputs["uvrd"]}, ValidateConfig(), tmp_path / "same")
    assert all(v.passed for v in same) and (tmp_path / "same" / "evidently" / "pairs.html").is_file()
    tests, moved = reference.compare({**inputs, "reference": rewritten}, ValidateConfig(drift_alpha=0.2), tmp_path / "moved")
    assert tests[0].mmd2 is not None and tests[0].mmd2 > 0.1
    assert any(not v.passed and any("words" in s for s in v.sample) for v in moved)


def test_a_reference_of_unknown_clips_asks_for_them(sound_tables: Path, rewritten: Path, tmp_path: Path) -> None:
    rows = schema.read_table("pairs", rewritten / "pairs")
    rows[0]["target"]["clip_id"] = "elsewhere"
    schema.write_table("pairs", rows, rewritten / "pairs")
    with pytest.raises(RunError, match="--in reference_clips=DIR"):
        reference.Side.read(rewritten, sound_tables / "in")
