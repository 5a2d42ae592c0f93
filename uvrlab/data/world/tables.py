"""What the procedural world is made of, and which combinations each split may show.

Literal tables of colours, shapes, sizes, motions, places, sounds, cameras and backgrounds. The split rule is a Latin-square rule
over (colour, shape, motion): the train-side splits, val and test own disjoint residues modulo the number of motions, and as every
coefficient is invertible there, each single value and each pair of values still occurs on the train side.
"""

from __future__ import annotations

import hashlib
from functools import cache

import numpy as np

from uvrlab.data.schema import Split

SIZE_PX = 128
FPS = 16.0
DEFAULT_DURATION_S = 4.0

COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (222, 28, 36),
    "orange": (250, 138, 10),
    "yellow": (250, 232, 40),
    "green": (30, 165, 50),
    "cyan": (40, 222, 230),
    "blue": (35, 60, 225),
    "purple": (150, 40, 200),
    "white": (248, 248, 248),
}
SHAPES = ("circle", "square", "triangle", "star", "cross", "ring")
SIZES_PX: dict[str, float] = {"small": 9.0, "medium": 12.0, "large": 15.0}  # radius
# Neighbours in this order tend to be allowed together: opposite directions stand side by side, so siblings can differ in them.
MOTIONS = ("left", "right", "up", "down", "orbit", "bounce", "spin", "grow", "shrink", "blink", "still")
MOVES = MOTIONS[:-1]
OPPOSITES = {"left": "right", "right": "left", "up": "down", "down": "up", "grow": "shrink", "shrink": "grow"}
PLACES = tuple((row, column) for row in range(3) for column in range(3))
CAMERAS = ("still", "pan_left", "pan_right", "zoom_in", "zoom_out")
BACKGROUNDS = ("plain", "gradient", "stripes", "checks", "dots", "noise")
HUES: dict[str, tuple[int, int, int]] = {
    "grey": (118, 118, 118),
    "tan": (142, 124, 104),
    "olive": (108, 116, 88),
    "slate": (92, 106, 124),
    "mauve": (128, 106, 120),
}
SOUNDS = ("beep", "hum", "siren", "chirp", "whoosh", "clicks", "bell", "drum")
TRACKS = ("sound", "silent", "none")  # an ordinary track, a track of digital silence, no audio track

_RESIDUES: dict[str, frozenset[int]] = {
    "train": frozenset(range(6)),
    "val": frozenset((6, 7)),
    "test": frozenset((8, 9, 10)),
}
_SIDES: dict[Split, str] = {"pretrain": "train", "train": "train", "rl": "train", "val": "val", "test": "test"}


def stable_rng(*parts: object) -> np.random.Generator:
    """A generator seeded by the SHA-256 of the parts: equal on every machine and in every process."""
    text = "\x1f".join(str(part) for part in parts)
    return np.random.default_rng(int.from_bytes(hashlib.sha256(text.encode()).digest()[:16], "big"))


def split_side(split: Split) -> str:
    """`train` (pretrain, train and rl), `val` or `test`: the three sides that share no combination."""
    if split not in _SIDES:
        raise ValueError(f"unknown split {split!r}; expected one of {', '.join(_SIDES)}")
    return _SIDES[split]


def combo_allowed(split: Split, colour: str, shape: str, motion: str) -> bool:
    """Whether `split` may show this combination; exactly one of the three sides may."""
    residue = 3 * list(COLOURS).index(colour) + 2 * SHAPES.index(shape) + MOTIONS.index(motion)
    return residue % len(MOTIONS) in _RESIDUES[split_side(split)]


@cache
def looks_for(split: Split, motion: str) -> tuple[tuple[str, str], ...]:
    """Every (colour, shape) that may do `motion` in `split`."""
    return tuple((c, s) for c in COLOURS for s in SHAPES if combo_allowed(split, c, s, motion))


@cache
def motions_for(split: Split, colour: str, shape: str) -> tuple[str, ...]:
    """Every motion, `still` included, that (colour, shape) may do in `split`."""
    return tuple(m for m in MOTIONS if combo_allowed(split, colour, shape, m))
