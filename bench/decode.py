"""CPU seconds a clip for 8 frames: ours against plain PyAV, seeking for each frame, and against reading everything in order.

`python bench/decode.py [--out FILE]`. Rendered 320x240 H.264 at 30 frames a second, 4 s and 60 s, with a keyframe every half second
and with x264's default of 250 frames. All three must return equal arrays. CPU time of the whole process, median of `REPEATS`.
"""

from __future__ import annotations

import argparse
import io
import json
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import av
import numpy as np

from uvrlab.data.decode import decode_frames
from uvrlab.data.sampling import sample_times

HEIGHT, WIDTH, FPS, FRAMES, REPEATS = 240, 320, 30, 8, 9
SIZE = (112, 144)
GROUPS = {"short GOP (15 frames)": 15, "long GOP (250 frames)": 250}
LENGTHS_S = (4, 60)


def render(seconds: int, group: int) -> bytes:
    """A camera that pans over a textured ground while a bright box bounces, with some sensor noise: B frames as in real footage."""
    target, rng = io.BytesIO(), np.random.default_rng(0)
    coarse = rng.normal(128, 60, (HEIGHT // 8, WIDTH // 4, 3)).astype(np.float32)
    ground = np.clip(np.kron(coarse, np.ones((8, 8, 1), np.float32)), 0, 255)  # twice as wide as the picture
    noise = rng.normal(0, 1.5, (7, HEIGHT, WIDTH, 1)).astype(np.float32)
    with av.open(target, "w", format="mp4") as out:
        stream = out.add_stream("libx264", rate=FPS, options={"g": str(group), "preset": "medium", "crf": "23"})
        stream.width, stream.height, stream.pix_fmt, stream.thread_count = WIDTH, HEIGHT, "yuv420p", 1
        for i in range(seconds * FPS):
            pan = int((WIDTH / 2) * (1 + np.sin(i / FPS * 0.7)))
            picture = ground[:, pan : pan + WIDTH] + noise[i % 7]
            top, left = int(90 + 80 * np.sin(i / 11)), int(140 + 120 * np.sin(i / 17))
            picture[top : top + 40, left : left + 40] = (240, 220, 40)
            out.mux(stream.encode(av.VideoFrame.from_ndarray(np.clip(picture, 0, 255).astype(np.uint8), format="rgb24")))
        out.mux(stream.encode())
    return target.getvalue()


def ours(path: str, times_s: Sequence[float]) -> np.ndarray:
    return decode_frames(path, times_s, size=SIZE)


def plain_seeking(path: str, times_s: Sequence[float]) -> np.ndarray:
    """What a user writes: for every time, seek back to a keyframe and decode up to the frame."""
    out = []
    with av.open(path) as container:
        stream = container.streams.video[0]
        for time_s in times_s:
            tick = int(time_s / stream.time_base)
            container.seek(tick, stream=stream, backward=True)
            best = None
            for frame in container.decode(stream):
                if frame.pts > tick:
                    break
                best = frame
            out.append(_rgb(best))
    return np.stack(out)


def sequential(path: str, times_s: Sequence[float]) -> np.ndarray:
    """Decode all frames in order; convert only the wanted ones."""
    found: dict[int, Any] = {}
    with av.open(path) as container:
        stream = container.streams.video[0]
        ticks = [int(t / stream.time_base) for t in times_s]
        for frame in container.decode(stream):
            for tick in ticks:
                if frame.pts <= tick:
                    found[tick] = frame
        return np.stack([_rgb(found[t]) for t in ticks])


def _rgb(frame: Any) -> np.ndarray:
    return frame.reformat(width=SIZE[1], height=SIZE[0], format="rgb24", interpolation="BILINEAR").to_ndarray()


WAYS: dict[str, Callable[[str, Sequence[float]], np.ndarray]] = {
    "ours": ours,
    "plain seeking": plain_seeking,
    "sequential": sequential,
}


def cpu_seconds(work: Callable[[], Any]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def compare(path: str, seconds: int) -> dict[str, Any]:
    """Median CPU seconds of each way, taking turns, after one round that checks that all arrays are equal."""
    times_s = sample_times(float(seconds), FRAMES)
    first = {name: way(path, times_s) for name, way in WAYS.items()}
    assert all(np.array_equal(first["ours"], a) for a in first.values()), "the three ways disagree"
    spent: dict[str, list[float]] = {name: [] for name in WAYS}
    for _ in range(REPEATS):
        for name, way in WAYS.items():
            spent[name].append(cpu_seconds(lambda way=way: way(path, times_s)))
    medians = {name: statistics.median(values) for name, values in spent.items()}
    ratios = {f"{name} / ours": round(m / medians["ours"], 2) for name, m in medians.items() if name != "ours"}
    return {"cpu_s": {n: round(m, 5) for n, m in medians.items()}, "ratios": ratios}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "decode.json")
    args = parser.parse_args()
    rows = {}
    with tempfile.TemporaryDirectory() as folder:
        for seconds in LENGTHS_S:
            for name, group in GROUPS.items():
                path = Path(folder) / f"{seconds}-{group}.mp4"
                path.write_bytes(render(seconds, group))
                rows[f"{seconds} s, {name}"] = compare(str(path), seconds)
    result = {
        "command": "python bench/decode.py",
        "unit": "CPU seconds a clip for 8 frames, median",
        "repeats": REPEATS,
        "picture": f"{WIDTH}x{HEIGHT} at {FPS} frames/s, frames resized to {SIZE[1]}x{SIZE[0]}",
        "av": av.__version__,
        "machine": platform.machine(),
        "rows": rows,
    }
    words = json.dumps(result, indent=1)
    print(words)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(words + "\n")


if __name__ == "__main__":
    main()
