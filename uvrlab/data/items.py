"""What goes into an embedder: an item as addressed (`Item`), and as decoded arrays (`DecodedItem`).

The two are kept apart so that decoding, slow and exposed to hostile files, runs in worker processes, and collation never
touches a file.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

ROUNDING_S = 0.05  # by which a written span may pass the end of its clip
SILENCE = 1e-5  # peak amplitude below which a track is digital silence and carries no information


class ItemError(ValueError):
    """An item that cannot be encoded; the message names the item and what to do."""


@dataclass(frozen=True)
class Item:
    """One item as addressed: any non-empty set of text, image, video and audio.

    An image is `image_uri`: a picture file, or with `image_time_s` one frame of a video. A video and its sound share
    `video_uri` and the span [start_s, end_s) on the file's clock (`end_s` None: to the end, measured when it is decoded).
    `sound`: True takes the track if it can be heard, False leaves it. A sound alone is `audio_uri` with the same span.
    """

    item_id: str
    text: str | None = None
    image_uri: str | None = None
    image_time_s: float | None = None
    video_uri: str | None = None
    audio_uri: str | None = None
    start_s: float = 0.0
    end_s: float | None = None
    sound: bool = False
    base: str = "."
    instruction: str | None = None
    media_sha256: str | None = None  # of the video's or sound's file; names its features in a cache

    def __post_init__(self) -> None:
        if not ((self.text and self.text.strip()) or self.image_uri or self.video_uri or self.audio_uri):
            raise ItemError(f"item {self.item_id}: it has no text, image, video or audio; expected at least one")
        if self.end_s is not None and not 0 <= self.start_s < self.end_s:
            raise ItemError(f"item {self.item_id}: span [{self.start_s}, {self.end_s}); expected 0 <= start < end")

    @property
    def has_media(self) -> bool:
        """Whether anything must be decoded."""
        return bool(self.image_uri or self.video_uri or self.audio_uri)


@dataclass(frozen=True)
class Clip:
    """Where a clip's media is and what can be heard in it; a row of the clips table."""

    clip_id: str
    uri: str
    base: str
    start_s: float
    end_s: float
    audible: bool
    media_sha256: str


class ClipIndex(dict[str, Clip]):
    """clip_id -> Clip. Turns item rows of the tables into `Item`s."""

    def add_rows(self, rows: Iterable[Mapping[str, Any]], base: Path | str) -> ClipIndex:
        """Add rows of a clips table whose relative URIs stand under `base`; returns itself."""
        for row in rows:
            audible = bool(row["has_audio"] and row["audible"])
            self[row["clip_id"]] = Clip(
                row["clip_id"], row["uri"], str(base), row["start_s"] or 0.0, row["end_s"], audible, row["media_sha256"]
            )
        return self

    def item(self, row: Mapping[str, Any], item_id: str, *, base: Path | str = ".", instruction: str | None = None) -> Item:
        """An item row (`schema.ITEM`) as an `Item`. A row's times are on the file's clock, as the clip's are."""
        wanted = set(row["modalities"])
        parts: dict[str, Any] = {"text": row["text"] if "text" in wanted else None, "base": str(base), "instruction": instruction}
        if "image" in wanted and row["image_uri"]:
            parts["image_uri"] = row["image_uri"]
        if row["clip_id"] is not None and wanted & {"image", "video", "audio"}:
            parts |= self._clip_parts(row, wanted, item_id)
        return Item(item_id, **parts)

    def _clip_parts(self, row: Mapping[str, Any], wanted: set[str], item_id: str) -> dict[str, Any]:
        clip = self.get(row["clip_id"])
        if clip is None:
            raise ItemError(f"item {item_id}: no clip {row['clip_id']!r} among {len(self)} clips; pass the table that holds it")
        start_s = clip.start_s if row["start_s"] is None else row["start_s"]
        end_s = clip.end_s if row["end_s"] is None else row["end_s"]
        if not clip.start_s - ROUNDING_S <= start_s <= end_s <= clip.end_s + ROUNDING_S:
            raise ItemError(
                f"item {item_id}: span [{start_s}, {end_s}] is not inside clip {clip.clip_id} [{clip.start_s}, {clip.end_s}]"
            )
        start_s, end_s = max(clip.start_s, start_s), min(clip.end_s, end_s)
        parts: dict[str, Any] = {"base": clip.base, "media_sha256": clip.media_sha256}
        if "image" in wanted and not row["image_uri"]:
            parts |= {"image_uri": clip.uri, "image_time_s": start_s}
        if "video" in wanted:
            parts |= {"video_uri": clip.uri, "start_s": start_s, "end_s": end_s, "sound": "audio" in wanted and clip.audible}
        elif "audio" in wanted:
            if not clip.audible:
                raise ItemError(f"item {item_id}: clip {clip.clip_id} has no sound to be heard; leave the audio modality out")
            parts |= {"audio_uri": clip.uri, "start_s": start_s, "end_s": end_s}
        return parts


@dataclass(frozen=True)
class MediaShape:
    """Shapes of one item's media: grids in patches (t, h, w), mel frames, seconds a grid, and audio tokens."""

    video: tuple[int, int, int] | None = None
    image: tuple[int, int, int] | None = None
    mel: int = 0
    seconds_per_grid: float | None = None
    audio: int = 0


@dataclass(frozen=True)
class DecodedItem:
    """One item as arrays. At least one of text, image, frames and wave is set.

    frames (T, H, W, 3) uint8, sampled evenly at `fps` frames a second from the clip's start; wave (samples,) float32 mono at the
    backbone's rate on the same clock. Frames with a wave are interleaved; a wave alone is a sound. `wave=None` means no sound:
    a clip without a track, or a digitally silent one.
    """

    item_id: str
    text: str | None = None
    image: np.ndarray | None = None
    frames: np.ndarray | None = None
    fps: float | None = None
    wave: np.ndarray | None = None
    instruction: str | None = None  # the task's prompt

    def __post_init__(self) -> None:
        if self.image is None and self.frames is None and self.wave is None and not (self.text and self.text.strip()):
            raise ItemError(f"item {self.item_id}: it has no text, image, video or audio; expected at least one")
        for name, array, dims in (("image", self.image, 3), ("frames", self.frames, 4), ("wave", self.wave, 1)):
            if array is not None and (array.ndim != dims or 0 in array.shape):
                raise ItemError(f"item {self.item_id}: {name} has shape {array.shape}; expected {dims} non-empty axes")
        for name, picture in (("image", self.image), ("frames", self.frames)):
            if picture is not None and (picture.dtype != np.uint8 or picture.shape[-1] != 3):
                raise ItemError(f"item {self.item_id}: {name} is {picture.dtype} {picture.shape}; expected uint8, channels last")
        if self.frames is not None and not (self.fps and self.fps > 0):
            raise ItemError(f"item {self.item_id}: frames come with fps {self.fps}; expected the rate at which they were sampled")
        if self.wave is not None and not np.isfinite(self.wave).all():
            raise ItemError(f"item {self.item_id}: the sound holds NaN or infinite samples; decode it again")

    def without(self, *modalities: str) -> DecodedItem:
        """The same item with "text", "image", "video" or "audio" really removed, as the three-condition rollouts need it."""
        fields = {"text": "text", "image": "image", "video": "frames", "audio": "wave"}
        removed: dict[str, Any] = {fields[name]: None for name in modalities}
        return replace(self, **removed)


@dataclass(frozen=True)
class FeaturedItem:
    """One item whose media has been through the frozen towers: text as ever, features instead of pixels and samples.

    video, image (tokens, width * (1 + deepstack levels)) and audio (tokens, width) tensors, laid out by `shape`.
    """

    item_id: str
    text: str | None = None
    instruction: str | None = None
    shape: MediaShape = MediaShape()
    video: Any = None
    image: Any = None
    audio: Any = None

    def __post_init__(self) -> None:
        if not (self.text and self.text.strip()) and self.video is None and self.image is None and self.audio is None:
            raise ItemError(f"item {self.item_id}: it has no text, image, video or audio; expected at least one")
        if (self.video is None, self.image is None, self.audio is None) != (
            self.shape.video is None,
            self.shape.image is None,
            not self.shape.audio,
        ):
            raise ItemError(f"item {self.item_id}: features and media shape {self.shape} name different modalities")

    def without(self, *modalities: str) -> FeaturedItem:
        """The same item with "text", "image", "video" or "audio" really removed; towers see each medium apart, so this is exact."""
        shape = self.shape
        fields: dict[str, Any] = {}
        for name in modalities:
            fields[name] = None
            shapes: dict[str, dict[str, Any]] = {
                "text": {},
                "image": {"image": None},
                "video": {"video": None, "seconds_per_grid": None},
                "audio": {"mel": 0, "audio": 0},
            }
            shape = replace(shape, **shapes[name])
        changes: dict[str, Any] = {**fields, "shape": shape}
        return replace(self, **changes)
