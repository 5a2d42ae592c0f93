"""Whole clips through the filters: rendered, encoded twice and real; near-duplicates against comparing all with all."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from tests.synthesis.pictured import moving, noise
from uvrlab.config import FiltersConfig
from uvrlab.data import schema
from uvrlab.data.probe import probe
from uvrlab.data.world import render_clip, sample_scene, to_clip_row
from uvrlab.synthesis.filters import (
    apply,
    duplicates,
    fingerprints,
    judge,
    measure_clip,
)
from uvrlab.synthesis.filters.text import text_scores
from uvrlab.synthesis.filters.twins import N_BYTES, fingerprint
from uvrlab.synthesis.view import ClipView

OWN = FiltersConfig()
Row = dict[str, Any]


def filmed(frames: np.ndarray, crf: int) -> bytes:
    """H.264 of RGB frames at 12 frames a second."""
    target = io.BytesIO()
    with av.open(target, "w", format="mp4") as out:
        stream = out.add_stream("libx264", rate=Fraction(12), options={"crf": str(crf), "preset": "veryfast"})
        stream.height, stream.width, stream.pix_fmt = *frames.shape[1:3], "yuv420p"
        for frame in frames:
            out.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        out.mux(stream.encode())
    return target.getvalue()


def view_of(folder: Path, name: str, data: bytes, **more: Any) -> ClipView:
    (folder / f"{name}.mp4").write_bytes(data)
    found = probe(str(folder / f"{name}.mp4"))
    named = {"clip_id": name, "uri": f"{name}.mp4", "source": "folder", "split": "train", "tags": []}
    return ClipView({**named, **found.columns(0.0, found.duration_s), **more}, folder)


def measured(views: list[ClipView]) -> tuple[list[Row], list[Row]]:
    """Clip rows, and their rows of filters with those of the duplicates."""
    clips = [view.row for view in views]
    rows = [row for view in views for row in measure_clip(view, OWN)]
    return clips, rows + duplicates(clips, fingerprints(rows), OWN)


def test_a_still_photograph_is_static_however_it_is_encoded(tmp_path: Path) -> None:
    _, rows = measured([view_of(tmp_path, "photo", filmed(np.stack([noise()] * 36), 32))])
    assert {"static_difference", "static_flow", "frozen"} <= {row["filter"] for row in rows if row["verdict"] == "drop"}


def test_a_clip_at_another_bitrate_and_size_is_a_duplicate_and_a_like_one_is_not(tmp_path: Path) -> None:
    import cv2

    original = moving(noise(1), 1, 36)
    other = original.copy()
    other[12:, 30:60, 40:70] = (200, 40, 40)  # a red square appears
    small = np.stack([cv2.resize(frame, (96, 72), interpolation=cv2.INTER_AREA) for frame in original])
    made = {"first": filmed(original, 20), "like": filmed(other, 20), "again": filmed(small, 34)}
    _, rows = measured([view_of(tmp_path, name, data) for name, data in made.items()])
    found = {row["clip_id"]: row for row in rows if row["filter"] == "duplicate"}
    assert {name: row["verdict"] for name, row in found.items()} == {"first": "keep", "like": "keep", "again": "drop"}
    assert found["again"]["detail"] == found["like"]["detail"] == "first"
    assert found["like"]["score"] > 1.5 * OWN.duplicate > 3 * found["again"]["score"]


def test_world_clips_are_kept_whole_families_included(tmp_path: Path) -> None:
    views = []
    for scene in (sample_scene("train", i) for i in range(4)):
        (tmp_path / f"{scene.clip_id}.mp4").write_bytes(render_clip(scene))
        found = probe(str(tmp_path / f"{scene.clip_id}.mp4"))
        views.append(
            ClipView({**to_clip_row(scene), **found.columns(0.0, found.duration_s), "uri": f"{scene.clip_id}.mp4"}, tmp_path)
        )
    _, rows = measured(views)
    assert not apply(rows).clips
    assert schema.to_arrow("filters", rows).num_rows == len(rows)


def test_sounds_tell_apart_clips_with_one_picture() -> None:
    t = np.arange(32000) / 16000
    tones = {"low": np.sin(2 * np.pi * 200 * t), "high": np.sin(2 * np.pi * 2000 * t), "louder": 3 * np.sin(2 * np.pi * 200 * t)}
    marks = {name: fingerprint(moving(noise(), 1), tone.astype(np.float32)) for name, tone in tones.items()}
    clips = [{"clip_id": name, "source": "folder", "split": "train", "tags": None} for name in tones]
    found = {row["clip_id"]: row for row in duplicates(clips, marks, OWN)}
    assert found["high"]["verdict"] == "keep"
    assert (found["louder"]["verdict"], found["louder"]["detail"]) == ("drop", "low")


def test_nearest_earlier_clips_are_those_of_comparing_all_with_all() -> None:
    """60 pictures and three noisy copies of each: every copy is found, and no two pictures are one."""
    rng = np.random.default_rng(0)
    pics = [moving(noise(seed, 48, 64), 1, 6) for seed in range(60)]
    marks, clips = {}, []
    for copy in range(4):
        for i, frames in enumerate(pics):
            noisy = np.clip(frames + rng.normal(0, 4.0 * (copy > 0), frames.shape), 0, 255).astype(np.uint8)
            marks[f"{i}/{copy}"] = fingerprint(noisy, None)
            clips.append({"clip_id": f"{i}/{copy}", "source": "folder", "split": "train", "tags": []})
    rows = duplicates(clips, marks, OWN)
    assert marks["0/0"].shape == (N_BYTES,)
    for row in rows:
        number, copy = row["clip_id"].split("/")
        assert row["verdict"] == ("keep" if copy == "0" else "drop"), row
        assert copy == "0" or row["detail"].startswith(f"{number}/")


def test_clips_that_look_alike_are_compared_by_their_vectors_where_the_embedder_covers_them() -> None:
    """`c` looks like nothing else, so nobody encodes it; `a` and `b` have a cosine of 0.6."""
    marks = dict.fromkeys("ab", fingerprint(moving(noise(), 1), None)) | {"c": fingerprint(moving(noise(7), 1), None)}
    clips = [{"clip_id": name, "source": "folder", "split": "train", "tags": None} for name in "abc"]
    own, asked = OWN.model_copy(update={"duplicate_vector": 0.5}), []

    def embed(names: Sequence[str]) -> dict[str, np.ndarray]:
        asked.append(list(names))
        return {"a": np.array([1.0, 0.0]), "b": np.array([0.6, 0.8])}

    for covered, verdict in ((frozenset({"real"}), "drop"), (frozenset({"world"}), "not judged")):
        rows = [row for row in duplicates(clips, marks, own, embed, covered) if row["filter"] == "duplicate_vector"]
        assert [(r["clip_id"], r["score"], r["verdict"], r["detail"]) for r in rows] == [("b", 0.6, verdict, "a")]
    assert asked == [["a", "b"]] * 2


def test_nearly_all_real_clips_are_kept(shared: Path) -> None:
    folder = shared / "data" / "real_clips"
    if not folder.is_dir():
        pytest.skip("needs shared/data/real_clips")
    named = [json.loads(line) for line in (folder / "manifest.jsonl").read_text().splitlines()]
    views = []
    for row in sorted(named, key=lambda row: row["bytes"])[:12]:
        found = probe(str(folder / row["file"]))
        more = {"clip_id": row["clip_id"], "uri": row["file"], "source": "folder", "split": "train", "tags": []}
        views.append(ClipView({**found.columns(0.0, found.duration_s), **more}, folder))
    _, rows = measured(views)
    assert not apply(rows).clips
    texts = [judge(n, s, OWN, pair_id=row["clip_id"]) for row in named for n, s in text_scores(row["caption"]).items()]
    assert not apply(texts).pairs
