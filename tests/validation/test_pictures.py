"""Pictures: a re-encoded film is found across sides whatever its bytes say; other films and families are not."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pandas as pd
import pytest

from uvrlab.data.world import render_frames, sample_scene
from uvrlab.validation.leakage import picture_leaks
from uvrlab.validation.run import hashed

FPS, SECONDS = 8, 2


def _film(path: Path, frames: np.ndarray, crf: int, size: int = 128) -> None:
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=FPS, options={"crf": str(crf)})
        stream.width = stream.height = size
        stream.pix_fmt = "yuv420p"
        for picture in frames:
            out.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(width=size, height=size)))
        out.mux(stream.encode())


def _rows(folder: Path, films: dict[str, tuple[np.ndarray, int, int]]) -> pd.DataFrame:
    folder.mkdir()
    for name, film in films.items():
        _film(folder / f"{name}.mp4", *film)
    named = {"uri": [f"{name}.mp4" for name in films], "media_sha256": [f"{folder.name}{i:063d}" for i in range(len(films))]}
    return pd.DataFrame({"clip_id": list(films), **named, "start_s": 0.0, "end_s": float(SECONDS)})


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("UVR_WORK", str(tmp_path / "work"))
    return tmp_path


def test_a_re_encoded_and_shrunken_film_leaks_and_others_do_not(work: Path) -> None:
    times = np.arange(FPS * SECONDS) / FPS
    films = [render_frames(sample_scene("train", 4 * i), times) for i in range(3)]
    train = _rows(work / "a", {f"t{i}": (film, 18, 128) for i, film in enumerate(films)})
    judged = _rows(work / "b", {"copy": (films[1], 40, 96), "new": (render_frames(sample_scene("test", 0), times), 18, 128)})
    train, ours, lost = hashed(train, work / "a", 1)
    judged, theirs, lost_too = hashed(judged, work / "b", 1)
    leaks = picture_leaks(train, judged, (ours, theirs), 6.0)
    assert [(leak.train, leak.judged) for leak in leaks] == [("t1", "copy")] and not lost and not lost_too


def test_a_clip_that_does_not_decode_is_named_and_left_out_and_hashes_are_kept(work: Path) -> None:
    rows = _rows(work / "a", {"good": (render_frames(sample_scene("train", 0), np.arange(16) / FPS), 18, 128)})
    rows = pd.concat([rows, rows.assign(clip_id="gone", uri="gone.mp4", media_sha256="f" * 64)], ignore_index=True)
    kept, hashes, lost = hashed(rows, work / "a", 1)
    assert kept.clip_id.tolist() == ["good"] and hashes.shape == (1, 8) and lost == ["gone.mp4: missing"]
    (work / "a" / "good.mp4").unlink()
    again = hashed(rows[:1], work / "a", 1)
    assert np.array_equal(again[1], hashes), "the second time nothing is decoded"
