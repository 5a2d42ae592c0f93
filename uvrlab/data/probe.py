"""What a media file really holds, measured by reading it once: packets counted, a frame decoded, every second of sound weighed.

Headers are not believed: duration, frame count and keyframes come from the packets, and sound counts as audible only when some
second of it is louder than -60 dBFS (a track of digital silence is not).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

import av
import numpy as np

from uvrlab.config import LimitsConfig
from uvrlab.data.audio import MonoTimeline
from uvrlab.data.media import MediaError, OpenVideo, open_video

PROBE_VERSION = 1
AUDIBLE_DB = -60.0
SILENCE_DB = -120.0


@dataclass(frozen=True)
class Probe:
    """One media file. Width and height are as displayed, after `rotation` (degrees counter-clockwise, as decode_frames applies it).

    `sound_power` is the mean square of each second of sound on the clip's clock (full scale 1); empty without a track.
    """

    duration_s: float
    fps: float
    width: int
    height: int
    rotation: int
    n_frames: int
    keyframe_interval_s: float
    video_codec: str
    has_audio: bool
    sound_power: tuple[float, ...]

    def columns(self, start_s: float = 0.0, end_s: float | None = None) -> dict[str, Any]:
        """The media columns of a `clips` row for [start_s, end_s) of this file; loudness is that of the span's seconds."""
        end_s = self.duration_s if end_s is None else min(end_s, self.duration_s)
        whole = start_s <= 0.0 and end_s >= self.duration_s
        power = self.sound_power[math.floor(start_s) : math.ceil(end_s)]
        row = {k: v for k, v in asdict(self).items() if k != "sound_power"}
        return row | {
            "start_s": round(start_s, 6),
            "end_s": round(end_s, 6),
            "duration_s": round(end_s - start_s, 6),
            "n_frames": self.n_frames if whole else max(1, round((end_s - start_s) * self.fps)),
            "audible": bool(power) and _decibel(max(power)) > AUDIBLE_DB,
            "loudness_db": round(_decibel(sum(power) / len(power)), 2) if power else (SILENCE_DB if self.has_audio else None),
        }


def probe_from(values: dict[str, Any]) -> Probe:
    """The inverse of `dataclasses.asdict`, after a trip through JSON."""
    return Probe(**{**values, "sound_power": tuple(values["sound_power"])})


def _decibel(power: float) -> float:
    return max(SILENCE_DB, 10.0 * math.log10(max(power, 1e-20)))


def probe(source: str | BinaryIO, base: Path | str = ".", limits: LimitsConfig | None = None) -> Probe:
    """Measure one media file in one pass. Raises MediaError."""
    limits = limits or LimitsConfig()
    with open_video(source, base, limits) as media:
        scan = _Scan(media, limits)
        for packet in _packets(media):
            scan.add(packet)
        return scan.result()


def _packets(media: OpenVideo) -> Iterator[Any]:
    try:
        yield from media.container.demux([s for s in (media.video, media.audio) if s is not None])
    except av.error.EOFError:
        return


class _Scan:
    """Collects what one pass over the packets shows."""

    def __init__(self, media: OpenVideo, limits: LimitsConfig) -> None:
        self._media, self._limits = media, limits
        self._times: list[int] = []
        self._keys: list[int] = []
        self._untimed = self._last_ticks = self._broken = 0
        self._frame: Any = None
        self._sound = _Power(media, limits.max_duration_s) if media.audio is not None else None

    def add(self, packet: Any) -> None:
        try:
            if packet.stream.index != self._media.video.index:
                self._hear(packet)
            else:
                self._see(packet)
        except av.error.InvalidDataError:
            self._broken += 1

    def _hear(self, packet: Any) -> None:
        if self._sound is not None:
            for frame in packet.decode():
                self._sound.add(frame)

    def _see(self, packet: Any) -> None:
        if packet.size and not packet.is_discard:
            if packet.pts is None:
                self._untimed += 1
            else:
                self._times.append(packet.pts)
                self._last_ticks = packet.duration or self._last_ticks
                if packet.is_keyframe:
                    self._keys.append(packet.pts)
            self._check()
        if self._frame is None:
            self._frame = next(iter(packet.decode()), None)

    def _check(self) -> None:
        limits, n = self._limits, len(self._times) + self._untimed
        if n > limits.max_frames:
            raise MediaError("limit", f"found more than {limits.max_frames} frames; raise ingest.limits.max_frames")
        if self._times and self._media.seconds(self._times[-1]) > limits.max_duration_s:
            found = self._media.seconds(self._times[-1])
            raise MediaError(
                "limit", f"found {found:.0f} s, expected at most {limits.max_duration_s:.0f}; raise ingest.limits.max_duration_s"
            )

    def result(self) -> Probe:
        frame, n = self._frame, len(self._times) + self._untimed
        if frame is None or n == 0:
            raise MediaError("corrupt", f"found {n} video packets, {self._broken} of them broken, and no decodable frame")
        fps, start_s, end_s = self._timing(n)
        lying = round(frame.rotation / 90) % 2 == 1
        return Probe(
            duration_s=round(end_s, 6),
            fps=round(fps, 4),
            width=frame.height if lying else frame.width,
            height=frame.width if lying else frame.height,
            rotation=int(frame.rotation),
            n_frames=n,
            keyframe_interval_s=round((end_s - start_s) / max(1, len(self._keys)), 4),
            video_codec=self._media.video.codec_context.codec.canonical_name,
            has_audio=self._sound is not None,
            sound_power=self._sound.values(end_s) if self._sound is not None else (),
        )

    def _timing(self, n: int) -> tuple[float, float, float]:
        """(mean frames a second, first and last moment shown)."""
        rate = float(self._media.video.average_rate or self._media.video.guessed_rate or 25)
        rate = rate if 0.1 <= rate <= 1000 else 25.0
        if not self._times:
            return rate, 0.0, n / rate
        start_s, last_s = self._media.seconds(min(self._times)), self._media.seconds(max(self._times))
        shown_s = float(self._last_ticks * self._media.video.time_base)
        end_s = last_s + (shown_s if 0 < shown_s <= 60.0 else 1.0 / rate)
        return n / (end_s - start_s), start_s, end_s


class _Power:
    """Mean square of each second of the track, decoded once at its own rate."""

    def __init__(self, media: OpenVideo, max_duration_s: float) -> None:
        assert media.audio is not None
        self._rate = media.audio.codec_context.sample_rate or 16_000
        self._timeline = MonoTimeline(self._rate, media.origin_s, 0.0, max_duration_s)
        self._sums: list[float] = []

    def add(self, frame: Any) -> None:
        for samples in self._timeline.push(frame):
            at = self._timeline.position - len(samples)
            while len(samples):
                second, inside = divmod(at, self._rate)
                part, samples = samples[: self._rate - inside], samples[self._rate - inside :]
                self._sums.extend([0.0] * (second + 1 - len(self._sums)))
                self._sums[second] += float(np.dot(part, part))
                at += len(part)

    def values(self, end_s: float) -> tuple[float, ...]:
        """One value a started second up to `end_s`; what the track does not reach is silent."""
        sums = (self._sums + [0.0] * math.ceil(end_s))[: math.ceil(end_s)]
        return tuple(float(f"{s / self._rate:.4g}") for s in sums)
