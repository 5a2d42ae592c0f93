"""Five faults planted in sound tables and media, and the checks that fail for each.

`python bench/planted_faults.py [--out FILE]`. A small world is ingested and synthesized; each fault is planted in a copy, and the
whole of `validate` judges it. A fault counts as caught when the check named for it fails; `also` lists whatever else failed.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av

from uvrlab.config import Config, ValidateConfig
from uvrlab.data import schema
from uvrlab.data.media import open_media
from uvrlab.runs import sha256_file
from uvrlab.stages import run_stage
from uvrlab.validation.run import inspect

WORLD = {"train": 16, "val": 4, "test": 8}
Row = dict[str, Any]


def reencode(source: Path, uri: str, target: Path) -> None:
    """The picture of a clip again, at a tenth of the bitrate."""
    with open_media(uri, source) as file, av.open(file) as given, av.open(str(target), "w") as out:
        video = given.streams.video[0]
        stream = out.add_stream("libx264", rate=video.average_rate, options={"crf": "40", "preset": "veryfast"})
        stream.width, stream.height, stream.pix_fmt = video.width, video.height, "yuv420p"
        for frame in given.decode(video):
            frame.pict_type = av.video.frame.PictureType.NONE
            out.mux(stream.encode(frame))
        out.mux(stream.encode())


def edit(folder: Path, table: str, change: Callable[[list[Row]], Any]) -> None:
    rows = schema.read_table(table, folder / table)
    change(rows)
    shutil.rmtree(folder / table)
    schema.write_table(table, rows, folder / table)


def first(rows: list[Row], test: Callable[[Row], Any]) -> Row:
    return next(row for row in rows if test(row))


def leaked_clip(clips: Path, uvrd: Path) -> None:
    """A training clip's file becomes a re-encoded test clip: other bytes, the same film."""
    rows = schema.read_table("clips", clips / "clips")
    judged = first(rows, lambda r: r["split"] == "test")
    reencode(clips, judged["uri"], clips / "leaked.mp4")
    put = {"uri": "leaked.mp4", "media_sha256": sha256_file(clips / "leaked.mp4")}
    edit(clips, "clips", lambda rows: first(rows, lambda r: r["split"] == "train").update(put))


def of_text(row: Row) -> bool:
    return row["task"] == "T2V"


FAULTS: dict[str, tuple[Callable[[Path, Path], None], str]] = {
    "leaked clip re-encoded at another bitrate": (leaked_clip, "no judged clip looks like a clip of the training side"),
    "duplicated pair": (
        lambda clips, uvrd: edit(uvrd, "pairs", lambda rows: rows.append({**first(rows, of_text), "pair_id": "copy"})),
        "no pair says the same twice",
    ),
    "span past the end": (
        lambda clips, uvrd: edit(uvrd, "pairs", lambda rows: first(rows, of_text)["target"].update(end_s=9.0)),
        "the target's span is inside its clip",
    ),
    "empty caption": (
        lambda clips, uvrd: edit(uvrd, "pairs", lambda rows: first(rows, of_text)["query"].update(text=" ")),
        "the query has the modalities that it names",
    ),
    'silent "audible" clip': (
        lambda clips, uvrd: edit(clips, "clips", lambda rows: first(rows, lambda r: r["audible"]).update(loudness_db=-120.0)),
        "audible agrees with the measured loudness",
    ),
}


def build(root: Path) -> None:
    """Sound clips, benchmark and UVRD under `root`."""
    config = Config(ingest={"world": WORLD})
    run_stage(config.for_stage("ingest"), {}, root / "clips")
    run_stage(config.for_stage("synthesize"), {"clips": root / "clips"}, root / "uvrd")


def judge(root: Path, plant: Callable[[Path, Path], None] | None) -> list[str]:
    """The checks that fail once `plant` has damaged a copy; the benchmark stays as it was ingested."""
    with tempfile.TemporaryDirectory(dir=root) as folder:
        clips, uvrd = Path(folder) / "clips", Path(folder) / "uvrd"
        shutil.copytree(root / "clips", clips)
        shutil.copytree(root / "uvrd", uvrd)
        if plant is not None:
            plant(clips, uvrd)
        found = inspect(ValidateConfig(), {"clips": clips, "uvrd": uvrd, "benchmark": root / "clips"})
    return [verdict.name for verdict in found.failed]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "planted_faults.json")
    args = parser.parse_args()
    logging.disable(logging.INFO)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        os.environ["UVR_WORK"] = str(root / "work")
        build(root)
        rows = [{"fault": "none", "check": None, "caught": None, "also": judge(root, None)}]
        for fault, (plant, check) in FAULTS.items():
            failed = judge(root, plant)
            rows.append({"fault": fault, "check": check, "caught": check in failed, "also": [f for f in failed if f != check]})
    result = {"command": "python bench/planted_faults.py", "world": WORLD, "faults": rows}
    text = json.dumps(result, indent=1)
    print(text)
    args.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
