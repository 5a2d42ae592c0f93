"""`Item` to `DecodedItem`: frames and sound of one item, decoded in worker processes. No torch, so a worker stays small.

A clip with sound that is longer than a window becomes several parts, because interleaved position ids stay in order only so
far; the embedder pools them. A clip without sound stays one part.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from uvrlab.config import LimitsConfig
from uvrlab.data.audio import decode_audio
from uvrlab.data.decode import decode_frames
from uvrlab.data.items import SILENCE, DecodedItem, Item
from uvrlab.data.media import MediaError, open_media
from uvrlab.data.probe import probe
from uvrlab.data.sampling import sample_times, sample_times_fps, windows
from uvrlab.data.workers import MediaPool, Reject

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")


@dataclass(frozen=True)
class Sampling:
    """How media is sampled; part of `preprocess.json`, so it is part of a model."""

    n_frames: int = 8  # uniform, where only the picture counts
    fps: float | None = None  # set: frames a second instead, up to `n_frames`
    max_window_s: float = 8.0  # of picture with sound
    rate_hz: int = 16_000
    max_height: int | None = 224  # frames are decoded no larger than this

    def times(self, start_s: float, end_s: float) -> list[float]:
        """Times of the frames of one part."""
        if self.fps is not None:
            return sample_times_fps(end_s, self.fps, self.n_frames, start_s, end_s, 2)
        return sample_times(end_s, self.n_frames, start_s, end_s)


def decode_parts(task: dict[str, Any]) -> dict[str, Any]:
    """The worker's half: one item as plain values to its parts as plain values. Raises MediaError."""
    item, sampling = task["item"], Sampling(**task["sampling"])
    out: dict[str, Any] = {"parts": [{}]}
    if item["image_uri"]:
        out["image"] = _image(item, sampling)
    uri = item["video_uri"]
    if item["audio_uri"] and not uri:
        out["parts"] = _sounds(item, sampling)
    elif uri:
        end_s = item["end_s"]
        if end_s is None:
            end_s = float(probe(uri, item["base"]).duration_s)
        sound = bool(item["audio_uri"] or item["sound"])
        spans = windows(item["start_s"], end_s, sampling.max_window_s) if sound else [(item["start_s"], end_s)]
        out["parts"] = [_part(item, sampling, uri, span, sound) for span in spans]
    return out


def _sounds(item: dict[str, Any], sampling: Sampling) -> list[dict[str, Any]]:
    """The windows of a sound alone, be it a sound file or the track of a video."""
    rate = sampling.rate_hz
    wave = decode_audio(item["audio_uri"], item["start_s"], item["end_s"], rate_hz=rate, base=item["base"], alone=True)
    if wave is None or not wave.size or float(np.abs(wave).max()) <= SILENCE:
        if item["text"] or item["image_uri"]:
            return [{}]
        raise MediaError("error", f"found no sound that can be heard in {item['audio_uri']}, expected one; leave the item out")
    spans = windows(0.0, len(wave) / rate, sampling.max_window_s)
    return [{"wave": wave[round(start * rate) : round(end * rate)]} for start, end in spans]


def _part(item: dict[str, Any], sampling: Sampling, uri: str, span: tuple[float, float], sound: bool) -> dict[str, Any]:
    part: dict[str, Any] = {}
    if item["video_uri"]:
        times = sampling.times(*span)
        part["frames"] = decode_frames(uri, times, max_height=sampling.max_height, base=item["base"])
        part["fps"] = len(times) / (span[1] - span[0])
    if sound:
        wave = decode_audio(uri, *span, rate_hz=sampling.rate_hz, base=item["base"])
        part["wave"] = wave if wave is not None and wave.size and float(np.abs(wave).max()) > SILENCE else None
    return part


def _image(item: dict[str, Any], sampling: Sampling) -> np.ndarray:
    """One RGB picture (H, W, 3) uint8: of a picture file, or the frame of a video at a time."""
    if item["image_time_s"] is not None or not item["image_uri"].lower().endswith(IMAGE_SUFFIXES):
        times = [item["image_time_s"] or 0.0]
        return decode_frames(item["image_uri"], times, max_height=sampling.max_height, base=item["base"])[0]
    from PIL import Image

    with open_media(item["image_uri"], item["base"]) as file, Image.open(file) as picture:
        limit = LimitsConfig().max_pixels
        if picture.width * picture.height > limit:
            raise ValueError(f"a picture of {picture.width}x{picture.height} pixels; expected at most {limit}")
        if sampling.max_height and picture.height > sampling.max_height:
            width = max(1, round(picture.width * sampling.max_height / picture.height))
            return np.asarray(picture.convert("RGB").resize((width, sampling.max_height), Image.Resampling.BICUBIC))
        return np.asarray(picture.convert("RGB"))


def assemble(item: Item, result: dict[str, Any]) -> list[DecodedItem]:
    """The parent's half: a worker's answer as decoded items, one a part; text and image ride with every part."""
    common: dict[str, Any] = {"text": item.text, "instruction": item.instruction, "image": result.get("image")}
    return [DecodedItem(item.item_id, **common, **{k: v for k, v in part.items() if v is not None}) for part in result["parts"]]


def decode_items(items: Iterable[Item], sampling: Sampling, pool: MediaPool | None = None) -> Iterator[list[DecodedItem] | Reject]:
    """Every item's parts in order, or its `Reject`. Without a pool it decodes here, for trusted media."""
    items = list(items)
    tasks = [{"item": asdict(item), "sampling": asdict(sampling)} for item in items]
    results: Iterable[Any] = map(_decode_here, tasks)
    if pool is not None:
        results = pool.map(decode_parts, tasks, name=_name)
    for item, result in zip(items, results, strict=True):
        yield result if isinstance(result, Reject) else assemble(item, result)


def _decode_here(task: dict[str, Any]) -> dict[str, Any] | Reject:
    try:
        return decode_parts(task)
    except MediaError as error:
        return Reject(_name(task), error.reason, error.detail)
    except (OSError, ValueError) as error:
        return Reject(_name(task), "error", f"{type(error).__name__}: {error}")


def _name(task: dict[str, Any]) -> str:
    return str(task["item"]["item_id"])
