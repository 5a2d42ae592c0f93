"""What a judge costs and whether it hears: `python bench/judge.py --model DIR [--clips N] [--out FILE]`.

Cuts: spans a second from arrays in memory against one external process a span, which cuts the file and decodes the piece. Judges:
claims a second of `embedder` and `world`. Hearing: a caption names a sound of its span, then the clip's sound is swapped for one of
another kind. AUC of the true clip's score over the swapped one's, for a judge that hears and for the same judge without the sound.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from uvrlab.data.audio import decode_audio
from uvrlab.data.decode import decode_frames
from uvrlab.data.questions import Asked
from uvrlab.data.world import Scene, captions, questions, render_clip, sample_scene, stable_rng
from uvrlab.data.world.tables import SOUNDS
from uvrlab.data.world.words import SOUND_WORDS
from uvrlab.models.encode import Embedder
from uvrlab.training.judges import Claim, Judge, auc
from uvrlab.training.judges_embedder import EmbedderJudge
from uvrlab.training.judges_world import WorldJudge
from uvrlab.training.spans import Footage, cut

RATE_HZ, FPS = 16_000, 4.0
# A process a span, as the released code runs ffmpeg: open, seek, decode the piece, write it to a file of its own.
EXTERNAL = """
import sys
import numpy as np
from uvrlab.data.audio import decode_audio
from uvrlab.data.decode import decode_frames
path, start, end, out = sys.argv[1], float(sys.argv[2]), float(sys.argv[3]), sys.argv[4]
frames = decode_frames(path, [start + (i + 0.5) * (end - start) / 8 for i in range(8)])
np.savez(out, frames=frames, wave=decode_audio(path, start, end))
"""


def scenes(split: Any, count: int) -> list[Scene]:
    """Scenes with a sound, one of a family."""
    found, index = [], 0
    while len(found) < count:
        scene = sample_scene(split, index, family_size=1)
        found += [scene] if scene.track == "sound" and scene.sounds else []
        index += 1
    return found


def filmed(scene: Scene, folder: Path, name: str) -> tuple[Footage, Path]:
    """The clip through a codec, decoded once."""
    path = folder / f"{name}.mp4"
    path.write_bytes(render_clip(scene))
    times = [(i + 0.5) / FPS for i in range(round(scene.duration_s * FPS))]
    wave = decode_audio(str(path), 0.0, scene.duration_s, rate_hz=RATE_HZ)
    return Footage(name, decode_frames(str(path), times), FPS, wave, RATE_HZ, scene.duration_s), path


def swapped(scene: Scene) -> Scene:
    """The same clip with another kind of sound in the place of each."""
    other = next(kind for kind in SOUNDS if kind not in {s.kind for s in scene.sounds})
    return replace(scene, sounds=tuple(replace(s, kind=other, event=None) for s in scene.sounds))


def rate(work: Callable[[], Any], count: int, repeats: int) -> dict[str, float]:
    """Wall milliseconds of one of `count` things: median of `repeats`, after one that does not count."""
    work()
    spent = []
    for _ in range(repeats):
        started = time.perf_counter()
        work()
        spent.append(time.perf_counter() - started)
    each = statistics.median(spent) / count
    return {"ms_each": round(1000 * each, 3), "a_second": round(1 / each, 2), "min_ms": round(1000 * min(spent) / count, 3)}


def cutting(films: list[tuple[Footage, Path]], folder: Path, repeats: int) -> dict[str, Any]:
    """Spans of 1 s, in memory and by an external process each."""
    spans = [(0.5 + 0.1 * (i % 20), 1.5 + 0.1 * (i % 20)) for i in range(len(films))]

    def inside() -> None:
        for (film, _), span in zip(films, spans, strict=True):
            cut(film, [span])

    def outside() -> None:
        for (_, path), span in zip(films[:6], spans, strict=False):
            command = [sys.executable, "-c", EXTERNAL, str(path), str(span[0]), str(span[1]), str(folder / "piece.npz")]
            subprocess.run(command, check=True)

    memory, process = rate(inside, len(films), repeats), rate(outside, 6, 3)
    return {"memory": memory, "process_a_span": process, "times_faster": round(process["ms_each"] / memory["ms_each"])}


def hearing(judges: dict[str, tuple[Judge, Judge]], true: list[Claim], false: list[Claim]) -> dict[str, Any]:
    """AUC of each judge: (on the true clips, on the swapped ones)."""
    found = {}
    for name, (on_true, on_swapped) in judges.items():
        high, low = (np.array(judge.consistency(c), float) for judge, c in ((on_true, true), (on_swapped, false)))
        lower = float((low < high).mean() + (low == high).mean() / 2)
        found[name] = {
            "auc": round(auc(high, low), 4),
            "swapped_is_lower": round(lower, 4),
            "mean_true": round(float(high.mean()), 4),
        }
        found[name] |= {"mean_swapped": round(float(low.mean()), 4), "n": len(high)}
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True, help="a model directory that embeds, such as runs/sft/model")
    parser.add_argument("--clips", type=int, default=100)
    parser.add_argument("--references", type=int, default=128)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path("bench/results/judge.json"))
    args = parser.parse_args()
    embedder = Embedder.load(args.model)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        known = scenes("train", args.references)
        texts = [captions(scene, stable_rng("bench", scene.clip_id))["concise"] for scene in known]
        asked = [next(iter(questions(scene, stable_rng("bench", scene.clip_id)))) for scene in known]
        plain = [Asked(q.question_id, q.clip_id, q.split, q.question, q.options, q.answer, q.needs) for q in asked]
        references = [filmed(scene, folder, scene.clip_id)[0] for scene in known]
        ears = EmbedderJudge.calibrated(embedder, references, texts, plain)
        deaf = EmbedderJudge.calibrated(embedder, [replace(film, wave=None) for film in references], texts, plain)
        tested = scenes("test", args.clips)
        films = [filmed(scene, folder, scene.clip_id) for scene in tested]
        others = [filmed(swapped(scene), folder, scene.clip_id)[0] for scene in tested]
        told = [(scene.sounds[0], f"{SOUND_WORDS[scene.sounds[0].kind][0]} is heard.") for scene in tested]
        true = [Claim(film, (s.start_s, s.end_s), text) for (film, _), (s, text) in zip(films, told, strict=True)]
        false = [replace(claim, footage=film) for claim, film in zip(true, others, strict=True)]
        world = WorldJudge({scene.clip_id: scene for scene in tested})
        lied = WorldJudge({scene.clip_id: swapped(scene) for scene in tested})
        mute = [[replace(c, footage=replace(c.footage, wave=None)) for c in claims] for claims in (true, false)]
        heard = hearing({"embedder": (ears, ears), "world": (world, lied)}, true, false)
        heard |= {"embedder, picture alone": hearing({"": (deaf, deaf)}, *mute)[""]}
        result = {
            "what": "judges of grounded responses: 4 s clips, spans of one sound, embedder calibrated on shuffled pairs",
            "command": f"python bench/judge.py --model MODEL --clips {args.clips} --references {args.references}",
            "machine": f"{platform.machine()}, {platform.python_version()}",
            "model_digest": embedder.digest,
            "calibration": {"captions_auc": round(ears.captions.curve.auc, 4), "answers_auc": round(ears.answers.curve.auc, 4)},
            "cutting": cutting(films, folder, args.repeats),
            "claims": {
                "embedder": rate(lambda: ears.consistency(true), len(true), args.repeats),
                "world": rate(lambda: world.consistency(true), len(true), args.repeats),
            },
            "hearing": heard,
        }
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
