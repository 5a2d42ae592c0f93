"""Sound on the clip's clock: mono float32, gaps and late starts as zeros, overlaps dropped."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import av
import numpy as np

from uvrlab.config import LimitsConfig
from uvrlab.data.media import MediaError, OpenVideo, open_video

TOLERANCE_S = 0.03  # containers round timestamps (Matroska to 1 ms); smaller steps than this are no gap
PREROLL_S = 1.0  # codecs carry state: decoding starts this much early
BLOCK_S = 10.0


class MonoTimeline:
    """Turns decoded frames into consecutive mono samples at the track's own rate, from `start_s` to at most `end_s`."""

    def __init__(self, rate_hz: int, origin_s: float, start_s: float, end_s: float) -> None:
        self.rate_hz, self._origin_s = rate_hz, origin_s
        self.position = round(start_s * rate_hz)  # the next sample to give, counted on the clip's clock
        self._end = round(end_s * rate_hz)
        self._next: int | None = None  # where the next frame begins if there is no gap
        self._resampler: Any = None
        self._kind: tuple[Any, ...] = ()

    @property
    def done(self) -> bool:
        return self.position >= self._end

    def _mono(self, frame: Any) -> np.ndarray:
        if frame.format.name == "fltp" and frame.layout.nb_channels == 1 and frame.sample_rate == self.rate_hz:
            return _finite(np.frombuffer(frame.planes[0], np.float32, frame.samples))  # already what the resampler would give
        kind = (frame.format.name, frame.layout.name, frame.sample_rate)
        if kind != self._kind:  # parameters may change inside a track
            self._resampler, self._kind = av.AudioResampler(format="flt", layout="mono", rate=self.rate_hz), kind
        parts = [out.to_ndarray()[0] for out in self._resampler.resample(frame)]
        mono = np.concatenate(parts) if parts else np.zeros(0, np.float32)
        return _finite(mono.astype(np.float32, copy=False))

    def push(self, frame: Any) -> Iterator[np.ndarray]:
        """The samples (n,) that `frame` adds, after zeros for any gap before it."""
        at = self.position if self._next is None else self._next
        if frame.pts is not None:
            at = round((frame.time - self._origin_s) * self.rate_hz)
        samples = self._mono(frame)
        if self._next is not None and abs(at - self._next) <= TOLERANCE_S * self.rate_hz:
            at = self._next
        self._next = at + len(samples)
        yield from self.pad(at)
        samples = samples[max(0, self.position - at) : max(0, self._end - at)]
        self.position += len(samples)
        if len(samples):
            yield samples

    def pad(self, until: int) -> Iterator[np.ndarray]:
        """Zeros up to sample `until` (never past the end), in blocks."""
        block = round(BLOCK_S * self.rate_hz)
        while (n := min(until, self._end) - self.position) > 0:
            self.position += min(n, block)
            yield np.zeros(min(n, block), np.float32)


def decode_audio(
    source: str | BinaryIO,
    start_s: float = 0.0,
    end_s: float | None = None,
    *,
    rate_hz: int = 16_000,
    base: Path | str = ".",
    limits: LimitsConfig | None = None,
    alone: bool = False,
) -> np.ndarray | None:
    """The sound of [start_s, end_s) on the clip's clock: float32 (round((end_s - start_s) * rate_hz),), or None without a track.

    `end_s` None means the end of the track; `alone` opens sound files too. Raises MediaError.
    """
    limits = limits or LimitsConfig()
    if end_s is not None and not 0 <= start_s < end_s <= start_s + limits.max_duration_s:
        raise ValueError(f"found span [{start_s}, {end_s}); expected 0 <= start < end of at most {limits.max_duration_s} s")
    with open_video(source, base, limits, sound_alone=alone) as media:
        if media.audio is None:
            return None
        rate = media.audio.codec_context.sample_rate or rate_hz
        stop_s = end_s if end_s is not None else limits.max_duration_s
        timeline = MonoTimeline(rate, media.origin_s, start_s, stop_s)
        native = _native(media, timeline, start_s, pad=end_s is not None)
        parts = list(_resample(native, rate, rate_hz))
    samples = np.concatenate(parts) if parts else np.zeros(0, np.float32)
    return samples if end_s is None else _fit(samples, round((end_s - start_s) * rate_hz))


def _finite(samples: np.ndarray) -> np.ndarray:
    return samples if np.isfinite(samples.sum()) else np.nan_to_num(samples, nan=0.0, posinf=0.0, neginf=0.0)


def _fit(samples: np.ndarray, n: int) -> np.ndarray:
    return samples[:n] if len(samples) >= n else np.pad(samples, (0, n - len(samples)))


def _native(media: OpenVideo, timeline: MonoTimeline, start_s: float, pad: bool) -> Iterator[np.ndarray]:
    for frame in audio_frames(media, start_s):
        yield from timeline.push(frame)
        if timeline.done:
            return
    if pad:
        yield from timeline.pad(timeline._end)


def audio_frames(media: OpenVideo, start_s: float = 0.0) -> Iterator[Any]:
    """Decoded audio frames from a little before `start_s`; broken packets are skipped, but one must be good."""
    container, target_s = media.container, start_s + media.origin_s - PREROLL_S
    if start_s > 2 * PREROLL_S and container.format.name != "mpeg":
        container.seek(int(target_s * av.time_base), backward=True)
        frames = _decoded(container, media.audio)
        first = next(frames, None)
        if first is not None and first.pts is not None and float(first.pts * first.time_base) <= target_s + PREROLL_S / 2:
            yield first
            yield from frames
            return
        container.seek(0, backward=True)  # landed too late
    yield from _decoded(container, media.audio)


def _decoded(container: Any, audio: Any) -> Iterator[Any]:
    good, bad = 0, 0
    for packet in container.demux(audio):
        try:
            for frame in packet.decode():
                good += 1
                yield frame
        except av.error.InvalidDataError:
            bad += 1
    if bad and not good:
        raise MediaError("corrupt", f"found {bad} broken audio packets and no good one")


def _resample(parts: Iterable[np.ndarray], rate: int, rate_hz: int) -> Iterator[np.ndarray]:
    if rate == rate_hz:
        yield from parts
        return
    resampler = av.AudioResampler(format="flt", layout="mono", rate=rate_hz)
    for part in _blocks(parts, rate):
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(part[None]), format="flt", layout="mono")
        frame.sample_rate = rate
        yield from (out.to_ndarray()[0] for out in resampler.resample(frame))
    yield from (out.to_ndarray()[0] for out in resampler.resample(None))


def _blocks(parts: Iterable[np.ndarray], size: int) -> Iterator[np.ndarray]:
    """The same samples in pieces of at least `size`: a call of the resampler costs as much as a second of sound."""
    waiting: list[np.ndarray] = []
    for part in parts:
        waiting.append(part)
        if sum(map(len, waiting)) >= size:
            yield np.concatenate(waiting)
            waiting = []
    if waiting:
        yield np.concatenate(waiting)
