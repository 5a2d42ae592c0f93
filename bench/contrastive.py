"""Pairs a second of a contrastive step with gradient cache, against sentence-transformers' trainer with its cached loss.

`python bench/contrastive.py [--batch N] [--chunk N] [--out FILE]`, with the extra `bench` installed. The shipped nano-omni
under the same LoRA (dropout 0), float32, the same rendered clips (8 frames, no sound) and captions, the same template, batch,
chunk, symmetric InfoNCE and AdamW; both get decoded frames. Theirs is written as its documentation has one write a module of
one's own: the processor in `preprocess`, the transformers model in `forward`. Both losses of the first step must agree to 1e-3,
so the two do the same work. Ours runs the frozen towers once a clip, before training (their time is given beside it); theirs
has them in every pass, twice a step. The text-text row holds no media, so it compares the engines alone. CPU seconds of the
process, median over steps, the two in turn; the first step of each run is a warm-up.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
import transformers
from datasets import Dataset
from sentence_transformers import SentenceTransformer, SentenceTransformerTrainer, SentenceTransformerTrainingArguments
from sentence_transformers.base.modules import InputModule
from sentence_transformers.sentence_transformer.losses import CachedMultipleNegativesRankingLoss

from uvrlab.config import RunConfig, SftConfig
from uvrlab.data.decoding import decode_items
from uvrlab.data.items import DecodedItem, FeaturedItem, Item
from uvrlab.data.spec import DISC_TOKEN
from uvrlab.data.world import captions, render_clip, sample_scene, stable_rng
from uvrlab.models.accept import processor_call
from uvrlab.models.adapter import new_adapter
from uvrlab.models.features import featurize
from uvrlab.models.modeldir import LoadedBackbone, load_model
from uvrlab.training import contrastive
from uvrlab.training.batches import Collation, PairBatches
from uvrlab.training.pairs import Pair

AGREE = 1e-3
Steps = list[tuple[float, float]]  # CPU seconds and loss of each step


def decoded(folder: Path, count: int, sampling: Any) -> list[DecodedItem]:
    """The first clips of the world, as frames with their captions as text."""
    found = []
    for index in range(count):
        scene = sample_scene("train", index)
        (folder / f"{index}.mp4").write_bytes(render_clip(scene))
        item = Item(f"clip-{index}", video_uri=f"{index}.mp4", end_s=scene.duration_s, base=str(folder))
        (parts,) = decode_items([item], sampling)
        told = captions(scene, stable_rng("bench", index))["rich"]
        found.append(DecodedItem(item.item_id, told, frames=parts[0].frames, fps=parts[0].fps))  # type: ignore[index]
    return found


def fresh(sdpa: bool) -> tuple[Any, Any]:
    """(loaded, model under the same new adapter); `sdpa`: transformers' own tower attention instead of our packed one."""
    loaded = load_model("nano-omni")
    if sdpa:
        loaded.model.model.visual.config._attn_implementation = "sdpa"
    torch.manual_seed(0)
    return loaded, new_adapter(loaded.spec, loaded.model, dropout=0.0).train()


class Clock(transformers.TrainerCallback):
    """CPU seconds between the ends of steps."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def on_train_begin(self, *_: Any, **__: Any) -> None:
        self.ends.append(time.process_time())

    on_step_end = on_train_begin

    def steps(self) -> list[float]:
        """Seconds of each step but the first."""
        return [b - a for a, b in zip(self.ends[1:-1], self.ends[2:], strict=True)]


class Held:
    """Features in memory, as the feature cache hands them out."""

    def __init__(self, items: list[FeaturedItem]) -> None:
        self.items = {item.item_id: item for item in items}

    def get(self, item: Item) -> list[FeaturedItem]:
        """One part."""
        return [self.items[item.item_id]]


def ours(clips: list[DecodedItem], video: bool, args: argparse.Namespace, run_folder: Path) -> tuple[list[float], float, float]:
    """(CPU seconds a step, loss of the first step, CPU seconds of the towers a clip)."""
    loaded, model = fresh(sdpa=False)
    collate = loaded.preprocess.collator(loaded.spec, loaded.tokenizer, loaded.model.config)
    bare = [DecodedItem(clip.item_id, None, frames=clip.frames, fps=clip.fps) for clip in clips]
    began = time.process_time()
    features = featurize(model, collate, bare, "cpu") if video else []
    towers = (time.process_time() - began) / len(clips)
    texts = [FeaturedItem(f"text-{i}", clip.text) for i, clip in enumerate(clips)]
    again = [FeaturedItem(f"again-{i}", clip.text) for i, clip in enumerate(clips)]
    target = features or again
    pairs = [
        Pair(str(i), "T2V", "train", Item(texts[i].item_id, text="x"), Item(target[i].item_id, text="x"), i)
        for i in range(len(clips))
    ]
    own = SftConfig(
        steps=args.steps, batch_size=args.batch, chunk_pairs=args.chunk, weight_gen=0.0, weight_next_token=0.0, bf16=False,
        warmup_share=0.0, save_steps=10**6,
    )  # fmt: skip
    plan = [list(range(args.batch))] * args.steps
    held: Any = Held([*texts, *target])
    batches = PairBatches(pairs, plan, Collation(held, collate, args.chunk))
    trainer, clock = contrastive.make_trainer(model, batches, own, RunConfig(), run_folder), Clock()
    trainer.add_callback(clock)
    trainer.train()
    return clock.steps(), trainer.state.log_history[0]["disc"], towers


class Nano(InputModule):
    """nano-omni as a module of sentence-transformers: its processor before, the state at the read-out behind."""

    def __init__(self, loaded: Any, model: Any, clips: list[DecodedItem]) -> None:
        super().__init__()
        self.auto_model = model
        self.loaded = LoadedBackbone(loaded.spec, model, loaded.processor, "", "")
        self.collate = loaded.preprocess.collator(loaded.spec, loaded.tokenizer, loaded.model.config)
        self.clips = {clip.item_id: DecodedItem(clip.item_id, None, frames=clip.frames, fps=clip.fps) for clip in clips}
        self.disc = loaded.tokenizer.get_vocab()[DISC_TOKEN]
        self.prompt = f"{{text}}\n{DISC_TOKEN}\n{loaded.spec.instruction}"
        self.tokenizer = loaded.tokenizer

    def preprocess(self, inputs: Any, prompt: str | None = None, **_: Any) -> dict[str, Any]:
        """Texts, or names of clips, as the processor's tensors."""
        items = [self.clips.get(name) or DecodedItem("text", name) for name in inputs]
        return dict(processor_call(self.loaded, self.collate, items, self.prompt))

    def forward(self, features: dict[str, Any], **_: Any) -> dict[str, Any]:
        """Adds `sentence_embedding` (B, D)."""
        base = self.auto_model.get_base_model().model
        base.rope_deltas = None
        states = base(**{k: v for k, v in features.items() if k != "sentence_embedding"}).last_hidden_state
        at = (features["input_ids"] == self.disc).int().argmax(1)
        return {**features, "sentence_embedding": states[torch.arange(len(at)), at].float()}

    def get_embedding_dimension(self) -> int:
        """Length of a vector."""
        return int(self.auto_model.config.get_text_config().hidden_size)

    def save(self, *_: Any, **__: Any) -> None:
        """The benchmark keeps nothing."""


def theirs(clips: list[DecodedItem], video: bool, args: argparse.Namespace, run_folder: Path) -> tuple[list[float], float, float]:
    """As `ours`, through SentenceTransformerTrainer and CachedMultipleNegativesRankingLoss."""
    loaded, model = fresh(sdpa=True)
    embedder = SentenceTransformer(modules=[Nano(loaded, model, clips)], device="cpu")
    texts = [str(clip.text) for clip in clips]
    targets = [clip.item_id for clip in clips] if video else texts
    own, clock = SftConfig(), Clock()
    trainer = SentenceTransformerTrainer(
        model=embedder,
        args=SentenceTransformerTrainingArguments(
            output_dir=str(run_folder), max_steps=args.steps, per_device_train_batch_size=args.batch,
            learning_rate=own.learning_rate, weight_decay=own.weight_decay, use_cpu=True, bf16=False, report_to="none",
            save_strategy="no", logging_steps=1, disable_tqdm=True, dataloader_pin_memory=False, lr_scheduler_type="cosine",
        ),
        train_dataset=Dataset.from_dict({"anchor": texts * args.steps, "positive": targets * args.steps}),
        loss=CachedMultipleNegativesRankingLoss(
            embedder, scale=1 / own.temperature, mini_batch_size=args.chunk, directions=("query_to_doc", "doc_to_query"),
            partition_mode="per_direction",
        ),
        callbacks=[clock],
    )  # fmt: skip
    trainer.get_train_dataloader = lambda: in_order(trainer, args.batch)  # type: ignore[method-assign]
    trainer.train()
    return clock.steps(), next(row["loss"] for row in trainer.state.log_history if "loss" in row), 0.0


def in_order(trainer: Any, batch: int) -> Any:
    """Their loader without its shuffle: a batch drawn across the repeats of the data could hold a pair twice."""
    loader = torch.utils.data.DataLoader(trainer.train_dataset, batch_size=batch, collate_fn=trainer.data_collator)
    return trainer.accelerator.prepare(loader)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--chunk", type=int, default=16)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("bench/results/contrastive.json"))
    args = parser.parse_args()
    transformers.utils.logging.set_verbosity_error()
    rows: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        clips = decoded(Path(folder), args.batch, load_model("nano-omni").preprocess.sampling)
        for name, video in (("text-video", True), ("text-text", False)):
            rows[name] = compare(clips, video, args, Path(folder))
    options = f"--batch {args.batch} --chunk {args.chunk} --steps {args.steps} --repeats {args.repeats}"
    result = {
        "what": "a contrastive step with gradient cache, nano-omni under LoRA, float32",
        "command": f"python bench/contrastive.py {options}",
        "torch_threads": torch.get_num_threads(),
        "machine": f"{platform.machine()}, {platform.python_version()}, torch {torch.__version__}",
        "rows": rows,
    }
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


def compare(clips: list[DecodedItem], video: bool, args: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """One row: both ways in turn, their losses compared."""
    seconds: dict[str, list[float]] = {"ours": [], "theirs": []}
    first: dict[str, float] = {}
    towers = []
    for repeat in range(args.repeats):
        for name, way in (("ours", ours), ("theirs", theirs)):
            steps, first[name], tower = way(clips, video, args, folder / f"{video}-{name}-{repeat}")
            seconds[name] += steps
            towers += [tower] if name == "ours" else []
        if abs(first["ours"] - first["theirs"]) > AGREE:
            raise SystemExit(f"first losses {first}; expected equal work")
    step = {name: statistics.median(found) for name, found in seconds.items()}
    return {
        "first_loss": {name: round(value, 5) for name, value in first.items()},
        "cpu_s_per_step": {name: round(value, 3) for name, value in step.items()},
        "pairs_per_cpu_s": {name: round(len(clips) / value, 1) for name, value in step.items()},
        "towers_cpu_ms_per_clip_once": round(1000 * statistics.median(towers), 1),
        "ours_is_faster_by": round(step["theirs"] / step["ours"], 2),
    }


if __name__ == "__main__":
    main()
