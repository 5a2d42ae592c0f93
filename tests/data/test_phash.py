"""Hashes survive what re-encoding does; near pairs equal brute force, and cost no more where every clip is a twin."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from uvrlab.data.phash import clip_hashes, frame_hash, near


def _picture(seed: int, side: int = 96) -> np.ndarray:
    """Smooth and structured, as footage is: coarse noise blown up."""
    return np.kron(np.random.default_rng(seed).uniform(20, 220, (8, 8)), np.ones((side // 8, side // 8)))


def _bits(a: int, b: int) -> int:
    return (a ^ b).bit_count()


def test_a_brighter_smaller_noisier_picture_has_nearly_the_same_hash() -> None:
    first = frame_hash(_picture(0))
    assert frame_hash(_picture(0) * 0.8 + 20) == first
    assert _bits(frame_hash(_picture(0, 48)), first) <= 2
    assert _bits(frame_hash(_picture(0) + np.random.default_rng(1).normal(0, 8, (96, 96))), first) <= 6


def test_other_pictures_differ_in_about_half_of_the_bits() -> None:
    hashes = [frame_hash(_picture(i)) for i in range(30)]
    apart = [_bits(a, b) for i, a in enumerate(hashes) for b in hashes[:i]]
    assert 28 < np.mean(apart) < 36 and min(apart) > 10


def test_a_flat_picture_says_nothing() -> None:
    assert frame_hash(np.full((64, 64), 17)) == 0
    black = clip_hashes(np.zeros((3, 16, 16, 3), np.uint8))
    assert black.tolist() == [0, 0, 0]
    pairs, _ = near(black[None], black[None].copy(), 64)
    assert len(pairs) == 0


def test_rgb_frames_are_weighed_as_luma() -> None:
    grey = np.stack([_picture(i) for i in range(2)]).astype(np.uint8)
    assert clip_hashes(grey).tolist() == clip_hashes(np.repeat(grey[..., None], 3, axis=3)).tolist()


def _flip(hashes: np.ndarray, n_bits: int, rng: np.random.Generator) -> np.ndarray:
    """`n_bits` bits of every frame turned over."""
    out = hashes.copy()
    for place in np.ndindex(*hashes.shape):
        for bit in rng.choice(64, n_bits, replace=False):
            out[place] ^= np.uint64(1) << np.uint64(bit)
    return out


@settings(max_examples=25)
@given(seed=st.integers(0, 10_000), n_bits=st.integers(0, 5))
def test_near_finds_every_noisy_copy_and_nothing_else(seed: int, n_bits: int) -> None:
    rng = np.random.default_rng(seed)
    a = rng.integers(1, 2**64, (300, 4), np.uint64)
    wanted = rng.choice(300, 20, replace=False)
    b = np.concatenate([_flip(a[wanted], n_bits, rng), rng.integers(1, 2**64, (20, 4), np.uint64)])
    pairs, bits = near(a, b, 6)
    assert pairs.tolist() == [[i, j] for j, i in enumerate(wanted.tolist())]
    assert (bits == n_bits).all()


def test_within_one_set_each_twin_points_at_an_earlier_one() -> None:
    rng = np.random.default_rng(3)
    a = rng.integers(1, 2**64, (50, 4), np.uint64)
    a[[10, 20, 30]] = a[5]
    pairs, bits = near(a, a, 4)
    assert pairs[:, 1].tolist() == [10, 20, 30] and (pairs[:, 0] < pairs[:, 1]).all()
    assert set(pairs[:, 0].tolist()) <= {5, 10, 20} and bits.tolist() == [0, 0, 0]


@pytest.mark.parametrize(("n_a", "n_b"), [(0, 3), (3, 0), (0, 0)])
def test_an_empty_side_is_near_nothing(n_a: int, n_b: int) -> None:
    rng = np.random.default_rng(0)
    pairs, bits = near(rng.integers(1, 9, (n_a, 2), np.uint64), rng.integers(1, 9, (n_b, 2), np.uint64), 64)
    assert pairs.shape == (0, 2) and bits.shape == (0,)


def test_a_thousand_times_the_same_clip_costs_no_more_than_other_clips() -> None:
    rng = np.random.default_rng(0)
    other = rng.integers(1, 2**64, (5000, 4), np.uint64)
    same = np.repeat(other[:1], 5000, axis=0)

    def seconds(hashes: np.ndarray) -> float:
        start = time.process_time()
        near(hashes, hashes, 4)
        return time.process_time() - start

    assert seconds(same) < 5 * seconds(other) + 1
    assert near(same, same, 4)[0][:, 1].tolist() == list(range(1, 5000))
