"""From a scene to pixels and to an mp4: signed-distance shapes over a textured background, H.264 and AAC by PyAV.

Every pixel depends on the scene and the frame's time alone, so a frame is the same whichever other frames are asked for, and a
clip is the same bytes on every run of one PyAV build.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from fractions import Fraction

import av
import numpy as np

from uvrlab.data.world.motion import camera_state, object_state
from uvrlab.data.world.scene import Background, Scene
from uvrlab.data.world.sound import render_audio
from uvrlab.data.world.tables import COLOURS, HUES, stable_rng

_CANVAS = 168  # world pixels covered by the background: the widest zoom plus the pan
_OVERSAMPLE = 2
_NOISE_TILE = 256


def render_frames(scene: Scene, times_s: Sequence[float] | np.ndarray) -> np.ndarray:
    """Frames at the given times before any codec: uint8 (T, H, W, 3), RGB."""
    times = np.atleast_1d(np.asarray(times_s, dtype=np.float64))
    shift, zoom = camera_state(scene, times)
    frames = _background_frames(scene, shift, zoom)
    for number in range(len(scene.objects)):
        _draw(frames, scene, number, times, shift, zoom)
    return _flawed(frames, scene, times)


def _background_frames(scene: Scene, shift: np.ndarray, zoom: np.ndarray) -> np.ndarray:
    """The background through the camera, float32 (T, H, W, 3); sampling is separable because the camera never rolls."""
    canvas = _canvas(scene.background)
    size = scene.size_px
    offsets = np.arange(size) - (size - 1) / 2
    frames = np.empty((len(shift), size, size, 3), dtype=np.float32)
    last: tuple[float, float] | None = None
    for i, (dx, scale) in enumerate(zip(shift.tolist(), zoom.tolist(), strict=True)):
        if last == (dx, scale):
            frames[i] = frames[i - 1]
            continue
        columns = np.rint((offsets / scale + dx + _CANVAS / 2) * _OVERSAMPLE).astype(int)
        rows = np.rint((offsets / scale + _CANVAS / 2) * _OVERSAMPLE).astype(int)
        limit = _CANVAS * _OVERSAMPLE - 1
        frames[i] = canvas[np.clip(rows, 0, limit)][:, np.clip(columns, 0, limit)]
        last = (dx, scale)
    return frames


def _canvas(background: Background) -> np.ndarray:
    """The whole background, float32 (2 * 168, 2 * 168, 3): two hues mixed by the style's pattern, plus faint blotches."""
    rng = stable_rng("background", background.seed)
    axis = np.arange(_CANVAS * _OVERSAMPLE) / _OVERSAMPLE
    x, y = axis[None, :], axis[:, None]
    period = rng.uniform(14.0, 22.0)
    angle = rng.uniform(0, np.pi)
    along = x * np.cos(angle) + y * np.sin(angle)
    match background.style:
        case "gradient":
            mix = (along - along.min()) / (along.max() - along.min())
        case "stripes":
            mix = ((along / period) % 1.0 < 0.5).astype(float)
        case "checks":
            mix = (np.floor(x / period) + np.floor(y / period)) % 2
        case "dots":
            mix = ((x % period - period / 2) ** 2 + (y % period - period / 2) ** 2 < (0.28 * period) ** 2).astype(float)
        case "noise":
            mix = _blotches(rng, 56)
        case _:
            mix = np.zeros((len(axis), len(axis)))
    low, high = (np.array(HUES[hue], dtype=np.float32) for hue in background.hues)
    high = high + 26.0  # the second hue is lighter: the pattern shows in luma too
    mix = np.broadcast_to(mix, (len(axis), len(axis)))[..., None]
    texture = 22.0 * (_blotches(rng, 12)[..., None] - 0.5)
    return (low + (high - low) * mix + texture).astype(np.float32)


def _blotches(rng: np.random.Generator, cells: int) -> np.ndarray:
    """Smooth random values 0..1 over the canvas, `cells` a side."""
    grid = rng.uniform(0.0, 1.0, (cells + 1, cells + 1))
    position = np.linspace(0.0, cells - 1e-6, _CANVAS * _OVERSAMPLE)
    i = position.astype(int)
    part = position - i
    rows = grid[i] * (1 - part)[:, None] + grid[i + 1] * part[:, None]
    return rows[:, i] * (1 - part) + rows[:, i + 1] * part


def _draw(frames: np.ndarray, scene: Scene, number: int, times: np.ndarray, shift: np.ndarray, zoom: np.ndarray) -> None:
    """Blend one object into every frame, inside the smallest box that holds it."""
    state = object_state(scene, number, times)
    size = scene.size_px
    x = (state.x - shift) * zoom + (size - 1) / 2
    y = state.y * zoom + (size - 1) / 2
    radius = state.radius * zoom
    half = int(np.ceil(radius.max() * 1.15)) + 2
    left, top = np.rint(x).astype(int) - half, np.rint(y).astype(int) - half
    span = np.arange(2 * half + 1)
    dx = (left[:, None] + span - x[:, None])[:, None, :]  # (T, 1, B)
    dy = (top[:, None] + span - y[:, None])[:, :, None]  # (T, B, 1)
    cos, sin = np.cos(state.angle)[:, None, None], np.sin(state.angle)[:, None, None]
    u, v = dx * cos + dy * sin, dy * cos - dx * sin  # (T, B, B), object axes
    thing = scene.objects[number]
    r = radius[:, None, None]
    distance = _signed_distance(thing.shape, u, v, r)
    body = np.clip(0.5 - distance, 0.0, 1.0) * state.visible[:, None, None]
    # a dark edge keeps light colours off light backgrounds; a dark mark at twelve o'clock makes a turning circle visible
    mark = np.clip(1.5 - np.maximum(np.abs(u) - 0.13 * r, np.maximum(v + 0.25 * r, -v - 1.2 * r)), 0.0, 1.0)
    shade = 1.0 - 0.72 * np.maximum(np.clip(distance + 1.8, 0.0, 1.0), mark)
    colour = np.array(COLOURS[thing.colour], dtype=np.float32)
    for i in np.flatnonzero(state.visible):
        rows = slice(max(top[i], 0), min(top[i] + len(span), size))
        columns = slice(max(left[i], 0), min(left[i] + len(span), size))
        if rows.start >= rows.stop or columns.start >= columns.stop:
            continue
        inside = (slice(rows.start - top[i], rows.stop - top[i]), slice(columns.start - left[i], columns.stop - left[i]))
        alpha = body[i][inside][..., None]
        patch = frames[i, rows, columns]
        patch += alpha * (shade[i][inside][..., None] * colour - patch)


def _signed_distance(shape: str, u: np.ndarray, v: np.ndarray, r: np.ndarray) -> np.ndarray:
    """Pixels to the edge of a shape of radius `r`, negative inside; `u` to the right and `v` downwards, from its centre."""
    match shape:
        case "circle":
            return np.hypot(u, v) - 0.92 * r
        case "square":
            return np.maximum(np.abs(u), np.abs(v)) - 0.82 * r
        case "triangle":
            return _triangle(u, v, r)
        case "star":
            return _star(u, v, r)
        case "cross":
            arm, long = 0.34 * r, 1.0 * r
            a, b = np.abs(u), np.abs(v)
            return np.minimum(np.maximum(a - long, b - arm), np.maximum(a - arm, b - long))
        case "ring":
            return np.abs(np.hypot(u, v) - 0.74 * r) - 0.26 * r
    raise ValueError(f"unknown shape {shape!r}")


def _triangle(u: np.ndarray, v: np.ndarray, r: np.ndarray) -> np.ndarray:
    return np.maximum(v - 0.62 * r, 0.866 * np.abs(u) - 0.5 * v - 0.5 * r)


def _star(u: np.ndarray, v: np.ndarray, r: np.ndarray) -> np.ndarray:
    """Five points: the edge's radius swings between 1.1 r and 0.45 r with the angle."""
    angle = np.arctan2(u, -v)
    fold = np.abs((angle / (2 * np.pi / 5) + 0.5) % 1.0 - 0.5) * 2.0  # 0 at a point, 1 between two
    return (np.hypot(u, v) - r * (1.12 - 0.68 * fold**0.75)) * 0.75


def _flawed(frames: np.ndarray, scene: Scene, times: np.ndarray) -> np.ndarray:
    """Gain, slow flicker and luma noise; the noise of a frame depends on its number alone."""
    flaws = scene.flaws
    phase = 2 * np.pi * (flaws.seed % 97) / 97
    gain = flaws.gain * (1.0 + flaws.flicker * np.sin(2 * np.pi * 1.3 * times + phase))
    rng = stable_rng("noise", flaws.seed)
    tile = rng.standard_normal((_NOISE_TILE, _NOISE_TILE), dtype=np.float32) * flaws.noise
    offsets = rng.integers(0, _NOISE_TILE - scene.size_px + 1, (1024, 2))
    frames *= gain.astype(np.float32)[:, None, None, None]
    for frame, number in zip(frames, np.rint(times * scene.fps).astype(int).tolist(), strict=True):
        row, column = offsets[number % len(offsets)]
        frame += tile[row : row + scene.size_px, column : column + scene.size_px, None]
    return np.clip(frames, 0.0, 255.0).astype(np.uint8)


def render_clip(scene: Scene) -> bytes:
    """The clip as an mp4 file in memory: H.264 (one thread, the scene's CRF) and, unless the scene has no track, mono AAC."""
    buffer = io.BytesIO()
    samples = render_audio(scene, scene.flaws.sample_rate_hz)
    with av.open(buffer, "w", format="mp4", options={"fflags": "+bitexact"}) as container:
        video = container.add_stream("libx264", rate=Fraction(scene.fps).limit_denominator(1001))
        video.width = video.height = scene.size_px
        video.pix_fmt = "yuv420p"
        video.options = {"crf": str(scene.flaws.crf), "preset": "veryfast", "threads": "1", "x264-params": "threads=1"}
        audio = container.add_stream("aac", rate=scene.flaws.sample_rate_hz, layout="mono") if samples is not None else None
        for start in range(0, scene.n_frames, 160):  # ten seconds at a time: memory stays flat in long clips
            numbers = np.arange(start, min(start + 160, scene.n_frames))
            for picture in render_frames(scene, numbers / scene.fps):
                container.mux(video.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(video.encode())
        if audio is not None and samples is not None:
            frame = av.AudioFrame.from_ndarray(samples[None, :], format="fltp", layout="mono")
            frame.sample_rate = scene.flaws.sample_rate_hz
            frame.pts = 0
            container.mux(audio.encode(frame))
            container.mux(audio.encode())
    return buffer.getvalue()
