"""A sound set of tables: world clips without media, UVRD by the real stage, a benchmark of the test split."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from uvrlab import runs
from uvrlab.config import Config
from uvrlab.data import schema
from uvrlab.data.world import sample_scene, to_clip_row
from uvrlab.synthesis.run import run

Row = dict[str, Any]
COUNTS = {"train": 12, "rl": 2, "val": 4, "test": 6}
TABLES = {
    "clips": "in/clips",
    "benchmark_clips": "in/benchmark/clips",
    "corpus": "in/benchmark/corpus",
    "queries": "in/benchmark/queries",
    "pairs": "uvrd/pairs",
    "traces": "uvrd/traces",
    "questions": "uvrd/questions",
}


def clip_row(split: Any, index: int) -> Row:
    scene = sample_scene(split, index)
    audible = scene.track == "sound"
    measured = {"duration_s": 4.0, "fps": 16.0, "width": 128, "height": 128, "rotation": 0, "n_frames": 64}
    sound = {"has_audio": scene.track != "none", "audible": audible, "loudness_db": -20.0 if audible else None}
    media = {"uri": f"media/{scene.clip_id}.mp4", "media_sha256": hashlib.sha256(scene.clip_id.encode()).hexdigest()}
    return {**to_clip_row(scene), **measured, **sound, **media}


def write_benchmark(rows: list[Row], folder: Path) -> None:
    def whole(row: Row) -> Row:
        return schema.item(clip_id=row["clip_id"], start_s=0.0, end_s=4.0, modalities=["video"])

    def query(row: Row) -> Row:
        named = {"dataset": "d", "ability": "CG", "style": "concise", "task": "T2V", "query_id": f"q-{row['clip_id']}"}
        return {**named, "item": schema.item(text=row["caption"], modalities=["text"]), "positives": [row["clip_id"]], "pool": []}

    schema.write_table("clips", rows, folder / "clips")
    schema.write_table(
        "corpus", [{"dataset": "d", "candidate_id": r["clip_id"], "item": whole(r)} for r in rows], folder / "corpus"
    )
    schema.write_table("queries", [query(r) for r in rows], folder / "queries")


@pytest.fixture(scope="session")
def sound_tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("tables")
    rows = [clip_row(split, i) for split, n in COUNTS.items() for i in range(n)]
    schema.write_table("clips", rows, root / "in" / "clips")
    write_benchmark([r for r in rows if r["split"] == "test"], root / "in" / "benchmark")
    (root / "uvrd").mkdir()
    config = Config(run={"workers": 1}, synthesize={"filters": {"enabled": False}})
    with pytest.MonkeyPatch.context() as patch, runs.working("synthesize"):
        patch.setenv("UVR_WORK", str(root / "work"))
        run(config.for_stage("synthesize"), {"clips": root / "in"}, root / "uvrd")
    return root


Edit = Callable[[list[Row]], Any]


@pytest.fixture
def tables(sound_tables: Path, tmp_path: Path) -> Path:
    """A private copy of the sound tables."""
    shutil.copytree(sound_tables, tmp_path / "tables")
    return tmp_path / "tables"


def edit_table(root: Path, name: str, change: Edit) -> None:
    """Read a table, let `change` alter the rows in place, write it back."""
    table, folder = name.replace("benchmark_", ""), root / TABLES[name]
    rows = schema.read_table(table, folder)
    change(rows)
    schema.write_table(table, rows, folder)


@pytest.fixture
def edit(tables: Path) -> Callable[[str, Edit], None]:
    return lambda name, change: edit_table(tables, name, change)
