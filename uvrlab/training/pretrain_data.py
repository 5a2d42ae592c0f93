"""What the nano backbone reads: procedural clips held as small arrays, and fresh conversations about them for every visit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from io import BytesIO
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from uvrlab.config import Section, Share
from uvrlab.data import instructions, world
from uvrlab.data.items import DecodedItem
from uvrlab.data.packing import Turn
from uvrlab.data.schema import Split

N_FRAMES, SIDE_PX, RATE_HZ = 8, 112, 16000
SILENT = "silent"


class Mix(Section):
    """Shares of what a row shows the model, and of what is said about a clip with picture."""

    warm_view: dict[str, Share] = {"image": 0.5, "picture": 0.4, "sound": 0.1}  # short rows first: what things are and do
    warm_turn: dict[str, Share] = {"caption": 0.3, "trace": 0.7}
    view: dict[str, Share] = {"both": 0.4, "picture": 0.08, "sound": 0.04, "image": 0.12, "text": 0.36}
    styles: dict[str, Share] = {"concise": 0.4, "rich": 0.1, "abstract": 0.1, "keywords": 0.25, "partial": 0.15}
    read: dict[str, Share] = {"concise": 0.25, "rich": 0.15, "abstract": 0.2, "keywords": 0.15, "partial": 0.15, "frame": 0.1}
    turn: dict[str, Share] = {"caption": 0.3, "question": 0.2, "ground": 0.25, "trace": 0.25}
    text: dict[str, Share] = {"rewrite": 0.2, "trace": 0.8}  # of a text; of a picture its caption or a thought about it
    image: dict[str, Share] = {"caption": 0.5, "trace": 0.5}
    jitter_s: float = 0.4  # how sloppily spans of grounded responses are annotated


class ClipBank:
    """Scenes with their decoded frames (n, 8, 112, 112, 3) uint8 and sound (n, samples) int16, memory-mapped in a folder."""

    def __init__(self, folder: Path, split: Split, count: int, seed: int, family_size: int = 1) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        listing = folder / "scenes.jsonl"
        if not listing.exists():  # arrays and scenes stay together even if the world is changed later
            drawn = (world.sample_scene(split, i, seed, family_size=family_size) for i in range(count))
            partial = listing.with_suffix(".tmp")
            partial.write_text("".join(scene.to_json() + "\n" for scene in drawn))
            partial.replace(listing)
        self.scenes = [world.Scene.from_json(line) for line in listing.read_text().splitlines()]
        self.folder, self.samples = folder, round(self.scenes[0].duration_s * RATE_HZ)

    def fill(self, workers: int, progress: Any = None) -> ClipBank:
        """Render and decode what is missing; a bank that is complete is only opened."""
        shapes = {
            "frames.npy": ((len(self.scenes), N_FRAMES, SIDE_PX, SIDE_PX, 3), np.uint8),
            "waves.npy": ((len(self.scenes), self.samples), np.int16),
            "done.npy": ((len(self.scenes),), np.bool_),
        }
        for name, (shape, kind) in shapes.items():
            if not (self.folder / name).exists():
                np.lib.format.open_memmap(self.folder / name, mode="w+", dtype=kind, shape=shape).flush()
        self.frames, self.waves, done = (np.load(self.folder / name, mmap_mode="r+") for name in shapes)
        missing = np.flatnonzero(~done)
        with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
            for i, (frames, wave) in zip(missing, pool.map(_film, [self.scenes[i] for i in missing], chunksize=8), strict=True):
                self.frames[i], self.waves[i], done[i] = frames, wave, True
                if progress is not None:
                    progress.step()
        return self

    def item(self, i: int, view: str, frame: int = 0) -> DecodedItem:
        """Clip `i` as seen under a view: both, picture, sound, image or text (then a placeholder text)."""
        scene, name = self.scenes[i], f"{self.scenes[i].clip_id}/{view}"
        wave = self.waves[i].astype(np.float32) / 32767 if scene.track == "sound" else None
        fps = N_FRAMES / scene.duration_s
        if view == "both":
            return DecodedItem(name, frames=self.frames[i], fps=fps, wave=wave)
        if view == "picture":
            return DecodedItem(name, frames=self.frames[i], fps=fps)
        if view == "sound":
            return DecodedItem(name, wave=wave)
        return DecodedItem(name, image=self.frames[i][frame]) if view == "image" else DecodedItem(name, text=name)


def _film(scene: world.Scene) -> tuple[np.ndarray, np.ndarray]:
    """Render to mp4 and decode again, so that the backbone sees what a codec leaves of a clip."""
    from PIL import Image

    from uvrlab.data.audio import decode_audio
    from uvrlab.data.decode import decode_frames
    from uvrlab.data.sampling import sample_times

    clip = world.render_clip(scene)
    native = decode_frames(BytesIO(clip), sample_times(scene.duration_s, N_FRAMES))
    small = (Image.fromarray(frame).resize((SIDE_PX, SIDE_PX), Image.Resampling.BICUBIC) for frame in native)
    frames = np.stack([np.asarray(picture) for picture in small])  # bicubic with antialiasing, as the processor resizes
    wave = decode_audio(BytesIO(clip), 0.0, scene.duration_s, rate_hz=RATE_HZ) if scene.track == "sound" else None
    if wave is None:
        wave = np.zeros(round(scene.duration_s * RATE_HZ), np.float32)
    return frames, np.clip(np.rint(wave * 32767), -32768, 32767).astype(np.int16)


def draw(rng: np.random.Generator, shares: dict[str, float]) -> str:
    """One of the names, by its share."""
    names = list(shares)
    p = np.array([shares[n] for n in names])
    return names[rng.choice(len(names), p=p / p.sum())]


def conversations(
    scene: world.Scene, view: str, frame: int, words: int, mix: Mix, rng: np.random.Generator
) -> tuple[str, list[Turn]]:
    """Conversations of about `words` words in all; the view may change where it does not apply (no sound to listen to)."""
    if view == "sound" and scene.track != "sound":
        view = "picture"
    if view == "image":
        time_s = (frame + 0.5) * scene.duration_s / N_FRAMES
        return view, [_pictured(scene, time_s, mix, rng) for _ in range(2)]
    if view == "text":
        time_s = (frame + 0.5) * scene.duration_s / N_FRAMES
        return view, _up_to(words, lambda: _written(scene, time_s, mix, rng))
    if view == "sound":
        asked = [q for q in world.questions(scene, rng) if q.needs == "sound"]
        return view, [_heard(scene), *(Turn(instructions.ask(q.question, q.options), q.answer) for q in asked[:2])]
    if view == "picture":
        scene = replace(scene, sounds=(), track=SILENT)
    return view, _up_to(words, lambda: _about(scene, mix, rng))


def _up_to(words: int, draw: Callable[[], Turn], tries: int = 8) -> list[Turn]:
    """Turns until the budget is full; one that does not fit any more is left out, so rows of a batch are about equally long."""
    turns: list[Turn] = []
    used = 0
    for _ in range(tries):
        turn = draw()
        size = len(f"{turn.prompt} {turn.response}".split())
        if not turns or used + size <= words:
            turns.append(turn)
            used += size
    return turns


def _heard(scene: world.Scene) -> Turn:
    """Every sound with its times, in order."""
    heard = sorted(scene.sounds, key=lambda sound: sound.start_s)
    listed = ", ".join(f"{sound.kind} from {sound.start_s:.1f} to {sound.end_s:.1f}" for sound in heard)
    return Turn(instructions.SOUNDS, listed or "none")


def _thought(think: str, answer: str, about: str = "") -> Turn:
    return Turn(about, f"<think>{think}</think><answer>{answer}</answer><gen_emb>", embed=True)


def _pictured(scene: world.Scene, time_s: float, mix: Mix, rng: np.random.Generator) -> Turn:
    caption = world.frame_caption(scene, time_s, rng)
    return Turn(instructions.FRAME, caption) if draw(rng, mix.image) == "caption" else _thought(caption, caption)


def _written(scene: world.Scene, time_s: float, mix: Mix, rng: np.random.Generator) -> Turn:
    """A text rewritten in another style, or a thought about it: one of the clip, or of one of its frames."""
    if draw(rng, mix.text) == "rewrite":
        return _rewrite(scene, rng, mix)
    style = draw(rng, mix.read)
    text = world.frame_caption(scene, time_s, rng, rich=True) if style == "frame" else world.captions(scene, rng)[style]
    think, answer, _ = world.text_trace(text, scene, rng)
    return _thought(think, answer, text)


def _rewrite(scene: world.Scene, rng: np.random.Generator, mix: Mix) -> Turn:
    written = world.captions(scene, rng)
    source = draw(rng, {s: p for s, p in mix.styles.items() if s in ("rich", "concise", "keywords")})
    wanted = draw(rng, {s: p for s, p in mix.styles.items() if s not in (source, "rich", "partial")})
    return Turn(f"{written[source]}\n{instructions.REWRITE[wanted]}", written[wanted])


def _about(scene: world.Scene, mix: Mix, rng: np.random.Generator) -> Turn:
    kind = draw(rng, mix.turn)
    asked = world.questions(scene, rng) if kind in ("question", "ground") else []
    if kind == "trace":
        think, answer, _ = world.trace(scene, rng)
        return _thought(think, answer)
    if not asked:
        style = draw(rng, mix.styles)
        return Turn(instructions.CAPTION[style], world.captions(scene, rng)[style])
    question = asked[0]
    if kind == "question":
        return Turn(instructions.ask(question.question, question.options), question.answer)
    response = world.grounded_response(scene, question, rng, jitter_s=mix.jitter_s)
    return Turn(instructions.ask(question.question, question.options, grounded=True), response)


def corpus(scenes: Sequence[world.Scene], rng: np.random.Generator, mix: Mix) -> list[str]:
    """Texts to train the tokenizer on: some of everything that the model will read."""
    texts: list[str] = []
    for scene in scenes:
        texts += world.captions(scene, rng).values()
        for _ in range(4):
            turn = _about(scene, mix, rng)
            texts += [turn.prompt, turn.response]
    return texts
