"""The two-sided training objective as one module, and the transformers Trainer that runs it, saves it and resumes it exactly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import SequentialSampler
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainingArguments

from uvrlab.config import ContrastiveConfig, CurriculumConfig, RunConfig, SftConfig
from uvrlab.data.batch import IGNORED, Batch
from uvrlab.losses.contrastive import gather_with_grad, info_nce, matryoshka
from uvrlab.losses.gradcache import cached_backward
from uvrlab.models import towers
from uvrlab.progress import Progress
from uvrlab.training import distributed
from uvrlab.training.batches import NOBODY, SIDES, PairBatches
from uvrlab.training.checkpoints import AdapterCheckpoints, mark_complete, newest_checkpoint

LOG_EVERY = 10


class TwoSided(nn.Module):
    """loss = w_c InfoNCE(disc) + w_g InfoNCE(gen) + w_t next token (UME-R1 stage 1), one forward pass a side.

    What a step does not hold has no loss: pairs without responses have the first part alone, answers without pairs the last.
    """

    def __init__(self, model: Any, own: ContrastiveConfig) -> None:
        super().__init__()
        self.model, self.own = model, own
        self.nce = matryoshka(info_nce, own.matryoshka) if own.matryoshka else info_nce

    def forward(self, part: Batch | None = None, **step: Any) -> Any:
        """Losses of a step (see `batches.Collation`), `loss` and its unweighted parts; of a `part` of a side its `read`."""
        if part is not None:
            return self.read(part)
        sides = {name: step[name] for name in SIDES if name in step}
        read = {name: self.read(batch) for name, batch in sides.items()}
        return self.losses(read, step, {name: [batch] for name, batch in sides.items()})

    def read(self, side: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """Unit disc and gen vectors (b, D) of one side, or of a part of it, and its summed next-token loss (1,)."""
        side = side.to(str(next(self.parameters()).device))
        states = towers.forward(self.model, side)  # (b, L, width)
        rows = torch.arange(len(states), device=states.device)
        disc, gen = (F.normalize(states[rows, at].float(), dim=-1) for at in (side.disc_positions, side.gen_positions))
        if not self.own.weight_next_token or not bool((side.labels != IGNORED).any()):
            return disc, gen, states.new_zeros(1)
        return disc, gen, towers.next_token_loss(self.model, states, side.labels)[0][None]

    def losses(
        self, read: Mapping[str, tuple[Tensor, ...]], step: Mapping[str, Any], batches: Mapping[str, Sequence[Batch]]
    ) -> dict[str, Tensor]:
        """Losses from what was read of each side; `batches` are all that it was read from."""
        own, device = self.own, next(iter(read.values()))[0].device
        parts: dict[str, Tensor] = {}
        if "target" in read:
            ids = gather(step["target_ids"].to(device))
            hard = _hard(read["negatives"][0], step["negative_ids"], ids) if "negatives" in read else None
            parts["disc"] = self._nce(read["query"][0], read["target"][0], ids, hard)
            thought = [bool((batch.gen_positions >= 0).all()) for side in ("query", "target") for batch in batches[side]]
            # All processes must agree on what they gather next.
            if own.weight_gen and step["written"] and bool(gather(torch.tensor([float(all(thought))], device=device)).min()):
                parts["gen"] = self._nce(read["query"][1], read["target"][1], ids)
        if own.weight_next_token and step["written"]:
            tokens = sum((batch.labels[:, 1:] != IGNORED).sum() for some in batches.values() for batch in some)
            # Data-parallel training averages gradients, so each process divides by the mean token count of all of them.
            total = gather(torch.tensor([float(tokens)], device=device)).mean().clamp(min=1)
            parts["next_token"] = torch.stack([side[2].sum() for side in read.values()]).sum() / total
        weights = {"disc": own.weight_contrastive, "gen": own.weight_gen, "next_token": own.weight_next_token}
        return {"loss": torch.stack([weights[name] * part for name, part in parts.items()]).sum(), **parts}

    def _nce(self, query: Tensor, target: Tensor, ids: Tensor, hard: Tensor | None = None) -> Tensor:
        """InfoNCE between the sides' unit vectors, over the pairs of every process."""
        query, target = (gather_with_grad(x) for x in (query, target))  # (W * B, D)
        masks = {"false_negative_margin": self.own.false_negative_margin, "duplicate_tolerance": self.own.duplicate_tolerance}
        return self.nce(query, target, temperature=self.own.temperature, hard_negatives=hard, target_ids=ids, **masks)


def _hard(negatives: Tensor, negative_ids: Tensor, ids: Tensor) -> Tensor:
    """(M, D) hard negatives of every process, without those that fill up and those that are targets of the batch already."""
    everyone, names = gather_with_grad(negatives), gather(negative_ids.to(ids.device))
    return everyone[(names != NOBODY) & ~torch.isin(names, ids)]


def gather(x: Tensor) -> Tensor:
    """(B,) of every process as (W * B,), without gradient."""
    if not (dist.is_available() and dist.is_initialized()) or dist.get_world_size() == 1:
        return x
    parts = [torch.empty_like(x) for _ in range(dist.get_world_size())]
    dist.all_gather(parts, x.contiguous())
    return torch.cat(parts)


class ContrastiveTrainer(AdapterCheckpoints, Trainer):
    """Runs the plan in order; batches in chunks go through the gradient cache, so that their size does not depend on memory."""

    def _get_train_sampler(self, *_: Any, **__: Any) -> SequentialSampler:
        return SequentialSampler(self.train_dataset)  # type: ignore[arg-type]

    def compute_loss(self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None) -> Any:
        parts = model(**inputs)
        self.parts = {name: float(part.detach()) for name, part in parts.items()}
        return (parts["loss"], parts) if return_outputs else parts["loss"]

    def training_step(self, model: Any, inputs: Any, num_items_in_batch: Any = None) -> Tensor:
        sides = [name for name in SIDES if name in inputs]
        if isinstance(inputs[sides[0]], Batch):
            return super().training_step(model, inputs, num_items_in_batch)
        model.train()
        two_sided, batches = self.accelerator.unwrap_model(model), {name: inputs[name] for name in sides}

        def encode(chunk: Batch) -> Any:
            with self.compute_loss_context_manager():
                return model(chunk)

        def loss(*read: tuple[Tensor, ...]) -> Tensor:
            with self.compute_loss_context_manager():
                parts: dict[str, Tensor] = two_sided.losses(dict(zip(sides, read, strict=True)), inputs, batches)
            self.parts = {name: float(part.detach()) for name, part in parts.items()}
            return parts["loss"]

        return cached_backward(encode, list(batches.values()), loss, no_sync=getattr(model, "no_sync", nullcontext))


class _Watch(TrainerCallback):
    """Progress lines, the loss history inside the trainer's own state (so that it survives a kill), and complete-marks."""

    def __init__(self, progress: Progress, pairs_a_step: int) -> None:
        self.progress, self.pairs_a_step = progress, pairs_a_step
        self.trainer: Any = None

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.progress.resume(state.global_step * self.pairs_a_step)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        parts = distributed.mean(self.trainer.parts)
        self.progress.step(self.pairs_a_step, step=str(state.global_step), **{f"{k}_nats": v for k, v in parts.items()})
        if state.global_step % LOG_EVERY == 0 or state.global_step in (1, state.max_steps):
            state.log_history.append({"step": state.global_step, **parts})

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        distributed.barrier()  # each process writes a random state of its own
        if state.is_world_process_zero:
            mark_complete(args.output_dir, state.global_step)


def train(model: Any, batches: PairBatches, own: SftConfig, run: RunConfig, checkpoints: Path) -> list[dict[str, float]]:
    """Train the adapter over the planned batches, resuming from the newest complete checkpoint; returns the loss history."""
    return run_through(make_trainer(model, batches, own, run, checkpoints), checkpoints)


def run_through(trainer: ContrastiveTrainer, checkpoints: Path) -> list[dict[str, float]]:
    """Run a trainer to its end from the newest complete checkpoint; returns the loss history."""
    trainer.model.train()
    trainer.train(resume_from_checkpoint=newest_checkpoint(checkpoints))
    trainer.model.eval()
    return [row for row in trainer.state.log_history if "loss" in row]


def make_trainer(
    model: Any,
    batches: Any,
    own: SftConfig | CurriculumConfig,
    run: RunConfig,
    checkpoints: Path,
    kind: type[ContrastiveTrainer] = ContrastiveTrainer,
) -> ContrastiveTrainer:
    """The trainer that `train` runs, or another `kind` of it."""
    arguments = TrainingArguments(
        output_dir=str(checkpoints),
        max_steps=own.steps,
        per_device_train_batch_size=1,  # an item of the data set is a whole batch
        learning_rate=own.learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=round(own.warmup_share * own.steps),
        weight_decay=own.weight_decay,
        save_steps=own.save_steps,
        save_total_limit=2,
        seed=run.seed,
        use_cpu=run.device == "cpu",
        bf16=own.bf16,
        deepspeed=own.deepspeed,
        report_to="none",
        logging_strategy="no",
        disable_tqdm=True,
        remove_unused_columns=False,
        dataloader_pin_memory=False,
    )
    label = "sft" if isinstance(own, SftConfig) else "curriculum"
    watch = _Watch(Progress(label, own.steps * own.batch_size, "pairs"), own.batch_size)
    trainer = kind(
        model=TwoSided(model, own),
        args=arguments,
        train_dataset=batches,
        data_collator=lambda items: items[0],
        callbacks=[watch],
    )
    trainer.remove_callback(PrinterCallback)  # it prints a dictionary at the end; progress lines say more
    watch.trainer = trainer
    return trainer
