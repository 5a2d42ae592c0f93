"""InfoNCE against closed forms and a double loop."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from uvrlab.losses.contrastive import info_nce


def brute_force(query, target, temperature, hard=None, ids=None, margin=None, tolerance=None):
    """The definition, one row and one key at a time."""

    def way(rows, keys):
        total, b = 0.0, len(rows)
        for i in range(b):
            positive = float(rows[i] @ keys[i])
            kept = []
            for j in range(len(keys)):
                score = float(rows[i] @ keys[j])
                same_id = ids is not None and j < b and ids[i] == ids[j]
                too_good = margin is not None and score > positive + margin
                duplicate = tolerance is not None and float(keys[i] @ keys[j]) >= 1 - tolerance
                if j == i or not (same_id or too_good or duplicate):
                    kept.append(score / temperature)
            top = max(kept)
            total += top + math.log(sum(math.exp(s - top) for s in kept)) - positive / temperature
        return total / b

    keys = target if hard is None else np.concatenate([target, hard])
    return (way(query, keys) + way(target, query)) / 2


def unit(rng, *shape):
    x = rng.standard_normal(shape)
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def test_equal_vectors_give_log_b():
    same = F.normalize(torch.ones(7, 4), dim=-1)
    assert info_nce(same, same, temperature=0.02).item() == pytest.approx(math.log(7), rel=1e-5)


def test_two_orthogonal_pairs_by_hand():
    """Scores are 1/t on the diagonal and 0 beside it: each row costs log(1 + exp(-1/t))."""
    eye = torch.eye(2)
    assert info_nce(eye, eye, temperature=0.5).item() == pytest.approx(math.log1p(math.exp(-2.0)), rel=1e-5)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 6), st.integers(0, 3), st.booleans(), st.booleans(), st.booleans())
def test_equals_the_double_loop(seed, b, m, use_ids, use_margin, use_tolerance):
    rng = np.random.default_rng(seed)
    query, target = unit(rng, b, 5), unit(rng, b, 5)
    if b > 2:
        target[1] = target[0]
    hard = unit(rng, m, 5) if m else None
    ids = rng.integers(0, 3, b) if use_ids else None
    margin, tolerance = (0.1 if use_margin else None), (1e-5 if use_tolerance else None)
    got = info_nce(
        torch.tensor(query),
        torch.tensor(target),
        temperature=0.3,
        hard_negatives=None if hard is None else torch.tensor(hard),
        target_ids=None if ids is None else torch.tensor(ids),
        false_negative_margin=margin,
        duplicate_tolerance=tolerance,
    )
    assert got.item() == pytest.approx(brute_force(query, target, 0.3, hard, ids, margin, tolerance), rel=1e-9, abs=1e-9)


def test_masked_rows_keep_a_finite_gradient():
    query = F.normalize(torch.randn(3, 4, generator=torch.Generator().manual_seed(0)), dim=-1).requires_grad_()
    info_nce(query, query.detach(), temperature=0.02, target_ids=torch.zeros(3, dtype=torch.long)).backward()
    assert torch.isfinite(query.grad).all()


def test_wrong_shapes_and_temperatures_are_refused():
    with pytest.raises(ValueError, match="must both be"):
        info_nce(torch.zeros(2, 3), torch.zeros(3, 3), temperature=0.1)
    with pytest.raises(ValueError, match="above 0"):
        info_nce(torch.zeros(2, 3), torch.zeros(2, 3), temperature=0.0)
