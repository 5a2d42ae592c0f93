"""Near-duplicates: a fingerprint of a clip's picture and sound, and each clip's distance to the nearest earlier one.

Hashes of the picture find the candidates, thumbnails of picture and sound judge them: clips that differ in one colour, motion or
sound share most bits of a hash and are still no duplicates. Only whole clips are compared: a re-cut has another fingerprint;
`parent_id` finds that.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np

from uvrlab.config import FiltersConfig
from uvrlab.data.phash import clip_hashes, mean_bits, near
from uvrlab.synthesis.filters.similarity import domain
from uvrlab.synthesis.filters.table import FINGERPRINT, KEEP, Row, judge

FRAMES, LUMA, CHROMA = 6, 8, 4  # frames of a clip, cells a side
BANDS, BLOCKS = 8, 16  # of its sound
N_HASH, N_FRAME, N_SOUND = 8 * FRAMES, LUMA**2 + 2 * CHROMA**2, BANDS * BLOCKS
N_BYTES = N_HASH + FRAMES * N_FRAME + N_SOUND
SEARCH_BITS = 12.0  # of 64: candidates further apart are not compared
SEARCH_LEVELS = 64.0  # pairs further apart are not written down; thresholds can be swept up to here
CHUNK = 4096
Embed = Callable[[Sequence[str]], Mapping[str, np.ndarray]]  # clip ids to unit vectors; a clip that cannot be encoded has none


def fingerprint(frames: np.ndarray, wave: np.ndarray | None) -> np.ndarray:
    """(752,) bytes of RGB frames (T, H, W, 3) and mono sound: 6 hashes, 6 thumbnails, 1 spectrogram (zero without sound)."""
    import cv2

    chosen = frames[((np.arange(FRAMES) + 0.5) / FRAMES * len(frames)).astype(int)]
    planes = [cv2.cvtColor(frame, cv2.COLOR_RGB2YCrCb) for frame in chosen]
    cells = [[_cells(plane[..., i], CHROMA if i else LUMA).ravel() for i in range(3)] for plane in planes]
    hashes = clip_hashes(np.stack([plane[..., 0] for plane in planes])).view(np.uint8)
    sound = np.zeros(N_SOUND, np.uint8) if wave is None else spectrogram(wave).ravel()
    return np.concatenate([hashes, *(part for frame in cells for part in frame), sound])


def _cells(plane: np.ndarray, side: int) -> np.ndarray:
    import cv2

    return cv2.resize(plane, (side, side), interpolation=cv2.INTER_AREA)


def spectrogram(wave: np.ndarray) -> np.ndarray:
    """(8 octave bands, 16 blocks of time) amplitudes as uint8, 255 in the loudest cell: a change of volume leaves it as it is."""
    length = max(2 ** (BANDS + 2), len(wave) // BLOCKS)
    padded = np.pad(wave.astype(np.float32), (0, max(0, BLOCKS * length - len(wave))))[: BLOCKS * length]
    power = np.abs(np.fft.rfft(padded.reshape(BLOCKS, length))) ** 2
    edges = [length // 2 ** (BANDS + 1 - band) for band in range(BANDS)]
    amplitude = np.sqrt(np.add.reduceat(power, edges, axis=1)).T
    return np.round(255.0 * amplitude / max(float(amplitude.max()), 1e-12)).astype(np.uint8)


def written(mark: np.ndarray) -> str:
    """A fingerprint as text, for the `detail` of its row."""
    return base64.b85encode(mark.tobytes()).decode()


def fingerprints(rows: Iterable[Row]) -> dict[str, np.ndarray]:
    """clip id -> (752,) uint8, from rows of the table `filters`."""
    found = ((row["clip_id"], row["detail"]) for row in rows if row["filter"] == FINGERPRINT)
    return {clip_id: np.frombuffer(base64.b85decode(text), np.uint8) for clip_id, text in found}


def duplicates(
    clips: Sequence[Row],
    marks: Mapping[str, np.ndarray],
    own: FiltersConfig,
    embed: Embed | None = None,
    covered: frozenset[str] = frozenset(),
) -> list[Row]:
    """A `duplicate` row for each clip row that has a fingerprint: its distance to the nearest clip before it, where one is near.

    With `embed`, which is asked once and for clips that have a near one alone, a `duplicate_vector` row says the cosine of the same
    two, judged where both lie in the domains that the embedder covers. Time grows as N log N.
    """
    clips = [clip for clip in clips if clip["clip_id"] in marks]
    hashes, thumbnails = _split([marks[clip["clip_id"]] for clip in clips])
    families = _families(clips)

    def apart(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return np.where(families[a] == families[b], np.inf, distance(hashes, thumbnails, a, b))

    pairs, found = near(hashes, hashes, SEARCH_LEVELS, apart)
    nearest = {int(later): (int(earlier), float(value)) for (earlier, later), value in zip(pairs, found, strict=True)}
    asked = sorted({clips[i]["clip_id"] for i in {*nearest, *(mate for mate, _ in nearest.values())}})
    vectors = embed(asked) if embed is not None and asked else {}
    rows = []
    for i, clip in enumerate(clips):
        mate, value = nearest.get(i, (None, None))
        if mate is None:
            rows.append(_alone(clip["clip_id"], own))
            continue
        named = {"clip_id": clip["clip_id"], "detail": clips[mate]["clip_id"]}
        rows.append(judge("duplicate", value, own, **named))
        if clip["clip_id"] in vectors and clips[mate]["clip_id"] in vectors:
            cosine = float(vectors[clip["clip_id"]] @ vectors[clips[mate]["clip_id"]])
            able = {domain(clip), domain(clips[mate])} <= covered
            rows.append(judge("duplicate_vector", cosine, own, **named, able=able))
    return rows


def _alone(clip_id: str, own: FiltersConfig) -> Row:
    row = judge("duplicate", None, own, clip_id=clip_id, detail="no earlier clip is near")
    return row if own.duplicate is None else row | {"verdict": KEEP}


def _families(clips: Sequence[Row]) -> np.ndarray:
    """(N,) family numbers. Siblings of the world are near-twins by design; every other clip is a family of its own."""
    named: dict[tuple[str, str, str], int] = {}
    found = []
    for clip in clips:
        tag = next((tag for tag in clip["tags"] or () if tag.startswith("family:")), clip["clip_id"])
        found.append(named.setdefault((clip["source"], clip["split"], tag), len(named)))
    return np.array(found, np.int64)


def _split(marks: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Hashes (N, 6) uint64 and thumbnails (N, 704) uint8."""
    table = np.asarray(marks, np.uint8).reshape(len(marks), N_BYTES)
    return np.ascontiguousarray(table[:, :N_HASH]).view(np.uint64), table[:, N_HASH:]


def distance(hashes: np.ndarray, thumbnails: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(P,) levels of 255 between rows `a` and `b` (P,); infinite where the hashes are far apart."""
    out = np.full(len(a), np.inf, np.float32)
    alike = np.flatnonzero(mean_bits(hashes[a], hashes[b]) <= SEARCH_BITS)
    for start in range(0, len(alike), CHUNK):
        at = alike[start : start + CHUNK]
        out[at] = levels(thumbnails[a[at]], thumbnails[b[at]])
    return out


def levels(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(P,) from thumbnails (P, 704), the worse of two: the mean over frames of the cell that differs most, and the sound.

    The sound's distance is 255 (1 - cosine) of the spectrograms: 0 where both are silent, 255 where one is.
    """
    apart = np.abs(a[:, :-N_SOUND].astype(np.int16) - b[:, :-N_SOUND])
    picture = apart.reshape(len(a), FRAMES, N_FRAME).max(axis=2).mean(axis=1)
    return np.maximum(picture, 255.0 * (1.0 - _cosine(a[:, -N_SOUND:], b[:, -N_SOUND:]))).astype(np.float32)


def _cosine(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    x, y = a.astype(np.float32), b.astype(np.float32)
    lengths = np.linalg.norm(x, axis=1) * np.linalg.norm(y, axis=1)
    equal = (a == b).all(axis=1)
    return np.where(equal, 1.0, np.einsum("pd,pd->p", x, y) / np.maximum(lengths, 1e-9))
