"""Time and memory of `validate` on tables without media: 1.55 million pairs over 100,000 clips, and a tenth of it.

`python bench/validate_scale.py [--out FILE] [--sizes 155000 1550000]`. Tables are rendered once from templates, written shard by
shard, and judged by the code of the stage, each size in a process of its own. Near-duplicates run on random hashes with one clip
in a hundred copied with noise, and once more on 20,000 clips that are all the same. Sampling plans 1,000 batches of 1,024
pairs.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from uvrlab.config import ValidateConfig
from uvrlab.data import schema
from uvrlab.data.phash import near

PAIRS_A_CLIP, SHARD, JUDGED = 15.5, 50_000, 2_000
WORDS = np.array([f"{a}{b}" for a in ("ba", "ke", "li", "mo", "nu", "ra", "se", "ti", "vo", "zu") for b in "abcdefghijklmnopqrst"])
ITEM = schema.ITEM


def texts(n: int, low: int, high: int, rng: np.random.Generator) -> pa.Array:
    """`n` texts of `low` to `high` words."""
    lengths = rng.integers(low, high + 1, n)
    words = WORDS[rng.integers(0, len(WORDS), int(lengths.sum()))].tolist()
    ends = np.cumsum(lengths).tolist()
    return pa.array([" ".join(words[e - k : e]) for e, k in zip(ends, lengths.tolist(), strict=True)])


def items(n: int, text: pa.Array | None, clips: list[str] | None, end_s: float | None, modalities: list[str]) -> pa.Array:
    empty = pa.nulls(n, pa.string())
    times = [pa.nulls(n, pa.float64()) if end_s is None else pa.array(np.full(n, t)) for t in (0.0, end_s)]
    columns = [text if text is not None else empty, empty, pa.array(clips) if clips else empty, *times, pa.array([modalities] * n)]
    return pa.StructArray.from_arrays([c.cast(f.type) for c, f in zip(columns, ITEM, strict=True)], fields=list(ITEM))


def table(name: str, n: int, **columns: Any) -> pa.Table:
    """A table with the given columns, the others null."""
    known = schema.TABLES[name]
    made = [columns[f.name] if f.name in columns else pa.nulls(n, f.type) for f in known]
    made = [c if isinstance(c, pa.Array) else pa.array([c] * n, f.type) for c, f in zip(made, known, strict=True)]
    return pa.Table.from_arrays([c.cast(f.type) for c, f in zip(made, known, strict=True)], schema=schema._schema(name))


def clips(prefix: str, n: int, split: str, rng: np.random.Generator) -> pa.Table:
    names = [f"{prefix}-{i:07d}" for i in range(n)]
    sha = [bytes(row).hex() for row in rng.integers(0, 256, (n, 32), np.uint8)]
    sizes = {
        "start_s": 0.0,
        "end_s": 8.0,
        "duration_s": 8.0,
        "fps": 25.0,
        "width": 320,
        "height": 240,
        "rotation": 0,
        "n_frames": 200,
    }
    sizes |= {"rotation": 0, "n_frames": 200}
    sound = {"has_audio": True, "audible": True, "loudness_db": -20.0}
    named = {"clip_id": pa.array(names), "parent_id": pa.array(names), "uri": pa.array(names), "media_sha256": pa.array(sha)}
    return table("clips", n, **named, **sizes, **sound, source=prefix, licence="none", split=split)


def render(root: Path, n_pairs: int) -> None:
    """Clips, pairs, traces (one a pair), questions and a benchmark of `JUDGED` queries under `root`."""
    rng, n_clips = np.random.default_rng(0), round(n_pairs / PAIRS_A_CLIP)
    schema.write_table("clips", clips("train", n_clips, "train", rng), root / "clips" / "clips")
    for shard, start in enumerate(range(0, n_pairs, SHARD)):
        n = min(SHARD, n_pairs - start)
        ids, own = pa.array([f"p-{i:08d}" for i in range(start, start + n)]), (np.arange(start, start + n) % n_clips).tolist()
        target = items(n, None, [f"train-{c:07d}" for c in own], 8.0, ["video", "audio"])
        pairs = {"query": items(n, texts(n, 10, 25, rng), None, None, ["text"]), "target": target, "pair_id": ids}
        made = table("pairs", n, **pairs, task="T2V", ability="CG", style="concise", split="train", provider="bench")
        folder = root / "uvrd"
        for name, rows in (("pairs", made), ("traces", table("traces", n, pair_id=ids, side="query", think="so", answer="yes"))):
            (folder / name).mkdir(parents=True, exist_ok=True)
            schema.write_file(name, rows, folder / name / f"part-{shard:05d}.parquet")
    schema.write_table("questions", [], root / "uvrd" / "questions")
    bench, names = root / "clips" / "benchmark", pa.array([f"test-{i:07d}" for i in range(JUDGED)])
    schema.write_table("clips", clips("test", JUDGED, "test", rng), bench / "clips")
    whole = items(JUDGED, None, names.to_pylist(), 8.0, ["video"])
    schema.write_table("corpus", table("corpus", JUDGED, dataset="d", candidate_id=names, item=whole), bench / "corpus")
    asked = {"query_id": names, "positives": pa.array([[name] for name in names.to_pylist()]), "pool": pa.array([[]] * JUDGED)}
    query = items(JUDGED, texts(JUDGED, 10, 25, rng), None, None, ["text"])
    made = table("queries", JUDGED, dataset="d", ability="CG", style="concise", task="T2V", item=query, **asked)
    schema.write_table("queries", made, bench / "queries")


def hashes(n: int) -> tuple[np.ndarray, np.ndarray]:
    """`n` clips of 8 random frame hashes, and `n` // 100 copies with three bits a frame flipped."""
    rng = np.random.default_rng(1)
    ours = rng.integers(1, 2**64, (n, 8), np.uint64)
    copies = ours[: n // 100].copy()
    for _ in range(3):
        copies ^= np.uint64(1) << rng.integers(0, 64, copies.shape, np.uint64)
    return ours, copies


def measure(root: Path, n_pairs: int) -> dict[str, Any]:
    """Seconds of each part on the clock and of CPU (a busy machine inflates the former), and peak memory of this process."""
    from uvrlab.training.pairs import Pair, plan_batches
    from uvrlab.validation import leakage, overlap
    from uvrlab.validation.frames import read_frames
    from uvrlab.validation.suites import _library, checks, judge

    _library()
    spent: dict[str, float] = {}
    cpu: dict[str, float] = {}
    peaks: dict[str, float] = {}

    def timed(name: str, work: Callable[[], Any]) -> Any:
        start, start_cpu = time.perf_counter(), time.process_time()
        result = work()
        spent[name] = round(time.perf_counter() - start, 2)
        cpu[name] = round(time.process_time() - start_cpu, 2)
        peaks[name] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2)
        return result

    sides = root / "clips", root / "uvrd"
    frames = timed("read and claims", lambda: read_frames(*sides, root / "clips"))
    own = ValidateConfig()
    verdicts = timed("Great Expectations and data docs", lambda: judge(frames, checks(own), root / "docs"))
    failed = [str(v) for v in verdicts if not v.passed]
    frames.clear()
    train = timed("training side", lambda: leakage.train_side(*sides))
    judged = leakage.judged_side(root / "clips")
    leaks = timed("leakage by content, video, combination", lambda: leakage.find_leaks(train, judged))
    leaks += timed("leakage by wording", lambda: leakage.text_leaks(root / "uvrd", overlap.judged_texts(root / "clips")))
    n_clips = len(train)
    ours, copies = hashes(n_clips)
    pairs, _ = timed("near-duplicates within", lambda: near(ours, ours, 6.0))
    found, _ = timed("near-duplicates across", lambda: near(ours, copies, 6.0))
    same = np.repeat(ours[:1], 20_000, axis=0)
    timed("near-duplicates, 20,000 equal clips", lambda: near(same, same, 6.0))
    rows = [Pair(str(i), "T2V/concise", "train", None, None, i % n_clips) for i in range(n_pairs)]  # type: ignore[arg-type]
    timed("sampling 1,000 batches of 1,024", lambda: plan_batches(rows, 1000, 1024, 0))
    return {
        "pairs": n_pairs,
        "clips": n_clips,
        "cpu_seconds": cpu,
        "cpu_seconds_together": round(sum(cpu.values()), 1),
        "seconds": spent,
        "peak_memory_gib_so_far": peaks,
        "failed": failed,
        "leaks": len(leaks),
        "copies found": f"{len(found)} of {len(copies)}",
        "chance pairs": len(pairs),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "validate_scale.json")
    parser.add_argument("--sizes", type=int, nargs="+", default=[155_000, 1_550_000])
    parser.add_argument("--one", type=int, help="measure one size in this process and print it")
    args = parser.parse_args()
    logging.disable(logging.INFO)
    if args.one:
        with tempfile.TemporaryDirectory() as folder:
            subprocess.run([sys.executable, "-c", RENDER, folder, str(args.one)], check=True, cwd=Path(__file__).parent)
            print(json.dumps(measure(Path(folder), args.one)))
        return
    sizes = []
    for size in args.sizes:
        done = subprocess.run([sys.executable, __file__, "--one", str(size)], check=True, capture_output=True, text=True)
        sizes.append(json.loads(done.stdout.strip().splitlines()[-1]))
    result = {"command": "python bench/validate_scale.py", "cores": os.cpu_count(), "judged queries": JUDGED, "sizes": sizes}
    text = json.dumps(result, indent=1)
    print(text)
    args.out.write_text(text + "\n")


RENDER = "import sys, pathlib, validate_scale as v; v.render(pathlib.Path(sys.argv[1]), int(sys.argv[2]))"  # its memory is not ours

if __name__ == "__main__":
    main()
