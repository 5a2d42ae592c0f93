"""Frames by timestamp equal a slow, obvious reference: decode everything, take the last frame at or before the time."""

from __future__ import annotations

import io
import json
from pathlib import Path

import av
import numpy as np
import pytest
from rendered import number, video

from uvrlab.config import LimitsConfig
from uvrlab.data.decode import Pixels, decode_frames, iter_frames
from uvrlab.data.media import MediaError, open_video
from uvrlab.data.probe import probe
from uvrlab.data.sampling import sample_times


def reference(source, times_s, size=None) -> np.ndarray:
    with open_video(source) as media:
        frames = [f for p in media.container.demux(media.video) for f in p.decode()]
        pixels, out = Pixels(size), []
        for time_s in times_s:
            before = [f for f in frames if f.pts <= media.ticks(time_s)]
            out.append(pixels.rgb(max(before, key=lambda f: f.pts) if before else min(frames, key=lambda f: f.pts)))
    return np.stack(out)


ENCODINGS = {
    "long group": {"n": 90, "options": {"g": "250", "bf": "3"}},
    "short groups": {"n": 90, "options": {"g": "10", "bf": "2", "sc_threshold": "0"}},
    "open groups": {"n": 90, "options": {"g": "15", "x264-params": "open-gop=1:bframes=3:b-pyramid=normal:scenecut=0"}},
    "no B frames": {"n": 60, "options": {"g": "250", "bf": "0"}},
    "all B references": {"n": 60, "options": {"g": "60", "x264-params": "bframes=7:b-pyramid=normal:b-adapt=0"}},
    "matroska": {"n": 60, "container": "matroska", "options": {"g": "20"}},
    "webm": {"n": 40, "container": "webm", "codec": "libvpx", "options": {"deadline": "realtime", "lag-in-frames": "8"}},
    "avi": {"n": 40, "container": "avi", "codec": "mpeg4", "fps": 25},
    "mpg": {"n": 40, "container": "mpeg", "codec": "mpeg1video", "fps": 25},
    "gif": {"n": 20, "container": "gif", "codec": "gif", "fps": 10, "pixel_format": "rgb8"},
    "mpegts": {"n": 40, "container": "mpegts", "options": {"g": "10"}},
}


@pytest.mark.parametrize("name", ENCODINGS)
def test_any_times_equal_the_reference(name):
    data = video(**ENCODINGS[name])
    duration_s = probe(io.BytesIO(data)).duration_s
    rng = np.random.default_rng(0)
    for times_s in (
        sample_times(duration_s, 8),
        list(rng.uniform(-0.1, duration_s + 0.3, 6)),
        [1.0, 0.2, 0.2, 0.0, 0.5],
        list(np.arange(0, duration_s, 0.033)),
    ):
        assert np.array_equal(decode_frames(io.BytesIO(data), times_s), reference(io.BytesIO(data), times_s))


def test_variable_frame_rate_shows_the_frame_whose_interval_holds_the_time():
    shown_ms = [0, 40, 80, 500, 520, 1500, 1540, 2000]
    data = video(8, container="matroska", pts_ms=shown_ms, options={"g": "4", "bf": "2"})
    times_s = [0.0, 0.039, 0.041, 0.3, 0.499, 0.5, 1.4, 1.5, 1.999, 2.0, 9.0]
    expected = [0, 0, 1, 2, 2, 3, 4, 5, 6, 7, 7]
    assert [number(f) for f in decode_frames(io.BytesIO(data), times_s)] == expected


def test_the_picture_at_i_over_fps_is_frame_i():
    data = video(60, options={"g": "250", "bf": "3"})
    wanted = [0, 1, 7, 8, 29, 30, 31, 58, 59]
    assert [number(f) for f in decode_frames(io.BytesIO(data), [i / 30 for i in wanted])] == wanted


def test_sizes_are_exact_or_capped_with_the_aspect_kept():
    data = video(4)
    assert decode_frames(io.BytesIO(data), [0.0], size=(24, 40)).shape == (1, 24, 40, 3)
    assert decode_frames(io.BytesIO(data), [0.0], max_height=24).shape == (1, 24, 80, 3)
    assert decode_frames(io.BytesIO(data), [0.0], max_height=480).shape == (1, 48, 160, 3)


def test_rotation_is_applied_before_the_caller_sees_a_frame():
    """A display matrix patched into the track header, (0 1; -1 0), turns the picture clockwise by 90 degrees."""
    data = bytearray(video(4))
    matrix = data.index(b"tkhd") + 4 + 4 + 4 * 5 + 8 + 8
    turn = [0, 0x10000, 0, -0x10000, 0, 0, 0, 0, 0x40000000]
    data[matrix : matrix + 36] = b"".join(int(v).to_bytes(4, "big", signed=True) for v in turn)
    source = bytes(data)
    upright = decode_frames(io.BytesIO(video(4)), [0.1])[0]
    found = probe(io.BytesIO(source))
    assert (found.width, found.height, abs(found.rotation)) == (48, 160, 90)
    turned = decode_frames(io.BytesIO(source), [0.1])[0]
    assert turned.shape == (160, 48, 3)
    assert np.array_equal(turned, np.rot90(upright, -1))
    assert decode_frames(io.BytesIO(source), [0.1], size=(80, 24)).shape == (1, 80, 24, 3)


def test_iter_frames_thins_to_the_rate():
    with open_video(io.BytesIO(video(60))) as media:
        times = [t for t, _ in iter_frames(media, 5.0, max_height=16)]
    assert np.allclose(times, np.arange(10) / 5, atol=0.034)


@pytest.mark.parametrize(
    ("limits", "what"),
    [({"max_bytes": 100}, "bytes"), ({"max_pixels": 1000}, "pixels"), ({"max_streams": 1}, "streams")],
)
def test_limits_reject_before_decoding(limits, what):
    sound = np.zeros(4800, np.float32)
    with pytest.raises(MediaError, match=what) as error:
        decode_frames(io.BytesIO(video(4, sound=sound)), [0.0], limits=LimitsConfig(**limits))
    assert error.value.reason == "limit"


def test_probe_limits_count_packets_not_headers():
    for limits in ({"max_frames": 10}, {"max_duration_s": 0.5}):
        with pytest.raises(MediaError) as error:
            probe(io.BytesIO(video(40)), limits=LimitsConfig(**limits))
        assert error.value.reason == "limit"


PLAYLISTS = [b"#EXTM3U\n#EXTINF:1,\n/etc/passwd\n", b"ffconcat version 1.0\nfile '/etc/passwd'\n", b"hello", b""]


@pytest.mark.parametrize("text", PLAYLISTS)
def test_playlists_and_text_are_no_videos(text):
    with pytest.raises(MediaError) as error:
        decode_frames(io.BytesIO(text), [0.0])
    assert error.value.reason in ("container", "corrupt")


def test_an_audio_file_has_no_video():
    target = io.BytesIO()
    with av.open(target, "w", format="mp4") as out:
        track = out.add_stream("aac", rate=16_000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 16_000
        out.mux(track.encode(frame))
        out.mux(track.encode())
    with pytest.raises(MediaError) as error:
        probe(io.BytesIO(target.getvalue()))
    assert error.value.reason == "no_video"


def test_probe_measures_what_the_encoder_was_given():
    found = probe(io.BytesIO(video(60, options={"g": "15", "sc_threshold": "0"})))
    assert (found.n_frames, found.width, found.height, found.rotation, found.video_codec) == (60, 160, 48, 0, "h264")
    assert found.duration_s == pytest.approx(2.0, abs=1e-3)
    assert found.fps == pytest.approx(30.0, abs=0.01)
    assert found.keyframe_interval_s == pytest.approx(0.5, abs=0.01)
    assert not found.has_audio


def test_real_clips_are_measured_as_their_manifest_says_and_decode_like_the_reference(shared: Path):
    folder = shared / "data" / "real_clips"
    if not folder.is_dir():
        pytest.skip("needs ../shared/data/real_clips")
    rows = [json.loads(line) for line in (folder / "manifest.jsonl").read_text().splitlines()]
    for row in rows:
        found = probe(str(folder / row["file"]))
        columns = found.columns()
        assert columns["duration_s"] == pytest.approx(row["duration"], abs=0.11), row["file"]
        assert (columns["has_audio"], columns["audible"]) == (row["has_audio"], row["audio_audible"]), row["file"]
    chosen = [
        "man_with_headphones_rotated",
        "camtrap_green_forest",
        "classroom_students",
        "grid_bbaf2n",
        "nasa_webb_mirror",
        "asl_eat",
    ]
    for row in (r for r in rows if r["clip_id"] in chosen):
        path, times_s = str(folder / row["file"]), sample_times(row["duration"], 5)
        frames = decode_frames(path, times_s, size=(32, 48))
        assert np.array_equal(frames, reference(path, times_s, (32, 48))), row["file"]
