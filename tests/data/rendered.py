"""Small videos whose every frame says its own number, written on the spot."""

from __future__ import annotations

import io
from collections.abc import Sequence
from fractions import Fraction

import av
import numpy as np

BITS = 10


def numbered(index: int, height: int = 48, width: int = 160) -> np.ndarray:
    """uint8 (H, W, 3): BITS black or white columns, the most significant on the left; the lower half is dark red."""
    picture = np.zeros((height, width, 3), np.uint8)
    for bit in range(BITS):
        if index >> (BITS - 1 - bit) & 1:
            picture[: height // 2, bit * width // BITS : (bit + 1) * width // BITS] = 255
    picture[height // 2 :, :, 0] = 120
    return picture


def number(picture: np.ndarray) -> int:
    """The inverse of `numbered`, after compression and resizing."""
    height, width = picture.shape[:2]
    row = picture[height // 4].mean(axis=-1)
    bits = [row[int((b + 0.5) * width / BITS)] > 127 for b in range(BITS)]
    return sum(1 << (BITS - 1 - i) for i, on in enumerate(bits) if on)


def video(
    n: int = 60,
    *,
    fps: int = 30,
    container: str = "mp4",
    codec: str = "libx264",
    options: dict[str, str] | None = None,
    pts_ms: Sequence[int] | None = None,
    sound: np.ndarray | None = None,
    sound_rate: int = 48_000,
    sound_codec: str = "aac",
    sound_start_s: float = 0.0,
    height: int = 48,
    width: int = 160,
    pixel_format: str = "yuv420p",
) -> bytes:
    """The bytes of a video of `n` numbered frames; `pts_ms` gives each frame its own time, `sound` is mono float32."""
    target = io.BytesIO()
    with av.open(target, "w", format=container) as out:
        stream = out.add_stream(codec, rate=fps, options=options or {})
        stream.width, stream.height, stream.pix_fmt, stream.thread_count = width, height, pixel_format, 1
        stream.time_base = stream.codec_context.time_base = Fraction(1, 1000) if pts_ms is not None else Fraction(1, fps)
        track = out.add_stream(sound_codec, rate=sound_rate, layout="mono") if sound is not None else None
        for i in range(n):
            frame = av.VideoFrame.from_ndarray(numbered(i, height, width), format="rgb24")
            frame.pts = pts_ms[i] if pts_ms is not None else i
            frame.time_base = stream.codec_context.time_base
            out.mux(stream.encode(frame))
        out.mux(stream.encode())
        if track is not None and sound is not None:
            frame = av.AudioFrame.from_ndarray(sound[None].astype(np.float32), format="flt", layout="mono")
            frame.sample_rate, frame.pts, frame.time_base = sound_rate, round(sound_start_s * sound_rate), Fraction(1, sound_rate)
            form = {"format": track.codec_context.format, "layout": "mono", "rate": sound_rate}
            converter = av.AudioResampler(**form, frame_size=track.frame_size)
            for part in converter.resample(frame) + converter.resample(None):
                out.mux(track.encode(part))
            out.mux(track.encode())
    return target.getvalue()
