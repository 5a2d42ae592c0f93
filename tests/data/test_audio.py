"""Sound on the clip's clock: clicks stay where they were, late tracks and gaps are zeros, windows equal the whole."""

from __future__ import annotations

import io

import numpy as np
import pytest
from rendered import video

from uvrlab.data.audio import decode_audio
from uvrlab.data.probe import probe

RATE = 16_000


def clicks(times_s, length_s=4.0, rate=48_000) -> np.ndarray:
    """A 10 ms burst of 1 kHz at each time."""
    sound = np.zeros(int(length_s * rate), np.float32)
    burst = 0.8 * np.sin(2 * np.pi * 1000 * np.arange(int(0.01 * rate)) / rate)
    for t in times_s:
        sound[int(t * rate) : int(t * rate) + len(burst)] = burst
    return sound


def onsets(samples: np.ndarray) -> list[float]:
    loud = np.flatnonzero(np.abs(samples) > 0.2)
    starts = loud[np.flatnonzero(np.diff(loud, prepend=-RATE) > RATE // 20)]
    return [float(s / RATE) for s in starts]


FORMS = [("mp4", "libx264", "aac"), ("matroska", "libx264", "aac"), ("webm", "libvpx", "libopus"), ("avi", "mpeg4", "mp2")]


@pytest.mark.parametrize(("container", "codec", "sound_codec"), FORMS)
def test_clicks_stay_where_they_were_within_ten_milliseconds(container, codec, sound_codec):
    times_s = [0.5, 1.25, 3.0]
    data = video(120, container=container, codec=codec, sound=clicks(times_s), sound_codec=sound_codec)
    samples = decode_audio(io.BytesIO(data))
    assert samples.dtype == np.float32
    assert np.allclose(onsets(samples), times_s, atol=0.01 if sound_codec != "mp2" else 0.04)


def test_a_track_that_starts_late_is_padded_in_front():
    data = video(90, container="matroska", sound=clicks([0.5], 2.0), sound_start_s=1.0)
    assert np.allclose(onsets(decode_audio(io.BytesIO(data))), [1.5], atol=0.03)


def test_a_window_has_its_exact_length_and_equals_the_whole():
    times_s = [0.5, 3.5, 6.25, 9.0]
    rng = np.random.default_rng(0)
    sound = clicks(times_s, 10.0) + 0.02 * rng.standard_normal(480_000).astype(np.float32)
    data = video(300, sound=sound)
    whole = decode_audio(io.BytesIO(data), 0.0, 10.0)
    for start_s, end_s in [(0.0, 1.0), (3.0, 4.0), (5.9, 6.7), (8.0, 12.0)]:
        part = decode_audio(io.BytesIO(data), start_s, end_s)
        assert part.shape == (round((end_s - start_s) * RATE),)
        same = whole[round(start_s * RATE) : round(end_s * RATE)]
        assert np.corrcoef(part[200 : len(same) - 200], same[200:-200])[0, 1] > 0.99  # AAC fills noise bands at random
    assert not decode_audio(io.BytesIO(data), 10.5, 12.0).any()


def test_no_track_gives_none():
    assert decode_audio(io.BytesIO(video(4))) is None


def test_digital_silence_is_a_track_but_not_audible():
    silent, loud, short = (
        probe(io.BytesIO(video(60, sound=sound)))
        for sound in (np.zeros(96_000, np.float32), clicks([0.5], 2.0), clicks([0.5], 0.6))
    )
    assert (silent.has_audio, silent.columns()["audible"], silent.columns()["loudness_db"]) == (True, False, -120.0)
    assert loud.columns()["audible"]
    assert short.columns()["audible"]
    assert not short.columns(1.0, 2.0)["audible"]


def test_loudness_of_a_full_scale_sine_is_minus_three_decibels():
    """The mean square of sin is 1/2: 10 log10(0.5) = -3.01 dB."""
    sine = np.sin(2 * np.pi * 440 * np.arange(96_000) / 48_000).astype(np.float32)
    found = probe(io.BytesIO(video(60, container="matroska", sound=sine, sound_codec="pcm_s16le")))
    assert found.columns()["loudness_db"] == pytest.approx(-3.01, abs=0.05)
