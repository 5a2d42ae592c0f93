"""Rows of the clips table as ingest writes them for the world, without rendering."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import pytest

from uvrlab.data.world import sample_scene, to_clip_row

Row = dict[str, Any]


def world_row(split: Any, index: int, family_size: int = 4) -> Row:
    scene = sample_scene(split, index, family_size=family_size)
    audible = scene.track == "sound"
    return {
        **to_clip_row(scene),
        "uri": f"media/{scene.clip_id}.mp4",
        "media_sha256": hashlib.sha256(scene.clip_id.encode()).hexdigest(),
        "fps": scene.fps,
        "has_audio": scene.track != "none",
        "audible": audible,
    }


def real_row(name: str, *, caption: str | None = "A dog runs over a meadow.", start_s: float = 0.0, frames: int = 90) -> Row:
    span = {"start_s": start_s, "end_s": start_s + frames / 30.0, "duration_s": frames / 30.0, "fps": 30.0}
    media = {"uri": f"/clips/{name}.mp4", "media_sha256": hashlib.sha256(name.encode()).hexdigest(), "has_audio": False}
    named = {"clip_id": name, "parent_id": name, "split": "train", "caption": caption, "scene": None, "tags": []}
    return {**named, **media, **span, "audible": False, "source": "folder", "licence": "CC0-1.0"}


@pytest.fixture
def world_clip() -> Callable[..., Row]:
    return world_row


@pytest.fixture
def real_clip() -> Callable[..., Row]:
    return real_row
