"""A run says where the media are that it refers to, outside its digest: equal wherever the folder lies, found after a move."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from rendered import video

from uvrlab.config import Config, IngestConfig, SourceConfig
from uvrlab.data import schema
from uvrlab.data.decode import decode_frames
from uvrlab.data.media import MediaError, open_media
from uvrlab.data.places import rooted, write_places
from uvrlab.runs import PLACES, RunDir, RunError, StageReport
from uvrlab.stages import run_stage


def folder(path: Path) -> Path:
    """Two films, a captions file, and faults of every kind whose words could hold a path."""
    path.mkdir(parents=True)
    (path / "sub").mkdir()
    (path / "one.mp4").write_bytes(video(12))
    (path / "sub" / "zwei ü.mp4").write_bytes(video(16))
    (path / "text.mp4").write_text("hello")
    (path / "cut.mp4").write_bytes(video(12)[:900])
    rows = [{"file": "one.mp4", "caption": "a film"}, {"file": "gone.mp4", "caption": "another"}]
    (path / "captions.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    return path


def ingest(out: Path, path: Path, **more) -> StageReport:
    source = SourceConfig(kind="folder", path=str(path), captions="captions.jsonl")
    own = IngestConfig(source=source, splits={"test": 1.0}, max_reject_fraction=0.9, **more)
    return run_stage(Config(ingest=own).for_stage("ingest"), {}, out)


@pytest.mark.parametrize("media", ["reference", "proxy", "copy"])
def test_the_same_folder_at_two_places_gives_one_digest(tmp_path: Path, media: str) -> None:
    here, there = folder(tmp_path / "here"), tmp_path / "elsewhere" / "films"
    shutil.copytree(here, there)
    runs = [ingest(tmp_path / f"run{i}", path, media=media) for i, path in enumerate((here, there))]
    assert runs[0].digest == runs[1].digest
    assert RunDir(tmp_path / "run0").manifest.files == RunDir(tmp_path / "run1").manifest.files
    for file in (f for f in (tmp_path / "run0").rglob("*.parquet")):
        assert str(tmp_path).encode() not in file.read_bytes()


def test_a_moved_folder_is_ingested_again_to_the_same_digest(tmp_path: Path) -> None:
    films, out = folder(tmp_path / "films"), tmp_path / "run"
    before = ingest(out, films)
    films.rename(tmp_path / "moved")
    uri = next(row["uri"] for row in schema.read_table("clips", out / "clips") if row["clip_id"] == "sub/zwei ü")
    with pytest.raises(MediaError, match=r"found no folder at .*films; put it back, .*places.json, or run ingest again"):
        decode_frames(uri, [0.1], base=out)
    after = ingest(out, tmp_path / "moved")
    assert (after.digest, after.counts["decoded"]) == (before.digest, 0)
    assert decode_frames(uri, [0.1], base=out).shape[0] == 1


def test_a_copied_run_finds_its_media_and_one_line_leads_it_to_a_new_place(tmp_path: Path) -> None:
    films = folder(tmp_path / "films")
    ingest(tmp_path / "run", films)
    shutil.copytree(tmp_path / "run", tmp_path / "copy")
    shutil.move(films, tmp_path / "moved")
    write_places(tmp_path / "copy", {"source": str(tmp_path / "moved")})
    RunDir(tmp_path / "copy").verify()
    assert open_media("root:source/one.mp4", tmp_path / "copy").read() == (tmp_path / "moved" / "one.mp4").read_bytes()


def test_two_sources_have_roots_of_their_own(tmp_path: Path) -> None:
    bench = tmp_path / "bench"
    bench.mkdir()
    (bench / "asked.mp4").write_bytes(video(20))
    (bench / "test.csv").write_text("video_id,sentence\nasked,a film\n")
    source = SourceConfig(kind="msrvtt", path=str(bench))
    ingest(tmp_path / "run", folder(tmp_path / "films"), benchmark_sources=(source,))
    roots = json.loads((tmp_path / "run" / PLACES).read_text())
    assert roots == {"source": str(tmp_path / "films"), "benchmark-0": str(bench)}
    judged = {row["uri"] for row in schema.read_table("clips", tmp_path / "run" / "benchmark" / "clips")}
    assert {"root:source/one.mp4", "root:benchmark-0/asked.mp4"} <= judged


def test_one_clip_id_in_two_sources_is_an_error(tmp_path: Path) -> None:
    bench = tmp_path / "bench"
    bench.mkdir()
    (bench / "one.mp4").write_bytes(video(20))
    (bench / "test.csv").write_text("video_id,sentence\none,a film\n")
    with pytest.raises(RunError, match="'one'; rename"):
        ingest(tmp_path / "run", folder(tmp_path / "films"), benchmark_sources=(SourceConfig(kind="msrvtt", path=str(bench)),))


def test_a_root_that_the_run_does_not_name_is_an_error_with_a_remedy(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match=r"names no such folder; run ingest again"):
        open_media("root:source/one.mp4", tmp_path)


def test_urls_are_roots_too(tmp_path: Path) -> None:
    import fsspec

    fsspec.filesystem("memory").pipe("/roots/a b.mp4", b"media")
    write_places(tmp_path, {"source": "memory:///roots"})
    uri = rooted("memory:///roots/a b.mp4", "memory:///roots", "source")
    assert uri == "root:source/a b.mp4"
    assert open_media(uri, tmp_path).read() == b"media"
