"""UME-R1's embedding reward against plain loops, against every order of the ties, and worked by hand."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from uvrlab.rewards.retrieval import embedding_rewards, rank_and_gap


def by_hand(row: list[float], own: int, group_size: int, ids: list) -> float:
    """R = r * d of one row by loops: candidates are walked from the best group of equal values to the worst."""
    positives = [s for j, s in enumerate(row) if j // group_size == own and not math.isnan(s)]
    negatives = [s for j, s in enumerate(row) if ids[j // group_size] != ids[own] and not math.isnan(s)]
    if not positives or not negatives:
        return math.nan
    left, hits = len(positives), 0.0
    for value in sorted({*positives, *negatives}, reverse=True):
        good, all_ = positives.count(value), positives.count(value) + negatives.count(value)
        hits += good * min(left / all_, 1)
        left = max(left - all_, 0)
    gap = sum(positives) / len(positives) - sum(negatives) / len(negatives)
    return hits / len(positives) * gap


def both_sides(similarity: np.ndarray, group_size: int, ids: list) -> tuple[list[float], list[float]]:
    sides = (similarity.tolist(), similarity.T.tolist())
    query, target = ([by_hand(row, i // group_size, group_size, ids) for i, row in enumerate(side)] for side in sides)
    return query, target


@settings(max_examples=300)
@given(st.integers(2, 4), st.integers(1, 4), st.integers(1, 6), st.integers(0, 10**6), st.booleans(), st.sampled_from([0.0, 0.3]))
def test_equals_plain_loops_with_ties_equal_targets_and_missing_vectors(n, group_size, levels, seed, repeated, gone) -> None:
    rng = np.random.default_rng(seed)
    similarity = rng.integers(-levels, levels + 1, (n * group_size,) * 2) / levels
    similarity[rng.random(n * group_size) < gone] = np.nan
    similarity[:, rng.random(n * group_size) < gone] = np.nan
    ids = [f"t{rng.integers(2)}" for _ in range(n)] if repeated else list(range(n))
    found = embedding_rewards(similarity, group_size, ids if repeated else None)
    for mine, expected in zip(found, both_sides(similarity, group_size, ids), strict=True):
        np.testing.assert_allclose(mine, expected, atol=1e-12)


def test_the_rank_term_is_its_mean_over_all_orders_of_the_ties() -> None:
    """N = 3, G = 2, values of {0, 1}: every order that sorts a row is equally likely."""
    similarity = np.random.default_rng(0).integers(0, 2, (6, 6)).astype(float)
    query, _ = rank_and_gap(similarity, 2)
    for i, row in enumerate(similarity):
        shares = [
            sum(j // 2 == i // 2 for j in order[:2]) / 2
            for order in itertools.permutations(range(6))
            if all(row[a] >= row[b] for a, b in itertools.pairwise(order))
        ]
        assert query.rank[i] == pytest.approx(np.mean(shares))


def test_hand_worked() -> None:
    """N = 2, G = 2. Row 0: positives .9 .5, negatives .7 .1; the top 2 are .9 .7: r = 1/2, d = .7 - .4 = .3, R = .15.

    Row 1: .8 .6 above .2 .0: r = 1, d = .7 - .1 = .6, R = .6. Row 2: positives .1 .2, negatives .5 .3: r = 0, so R = 0 whatever the
    gap. Row 3: positives .6 .0, negatives .5 .5: the top 2 are .6 and one of the tied .5: r = 1/2, d = .3 - .5 = -.2, R = -.1.
    Column 0: positives .9 .8, negatives .5 .5: r = 1, d = .85 - .5 = .35.
    """
    similarity = np.array([[0.9, 0.5, 0.7, 0.1], [0.8, 0.6, 0.2, 0.0], [0.5, 0.3, 0.1, 0.2], [0.5, 0.5, 0.6, 0.0]])
    query, target = embedding_rewards(similarity, 2)
    np.testing.assert_allclose(query, [0.15, 0.6, 0.0, -0.1], atol=1e-12)
    assert target[0] == pytest.approx(0.35)
    np.testing.assert_allclose(target, embedding_rewards(similarity.T, 2)[0])


def test_ties_at_the_last_place_count_by_share() -> None:
    """Row: positives 1 0, negatives 0 0: place 1 is right, place 2 is tied by one positive and two negatives: r = (1 + 1/3) / 2."""
    similarity = np.zeros((4, 4))
    similarity[0, 0] = 1.0
    query, _ = rank_and_gap(similarity, 2)
    assert query.rank[0] == pytest.approx(2 / 3)
    assert query.gap[0] == pytest.approx(0.5)


def test_collapsed_vectors_earn_nothing_and_perfect_ones_the_whole_gap() -> None:
    """All alike: r = 1/N by chance and d = 0. Own pair 1, others 0: r = d = 1."""
    collapsed, _ = rank_and_gap(np.ones((12, 12)), 3)
    np.testing.assert_allclose(collapsed.rank, 0.25)
    np.testing.assert_allclose(collapsed.reward, 0.0)
    for rewards in embedding_rewards(np.kron(np.eye(4), np.ones((3, 3))), 3):
        np.testing.assert_allclose(rewards, 1.0)


def test_equal_targets_are_neither_positives_nor_negatives() -> None:
    """Pairs 0 and 1 share a target and look alike: unmasked, each is the other's hardest negative; masked, the reward is whole."""
    similarity = np.kron(np.array([[1.0, 1, 0], [1, 1, 0], [0, 0, 1]]), np.ones((2, 2)))
    plain, _ = embedding_rewards(similarity, 2)
    masked, _ = embedding_rewards(similarity, 2, ["same", "same", "other"])
    np.testing.assert_allclose(plain[:2], 0.5 * (1 - 0.5))  # half of the tied places, mean of negatives 1/2
    np.testing.assert_allclose(masked, 1.0)
    np.testing.assert_allclose(embedding_rewards(similarity, 2, np.array([7, 7, 1]))[1], 1.0)


def test_a_row_without_negatives_is_unscored_and_the_others_are_not() -> None:
    query, target = embedding_rewards(np.random.default_rng(1).random((4, 4)), 2, ["same", "same"])
    assert np.isnan(query).all()
    assert np.isnan(target).all()
    similarity = np.random.default_rng(2).random((6, 6))
    similarity[:, 2:] = np.nan  # only the first target has vectors
    query, target = embedding_rewards(similarity, 2)
    assert np.isnan(query).all()  # no negatives for the first pair, no positives for the others
    assert np.isfinite(target).tolist() == [True, True, False, False, False, False]


def test_a_rollout_without_a_vector_leaves_the_others_as_if_it_had_never_been() -> None:
    """G = 1: the pair drops out altogether, so the rest must equal the smaller matrix."""
    similarity = np.random.default_rng(3).random((4, 4))
    broken = similarity.copy()
    broken[3], broken[:, 3] = np.nan, np.nan
    for whole, small in zip(embedding_rewards(broken, 1), embedding_rewards(similarity[:3, :3], 1), strict=True):
        np.testing.assert_allclose(whole[:3], small)
        assert np.isnan(whole[3])


@pytest.mark.parametrize(
    ("shape", "group_size", "ids", "said"),
    [
        ((4, 4), 4, None, "found N = 1 pair"),
        ((1, 1), 1, None, "found N = 1 pair"),
        ((4, 4), 3, None, r"\(4, 4\) in groups of 3"),
        ((4, 6), 2, None, r"\(4, 6\) in groups of 2"),
        ((4,), 2, None, r"\(4,\) in groups of 2"),
        ((0, 0), 2, None, r"\(0, 0\)"),
        ((4, 4), 0, None, "in groups of 0"),
        ((4, 4), 2, ["a", "b", "c"], "found 3 target ids for 2 pairs"),
    ],
)
def test_faults_say_what_was_found(shape, group_size, ids, said) -> None:
    with pytest.raises(ValueError, match=said):
        embedding_rewards(np.zeros(shape), group_size, ids)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_single_bad_number_is_a_fault_and_no_missing_vector(value: float) -> None:
    similarity = np.zeros((4, 4))
    similarity[1, 2] = value
    with pytest.raises(ValueError, match="query rollout 1 and target rollout 2"):
        embedding_rewards(similarity, 2)
