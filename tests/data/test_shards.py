"""Shards: byte-equal for equal input, readable by tar, each member a byte range through any filesystem."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import fsspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rendered import video

from uvrlab.data.decode import decode_frames
from uvrlab.data.media import MediaError, media_bytes, media_sha256, open_media, resolve
from uvrlab.data.shards import ShardWriter


def fill(folder: Path, members: dict[str, bytes], max_bytes: int = 1 << 20) -> dict[str, str]:
    with ShardWriter(folder / "media", max_bytes) as shards:
        return {name: shards.add(name, data) for name, data in members.items()}


def test_members_come_back_from_their_byte_range(tmp_path):
    members = {f"clip-{i}.mp4": bytes([i]) * (i * 137) for i in range(20)} | {"x" * 150 + ".mp4": b"long name", "ü.mp4": b"utf"}
    uris = fill(tmp_path, members, max_bytes=12_000)
    assert {n: media_bytes(u, tmp_path) for n, u in uris.items()} == members
    shards = sorted((tmp_path / "media").iterdir())
    assert len(shards) > 1
    assert all(s.stat().st_size <= 12_000 + tarfile.RECORDSIZE for s in shards)
    listed = []
    for shard in shards:
        with tarfile.open(shard) as tar:
            listed += tar.getnames()
    assert listed == list(members)


def test_equal_members_give_equal_bytes(tmp_path):
    for side in ("a", "b"):
        fill(tmp_path / side, {"1.mp4": b"one", "2.mp4": b"two"})
    first, second = ((tmp_path / s / "media" / "shard-00000.tar").read_bytes() for s in ("a", "b"))
    assert first == second


def test_a_second_member_of_one_name_is_refused(tmp_path):
    with ShardWriter(tmp_path / "media") as shards:
        shards.add("a", b"1")
        with pytest.raises(ValueError, match="unique"):
            shards.add("a", b"2")


def test_a_video_in_a_shard_decodes_by_url_on_another_filesystem(tmp_path):
    data = video(10)
    uri = fill(tmp_path, {"other.mp4": video(4), "clip.mp4": data})["clip.mp4"]
    memory = fsspec.filesystem("memory")
    memory.pipe("/run/media/shard-00000.tar", (tmp_path / "media" / "shard-00000.tar").read_bytes())
    local = decode_frames(uri, [0.1, 0.2], base=tmp_path)
    assert (decode_frames(uri, [0.1, 0.2], base="memory://run") == local).all()
    assert (decode_frames(io.BytesIO(data), [0.1, 0.2]) == local).all()
    assert media_sha256(uri, tmp_path) == media_sha256(uri, "memory://run")


@settings(max_examples=50)
@given(st.lists(st.tuples(st.integers(-5, 60), st.integers(0, 20)), max_size=8))
def test_a_window_behaves_like_a_file_of_those_bytes(tmp_path_factory, moves):
    folder = tmp_path_factory.mktemp("window")
    data = bytes(range(50))
    uri = fill(folder, {"pad": b"?" * 700, "data": data})["data"]
    plain = io.BytesIO(data)
    with open_media(uri, folder) as window:
        for to, n in moves:
            assert window.seek(max(0, to)) == plain.seek(max(0, to))
            assert window.read(n) == plain.read(n)
        assert window.seek(-3, io.SEEK_END) == 47
        assert window.read() == data[-3:]


def test_uris_resolve_against_the_run_directory(tmp_path):
    assert resolve("media/a.mp4", tmp_path) == str(tmp_path / "media/a.mp4")
    assert resolve("/abs/a.mp4", tmp_path) == "/abs/a.mp4"
    assert resolve("s3://bucket/a.mp4", tmp_path) == "s3://bucket/a.mp4"
    assert resolve("a.mp4", "s3://bucket/run/") == "s3://bucket/run/a.mp4"


def test_a_missing_file_is_a_media_error(tmp_path):
    with pytest.raises(MediaError) as error:
        open_media("nothing.mp4", tmp_path)
    assert error.value.reason == "missing"
