"""Media by URI: opening bytes through fsspec, and opening a video so that ffmpeg sees those bytes and nothing else.

A URI is relative to the run directory that holds its table, or `root:NAME/PATH` under a folder that the run refers to (`places`),
or absolute, or an fsspec URL. Media that we write lives in tar shards: `media/shard-00000.tar?offset=1536&bytes=20480` is a byte
range of one. ffmpeg gets a Python file object, an allow-list of containers and no protocol at all, so a playlist or a reference
inside a file cannot reach another file or the network.
"""

from __future__ import annotations

import hashlib
import io
import math
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal

import av
from av.stream import Disposition

from uvrlab.config import LimitsConfig
from uvrlab.data import places

Reason = Literal[
    "missing", "limit", "container", "codec", "no_video", "corrupt", "timeout", "crash", "memory", "annotation", "error"
]

# Demuxers by their ffmpeg names. Playlists (hls, dash, concat, ...) and image sequences are absent on purpose.
CONTAINERS = ("mov", "matroska", "avi", "mpeg", "mpegts", "mpegvideo", "gif", "ogg", "flv", "asf")
SOUND_CONTAINERS = ("wav", "mp3", "flac")  # opened only where a sound alone is asked for
VIDEO_CODECS = frozenset(
    (
        "h264",
        "hevc",
        "av1",
        "libdav1d",
        "vp8",
        "vp9",
        "mpeg1video",
        "mpeg2video",
        "mpeg4",
        "msmpeg4",
        "msmpeg4v2",
        "msmpeg4v3",
        "h263",
        "flv",
        "wmv1",
        "wmv2",
        "wmv3",
        "vc1",
        "mjpeg",
        "gif",
        "theora",
        "prores",
        "dnxhd",
        "ffv1",
        "rawvideo",
    )
)
AUDIO_CODECS = frozenset(
    (
        "aac",
        "mp3",
        "mp3float",
        "mp2",
        "mp2float",
        "mp1",
        "mp1float",
        "vorbis",
        "opus",
        "libopus",
        "libvorbis",
        "flac",
        "alac",
        "ac3",
        "eac3",
        "wmav1",
        "wmav2",
        "amrnb",
        "amrwb",
        "pcm_s16le",
        "pcm_s16be",
        "pcm_s24le",
        "pcm_s32le",
        "pcm_u8",
        "pcm_f32le",
        "pcm_mulaw",
        "pcm_alaw",
        "adpcm_ms",
        "adpcm_ima_wav",
        "adpcm_ima_qt",
        "gsm",
        "gsm_ms",
    )
)
BUFFER_BYTES = 1 << 17
_RANGE = re.compile(r"^(?P<path>.+\.tar)\?offset=(?P<offset>\d+)&bytes=(?P<bytes>\d+)$", re.DOTALL)


class MediaError(ValueError):
    """One media item cannot be used. `reason` is a word of the rejects table."""

    def __init__(self, reason: Reason, detail: str) -> None:
        self.reason: Reason = reason
        self.detail = detail
        super().__init__(f"{reason}: {detail}")


class _Window(io.RawIOBase):
    """A byte range of a seekable file as a file of its own."""

    def __init__(self, file: BinaryIO, offset: int, size: int) -> None:
        self._file, self._offset, self._size, self._at = file, offset, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        self._at = max(0, start + offset)
        return self._at

    def readinto(self, buffer: Any) -> int:
        wanted = max(0, min(len(buffer), self._size - self._at))
        self._file.seek(self._offset + self._at)
        data = self._file.read(wanted)
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)

    def close(self) -> None:
        if not self.closed:
            self._file.close()
        super().close()


def split_uri(uri: str) -> tuple[str, int, int | None]:
    """(path or URL, offset, bytes or None for all of it)."""
    if found := _RANGE.match(uri):
        return found["path"], int(found["offset"]), int(found["bytes"])
    return uri, 0, None


def resolve(uri: str, base: Path | str) -> str:
    """The absolute path or URL behind `uri`, byte range kept. Raises MediaError("missing") where its root is not there."""
    if places.is_rooted(uri):
        try:
            return places.locate(uri, base)
        except FileNotFoundError as error:
            raise MediaError("missing", str(error)) from error
    if "://" in uri or uri.startswith("/"):
        return uri
    if "://" in str(base):
        return f"{str(base).rstrip('/')}/{uri}"
    return str(Path(base).resolve() / uri)


def open_media(uri: str, base: Path | str = ".") -> BinaryIO:
    """A seekable binary file of the media's bytes, read-only. Raises MediaError("missing")."""
    path, offset, size = split_uri(resolve(uri, base))
    try:
        file: BinaryIO = _open_url(path) if "://" in path else Path(path).open("rb")  # noqa: SIM115 (the caller closes it)
    except (FileNotFoundError, IsADirectoryError, PermissionError) as error:
        named = uri if places.is_rooted(uri) else path  # what becomes a row must not hold the place of a folder
        raise MediaError("missing", f"found no readable file at {named}; restore it or remove it from the source") from error
    if size is None:
        return file
    return io.BufferedReader(_Window(file, offset, size), BUFFER_BYTES)


def _open_url(url: str) -> BinaryIO:
    import fsspec

    if url.startswith("file://"):
        return Path(url.removeprefix("file://")).open("rb")
    filesystem, path = fsspec.core.url_to_fs(url)
    return filesystem.open(path, "rb")


def media_bytes(uri: str, base: Path | str = ".", max_bytes: int | None = None) -> bytes:
    """The media itself. Raises MediaError("limit") beyond `max_bytes`."""
    with open_media(uri, base) as file:
        data = file.read() if max_bytes is None else file.read(max_bytes + 1)
    if max_bytes is not None and len(data) > max_bytes:
        raise MediaError("limit", f"found more than {max_bytes} bytes in {uri}, expected fewer; raise ingest.limits.max_bytes")
    return data


def media_sha256(uri: str, base: Path | str = ".", max_bytes: int | None = None) -> str:
    """The address of the media: sha256 of its bytes, read in blocks. Raises MediaError("limit") beyond `max_bytes`."""
    digest, size = hashlib.sha256(), 0
    with open_media(uri, base) as file:
        while block := file.read(1 << 20):
            digest.update(block)
            if max_bytes is not None and (size := size + len(block)) > max_bytes:
                raise MediaError("limit", f"found more than {max_bytes} bytes in {uri}; raise ingest.limits.max_bytes")
    return digest.hexdigest()


@dataclass(frozen=True)
class OpenVideo:
    """An open container with its chosen streams. `origin_s` is the container time of the clip's clock 0: its earliest stream.

    `video` is None just where a file was opened for its sound alone and has no picture.
    """

    container: Any
    video: Any
    audio: Any | None
    origin_s: float

    def ticks(self, time_s: float) -> int:
        """A time of the clip's clock in the video stream's units: the last tick that is not after it (by a microsecond)."""
        return math.floor((time_s + self.origin_s + 1e-6) / self.video.time_base)

    def seconds(self, ticks: int) -> float:
        """The inverse of `ticks`."""
        return float(ticks * self.video.time_base) - self.origin_s


@contextmanager
def open_video(
    source: str | BinaryIO, base: Path | str = ".", limits: LimitsConfig | None = None, *, sound_alone: bool = False
) -> Iterator[OpenVideo]:
    """Open a URI (or a binary file) as video under `limits`; with `sound_alone` sound files are welcome too.

    Raises MediaError: missing, limit (bytes, streams, declared pixels), container, codec, no_video. Errors of ffmpeg while the
    caller reads become MediaError("corrupt").
    """
    limits = limits or LimitsConfig()
    file = open_media(source, base) if isinstance(source, str) else source
    try:
        with _open_container(file, limits, CONTAINERS + (SOUND_CONTAINERS if sound_alone else ())) as container:
            yield _choose_streams(container, limits, sound_alone)
    except av.error.FFmpegError as error:
        reason: Reason = "memory" if isinstance(error, MemoryError) else "corrupt"
        raise MediaError(reason, f"ffmpeg: {error.strerror or error}") from error
    finally:
        file.close()


def _open_container(file: BinaryIO, limits: LimitsConfig, containers: tuple[str, ...]) -> Any:
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    if size == 0:
        raise MediaError("corrupt", "found an empty file, expected a video")
    if size > limits.max_bytes:
        raise MediaError("limit", f"found {size} bytes, expected at most {limits.max_bytes}; raise ingest.limits.max_bytes")
    options = {
        "format_whitelist": ",".join(containers),
        "codec_whitelist": ",".join(sorted(VIDEO_CODECS | AUDIO_CODECS)),
        "protocol_whitelist": "none",
        "max_streams": str(limits.max_streams + 1),
    }
    try:
        return av.open(file, mode="r", options=options, metadata_errors="ignore", buffer_size=BUFFER_BYTES)
    except av.error.FFmpegError as error:
        raise MediaError(
            "container", f"found no allowed container ({error.strerror}), expected one of {', '.join(containers)}"
        ) from error


def _choose_streams(container: Any, limits: LimitsConfig, sound_alone: bool) -> OpenVideo:
    if len(container.streams) > limits.max_streams:
        raise MediaError("limit", f"found {len(container.streams)} streams, expected at most {limits.max_streams}")
    video = container.streams.best("video")
    if video is None or video.disposition & Disposition.attached_pic:
        if sound_alone:
            return _sound_file(container)
        raise MediaError("no_video", "found no video stream (a cover picture is none)")
    audio = container.streams.best("audio", related=video)
    _check_codec(video, VIDEO_CODECS)
    pixels = video.codec_context.width * video.codec_context.height
    if pixels > limits.max_pixels:
        raise MediaError(
            "limit", f"found {pixels} pixels a frame, expected at most {limits.max_pixels}; raise ingest.limits.max_pixels"
        )
    video.codec_context.options = {"max_pixels": str(limits.max_pixels)}
    if audio is not None:
        _check_codec(audio, AUDIO_CODECS)
    starts = [float(s.start_time * s.time_base) for s in (video, audio) if s is not None and s.start_time is not None]
    for stream in filter(None, (video, audio)):
        stream.codec_context.thread_count = 1  # one process a core already; frame threads only add delay and CPU time
    return OpenVideo(container, video, audio, min(starts, default=0.0))


def _sound_file(container: Any) -> OpenVideo:
    audio = container.streams.best("audio")
    if audio is None:
        raise MediaError("corrupt", "found neither picture nor sound")
    _check_codec(audio, AUDIO_CODECS)
    audio.codec_context.thread_count = 1
    return OpenVideo(container, None, audio, float((audio.start_time or 0) * audio.time_base))


def _check_codec(stream: Any, allowed: frozenset[str]) -> None:
    name = stream.codec_context.codec.name if stream.codec_context is not None else "none"
    if name not in allowed:
        raise MediaError("codec", f"found {stream.type} codec {name!r}, which is not on the allow-list of uvrlab.data.media")
