"""How things move: the state of every object and of the camera at any time, in world pixels around the centre of the view.

Amplitudes are chosen so that the largest object at the edge of the grid stays in view under every camera move.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from uvrlab.data.world.scene import Event, Scene, place_after
from uvrlab.data.world.tables import SIZES_PX

GRID_PX = 30.0  # distance of two places
ORBIT_PX = 8.0
BOUNCE_PX = 11.0
GROW, SHRINK = 1.4, 0.55
SPIN_TURNS = 1.25  # not a whole number, so that the end differs from the start
BLINK_S = 0.7  # off for 60 % of each period: visible at 2 frames a second
PAN_PX = 9.0
ZOOM = (0.87, 1.15)
CENTRES_PX = (-GRID_PX, 0.0, GRID_PX)


@dataclass(frozen=True)
class State:
    """One object over T times: centre (px, world), radius (px), angle (radians, clockwise) and visibility, each (T,)."""

    x: np.ndarray
    y: np.ndarray
    radius: np.ndarray
    angle: np.ndarray
    visible: np.ndarray


def object_state(scene: Scene, number: int, times_s: np.ndarray) -> State:
    """Where object `number` is at each of `times_s` (T,), how large, how turned, and whether it is to be seen."""
    thing = scene.objects[number]
    times = np.asarray(times_s, dtype=np.float64)
    x = np.full(times.shape, CENTRES_PX[thing.place[1]])
    y = np.full(times.shape, CENTRES_PX[thing.place[0]])
    scale, angle, visible = np.ones_like(x), np.zeros_like(x), np.ones(times.shape, dtype=bool)
    for event in scene.events:
        if event.object != number:
            continue
        progress = np.clip((times - event.start_s) / (event.end_s - event.start_s), 0.0, 1.0)
        dx, dy, ratio, turn = _offsets(event, progress)
        x, y, scale, angle = x + dx, y + dy, scale * ratio, angle + turn
        if event.motion == "blink":
            since = times - event.start_s
            visible &= ~((since >= 0) & (times < event.end_s) & (since % BLINK_S < 0.6 * BLINK_S))
    return State(x, y, SIZES_PX[thing.size] * scale, angle, visible)


def _offsets(event: Event, progress: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """What one event adds to x and y, multiplies the size by and adds to the angle, at `progress` 0..1."""
    zero, one = np.zeros_like(progress), np.ones_like(progress)
    smooth = progress * progress * (3.0 - 2.0 * progress)
    match event.motion:
        case "left" | "right" | "up" | "down":
            row, column = place_after((0, 0), event.motion)
            return GRID_PX * column * smooth, GRID_PX * row * smooth, one, zero
        case "orbit":
            turn = 2 * np.pi * smooth
            reach = ORBIT_PX * np.minimum(1.0, 6.0 * np.minimum(progress, 1.0 - progress))
            return reach * np.sin(turn), -reach * np.cos(turn), one, zero
        case "bounce":
            hops = max(2, round((event.end_s - event.start_s) / 0.55))
            return zero, -BOUNCE_PX * np.abs(np.sin(np.pi * hops * progress)), one, zero
        case "spin":
            return zero, zero, one, 2 * np.pi * SPIN_TURNS * progress
        case "grow" | "shrink":
            return zero, zero, 1.0 + ((GROW if event.motion == "grow" else SHRINK) - 1.0) * smooth, zero
    return zero, zero, one, zero


def camera_state(scene: Scene, times_s: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Horizontal shift of the view (px, world) and zoom factor at each time, both (T,); a pan to the left shifts it to the left."""
    times = np.asarray(times_s, dtype=np.float64)
    camera = scene.camera
    progress = np.clip((times - camera.start_s) / max(camera.end_s - camera.start_s, 1e-6), 0.0, 1.0)
    shift, zoom = np.zeros_like(times), np.ones_like(times)
    if camera.kind in ("pan_left", "pan_right"):
        shift = PAN_PX * (2.0 * progress - 1.0) * (1.0 if camera.kind == "pan_right" else -1.0)
    elif camera.kind in ("zoom_in", "zoom_out"):
        low, high = ZOOM if camera.kind == "zoom_in" else ZOOM[::-1]
        zoom = low + (high - low) * progress
    return shift, zoom


def place_at(scene: Scene, number: int, time_s: float) -> tuple[int, int]:
    """The grid place nearest to object `number` at a time."""
    state = object_state(scene, number, np.array([time_s]))
    nearest = [int(np.argmin([abs(v - c) for c in CENTRES_PX])) for v in (state.y[0], state.x[0])]
    return nearest[0], nearest[1]
