"""Measuring media in workers, once for each content: sha256, probe, and shots where long videos are cut at them.

Results are cached in the work folder under the sha256, so a folder that grew by N videos decodes N. The functions `measure`,
`proxy` and `cut_points` run in workers and touch nothing but the one file they are given.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from uvrlab.config import IngestConfig, LimitsConfig
from uvrlab.data.audio import decode_audio
from uvrlab.data.cursor import Cursor
from uvrlab.data.decode import Pixels, iter_frames
from uvrlab.data.media import MediaError, media_bytes, media_sha256, open_video
from uvrlab.data.probe import PROBE_VERSION, Probe, probe, probe_from
from uvrlab.data.workers import MediaPool, Reject
from uvrlab.runs import work_dir, write_json

SHOT_FPS, SHOT_HEIGHT = 4.0, 64
SOUND_RATE_HZ = 16_000
PROXY_PATIENCE = 20.0  # encoding a whole video takes longer than reading it


@dataclass(frozen=True)
class Measured:
    """One media file as measured; `cuts` are shot boundaries in seconds, `decoded` says that it was not in the cache."""

    sha256: str
    probe: Probe
    cuts: tuple[float, ...]
    decoded: bool


def cache_dir() -> Path:
    """Where measurements live between runs; safe to delete."""
    return work_dir() / "cache"


def measure_all(pool: MediaPool, uris: Sequence[str], own: IngestConfig, base: Path = Path()) -> Iterator[Measured | Reject]:
    """Each URI (relative ones under `base`) measured, or its reject, in order. New measurements enter the cache."""
    version = f"v{PROBE_VERSION}" + (f"-shots-{own.max_clip_s:g}" if own.window == "shots" else "")
    folder = cache_dir() / "probes"
    folder.mkdir(parents=True, exist_ok=True)
    shots_over_s = own.max_clip_s if own.window == "shots" else None
    limits = own.limits.model_dump()
    fixed = {"folder": str(folder), "version": version, "limits": limits, "shots_over_s": shots_over_s, "base": str(base)}
    for found in pool.map(measure, ({"uri": uri, **fixed} for uri in uris), name=lambda item: item["uri"]):
        if isinstance(found, Reject):
            yield found
            continue
        if found["decoded"]:
            write_json(_cached(str(folder), found["sha256"], version), {"probe": found["probe"], "cuts": found["cuts"]})
        yield Measured(found["sha256"], probe_from(found["probe"]), tuple(found["cuts"]), found["decoded"])


def _cached(folder: str, sha256: str, version: str) -> Path:
    return Path(folder) / f"{sha256}-{version}.json"


def measure(item: dict[str, Any]) -> dict[str, Any]:
    """In a worker: sha256, then the cached measurement or a new one."""
    limits, uri, base = LimitsConfig(**item["limits"]), item["uri"], item["base"]
    sha256 = media_sha256(uri, base, max_bytes=limits.max_bytes)
    cached = _cached(item["folder"], sha256, item["version"])
    if cached.is_file():
        return {"sha256": sha256, "decoded": False, **json.loads(cached.read_text())}
    found = probe(uri, base, limits)
    long = item["shots_over_s"] is not None and found.duration_s > item["shots_over_s"]
    return {"sha256": sha256, "decoded": True, "probe": asdict(found), "cuts": cut_points(uri, base, limits) if long else []}


def cut_points(uri: str, base: Path | str, limits: LimitsConfig) -> list[float]:
    """Shot boundaries in seconds, by PySceneDetect's content detector on small frames that we decode."""
    from scenedetect import FrameTimecode
    from scenedetect.detectors import ContentDetector

    detector, cuts = ContentDetector(min_scene_len=round(SHOT_FPS)), []
    times: list[float] = []
    with open_video(uri, base, limits) as media:
        for time_s, picture in iter_frames(media, SHOT_FPS, SHOT_HEIGHT):
            times.append(time_s)
            found = detector.process_frame(FrameTimecode(len(times) - 1, SHOT_FPS), np.ascontiguousarray(picture[..., ::-1]))
            cuts += [int(cut.frame_num) for cut in found]
    return [round(times[i], 3) for i in cuts if 0 < i < len(times)]


def proxy(item: dict[str, Any]) -> dict[str, Any]:
    """In a worker: {"data": a short-GOP H.264 copy with capped height on the clip's clock, "probe": its measurement}."""
    limits = LimitsConfig(**item["limits"])
    found = probe_from(item["probe"])
    target = io.BytesIO()
    with av.open(target, "w", format="mp4") as out, open_video(item["uri"], item["base"], limits) as media:
        stream = out.add_stream("libx264", rate=Fraction(max(1, round(found.fps))), options={"crf": "23", "preset": "veryfast"})
        stream.thread_count, stream.pix_fmt, stream.gop_size = 1, "yuv420p", max(1, round(found.fps))
        stream.time_base = stream.codec_context.time_base = Fraction(1, 16_000)
        sound = out.add_stream("aac", rate=SOUND_RATE_HZ, layout="mono") if found.has_audio else None
        pixels = Pixels(_even(found, item["height"]))
        stream.height, stream.width = _even(found, item["height"])
        last = -1
        for frame in Cursor(media).rest():
            picture = av.VideoFrame.from_ndarray(pixels.rgb(frame), format="rgb24")
            last = max(last + 1, round(media.seconds(frame.pts) * 16_000))
            picture.pts, picture.time_base = last, stream.time_base
            out.mux(stream.encode(picture))
        out.mux(stream.encode())
        if sound is not None:
            _add_sound(out, sound, decode_audio(item["uri"], 0.0, found.duration_s, base=item["base"], limits=limits))
    data = target.getvalue()
    return {"data": data, "probe": asdict(probe(io.BytesIO(data), limits=limits))}


def _even(found: Probe, max_height: int) -> tuple[int, int]:
    height = min(found.height, max_height)
    return max(2, height // 2 * 2), max(2, round(found.width * height / found.height / 2) * 2)


def _add_sound(out: Any, sound: Any, samples: np.ndarray | None) -> None:
    if samples is None:
        raise MediaError("corrupt", "found no sound where the probe heard some")
    for start in range(0, len(samples), sound.frame_size):
        block = samples[start : start + sound.frame_size]
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(block[None]), format="fltp", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = SOUND_RATE_HZ, start, Fraction(1, SOUND_RATE_HZ)
        out.mux(sound.encode(frame))
    out.mux(sound.encode())


Jobs = Sequence[tuple[str, Measured]]


def proxies(pool: MediaPool, jobs: Jobs, own: IngestConfig, base: Path) -> Iterator[tuple[bytes, Probe] | Reject]:
    """(bytes, probe) of a proxy for each (URI, measurement), in order, from the cache where it was made before."""
    folder = cache_dir() / "proxies"
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / f"{m.sha256}-{own.proxy_height}-v{PROBE_VERSION}" for _, m in jobs]
    fixed = {"limits": own.limits.model_dump(), "height": own.proxy_height, "base": str(base)}
    fresh = [i for i, f in enumerate(files) if not f.with_suffix(".json").is_file()]
    items = ({"uri": jobs[i][0], "probe": asdict(jobs[i][1].probe), **fixed} for i in fresh)
    made = pool.map(proxy, items, name=lambda item: item["uri"], patience=PROXY_PATIENCE)
    wanted = set(fresh)
    for i, file in enumerate(files):
        if i in wanted:
            found = next(made)
            if isinstance(found, Reject):
                yield found
                continue
            _store(file, found)
        yield file.with_suffix(".mp4").read_bytes(), probe_from(json.loads(file.with_suffix(".json").read_text()))


def _store(file: Path, found: dict[str, Any]) -> None:
    partial = file.with_suffix(".tmp")
    partial.write_bytes(found["data"])
    partial.replace(file.with_suffix(".mp4"))
    write_json(file.with_suffix(".json"), found["probe"])


def copies(jobs: Jobs, own: IngestConfig, base: Path) -> Iterator[tuple[bytes, Probe] | Reject]:
    """The media as they are, for runs that must carry them."""
    for uri, measured in jobs:
        try:
            yield media_bytes(uri, base, own.limits.max_bytes), measured.probe
        except MediaError as error:
            yield Reject(uri, error.reason, error.detail)
