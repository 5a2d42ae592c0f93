"""Motion between neighbouring frames: that of the whole view (camera), and what moves against it.

The view's motion is a similarity (shift, zoom, turn) fitted to tracked corners; what moves by itself is dense optical flow less
that fit. Shifts are in picture heights a second, zoom in shares a second. What no fit explains is called unclear, not still.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from uvrlab.synthesis.captioners.picture import COLUMNS, ROWS

MIN_POINTS, MIN_INLIERS, MIN_SPREAD = 12, 0.55, 0.45
MOVING_PX = 0.7  # a pixel that moves less between two frames rests
PARALLAX = 0.5  # of the view's own motion: under a moving view, near things shift by this much more than far ones
RIM_GAIN, RIM_REST = 0.9, 6.0  # a motion must explain the rim a tenth better than rest; a textured rim that differs by less rests
# A cut: frames that differ (of 255) far more than their neighbours do, in their colours too, and by no motion of the view.
CUT_DIFFERENCE, CUT_PALETTE, CUT_RATIO, CUT_NEIGHBOURS = 20.0, 0.3, 2.5, 3


@dataclass(frozen=True)
class Step:
    """What happens between two frames `dt_s` apart, `at_s` being the later one's time."""

    at_s: float
    dt_s: float
    difference: float  # mean absolute grey difference, of 255
    palette: float  # share of pixels whose colour has no counterpart in the other frame
    clear: bool  # whether one motion of the view explains most of the picture
    shift: tuple[float, float]  # of the content, heights a second, x to the right, y downwards
    zoom: float  # growth of the content a second
    moving: float  # share of the picture that moves by itself
    speed: float  # of what moves by itself, heights a second
    heading: tuple[float, float]  # its mean direction; shorter than 1 where directions differ
    centre: tuple[float, float]  # of what moves, shares of width and height


def steps(frames: np.ndarray, times_s: np.ndarray) -> list[Step]:
    """One Step for each pair of neighbours of (T, H, W, 3) uint8 frames at `times_s` (T,)."""
    import cv2

    grey = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in frames]
    palettes = [_palette(frame) for frame in frames]
    dense = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
    return [
        _step(dense, grey[i], grey[i + 1], float(times_s[i + 1]), float(times_s[i + 1] - times_s[i]), _apart(*palettes[i : i + 2]))
        for i in range(len(frames) - 1)
    ]


def cuts(found: list[Step]) -> tuple[float, ...]:
    """Times of the shot boundaries, in seconds."""
    size = np.array([s.difference for s in found])
    times = []
    for i, step in enumerate(found):
        around = np.concatenate([size[max(0, i - CUT_NEIGHBOURS) : i], size[i + 1 : i + 1 + CUT_NEIGHBOURS]])
        usual = max(float(np.median(around)) if len(around) else 0.0, 2.0)
        if not step.clear and step.palette >= CUT_PALETTE and step.difference >= max(CUT_DIFFERENCE, CUT_RATIO * usual):
            times.append(round(step.at_s, 2))
    return tuple(times)


def _palette(frame: np.ndarray) -> np.ndarray:
    import cv2

    hsv = cv2.cvtColor(np.ascontiguousarray(frame), cv2.COLOR_RGB2HSV)
    counts = cv2.calcHist([hsv], [0, 1, 2], None, [12, 4, 6], [0, 180, 0, 256, 0, 256])
    return np.asarray(counts).ravel() / hsv[..., 0].size


def _apart(first: np.ndarray, second: np.ndarray) -> float:
    return 0.5 * float(np.abs(first - second).sum())


def _step(dense: Any, old: np.ndarray, new: np.ndarray, at_s: float, dt_s: float, palette: float) -> Step:
    height, width = old.shape
    difference = float(np.abs(old.astype(np.int16) - new).mean())
    if difference == 0.0:
        return Step(at_s, dt_s, 0.0, 0.0, True, (0.0, 0.0), 0.0, 0.0, 0.0, (0.0, 0.0), (0.5, 0.5))
    model = _view_motion(old, new)
    flow = dense.calc(old, new, None)
    view = _field(model, height, width) if model is not None else np.zeros_like(flow)
    flow = flow - view
    size = np.hypot(flow[..., 0], flow[..., 1])
    least = np.maximum(MOVING_PX, PARALLAX * np.hypot(view[..., 0], view[..., 1]))
    size[[0, 1, -2, -1]] = 0.0  # flow at the edge is guesswork
    size[:, [0, 1, -2, -1]] = 0.0
    mask = size > least
    ys, xs = np.mgrid[0:height, 0:width]
    moving = float(mask.mean())
    mean = flow[mask].mean(axis=0) if mask.any() else np.zeros(2)
    speed = float(size[mask].mean()) if mask.any() else 0.0
    centre = (float(xs[mask].mean()) / width, float(ys[mask].mean()) / height) if mask.any() else (0.5, 0.5)
    shift, zoom = _of_centre(model, height, width) if model is not None else ((0.0, 0.0), 0.0)
    heading = (float(mean[0]) / speed, float(mean[1]) / speed) if speed else (0.0, 0.0)
    per = height * dt_s
    return Step(
        at_s=at_s,
        dt_s=dt_s,
        difference=difference,
        palette=palette,
        clear=model is not None,
        shift=(shift[0] / per, shift[1] / per),
        zoom=zoom / dt_s,
        moving=moving,
        speed=speed / per,
        heading=heading,
        centre=centre,
    )


def _view_motion(old: np.ndarray, new: np.ndarray) -> np.ndarray | None:
    """The view's similarity (2, 3) from one frame to the next; None: there is none that could be told.

    It must explain the picture's rim better than rest does: a large thing that moves in mid-picture is no camera.
    """
    import cv2

    height, width = old.shape
    rim = np.ones(old.shape, bool)
    rim[height // 5 : -height // 5, width // 5 : -width // 5] = False
    by_rest = float(np.abs(old[rim].astype(np.int16) - new[rim]).mean())
    model = _similarity(old, new)
    if model is not None:
        inside = rim & (cv2.warpAffine(np.ones_like(old), model, (width, height)) == 1)
        moved = cv2.warpAffine(old, model, (width, height))[inside].astype(np.int16)
        if np.abs(moved - new[inside]).mean() <= RIM_GAIN * np.abs(old[inside].astype(np.int16) - new[inside]).mean():
            return model
    return np.eye(2, 3) if by_rest < min(RIM_REST, 0.5 * float(new[rim].std())) else None


def _similarity(old: np.ndarray, new: np.ndarray) -> np.ndarray | None:
    """The similarity that carries most tracked corners, if they are many and spread over the picture."""
    import cv2

    height, width = old.shape
    points = cv2.goodFeaturesToTrack(old, 200, 0.01, 4)
    if points is None or len(points) < MIN_POINTS:
        return None
    track: Any = cv2.calcOpticalFlowPyrLK  # its stubs forbid the None that it needs
    moved, found, _ = track(old, new, points, None, winSize=(13, 13), maxLevel=3)
    back, again, _ = track(new, old, moved, None, winSize=(13, 13), maxLevel=3)
    kept = ((found & again).ravel() == 1) & (np.abs(back - points).max(axis=(1, 2)) < 0.7)
    if kept.sum() < max(MIN_POINTS, 0.4 * len(points)):
        return None
    cv2.setRNGSeed(0)
    model, inliers = cv2.estimateAffinePartial2D(points[kept], moved[kept], ransacReprojThreshold=1.0)
    if model is None or inliers.mean() < MIN_INLIERS:
        return None
    reach = np.ptp(points[kept][inliers.ravel() == 1].reshape(-1, 2), axis=0) / (width, height)
    return np.asarray(model) if reach.min() >= MIN_SPREAD else None


def _field(model: np.ndarray, height: int, width: int) -> np.ndarray:
    """The displacement (H, W, 2) of every pixel under a similarity."""
    ys, xs = np.mgrid[0:height, 0:width].astype(np.float32)
    return np.stack([row[0] * xs + row[1] * ys + row[2] - own for row, own in zip(model, (xs, ys), strict=True)], -1)


def _of_centre(model: np.ndarray, height: int, width: int) -> tuple[tuple[float, float], float]:
    """Shift of the picture's centre in pixels, and growth."""
    centre = np.array([width / 2, height / 2])
    shift = model[:, :2] @ centre + model[:, 2] - centre
    return (float(shift[0]), float(shift[1])), float(np.hypot(model[0, 0], model[1, 0]) - 1.0)


def view_word(found: list[Step]) -> str:
    """What the view does over these steps: still, nearly still, left, right, up, down, in, out, about or unclear.

    The view goes where the content does not: content that shifts left is a view that goes right.
    """
    clear = [s for s in found if s.clear]
    if not found or len(clear) < 0.6 * len(found):
        return "unclear"
    x, y = (float(np.median([s.shift[i] for s in clear])) for i in (0, 1))
    zoom = float(np.median([s.zoom for s in clear]))
    spread = float(np.mean([np.hypot(s.shift[0] - x, s.shift[1] - y) for s in clear]))
    going = {"right" if x < 0 else "left": abs(x), "down" if y < 0 else "up": abs(y), "in" if zoom > 0 else "out": 0.6 * abs(zoom)}
    word, rate = max(going.items(), key=lambda pair: pair[1])
    if rate > 0.03 and rate > 0.7 * spread:
        return word
    return "about" if spread > 0.1 else "nearly still" if max(rate, spread) > 0.03 else "still"


def _judged(found: list[Step]) -> list[Step]:
    """The steps in which what moves by itself is told apart from the view; where the view is unclear anyhow, all of them."""
    return found if view_word(found) == "unclear" else [s for s in found if s.clear]


def heading_word(found: list[Step]) -> str | None:
    """left, right, up or down where what moves by itself has one direction; else None."""
    found = _judged(found)
    weights = np.array([s.moving * s.speed for s in found])
    if not len(found) or weights.sum() == 0:
        return None
    x, y = (float(np.average([s.heading[i] for s in found], weights=weights)) for i in (0, 1))
    if np.hypot(x, y) < 0.55 or max(abs(x), abs(y)) < 1.5 * min(abs(x), abs(y)):
        return None
    return ("right" if x > 0 else "left") if abs(x) > abs(y) else ("down" if y > 0 else "up")


def place_word(found: list[Step]) -> str | None:
    """Where it moves: "top left", "centre", ...; None where nothing does."""
    found = _judged(found)
    weights = np.array([s.moving for s in found])
    if not len(found) or weights.mean() < 0.004:
        return None
    x, y = (float(np.average([s.centre[i] for s in found], weights=weights)) for i in (0, 1))
    row, column = ROWS[min(2, int(3 * y))], COLUMNS[min(2, int(3 * x))]
    return "centre" if (row, column) == ("middle", "centre") else f"{row} {column}"


def strength(found: list[Step]) -> float:
    """How much moves by itself: share of the picture times speed, in percent of a picture height a second."""
    found = _judged(found)
    return round(100 * float(np.mean([s.moving * s.speed for s in found])), 2) if found else 0.0
