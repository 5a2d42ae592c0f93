"""`uvr backbone train`: the nano backbone from scratch on the world's pretrain split, by next-token prediction alone.

No contrastive term and no true spans in any later stage: what real bases know from their own pretraining (captions, answers, the
response formats), this one learns here, and nothing else.
"""

from __future__ import annotations

import json
import logging
import math
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from uvrlab import runs
from uvrlab.config import Count, Positive, Section
from uvrlab.data import world
from uvrlab.data.collate import Collator
from uvrlab.data.packing import PackedBatch, pack
from uvrlab.progress import Progress
from uvrlab.training.pretrain_data import ClipBank, Mix, conversations, corpus, draw

log = logging.getLogger("uvrlab.progress")


class PretrainConfig(Section):
    """The recipe of the shipped backbone's last sitting; its card holds those of all sittings, the first from random weights."""

    seed: int = 0
    start: str = ""  # a backbone (directory, or a name in the package) to go on from; empty: random weights, a new tokenizer
    clips: Positive = 3_000
    validation_clips: Positive = 256
    steps: Positive = 600
    warm_steps: Count = 0
    batch_clips: Positive = 32
    warm_batch_clips: dict[str, Positive] = {"image": 192, "picture": 80, "sound": 80}
    words: Positive = 120  # of conversation a row
    warm_words: Positive = 40
    learning_rate: float = 1e-3
    warmup_steps: Positive = 50
    weight_decay: float = 0.05
    max_norm: float = 1.0
    save_steps: Positive = 100
    workers: Positive = 2  # processes of one thread each; a step's gradient is the sum over theirs
    mix: Mix = Mix()


def load_recipe(path: Path | None, overrides: Sequence[str] = ()) -> PretrainConfig:
    """A recipe file over the defaults, then `a=b` overrides."""
    tree = (yaml.safe_load(path.read_text()) or {}) if path else {}
    tree |= {key: yaml.safe_load(value) for key, _, value in (o.partition("=") for o in overrides)}
    return PretrainConfig.model_validate_json(json.dumps(tree))


def batches(config: PretrainConfig, bank: ClipBank, collator: Collator, start: int, rank: int = 0) -> Iterator[PackedBatch]:
    """A worker's packed batches from step `start` on: each depends on seed, step and rank alone, so a resumed run sees the same."""
    n, mix = len(bank.scenes), config.mix
    warm_mix = mix.model_copy(update={"turn": mix.warm_turn})
    warm_config = config.model_copy(update={"mix": warm_mix, "words": config.warm_words})
    for step in range(start, config.steps):
        view = draw(np.random.default_rng([config.seed, 5, step]), mix.warm_view)  # one a step: rows and workers alike in length
        rng = np.random.default_rng([config.seed, 2, step, rank])
        warm = step < config.warm_steps
        size = (config.warm_batch_clips[view] if warm else config.batch_clips) // config.workers
        rows = rng.choice(n, size=min(n, size), replace=False)
        yield _batch(warm_config if warm else config, bank, collator, rows, rng, {view: 1.0} if warm else mix.view)


def _batch(
    config: PretrainConfig,
    bank: ClipBank,
    collator: Collator,
    rows: Any,  # clip numbers
    rng: np.random.Generator,
    views: dict[str, float],
) -> PackedBatch:
    items, turns = [], []
    for i in rows:
        frame = int(rng.integers(8))
        shown, talk = conversations(bank.scenes[i], draw(rng, views), frame, config.words, config.mix, rng)
        items.append(bank.item(int(i), shown, frame))
        turns.append(talk)
    return pack(collator, items, turns)


def loss_of(model: Any, packed: PackedBatch) -> tuple[Any, int]:
    """(summed next-token cross-entropy, labelled tokens) of a packed batch."""
    from uvrlab.models.towers import forward, next_token_loss

    hidden = forward(model, packed.batch, mask=packed.mask())
    return next_token_loss(model, hidden, packed.batch.labels)


def learning_rate(config: PretrainConfig, step: int) -> float:
    """Linear warm-up, then a cosine to a tenth."""
    if step < config.warmup_steps:
        return config.learning_rate * (step + 1) / config.warmup_steps
    done = (step - config.warmup_steps) / max(1, config.steps - config.warmup_steps)
    return config.learning_rate * (0.1 + 0.9 * (1 + math.cos(math.pi * done)) / 2)


def train_backbone(recipe: Path | None, out: Path, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """Train, validate and write the backbone into `out` (weights, tokenizer, processor, card.json). Resumes after a kill."""
    import torch

    from uvrlab.models.backbones import backbone
    from uvrlab.models.modeldir import save_backbone

    config = load_recipe(recipe, overrides)
    work = runs.work_dir() / "pretrain" / sitting(config)
    bank = _bank(config, work, "pretrain", config.clips)
    held_out = _bank(config, work, "val", config.validation_clips)
    started = time.monotonic()
    torch.multiprocessing.spawn(_worker, (config, work), nprocs=config.workers)
    model, processor = _initial(config, bank)
    model.load_state_dict(torch.load(work / "state.pt", weights_only=True)["model"])
    collator = Collator(backbone("nano-omni"), processor.tokenizer, model.config)
    card = _card(config, model, held_out, collator, bank, time.monotonic() - started)
    save_backbone(model, processor, out, "nano-omni")
    runs.write_json(out / "card.json", card)
    return card


def sitting(config: PretrainConfig) -> str:
    """What a sitting depends on: recipe, code, and the weights that it goes on from, whatever their name."""
    from uvrlab.models.modeldir import backbone_folder, weights_digest

    start = weights_digest(backbone_folder(config.start)) if config.start else ""
    return runs.digest_json([config.digest_view(), start, runs.code_digest(("data", "models", "training"))])[:16]


def _bank(config: PretrainConfig, work: Path, split: Any, count: int) -> ClipBank:
    world = runs.code_digest(("data/world",))[:8]
    bank = ClipBank(work.parent / f"bank-{split}-{config.seed}-{count}-{world}", split, count, config.seed)
    return bank.fill(config.workers, Progress(f"film {split}", count, "clips"))


def _initial(config: PretrainConfig, bank: ClipBank) -> tuple[Any, Any]:
    """(model, processor) that the first step starts from."""
    import torch

    from uvrlab.models.attention import install
    from uvrlab.models.build import build_nano
    from uvrlab.models.modeldir import load_backbone

    torch.manual_seed(config.seed)
    if config.start:
        loaded = load_backbone(config.start)
        return loaded.model, loaded.processor
    model, processor = build_nano(corpus(bank.scenes[:3000], np.random.default_rng(config.seed), config.mix), seed=config.seed)
    return install(model), processor


def _worker(rank: int, config: PretrainConfig, work: Path) -> None:
    """One of `workers` equal processes: the same weights and optimiser everywhere, other rows each; rank 0 reports and saves."""
    import torch
    import torch.distributed as dist

    from uvrlab.models.backbones import backbone

    logging.basicConfig(level=logging.INFO if rank == 0 else logging.WARNING, format="%(message)s")
    torch.set_num_threads(1)
    work.mkdir(parents=True, exist_ok=True)
    meeting = work / f"meeting-{os.getppid()}"
    dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=config.workers)
    bank, held_out = (_bank(config, work, *which) for which in (("pretrain", config.clips), ("val", config.validation_clips)))
    model, processor = _initial(config, bank)
    _optimise(config, model, bank, held_out, Collator(backbone("nano-omni"), processor.tokenizer, model.config), work)
    dist.destroy_process_group()
    meeting.unlink(missing_ok=True)


def _optimise(config: PretrainConfig, model: Any, bank: ClipBank, held_out: ClipBank, collator: Collator, work: Path) -> None:
    import torch
    import torch.distributed as dist

    rank = dist.get_rank()
    decay = [p for p in model.parameters() if p.ndim > 1]
    plain = [p for p in model.parameters() if p.ndim <= 1]
    groups = [{"params": decay, "weight_decay": config.weight_decay}, {"params": plain, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=config.learning_rate, betas=(0.9, 0.95))
    start = _resume(work, model, optimizer)
    progress = Progress("pretrain", config.steps, "steps", every_s=20 if rank == 0 else math.inf)
    progress.resume(start)
    model.train()
    waited, smooth = time.monotonic(), 0.0
    for step, packed in enumerate(_prefetched(batches(config, bank, collator, start, rank)), start):
        progress.spent("data wait", time.monotonic() - waited)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(config, step)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            total, n = loss_of(model, packed)
        total.backward()
        loss = _mean_over_workers(model, float(total.detach()), n)
        torch.nn.utils.clip_grad_norm_(model.parameters(), config.max_norm)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        smooth = 0.98 * smooth + 0.02 * loss if step > start else loss
        progress.step(loss_nats=smooth, lr=learning_rate(config, step))
        if (step + 1) % config.save_steps == 0 or step + 1 == config.steps:
            if rank == 0:
                _save(work, model, optimizer, step + 1)
                log.info("pretrain   step %d  %s", step + 1, validate(config, model, held_out, collator))
                model.train()
            dist.barrier()
        waited = time.monotonic()


def _mean_over_workers(model: Any, total: float, n: int) -> float:
    """Sum the gradients of all workers and divide by their labelled tokens; the mean loss a token."""
    import torch
    import torch.distributed as dist

    own = list(model.parameters())
    grads = [torch.zeros_like(p).flatten() if p.grad is None else p.grad.flatten() for p in own]
    flat = torch.cat([*grads, torch.tensor([total, n])])
    dist.all_reduce(flat)
    loss, tokens = flat[-2:].tolist()
    for p, grad in zip(own, torch.split(flat[:-2] / tokens, [p.numel() for p in own]), strict=True):
        p.grad = grad.view_as(p)
    return loss / tokens


def _prefetched(source: Iterator[PackedBatch], depth: int = 2) -> Iterator[PackedBatch]:
    """Make batches one step ahead in a thread; torch and the tokenizer release the interpreter for most of it."""
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1) as pool:
        queue = [pool.submit(next, source, None) for _ in range(depth)]
        while (batch := queue.pop(0).result()) is not None:
            queue.append(pool.submit(next, source, None))
            yield batch


def _save(work: Path, model: Any, optimizer: Any, step: int) -> None:
    import torch

    partial = work / "state.tmp"
    torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict(), "step": step}, partial)
    partial.replace(work / "state.pt")


def _resume(work: Path, model: Any, optimizer: Any) -> int:
    import torch

    work.mkdir(parents=True, exist_ok=True)
    if not (work / "state.pt").exists():
        return 0
    state = torch.load(work / "state.pt", weights_only=True)
    model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    return int(state["step"])


def validate(config: PretrainConfig, model: Any, bank: ClipBank, collator: Collator) -> dict[str, float]:
    """Held-out nats a token under each view, and the share of letters right on multiple choice with picture and sound."""
    import torch

    model.eval()
    found: dict[str, float] = {}
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        for view in config.mix.view:
            rng = np.random.default_rng([config.seed, 3])
            packed = _batch(config, bank, collator, range(min(64, len(bank.scenes))), rng, {view: 1.0})
            total, n = loss_of(model, packed)
            found[f"nats_{view}"] = round(float(total) / n, 4)
    return found | letters_right(model, bank, collator, config.seed)


def letters_right(model: Any, bank: ClipBank, collator: Collator, seed: int) -> dict[str, float]:
    """Share of held-out multiple-choice questions whose most likely letter is right, by what they need (chance 0.25)."""
    import torch

    from uvrlab.data import instructions
    from uvrlab.data.packing import Turn
    from uvrlab.models.towers import forward

    letters = [collator.text.raw(letter)[0] for letter in "ABCD"]
    right: dict[str, list[bool]] = {}
    for start in range(0, len(bank.scenes), 64):
        rows = range(start, min(start + 64, len(bank.scenes)))
        rng = np.random.default_rng([seed, 4, start])
        asked = [[q for q in world.questions(bank.scenes[i], rng) if q.options][:4] for i in rows]
        turns = [[Turn(instructions.ask(q.question, q.options), q.answer) for q in own] for own in asked]
        packed = pack(collator, [bank.item(i, "both") for i in rows], turns)
        hidden = forward(model, packed.batch, mask=packed.mask())
        for r, own in enumerate(asked):
            for number, question in enumerate(own, 1):
                at = ((packed.segments[r] == number) & (packed.batch.labels[r] != -100)).nonzero()[0, 0] - 1
                logits = model.lm_head(hidden[r, at])[letters]
                right.setdefault(question.needs, []).append("ABCD"[int(torch.argmax(logits))] == question.answer[0])
    return {f"right_{needs}": round(float(np.mean(found)), 4) for needs, found in sorted(right.items())}


def _card_of(start: str) -> dict[str, Any] | None:
    """The card of the weights that this sitting went on from; None where it began with random ones."""
    from uvrlab.models.modeldir import backbone_folder

    return json.loads((backbone_folder(start) / "card.json").read_text()) if start else None


def _card(config: PretrainConfig, model: Any, bank: ClipBank, collator: Collator, data: ClipBank, seconds: float) -> dict[str, Any]:
    return {
        "name": "nano-omni",
        "parameters": sum(p.numel() for p in model.parameters()),
        "recipe": config.digest_view(),
        "data_digest": runs.digest_json([scene.to_json() for scene in data.scenes]),
        "objective": "next token on captions, questions, grounded responses, thoughts and rewrites of the pretrain split",
        "validation": validate(config, model, bank, collator),
        "validation_clips": len(bank.scenes),
        "training_seconds": round(seconds),
        "before": _card_of(config.start),
        "limits": "knows the procedural world only; no claim about real video",
    }
