"""The eight synthetic sounds and the mono track of a clip."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from uvrlab.data.world.scene import Scene, Sound
from uvrlab.data.world.tables import stable_rng

PEAK = 0.5
_FADE_S = 0.01


def _tone(frequency_hz: np.ndarray | float, t: np.ndarray) -> np.ndarray:
    """A sine whose frequency may change over time; phase is the running integral."""
    step = t[1] - t[0] if len(t) > 1 else 1.0
    return np.sin(2 * np.pi * np.cumsum(np.broadcast_to(frequency_hz, t.shape)) * step)


def _beep(t: np.ndarray, pitch: float, rng: np.random.Generator) -> np.ndarray:
    return _tone(1000.0 * pitch, t) * (t % 0.2 < 0.12)


def _hum(t: np.ndarray, pitch: float, rng: np.random.Generator) -> np.ndarray:
    return sum((_tone(120.0 * pitch * k, t) / k for k in range(1, 5)), np.zeros_like(t))


def _siren(t: np.ndarray, pitch: float, rng: np.random.Generator) -> np.ndarray:
    return _tone(pitch * (750.0 + 300.0 * np.sin(2 * np.pi * 2.0 * t)), t)


def _chirp(t: np.ndarray, pitch: float, rng: np.random.Generator) -> np.ndarray:
    phase = (t % 0.16) / 0.16
    return _tone(pitch * (2200.0 + 2600.0 * phase), t) * (phase < 0.8)


def _whoosh(t: np.ndarray, pitch: float, rng: np.random.Generator) -> np.ndarray:
    """Noise that is moved up and down by a slow carrier: a broad band that sweeps, loud in the middle."""
    noise = np.convolve(rng.standard_normal(t.shape), np.ones(12) / 12, mode="same")
    arch = np.sin(np.pi * (t - t[0]) / (t[-1] - t[0]))
    return noise * _tone(pitch * (900.0 + 2200.0 * arch), t) * arch**2


def _clicks(t: np.ndarray, pitch: float, rng: np.random.Generator) -> np.ndarray:
    return rng.standard_normal(t.shape) * np.exp(-(t % 0.085) * 500.0)


def _bell(t: np.ndarray, pitch: float, rng: np.random.Generator) -> np.ndarray:
    partials = ((1.0, 1.0, 3.0), (2.76, 0.7, 5.0), (5.4, 0.4, 8.0))
    return sum((a * _tone(620.0 * pitch * f, t) * np.exp(-d * t) for f, a, d in partials), np.zeros_like(t))


def _drum(t: np.ndarray, pitch: float, rng: np.random.Generator) -> np.ndarray:
    beat = t % 0.3
    return np.sin(2 * np.pi * pitch * (70.0 * beat + 4.0 * (1 - np.exp(-25.0 * beat)))) * np.exp(-14.0 * beat)


SYNTHS: dict[str, Callable[[np.ndarray, float, np.random.Generator], np.ndarray]] = {
    "beep": _beep,
    "hum": _hum,
    "siren": _siren,
    "chirp": _chirp,
    "whoosh": _whoosh,
    "clicks": _clicks,
    "bell": _bell,
    "drum": _drum,
}


def synthesize_sound(sound: Sound, sample_rate_hz: int, rng: np.random.Generator) -> np.ndarray:
    """The samples of one sound alone, float32 (n,), peak 0.5, faded in and out over 10 ms."""
    n = max(2, round((sound.end_s - sound.start_s) * sample_rate_hz))
    t = np.arange(n) / sample_rate_hz
    wave = SYNTHS[sound.kind](t, sound.pitch, rng)
    fade = np.minimum(1.0, np.minimum(np.arange(n), np.arange(n)[::-1]) / (_FADE_S * sample_rate_hz))
    return (wave * fade * PEAK / max(float(np.abs(wave).max()), 1e-9)).astype(np.float32)


def render_audio(scene: Scene, sample_rate_hz: int = 16000) -> np.ndarray | None:
    """The mono track before the codec: float32 (n,) in -1..1, zeros for a silent track, None for a clip without a track."""
    if scene.track == "none":
        return None
    n = round(scene.duration_s * sample_rate_hz)
    if scene.track == "silent":
        return np.zeros(n, dtype=np.float32)
    rng = stable_rng("audio", scene.flaws.seed)
    track = (rng.standard_normal(n) * 10 ** (scene.flaws.floor_db / 20)).astype(np.float32)
    for number, sound in enumerate(scene.sounds):
        wave = synthesize_sound(sound, sample_rate_hz, stable_rng("sound", scene.flaws.seed, number))
        start = round(sound.start_s * sample_rate_hz)
        stop = min(n, start + len(wave))
        track[start:stop] += wave[: stop - start]
    return np.clip(track, -1.0, 1.0)
