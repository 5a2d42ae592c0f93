"""The stage ingest: a grown folder decodes only what is new, a deleted video is gone, hostile files cost their own row."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rendered import number, video

from uvrlab.config import Config, IngestConfig, SourceConfig, WorldConfig
from uvrlab.data import schema
from uvrlab.data.cutting import hashed_split, spans
from uvrlab.data.decode import decode_frames
from uvrlab.data.probe import probe
from uvrlab.runs import RunDir, RunError
from uvrlab.stages import run_stage

TONE = (0.5 * np.sin(np.arange(48_000) / 20)).astype(np.float32)


def ingest(out: Path, **own):
    config = Config(ingest=IngestConfig(**own))
    return run_stage(config.for_stage("ingest"), {}, out, force=True)


def table(out: Path, name: str = "clips") -> list[dict]:
    return schema.read_table(name.rsplit("/")[-1], out / name)


@pytest.fixture(scope="module")
def films(tmp_path_factory) -> dict[str, bytes]:
    return {
        "one.mp4": video(40, sound=TONE),
        "two.mkv": video(30, container="matroska", options={"g": "10"}),
        "three.webm": video(20, container="webm", codec="libvpx"),
        "four.gif": video(12, container="gif", codec="gif", fps=10, pixel_format="rgb8"),
        "five.avi": video(20, container="avi", codec="mpeg4", fps=25),
    }


@pytest.fixture
def folder(tmp_path, films) -> Path:
    path = tmp_path / "films"
    path.mkdir()
    for name, data in films.items():
        (path / name).write_bytes(data)
    rows = [{"file": name, "caption": f"film {name.split('.')[0]}", "licence": "CC0-1.0"} for name in films]
    (path / "captions.jsonl").write_text("\n".join(json.dumps(r) for r in rows))
    return path


def source(path: Path, **more) -> SourceConfig:
    return SourceConfig(kind="folder", path=str(path), captions="captions.jsonl", **more)


ALL_TEST = {"test": 1.0}


def test_a_grown_folder_decodes_what_is_new_and_a_deleted_video_is_gone(tmp_path, folder, films):
    first = ingest(tmp_path / "a", source=source(folder))
    assert (first.counts["decoded"], first.counts["reused"], first.counts["clips"]) == (5, 0, 5)
    (folder / "six.mp4").write_bytes(video(24))
    grown = ingest(tmp_path / "b", source=source(folder))
    assert (grown.counts["decoded"], grown.counts["reused"], grown.counts["clips"]) == (1, 5, 6)
    before = {c["clip_id"]: c for c in table(tmp_path / "a")}
    after = {c["clip_id"]: c for c in table(tmp_path / "b")}
    assert all(after[i] == row for i, row in before.items())
    (folder / "one.mp4").unlink()
    shrunk = ingest(tmp_path / "c", source=source(folder), splits=ALL_TEST)
    assert shrunk.counts["decoded"] == 0
    assert shrunk.counts["reject_missing"] == 1
    named = json.dumps([table(tmp_path / "c", t) for t in ("clips", "benchmark/clips", "benchmark/queries", "benchmark/corpus")])
    assert "one" not in named
    assert "two" in named


def test_equal_input_gives_an_equal_run_whether_cached_or_not(tmp_path, folder):
    fresh, cached = (ingest(tmp_path / name, source=source(folder)) for name in ("a", "b"))
    assert (fresh.counts["decoded"], cached.counts["decoded"]) == (5, 0)
    assert fresh.digest == cached.digest
    RunDir(tmp_path / "b").verify()


def test_the_rows_say_what_was_measured(tmp_path, folder, films):
    ingest(tmp_path / "a", source=source(folder))
    rows = {c["clip_id"]: c for c in table(tmp_path / "a")}
    assert rows["one"]["has_audio"]
    assert rows["one"]["audible"]
    assert not rows["two"]["has_audio"]
    assert rows["two"]["n_frames"] == 30
    assert rows["four"]["video_codec"] == "gif"
    assert rows["five"]["caption"] == "film five"
    assert rows["one"]["uri"] == "root:source/one.mp4"


def test_hostile_files_are_rejects_with_reasons(tmp_path, folder, films):
    (folder / "text.mp4").write_text("hello")
    (folder / "empty.mp4").write_bytes(b"")
    (folder / "list.mp4").write_text(f"#EXTM3U\n#EXTINF:1,\n{folder / 'one.mp4'}\n")
    (folder / "cut.mp4").write_bytes(films["one.mp4"][: len(films["one.mp4"]) // 3])
    report = ingest(tmp_path / "a", source=source(folder), max_reject_fraction=0.5)
    rejects = {r["item"]: r["reason"] for r in schema.read_table("rejects", tmp_path / "a" / "rejects.parquet")}
    assert set(rejects) == {"text", "empty", "list", "cut"}
    assert set(rejects.values()) <= {"container", "corrupt"}
    assert report.counts["clips"] == 5
    with pytest.raises(RunError, match=r"4 of 9 videos are rejects .* raise ingest\.max_reject_fraction"):
        ingest(tmp_path / "b", source=source(folder))


def test_a_source_without_a_usable_clip_is_an_error(tmp_path):
    (tmp_path / "films").mkdir()
    with pytest.raises(RunError, match="found no usable clip"):
        ingest(tmp_path / "a", source=SourceConfig(kind="folder", path=str(tmp_path / "films")))


def test_long_videos_become_windows_of_the_same_media(tmp_path, folder):
    (folder / "long.mp4").write_bytes(video(150, options={"g": "30"}))
    ingest(tmp_path / "a", source=source(folder), max_clip_s=2.0)
    rows = [c for c in table(tmp_path / "a") if c["parent_id"] == "long"]
    assert [(c["clip_id"], round(c["start_s"], 2), round(c["end_s"], 2)) for c in rows] == [
        ("long@0.00-1.67", 0.0, 1.67),
        ("long@1.67-3.33", 1.67, 3.33),
        ("long@3.33-5.00", 3.33, 5.0),
    ]
    assert len({c["media_sha256"] for c in rows}) == len({c["split"] for c in rows}) == 1
    assert not (tmp_path / "a" / "media").exists()


def test_shots_are_cut_where_the_picture_changes(tmp_path):
    """Frames 0-63 are black above, 960-1023 mostly white: one cut, at frame 64 of 30 a second = 2.13 s."""
    import rendered

    path = tmp_path / "films"
    path.mkdir()
    plain = rendered.numbered
    try:
        rendered.numbered = lambda i, h, w: plain(0 if i < 64 else 1023, h, w)
        (path / "a.mp4").write_bytes(video(128))
    finally:
        rendered.numbered = plain
    ingest(tmp_path / "a", source=SourceConfig(kind="folder", path=str(path)), max_clip_s=3.0, window="shots")
    rows = table(tmp_path / "a")
    assert len(rows) == 2
    assert rows[0]["end_s"] == pytest.approx(64 / 30, abs=0.3)


@pytest.mark.parametrize("media", ["proxy", "copy"])
def test_carried_media_are_self_contained_and_on_the_same_clock(tmp_path, folder, films, media):
    report = ingest(tmp_path / "a", source=source(folder), media=media, proxy_height=32)
    rows = {c["clip_id"]: c for c in table(tmp_path / "a")}
    for file in list(folder.glob("*.*")):
        file.unlink()
    for name in ("one", "two", "three", "five"):
        row = rows[name]
        assert row["uri"].startswith("media/shard-00000.tar?")
        wanted = [3, 11, 19]
        fps = 25 if name == "five" else 30
        frames = decode_frames(row["uri"], [(i + 0.5) / fps for i in wanted], base=tmp_path / "a")
        assert [number(f) for f in frames] == wanted
        found = probe(row["uri"], tmp_path / "a")
        assert found.columns()["audible"] == (name == "one")
        if media == "proxy":
            assert found.height == 32
            assert found.keyframe_interval_s < 1.1
    assert report.counts["clips"] == 5


def test_the_benchmark_of_a_captioned_folder_asks_for_test_clips(tmp_path, folder):
    ingest(tmp_path / "a", source=source(folder), splits=ALL_TEST)
    queries = table(tmp_path / "a", "benchmark/queries")
    texts = {q["item"]["text"]: q["positives"] for q in queries if q["dataset"] == "folder-captions"}
    assert texts["film one"] == ["one"]
    assert len(texts) == 5
    assert {q["dataset"] for q in queries} == {"folder-captions", "folder-i2v", "folder-v2v"}
    i2v = next(q["item"] for q in queries if q["dataset"] == "folder-i2v" and q["query_id"] == "one")
    assert i2v["modalities"] == ["image"]
    assert i2v["start_s"] == i2v["end_s"]
    corpus = {(c["dataset"], c["candidate_id"]): c["item"] for c in table(tmp_path / "a", "benchmark/corpus")}
    assert corpus["folder-captions", "one"]["modalities"] == ["video", "audio"]
    assert corpus["folder-captions", "two"]["modalities"] == ["video"]


def test_benchmark_sources_never_enter_the_clips_table(tmp_path, folder, films):
    other = tmp_path / "msrvtt"
    other.mkdir()
    (other / "video1.mp4").write_bytes(films["two.mkv"])
    (other / "t.csv").write_text("key,vid_key,video_id,sentence\nr0,m1,video1,a film\nr1,m2,video2,an absent film\n")
    given_source = SourceConfig(kind="msrvtt", path=str(other))
    ingest(tmp_path / "a", source=source(folder), benchmark_sources=(given_source,), max_reject_fraction=0.5, splits={"train": 1.0})
    assert {c["source"] for c in table(tmp_path / "a")} == {"folder"}
    assert [(c["clip_id"], c["split"]) for c in table(tmp_path / "a", "benchmark/clips")] == [("video1", "test")]
    queries = table(tmp_path / "a", "benchmark/queries")
    assert [(q["query_id"], q["positives"]) for q in queries] == [("r0", ["video1"])]
    rejects = {r["item"] for r in schema.read_table("rejects", tmp_path / "a" / "rejects.parquet")}
    assert rejects == {"video2", "MSRVTT:r1"}


def test_equal_files_and_families_share_a_split(tmp_path, films):
    path = tmp_path / "films"
    path.mkdir()
    rows = []
    for i in range(12):
        (path / f"{i}.mp4").write_bytes(video(6 + i))
        rows.append({"file": f"{i}.mp4", "family": "f" if i < 5 else None})
    (path / "copy.mp4").write_bytes(video(6 + 11))
    (path / "captions.jsonl").write_text("\n".join(json.dumps(r) for r in rows))
    ingest(tmp_path / "a", source=source(path), splits={"train": 0.5, "test": 0.5}, min_clip_s=0.1)
    split = {c["clip_id"]: c["split"] for c in table(tmp_path / "a")}
    assert len({split[str(i)] for i in range(5)}) == 1
    assert split["copy"] == split["11"]
    assert len(set(split.values())) == 2


def test_the_world_renders_once_and_grows_by_what_is_new(tmp_path):
    world = {"train": 3, "val": 1, "test": 4}
    first = ingest(tmp_path / "a", world=WorldConfig(**world))
    assert (first.counts["decoded"], first.counts["split_train"], first.counts["split_test"]) == (8, 3, 4)
    grown = ingest(tmp_path / "c", world=WorldConfig(**{**world, "train": 5}))
    assert (grown.counts["decoded"], grown.counts["reused"]) == (2, 8)
    again = ingest(tmp_path / "b", world=WorldConfig(**world))
    assert (again.counts["decoded"], again.digest) == (0, first.digest)
    datasets = {q["dataset"] for q in table(tmp_path / "a", "benchmark/queries")}
    assert datasets == {f"world-{s}" for s in (*schema.STYLES, "i2v", "v2v")}
    clip = table(tmp_path / "a")[0]
    assert decode_frames(clip["uri"], [1.0], base=tmp_path / "a").shape == (1, 128, 128, 3)
    assert clip["scene"]
    assert {c["split"] for c in table(tmp_path / "a", "benchmark/clips")} == {"test"}


@given(st.dictionaries(st.sampled_from(schema.SPLITS), st.floats(0.01, 1), min_size=1), st.text(), st.integers(0, 9))
def test_a_group_s_split_is_stable_and_one_of_the_configured(shares, group, seed):
    split = hashed_split(group, shares, seed)
    assert split in shares
    assert split == hashed_split(group, dict(reversed(shares.items())), seed)


def test_shares_are_met_on_average():
    """2,000 groups, share 0.25: a standard deviation of 0.0097."""
    drawn = [hashed_split(str(i), {"train": 0.75, "test": 0.25}, 0) for i in range(2000)]
    assert abs(drawn.count("test") / 2000 - 0.25) < 0.035


@given(st.floats(0.5, 500), st.lists(st.floats(0, 500), max_size=12), st.floats(1, 60))
def test_spans_tile_the_video_and_respect_the_maximum(duration_s, cuts, max_s):
    made = spans(duration_s, cuts, max_s)
    assert made[0][0] == 0.0
    assert made[-1][1] == duration_s
    assert all(a[1] == b[0] for a, b in pairwise(made))
    assert all(b - a <= max_s * 1.0001 for a, b in made)
