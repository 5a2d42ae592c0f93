"""Pixels and samples: exact times, what the eye and ear need to tell, and files that come out the same."""

from __future__ import annotations

import io
from dataclasses import replace

import av
import numpy as np
import pytest

from uvrlab.data.world import Camera, Event, Object, Scene, Sound, render_audio, render_clip, render_frames, sample_scene
from uvrlab.data.world.motion import GRID_PX, camera_state, object_state
from uvrlab.data.world.sound import SYNTHS, synthesize_sound
from uvrlab.data.world.tables import COLOURS


def _still_life(**changes: object) -> Scene:
    """One large red square in the centre, nothing else: a base for closed-form checks."""
    scene = sample_scene("train", 0, family_size=1)
    plain = replace(scene.flaws, noise=0.0, gain=1.0, flicker=0.0, crf=30, sample_rate_hz=16000)
    thing = Object("red", "square", "large", (1, 1), still=True)
    base = replace(
        scene, objects=(thing,), events=(), sounds=(), camera=Camera("still", 0.0, 4.0), track="sound", flaws=plain, duration_s=4.0
    )
    return replace(base, **changes)  # type: ignore[arg-type]


def _decode(data: bytes) -> tuple[np.ndarray, np.ndarray | None, float]:
    with av.open(io.BytesIO(data)) as container:
        rate = float(container.streams.video[0].average_rate or 0)
        frames = np.stack([f.to_ndarray(format="rgb24") for f in container.decode(video=0)])
    with av.open(io.BytesIO(data)) as container:
        if not container.streams.audio:
            return frames, None, rate
        resampler = av.AudioResampler(format="flt", layout="mono", rate=16000)
        parts = [r.to_ndarray().ravel() for f in container.decode(audio=0) for r in resampler.resample(f)]
    return frames, np.concatenate(parts), rate


def test_a_frame_does_not_depend_on_which_others_are_asked_for() -> None:
    scene = sample_scene("test", 3)
    together = render_frames(scene, [0.0, 1.0, 2.5])
    assert together.shape == (3, 128, 128, 3) and together.dtype == np.uint8
    assert np.array_equal(together[1:2], render_frames(scene, [1.0]))


def test_a_clip_is_the_same_bytes_twice_and_decodes_to_its_frames() -> None:
    scene = next(s for s in (sample_scene("test", i) for i in range(20)) if s.track == "sound")
    data = render_clip(scene)
    assert data == render_clip(scene)
    frames, samples, rate = _decode(data)
    assert frames.shape == (64, 128, 128, 3) and rate == 16.0
    assert samples is not None and abs(len(samples) / 16000 - 4.0) < 0.1
    wanted = render_frames(scene, np.arange(64) / 16).astype(int)
    assert np.abs(frames.astype(int) - wanted).mean() < 12


def test_a_silent_track_is_zeros_and_a_missing_one_is_missing() -> None:
    silent, none = _still_life(track="silent"), _still_life(track="none")
    quiet = render_audio(silent, 16000)
    assert quiet is not None and len(quiet) == 64000 and not quiet.any()
    assert render_audio(none, 16000) is None
    samples, missing = _decode(render_clip(silent))[1], _decode(render_clip(none))[1]
    assert samples is not None and np.abs(samples).max() < 1e-4
    assert missing is None


@pytest.mark.parametrize(
    ("motion", "dx", "dy", "ratio"), [("left", -1, 0, 1.0), ("down", 0, 1, 1.0), ("grow", 0, 0, 1.4), ("orbit", 0, 0, 1.0)]
)
def test_a_motion_ends_where_it_should(motion: str, dx: int, dy: int, ratio: float) -> None:
    scene = _still_life(events=(Event(0, motion, 1.0, 2.0),))
    state = object_state(scene, 0, np.array([0.9, 2.1]))
    assert state.x[1] - state.x[0] == pytest.approx(GRID_PX * dx, abs=1e-9)
    assert state.y[1] - state.y[0] == pytest.approx(GRID_PX * dy, abs=1e-9)
    assert state.radius[1] / state.radius[0] == pytest.approx(ratio)


def test_a_pan_to_the_left_moves_what_is_seen_to_the_right() -> None:
    scene = _still_life(camera=Camera("pan_left", 0.0, 4.0))
    red = render_frames(scene, [0.0, 3.9]).astype(int)
    columns = [np.flatnonzero(((f[..., 0] - f[..., 1]) > 100).any(0)).mean() for f in red]
    assert columns[1] - columns[0] == pytest.approx(17.5, abs=1.5)


def test_every_object_stays_in_view_under_every_camera() -> None:
    times = np.linspace(0.0, 3.95, 40)
    for i in range(200):
        scene = sample_scene("train", i, family_size=1)
        shift, zoom = camera_state(scene, times)
        for number in range(len(scene.objects)):
            state = object_state(scene, number, times)
            reach = np.maximum(np.abs((state.x - shift) * zoom), np.abs(state.y * zoom)) + state.radius * zoom
            assert reach.max() <= 64.0, scene.to_json()


def test_every_event_shows_in_eight_frames() -> None:
    """At 2 frames a second some sampled frame differs from the clip without the event in at least 40 pixels."""
    times = (np.arange(8) + 0.5) / 2
    for i in range(0, 80, 4):
        scene = sample_scene("train", i)
        full = render_frames(scene, times).astype(int)
        for number in range(len(scene.events)):
            without = replace(scene, events=scene.events[:number] + scene.events[number + 1 :], sounds=())
            changed = np.abs(render_frames(without, times).astype(int) - full).max(-1) > 40
            assert changed.sum((1, 2)).max() >= 40, (scene.clip_id, scene.events[number])


def test_colours_survive_the_codec() -> None:
    palette = np.array(list(COLOURS.values()), dtype=float)
    for number, name in enumerate(COLOURS):
        scene = _still_life(objects=(Object(name, "square", "small", (1, 1), still=True),))
        scene = replace(scene, flaws=replace(scene.flaws, crf=36, noise=5.0))
        pixel = _decode(render_clip(scene))[0][0, 65:68, 62:66].reshape(-1, 3).mean(0)
        assert np.abs(palette - pixel).sum(1).argmin() == number, (name, pixel)


def test_a_sound_is_heard_in_its_span_only() -> None:
    scene = _still_life(sounds=(Sound("bell", 1.0, 2.0),))
    samples = _decode(render_clip(scene))[1]
    assert samples is not None
    loud = [
        float(np.sqrt(np.mean(samples[int(a * 16000) : int(b * 16000)] ** 2))) for a, b in ((0.2, 0.9), (1.05, 1.5), (2.2, 3.8))
    ]
    assert loud[1] > 5 * loud[0] and loud[1] > 5 * loud[2]


def test_the_eight_sounds_are_told_apart_by_their_spectrum() -> None:
    """Log energies in 32 equal bands up to 8 kHz, mean and spread over time: at other pitches each is nearest to its own kind."""

    def bands(kind: str, pitch: float) -> np.ndarray:
        wave = synthesize_sound(Sound(kind, 0.0, 0.9, None, pitch), 16000, np.random.default_rng(round(pitch * 100)))
        noisy = wave + np.random.default_rng(1).standard_normal(len(wave)) * 0.004
        frames = np.lib.stride_tricks.sliding_window_view(noisy, 512)[::160] * np.hanning(512)
        power = np.abs(np.fft.rfft(frames))[:, :256] ** 2
        logs = np.log(power.reshape(len(frames), 32, 8).sum(-1) + 1e-3)
        return np.concatenate([logs.mean(0), logs.std(0)])

    kinds = list(SYNTHS)
    centres = np.stack([bands(kind, 1.0) for kind in kinds])
    for pitch in (0.92, 1.08):
        for number, kind in enumerate(kinds):
            assert np.linalg.norm(centres - bands(kind, pitch), axis=1).argmin() == number, (kind, pitch)
