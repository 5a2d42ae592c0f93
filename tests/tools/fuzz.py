"""Hostile media against the media path: `python -m tests.tools.fuzz N [--out FILE] [--workers K] [--seed S]` (`make fuzz N=10000`).

Every mutant of a few rendered seeds is measured, and frames and sound are decoded from it, in confined workers. Each must give
arrays or a reject; the parent must live. Playlists and references point at a canary file and a canary port: the kernel (inotify)
and the listening socket tell whether anyone, ffmpeg included, opened or called them. Each worker also reports every file and
socket that Python opened during its item.
"""

from __future__ import annotations

import argparse
import ctypes
import io
import json
import os
import socket
import struct
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tests.data.rendered import video
from uvrlab.config import LimitsConfig
from uvrlab.data.audio import decode_audio
from uvrlab.data.decode import decode_frames
from uvrlab.data.measure import measure
from uvrlab.data.sampling import sample_times
from uvrlab.data.workers import MediaPool, Reject
from uvrlab.data.world import render_clip, sample_scene

LIMITS = LimitsConfig(
    max_bytes=2**24, max_pixels=2**22, max_frames=5000, max_duration_s=600.0, timeout_s=10.0, max_memory_bytes=2**30
)
MEDIA_SUFFIXES = ("mp4", "mkv", "webm", "avi", "mpg", "gif", "mov")


@dataclass(frozen=True)
class Canary:
    """A file that nobody may read, and a port that nobody may call."""

    path: Path
    port: int


class OpenWatch:
    """Tells whether any process opened a file since the last question (inotify)."""

    def __init__(self, path: Path) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        self._handle = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self._handle < 0 or libc.inotify_add_watch(self._handle, os.fsencode(path), 0x20) < 0:  # IN_OPEN
            raise OSError(ctypes.get_errno(), "inotify")

    def opened(self) -> bool:
        try:
            return len(os.read(self._handle, 1 << 16)) > 0
        except BlockingIOError:
            return False


# Seeds and mutations.


def seeds() -> dict[str, bytes]:
    """Small valid files, one a container and codec that ingest accepts."""
    tone = (0.3 * np.sin(np.arange(24_000) / 15)).astype(np.float32)
    return {
        "world.mp4": render_clip(sample_scene("train", 0, duration_s=2.0)),
        "other.mp4": render_clip(sample_scene("train", 5, duration_s=2.0)),
        "long.mp4": video(90, options={"g": "30", "bf": "3"}, sound=tone),
        "a.mkv": video(24, container="matroska", options={"g": "8"}, sound=tone),
        "a.webm": video(24, container="webm", codec="libvpx", sound=tone, sound_codec="libopus"),
        "a.avi": video(24, container="avi", codec="mpeg4", fps=25, sound=tone, sound_codec="mp2"),
        "a.mpg": video(24, container="mpeg", codec="mpeg1video", fps=25, sound=tone, sound_codec="mp2"),
        "a.gif": video(10, container="gif", codec="gif", fps=10, pixel_format="rgb8"),
        "a.ts": video(24, container="mpegts", options={"g": "8"}),
    }


def mutants(n: int, seed: int, canary: Canary) -> Iterator[tuple[str, str, bytes]]:
    """(kind, file name, bytes); the kinds take turns."""
    base, kinds = seeds(), list(MUTATIONS)
    for i in range(n):
        rng = np.random.default_rng([seed, i])
        name = list(base)[int(rng.integers(len(base)))]
        kind = kinds[i % len(kinds)]
        made = MUTATIONS[kind](base[name], name, rng, canary)
        data, suffix = made if isinstance(made, tuple) else (made, name.rsplit(".")[-1])
        yield kind, f"{i:06d}.{suffix}", data


def truncated(data: bytes, name: str, rng: np.random.Generator, canary: Canary) -> bytes:
    return data[: int(rng.integers(1, len(data)))]


def flipped(data: bytes, name: str, rng: np.random.Generator, canary: Canary, lowest: float = 0.0, highest: float = 1.0) -> bytes:
    out = bytearray(data)
    low, high = int(lowest * len(out)), max(int(lowest * len(out)) + 1, int(highest * len(out)))
    for at in rng.integers(low, high, int(2 ** rng.uniform(0, 8))):
        out[at] ^= 1 << int(rng.integers(8))
    return bytes(out)


def flipped_header(data: bytes, name: str, rng: np.random.Generator, canary: Canary) -> bytes:
    if b"moov" in data and rng.random() < 0.8:  # its index often stands at the end
        at = data.rindex(b"moov")
        return data[:at] + flipped(data[at:], name, rng, canary)
    return flipped(data, name, rng, canary, 0.0, min(1.0, 600 / len(data)))


def shuffled(data: bytes, name: str, rng: np.random.Generator, canary: Canary) -> bytes:
    a, b, c = sorted(int(v) for v in rng.integers(0, len(data), 3))
    return data[:a] + data[b:c] + data[a:b] + data[c:]


def huge_fields(data: bytes, name: str, rng: np.random.Generator, canary: Canary) -> bytes:
    """Large numbers in place of four- and eight-byte fields: sizes, counts, times, dimensions."""
    out = bytearray(data)
    boxes = (b"tkhd", b"mdhd", b"stsz", b"stco", b"stts", b"ctts", b"stsc", b"mvhd", b"avc1", b"elst", b"avcC", b"esds")
    marks = [i for tag in boxes if (i := data.find(tag)) >= 0]
    for _ in range(int(rng.integers(1, 5))):
        at = (marks[int(rng.integers(len(marks)))] + int(rng.integers(-4, 90))) if marks else int(rng.integers(len(out) - 8))
        value = [0xFFFFFFFF, 0x7FFFFFFF, 0x80000000, 0x40000000, 0xFFFF, 0][int(rng.integers(6))]
        out[max(0, at) : max(0, at) + 4] = struct.pack(">I" if rng.random() < 0.7 else "<I", value)
    return bytes(out[: len(data)])


def huge_picture(data: bytes, name: str, rng: np.random.Generator, canary: Canary) -> tuple[bytes, str]:
    """A few kilobytes that declare an enormous picture: a GIF screen and image, as a zip bomb would."""
    width, height = (int(v) for v in rng.choice([65535, 60000, 32768, 20000, 1], 2))
    screen = b"GIF89a" + struct.pack("<HH", width, height) + b"\xf7\x00\x00" + bytes(768)
    image = b"\x21\xf9\x04\x00\x00\x00\x00\x00" + b"," + struct.pack("<HHHH", 0, 0, width, height) + b"\x00\x08"
    return screen + image * int(rng.integers(1, 4)) + b"\xff" + bytes(rng.integers(0, 256, 255, np.uint8)) + b"\x00;", "gif"


def wrong_suffix(data: bytes, name: str, rng: np.random.Generator, canary: Canary) -> tuple[bytes, str]:
    return data, str(rng.choice(MEDIA_SUFFIXES))


def empty(data: bytes, name: str, rng: np.random.Generator, canary: Canary) -> bytes:
    return b""


def noise(data: bytes, name: str, rng: np.random.Generator, canary: Canary) -> bytes:
    head = data[: int(rng.integers(0, 64))]
    return head + rng.integers(0, 256, int(rng.integers(1, 20_000)), np.uint8).tobytes()


def text(data: bytes, name: str, rng: np.random.Generator, canary: Canary) -> bytes:
    return b"<html>not a video</html>\n" * int(rng.integers(1, 50))


def audio_only(data: bytes, name: str, rng: np.random.Generator, canary: Canary) -> tuple[bytes, str]:
    import wave

    target = io.BytesIO()
    with wave.open(target, "wb") as out:
        out.setparams((1, 2, 16_000, 0, "NONE", ""))
        out.writeframes(rng.integers(-3000, 3000, 4000, np.int16).tobytes())
    return target.getvalue(), "avi"


def no_picture(data: bytes, name: str, rng: np.random.Generator, canary: Canary) -> bytes:
    """The video handler or codec renamed, so that no stream is a video."""
    for tag, other in ((b"vide", b"text"), (b"avc1", b"xxxx"), (b"vids", b"txts"), (b"V_VP8", b"S_TXT"), (b"V_MPEG4", b"S_TEXT4")):
        data = data.replace(tag, other)
    return data


def no_rate(data: bytes, name: str, rng: np.random.Generator, canary: Canary) -> bytes:
    """0 frames a second: zero durations in `stts`, a zero time scale in `mdhd`, zero rates in AVI headers."""
    out = bytearray(data)
    for tag, skip, size in ((b"stts", 16, 4), (b"mdhd", 16, 4), (b"mvhd", 16, 4), (b"avih", 8, 4), (b"strh", 28, 8)):
        at = data.find(tag)
        if at >= 0 and rng.random() < 0.6:
            out[at + skip : at + skip + size] = bytes(size)
    return bytes(out[: len(data)])


def playlist(data: bytes, name: str, rng: np.random.Generator, canary: Canary) -> tuple[bytes, str]:
    """Text that tells a player to open something else."""
    url, path = f"http://127.0.0.1:{canary.port}/x.mp4", str(canary.path)
    forms = [
        f"#EXTM3U\n#EXT-X-VERSION:3\n#EXTINF:1,\n{path}\n#EXTINF:1,\n{url}\n#EXT-X-ENDLIST\n",
        f"ffconcat version 1.0\nfile '{path}'\nfile '{url}'\n",
        f"<?xml version='1.0'?><MPD type='static'><Period><AdaptationSet><BaseURL>{url}</BaseURL></AdaptationSet></Period></MPD>",
        f"[playlist]\nFile1={url}\nFile2=file://{path}\nNumberOfEntries=2\n",
        f"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video {canary.port} RTP/AVP 96\n",
        f"<svg xmlns='http://www.w3.org/2000/svg'><image href='file://{path}'/><image href='{url}'/></svg>",
        f"rtsptext\nrtsp://127.0.0.1:{canary.port}/x\n",
    ]
    return forms[int(rng.integers(len(forms)))].encode(), str(rng.choice([*MEDIA_SUFFIXES, "m3u8"]))


def reference(data: bytes, name: str, rng: np.random.Generator, canary: Canary) -> tuple[bytes, str]:
    """A real mp4 whose data reference names the canary: `url ` with a location instead of the flag for this very file."""
    out = bytearray(data if b"url \x00\x00\x00\x01" in data else video(12))
    location = (f"file://{canary.path}" if rng.random() < 0.5 else f"http://127.0.0.1:{canary.port}/x").encode() + b"\x00"
    at = 0
    for box in (b"moov", b"trak", b"mdia", b"minf", b"dinf", b"dref", b"url "):  # every box around it grows
        at = out.index(box, at)
        out[at - 4 : at] = struct.pack(">I", struct.unpack(">I", out[at - 4 : at])[0] + len(location))
    out[at : at + 8] = (b"url " if rng.random() < 0.7 else b"alis") + bytes(4) + location
    return bytes(out), "mov"


MUTATIONS: dict[str, Any] = {
    "truncated": truncated,
    "bits flipped": flipped,
    "header bits flipped": flipped_header,
    "huge fields": huge_fields,
    "parts shuffled": shuffled,
    "noise": noise,
    "huge picture": huge_picture,
    "wrong suffix": wrong_suffix,
    "no video stream": no_picture,
    "audio only": audio_only,
    "0 frames a second": no_rate,
    "playlist": playlist,
    "outside reference": reference,
    "text": text,
    "empty": empty,
}


# The worker's side.

_opened: list[str] = []


def _watch(event: str, args: tuple[Any, ...]) -> None:
    if event in ("open", "socket.connect", "socket.getaddrinfo", "os.exec", "subprocess.Popen", "os.posix_spawn"):
        _opened.append(f"{event} {args[0]!s}")


def attack(item: dict[str, Any]) -> dict[str, Any]:
    """All that ingest and training do with a file: measure, frames, a window of sound. Returns shapes and what was opened."""
    if not getattr(sys, "_uvr_watched", False):
        sys.addaudithook(_watch)
        sys._uvr_watched = True  # type: ignore[attr-defined]
    _opened.clear()
    path, limits = item["path"], LimitsConfig(**item["limits"])
    outcome: dict[str, Any] = {"decoded": True}
    try:
        fixed = {"folder": "/nonexistent", "version": "fuzz", "shots_over_s": None, "base": "."}
        measured = measure({"uri": path, "limits": item["limits"], **fixed})
        duration_s = measured["probe"]["duration_s"]
        frames = decode_frames(path, sample_times(duration_s, 4), size=(32, 32), limits=limits)
        sound = decode_audio(path, 0.0, min(duration_s, 5.0), limits=limits)
        outcome |= {"frames": list(frames.shape), "sound": None if sound is None else len(sound)}
    finally:
        outside = [o for o in _opened if item["path"] not in o and not o.endswith((".py", ".pyc")) and "site-packages" not in o]
    return {**outcome, "outside": outside}


# The parent's side.


def run(n: int, workers: int = 1, seed: int = 0, progress: bool = False) -> dict[str, Any]:
    """Attack with `n` mutants. Returns counts; raises AssertionError when a canary was touched or an answer is no answer."""
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder, socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        listener.setblocking(False)
        canary = Canary(Path(folder) / "canary.mp4", listener.getsockname()[1])
        canary.path.write_bytes(video(3))
        watch = OpenWatch(canary.path)
        outcomes, kinds, outside, restarts = _attack_all(n, workers, seed, canary, Path(folder), progress)
        try:
            listener.accept()
            called = True
        except BlockingIOError:
            called = False
        read = watch.opened()
        canary.path.read_bytes()
        assert watch.opened(), "the watch on the canary file does not work here"
    assert not called, "a mutant made ffmpeg call the canary port"
    assert not read, "a mutant made ffmpeg read the canary file"
    assert not outside, f"opened outside the given file: {outside[:3]}"
    assert sum(outcomes.values()) == n, f"{n} mutants gave {sum(outcomes.values())} answers"
    seconds = round(time.monotonic() - started, 1)
    return {"mutants": n, "seed": seed, "outcomes": dict(outcomes.most_common()), "by_kind": kinds, "workers_replaced": restarts,
            "canary_file_read": read, "canary_port_called": called, "opened_outside": len(outside), "seconds": seconds}  # fmt: skip


def _attack_all(n: int, workers: int, seed: int, canary: Canary, folder: Path, progress: bool) -> Any:
    outcomes: Counter[str] = Counter()
    kinds: dict[str, Counter[str]] = {kind: Counter() for kind in MUTATIONS}
    outside: list[str] = []
    order: list[tuple[str, Path]] = []

    def items() -> Iterator[dict[str, Any]]:
        for kind, name, data in mutants(n, seed, canary):
            path = folder / name
            path.write_bytes(data)
            order.append((kind, path))
            yield {"path": str(path), "limits": LIMITS.model_dump()}

    with MediaPool(workers, LIMITS) as pool:
        for i, found in enumerate(pool.map(attack, items(), name=lambda item: item["path"])):
            kind, path = order[i]
            path.unlink()
            outcome = found.reason if isinstance(found, Reject) else "decoded"
            if not isinstance(found, Reject):
                assert found["frames"] == [4, 32, 32, 3], found
                outside += found["outside"]
            elif found.reason in ("error", "crash", "timeout"):
                print(f"{outcome}: {kind} {path.name}: {found.detail}", file=sys.stderr)
            outcomes[outcome] += 1
            kinds[kind][outcome] += 1
            if progress and (i + 1) % 500 == 0:
                print(f"{i + 1}/{n} {dict(outcomes)}", file=sys.stderr)
    return outcomes, {k: dict(c.most_common()) for k, c in kinds.items()}, outside, pool.restarts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("n", type=int, nargs="?", default=1000)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    result = run(args.n, args.workers, args.seed, progress=True)
    result["command"] = f"python -m tests.tools.fuzz {args.n} --workers {args.workers} --seed {args.seed}"
    words = json.dumps(result, indent=1)
    print(words)
    if args.out:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(words + "\n")


if __name__ == "__main__":
    main()
