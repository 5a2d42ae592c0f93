"""Clips a second of `Embedder.encode` against what a user of transformers writes, with equal vectors.

`python bench/encode.py [--clips N] [--out FILE]`. Rendered world clips of 4 s with sound, the shipped nano-omni. Plain: decode, the
backbone's own processor and model, a clip at a time; batched: the same model on batches of 32. Both decode in the process, as loops
do. All three must give equal vectors (cosine >= 0.9999). Median over repeats, taken in turn so that load falls on all alike.
"""

from __future__ import annotations

import argparse
import json
import platform
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from uvrlab.data.decoding import decode_items
from uvrlab.data.items import DecodedItem, Item
from uvrlab.data.spec import DISC_TOKEN
from uvrlab.data.world import render_clip, sample_scene
from uvrlab.models.accept import processor_call
from uvrlab.models.encode import Embedder
from uvrlab.models.modeldir import LoadedBackbone, load_model

BATCH, REPEATS, COSINE = 32, 5, 0.9999


def render(folder: Path, count: int) -> list[Item]:
    """World clips that can be heard, as files."""
    items: list[Item] = []
    for index in range(10 * count):
        scene = sample_scene("test", index)
        if len(items) == count:
            break
        if not scene.sounds:
            continue
        (folder / f"{index}.mp4").write_bytes(render_clip(scene))
        items.append(Item(str(index), video_uri=f"{index}.mp4", end_s=scene.duration_s, sound=True, base=str(folder)))
    return items


class Plain:
    """The loop from the model's documentation: processor, model, state at the read-out token."""

    def __init__(self, embedder: Embedder, loaded: Any, model: Any) -> None:
        self.sampling, self.collate, self.model = embedder.preprocess.sampling, embedder.collate, model
        self.loaded = LoadedBackbone(loaded.spec, model, loaded.processor, "", "")
        self.disc = loaded.tokenizer.get_vocab()[DISC_TOKEN]
        self.prompt = f"{{text}}\n{DISC_TOKEN}\n{loaded.spec.instruction}"

    def vectors(self, items: list[Item], size: int) -> np.ndarray:
        """(N, D) unit vectors, `size` clips at a time."""
        return np.concatenate([self._batch(items[start : start + size]) for start in range(0, len(items), size)])

    def _batch(self, items: list[Item]) -> np.ndarray:
        decoded: list[DecodedItem] = [parts[0] for parts in decode_items(items, self.sampling)]  # type: ignore[index]
        inputs = processor_call(self.loaded, self.collate, decoded, self.prompt)
        with torch.inference_mode():
            self.model.model.rope_deltas = None
            out = self.model.model(**inputs, use_audio_in_video=True)
        at = (inputs["input_ids"] == self.disc).int().argmax(1)
        states = out.last_hidden_state[torch.arange(len(at)), at]
        return torch.nn.functional.normalize(states.float(), dim=-1).numpy()


def cpu_s() -> float:
    """CPU seconds of this process; decode workers that go on living are not in it."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def measure(ways: dict[str, Callable[[], np.ndarray]], repeats: int) -> dict[str, dict[str, Any]]:
    """Wall and CPU seconds of each way, in turn; the first round is a warm-up whose vectors are compared."""
    vectors = {name: way() for name, way in ways.items()}
    first = next(iter(vectors.values()))
    out: dict[str, dict[str, Any]] = {}
    for name, found in vectors.items():
        cosine = float((found * first).sum(1).min())
        if cosine < COSINE:
            raise SystemExit(f"{name}: cosine {cosine:.6f} with the first way; expected at least {COSINE}")
        out[name] = {"min_cosine": round(cosine, 7), "wall_s": [], "cpu_s": []}
    for _ in range(repeats):
        for name, way in ways.items():
            wall, used = time.perf_counter(), cpu_s()
            way()
            out[name]["wall_s"].append(time.perf_counter() - wall)
            out[name]["cpu_s"].append(cpu_s() - used)
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=int, default=96)
    parser.add_argument("--repeats", type=int, default=REPEATS)
    parser.add_argument("--backbone", default="nano-omni")
    parser.add_argument("--out", type=Path, default=Path("bench/results/encode.json"))
    args = parser.parse_args()
    embedder = Embedder.load(args.backbone)
    loaded = load_model(args.backbone)
    for part in (loaded.model.model.visual, loaded.model.model.audio_tower):
        part.config._attn_implementation = "sdpa"  # transformers' own default, not our packed one
    plain = Plain(embedder, loaded, loaded.model)
    with tempfile.TemporaryDirectory() as folder:
        items = render(Path(folder), args.clips)
        ways: dict[str, Callable[[], np.ndarray]] = {
            "plain loop, a clip at a time": lambda: plain.vectors(items, 1),
            f"plain loop, batches of {BATCH}": lambda: plain.vectors(items, BATCH),
            "Embedder.encode": lambda: embedder.encode(items, batch_size=BATCH, workers=2),
        }
        found = measure(ways, args.repeats)
    ours = statistics.median(found["Embedder.encode"]["wall_s"])
    for row in found.values():
        wall, cpu = statistics.median(row.pop("wall_s")), statistics.median(row.pop("cpu_s"))
        row |= {"clips_per_s": round(len(items) / wall, 1), "main_process_cpu_ms_per_clip": round(1000 * cpu / len(items), 1)}
        row["encode_is_faster_by"] = round(wall / ours, 2)
    result = {
        "what": "encode: 4 s clips with sound, 8 frames, decoding included",
        "command": f"python bench/encode.py --clips {args.clips} --repeats {args.repeats}",
        "n_clips": len(items),
        "repeats": args.repeats,
        "torch_threads": torch.get_num_threads(),
        "machine": f"{platform.machine()}, {platform.python_version()}, torch {torch.__version__}",
        "backbone_digest": embedder.digest,
        "ways": found,
    }
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
