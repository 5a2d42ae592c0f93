"""What can be measured in pictures: named colours, where they are, and how light it is."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

ROWS, COLUMNS = ("top", "middle", "bottom"), ("left", "centre", "right")
LIGHT = ("nearly black", "dark", "dim", "medium-bright", "bright", "very bright")
Shares = tuple[tuple[str, float], ...]  # (colour, share of the picture), largest first
_GREYS = ((0.16, "black"), (0.40, "dark grey"), (0.68, "grey"), (0.88, "light grey"), (2.0, "white"))
# Upper edge of a hue (degrees) and its names: dark (value < 0.40), pale (saturation < 0.42 and value >= 0.55), and otherwise.
_HUES = (
    (14.0, "dark red", "pink", "red"),
    (42.0, "brown", "beige", "orange"),
    (66.0, "olive", "beige", "yellow"),
    (155.0, "dark green", "light green", "green"),
    (195.0, "teal", "light turquoise", "turquoise"),
    (255.0, "dark blue", "light blue", "blue"),
    (290.0, "purple", "lilac", "purple"),
    (342.0, "purple", "pink", "pink"),
    (361.0, "dark red", "pink", "red"),
)
NAMES = (*dict.fromkeys([name for _, name in _GREYS] + [name for row in _HUES for name in row[1:]]), "light brown")


def colour_numbers(frames: np.ndarray) -> np.ndarray:
    """Each pixel of (T, H, W, 3) uint8 as its number in NAMES, (T, H, W)."""
    import cv2

    flat = frames.reshape(-1, frames.shape[-2], 3)  # one tall picture
    hsv = cv2.cvtColor(np.ascontiguousarray(flat), cv2.COLOR_RGB2HSV)
    hue, saturation, value = 2.0 * hsv[..., 0], hsv[..., 1] / 255.0, hsv[..., 2] / 255.0
    found = np.select([value < edge for edge, _ in _GREYS], [NAMES.index(name) for _, name in _GREYS]).astype(np.uint8)
    coloured = (saturation * value >= 0.085) & (saturation >= 0.16) & (value >= 0.16)
    band = np.searchsorted([edge for edge, *_ in _HUES], hue, side="right").clip(max=len(_HUES) - 1)
    kind = np.where(value < 0.40, 0, np.where((saturation < 0.42) & (value >= 0.55), 1, 2))
    # between red and yellow, what is neither bright nor strong (skin, wood, sand) is called brown
    earthy = (band == 1) & (kind == 2) & ((value < 0.65) | (saturation < 0.7))
    browns = np.where(value < 0.6, NAMES.index("brown"), NAMES.index("light brown"))
    table = np.array([[NAMES.index(name) for name in row[1:]] for row in _HUES], np.uint8)
    olive = (band == 2) & (kind == 2) & (value < 0.62)
    kind = np.where(olive, 0, kind)
    found = np.where(coloured, np.where(earthy, browns, table[band, kind]), found)
    return found.reshape(frames.shape[:3])


def shares(numbers: np.ndarray, least: float = 0.12, most: int = 3) -> Shares:
    """The colours that cover at least `least` of the pixels, else the one that covers most."""
    counts = np.bincount(numbers.ravel(), minlength=len(NAMES)) / max(numbers.size, 1)
    order = np.argsort(-counts, kind="stable")
    kept = [i for i in order[:most] if counts[i] >= least] or [order[0]]
    return tuple((NAMES[i], round(float(counts[i]), 3)) for i in kept)


def regions(numbers: np.ndarray) -> dict[tuple[str, str], Shares]:
    """The leading colours of the 3 x 3 fields: {("top", "left"): ...}."""
    down, across = (np.array_split(np.arange(n), 3) for n in numbers.shape[1:])
    return {
        (row, column): shares(numbers[:, ys[0] : ys[-1] + 1, xs[0] : xs[-1] + 1], most=2)
        for row, ys in zip(ROWS, down, strict=True)
        for column, xs in zip(COLUMNS, across, strict=True)
    }


def luma(frames: np.ndarray) -> np.ndarray:
    """Mean brightness of each frame, 0-255, (T,)."""
    return (frames.reshape(len(frames), -1, 3).mean(axis=1) @ np.array([0.299, 0.587, 0.114])).round(1)


def brightness_word(mean: float) -> str:
    return next(word for edge, word in zip((25, 65, 95, 135, 165, 256), LIGHT, strict=True) if mean < edge)


def colour_words(found: Shares | Sequence[tuple[str, float]]) -> str:
    """ "green and light blue", "mostly black" where one covers more than 60 %."""
    names = [name for name, _ in found]
    if len(names) == 1 or found[0][1] > 0.6:
        return f"mostly {names[0]}"
    return f"{', '.join(names[:-1])} and {names[-1]}"
