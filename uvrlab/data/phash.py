"""Perceptual hashes of clips: alike after re-encoding, rescaling and a change of brightness; and near pairs without comparing all.

64 bits a frame: the signs of the 64 lowest DCT frequencies of a 32x32 grey picture, lowest first, without the mean. Clips compare
frame by frame at the same share of their length, so a re-cut of a clip is not found here; `parent_id` finds that.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np

SIDE = 32
FLAT = 2.0  # grey levels; below it a frame shows nothing, and its bits would be noise
WINDOW = 12
BAND_BITS = 8
Distance = Callable[[np.ndarray, np.ndarray], np.ndarray]  # row numbers (P,) in a and in b -> (P,)


@cache
def _lowest() -> tuple[np.ndarray, np.ndarray]:
    cells = sorted(((i + j, i, j) for i in range(SIDE) for j in range(SIDE) if i + j), key=lambda c: c)[:64]
    return np.array([c[1] for c in cells]), np.array([c[2] for c in cells])


def frame_hash(grey: np.ndarray) -> int:
    """64 bits of one grey picture (H, W), highest bit first; 0 for a flat picture, which says nothing."""
    import cv2

    small = cv2.resize(np.asarray(grey, np.float32), (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    if float(small.std()) < FLAT:
        return 0
    waves = cv2.dct(small)[_lowest()]
    return int.from_bytes(np.packbits(waves > np.median(waves)).tobytes(), "big")


def clip_hashes(frames: np.ndarray) -> np.ndarray:
    """(T,) uint64 of the frames of a clip: (T, H, W) grey, or (T, H, W, 3) RGB weighed as luma (BT.601)."""
    grey = frames @ np.array([0.299, 0.587, 0.114], np.float32) if frames.ndim == 4 else frames
    return np.array([frame_hash(picture) for picture in grey], np.uint64)


def near(a: np.ndarray, b: np.ndarray, max_bits: float, distance: Distance | None = None) -> tuple[np.ndarray, np.ndarray]:
    """For each clip of `b` (M, T) its nearest clip of `a` (N, T): pairs (P, 2) of rows (of a, of b), and bits (P,) that differ.

    Bits are at most `max_bits`, by default the mean over the frames that show something in both clips, of 64; clips without such a
    frame are near nothing; another `distance` may judge the candidates. With `a is b` each clip meets only earlier ones, so the
    first of its kind is never in the second column.
    Candidates are the `WINDOW` neighbours on either side in the order of every frame's hash, begun at every 8th bit: time grows as
    N log N + M whatever the number of twins. A pair is missed only where noise broke every run of bits that sets it apart.
    """
    a, b = (np.atleast_2d(np.asarray(x, np.uint64)) if len(x) else np.zeros((0, 1), np.uint64) for x in (a, b))
    best, bits = np.full(len(b), -1), np.full(len(b), np.inf, np.float32)
    bits_apart: Distance = lambda in_a, in_b: mean_bits(a[in_a], b[in_b])  # noqa: E731
    if len(a) and len(b):
        same = a.shape == b.shape and np.shares_memory(a, b)
        for frame in range(a.shape[1]):
            for shift in range(0, 64, BAND_BITS):
                _sweep(a, b, _rotated(a[:, frame], shift), _rotated(b[:, frame], shift), same, best, bits, distance or bits_apart)
    found = np.flatnonzero(bits <= max_bits)
    return np.stack([best[found], found], axis=1), bits[found]


def _rotated(hashes: np.ndarray, shift: int) -> np.ndarray:
    return hashes if shift == 0 else (hashes << np.uint64(shift)) | (hashes >> np.uint64(64 - shift))


def _sweep(
    a: np.ndarray,
    b: np.ndarray,
    keys_a: np.ndarray,
    keys_b: np.ndarray,
    same: bool,
    best: np.ndarray,
    bits: np.ndarray,
    distance: Distance,
) -> None:
    """Compare each clip of b with its neighbours in the order of one key; improve `best` and `bits` in place."""
    order = np.argsort(keys_a, kind="stable")
    place = np.empty(len(a), np.int64)
    if same:
        place[order] = np.arange(len(a))
    else:
        place = np.searchsorted(keys_a[order], keys_b)
    for step in range(-WINDOW, WINDOW + 1):
        at = place + step
        rows = np.flatnonzero((at >= 0) & (at < len(a)))
        mates = order[at[rows]]
        if same:
            earlier = mates < rows
            rows, mates = rows[earlier], mates[earlier]
        found = distance(mates, rows)
        better = (found < bits[rows]) | ((found == bits[rows]) & (mates < best[rows]))
        best[rows[better]], bits[rows[better]] = mates[better], found[better]


def mean_bits(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Mean differing bits (P,) over the frames that neither clip leaves flat; infinite without one."""
    shown = (a != 0) & (b != 0)
    count = shown.sum(axis=1)
    total = (np.bitwise_count(a ^ b) * shown).sum(axis=1, dtype=np.float32)
    return np.where(count > 0, total / np.maximum(count, 1), np.inf).astype(np.float32)
