"""The two-sided training objective as one module, and the transformers Trainer that runs it, saves it and resumes it exactly."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import Dataset, SequentialSampler
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainingArguments

from uvrlab.config import RunConfig, SftConfig
from uvrlab.data.batch import IGNORED, Batch
from uvrlab.data.collate import Collator
from uvrlab.losses.contrastive import gather_with_grad, info_nce
from uvrlab.losses.gradcache import cached_backward
from uvrlab.models import towers
from uvrlab.models.features import FeatureCache
from uvrlab.progress import Progress
from uvrlab.runs import processes
from uvrlab.training import distributed
from uvrlab.training.checkpoints import AdapterCheckpoints, mark_complete, newest_checkpoint
from uvrlab.training.pairs import Pair

LOG_EVERY = 10


class TwoSided(nn.Module):
    """loss = w_c InfoNCE(disc) + w_g InfoNCE(gen) + w_t next token (UME-R1 stage 1), one forward pass a side."""

    def __init__(self, model: Any, own: SftConfig) -> None:
        super().__init__()
        self.model, self.own = model, own

    def forward(self, query: Batch, target: Batch | None = None, target_ids: Tensor | None = None) -> Any:
        """Losses of one batch of pairs, `loss` and its unweighted parts, for `target_ids` (B,); of `query` alone its `read`."""
        if target is None or target_ids is None:
            return self.read(query)
        return self.losses(self.read(query), self.read(target), target_ids, [query, target])

    def read(self, side: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """Unit disc and gen vectors (b, D) of one side, or of a part of it, and its summed next-token loss (1,)."""
        side = side.to(str(next(self.parameters()).device))
        states = towers.forward(self.model, side)  # (b, L, width)
        rows = torch.arange(len(states), device=states.device)
        disc, gen = (F.normalize(states[rows, at].float(), dim=-1) for at in (side.disc_positions, side.gen_positions))
        if not self.own.weight_next_token:
            return disc, gen, states.new_zeros(1)
        return disc, gen, towers.next_token_loss(self.model, states, side.labels)[0][None]

    def losses(
        self, query: tuple[Tensor, ...], target: tuple[Tensor, ...], target_ids: Tensor, batches: Sequence[Batch]
    ) -> dict[str, Tensor]:
        """Losses from what was read of both sides; `batches` are all that they were read from."""
        own, device = self.own, query[0].device
        ids = gather(target_ids.to(device))
        parts = {"disc": self._nce(query[0], target[0], ids)}
        if own.weight_gen and all(bool((batch.gen_positions >= 0).all()) for batch in batches):
            parts["gen"] = self._nce(query[1], target[1], ids)
        if own.weight_next_token:
            total = torch.tensor([float(sum((batch.labels[:, 1:] != IGNORED).sum() for batch in batches))], device=device)
            # Data-parallel training averages gradients, so each process divides by the mean token count of all of them.
            parts["next_token"] = (query[2].sum() + target[2].sum()) / gather(total).mean().clamp(min=1)
        weights = {"disc": own.weight_contrastive, "gen": own.weight_gen, "next_token": own.weight_next_token}
        return {"loss": torch.stack([weights[name] * part for name, part in parts.items()]).sum(), **parts}

    def _nce(self, query: Tensor, target: Tensor, ids: Tensor) -> Tensor:
        """InfoNCE between the sides' unit vectors, over the pairs of every process."""
        both = (gather_with_grad(x) for x in (query, target))  # (W * B, D)
        return info_nce(*both, temperature=self.own.temperature, target_ids=ids)


def gather(x: Tensor) -> Tensor:
    """(B,) of every process as (W * B,), without gradient."""
    if not (dist.is_available() and dist.is_initialized()) or dist.get_world_size() == 1:
        return x
    parts = [torch.empty_like(x) for _ in range(dist.get_world_size())]
    dist.all_gather(parts, x.contiguous())
    return torch.cat(parts)


class PairBatches(Dataset):
    """Item t is batch t of the plan, collated from cached features; with `chunk_pairs` each side comes in parts of that size.

    Of W processes, which take turns at the items, the one in turn at item t * W + part gets that part of batch t.
    """

    def __init__(
        self,
        pairs: Sequence[Pair],
        plan: Sequence[Sequence[int]],
        cache: FeatureCache,
        collate: Collator,
        chunk_pairs: int | None = None,
    ) -> None:
        self.pairs, self.plan, self.cache, self.collate, self.chunk_pairs = pairs, plan, cache, collate, chunk_pairs

    def __len__(self) -> int:
        return len(self.plan) * processes()

    def __getitem__(self, item: int) -> dict[str, Any]:
        step, part = divmod(item, processes())
        rows = [self.pairs[i] for i in distributed.share(self.plan[step], part)]
        size = self.chunk_pairs or len(rows)
        chunks = [rows[start : start + size] for start in range(0, len(rows), size)]
        query = [self._side([p.query for p in some], [p.query_response for p in some]) for some in chunks]
        target = [self._side([p.target for p in some], [p.target_response for p in some]) for some in chunks]
        ids = torch.tensor([p.target_id for p in rows])
        if self.chunk_pairs is None:
            return {"query": query[0], "target": target[0], "target_ids": ids}
        return {"query": query, "target": target, "target_ids": ids}

    def _side(self, items: Sequence[Any], responses: Sequence[str | None]) -> Batch:
        # A clip with sound longer than a window has several parts; training looks at the first.
        return self.collate([self.cache.get(item)[0] for item in items], responses, cut=False)


class ContrastiveTrainer(AdapterCheckpoints, Trainer):
    """Runs the plan in order; batches in chunks go through the gradient cache, so that their size does not depend on memory."""

    def _get_train_sampler(self, *_: Any, **__: Any) -> SequentialSampler:
        return SequentialSampler(self.train_dataset)  # type: ignore[arg-type]

    def compute_loss(self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None) -> Any:
        parts = model(**inputs)
        self.parts = {name: float(part.detach()) for name, part in parts.items()}
        return (parts["loss"], parts) if return_outputs else parts["loss"]

    def training_step(self, model: Any, inputs: Any, num_items_in_batch: Any = None) -> Tensor:
        if isinstance(inputs["query"], Batch):
            return super().training_step(model, inputs, num_items_in_batch)
        model.train()
        two_sided, batches = self.accelerator.unwrap_model(model), [*inputs["query"], *inputs["target"]]

        def encode(chunk: Batch) -> Any:
            with self.compute_loss_context_manager():
                return model(chunk)

        def loss(query: tuple[Tensor, ...], target: tuple[Tensor, ...]) -> Tensor:
            with self.compute_loss_context_manager():
                parts: dict[str, Tensor] = two_sided.losses(query, target, inputs["target_ids"], batches)
            self.parts = {name: float(part.detach()) for name, part in parts.items()}
            return parts["loss"]

        return cached_backward(encode, [inputs["query"], inputs["target"]], loss, no_sync=getattr(model, "no_sync", nullcontext))


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
    trainer = make_trainer(model, batches, own, run, checkpoints)
    model.train()
    trainer.train(resume_from_checkpoint=newest_checkpoint(checkpoints))
    model.eval()
    return [row for row in trainer.state.log_history if "disc" in row]


def make_trainer(model: Any, batches: PairBatches, own: SftConfig, run: RunConfig, checkpoints: Path) -> ContrastiveTrainer:
    """The trainer that `train` runs."""
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
    watch = _Watch(Progress("sft", own.steps * own.batch_size, "pairs"), own.batch_size)
    trainer = ContrastiveTrainer(
        model=TwoSided(model, own),
        args=arguments,
        train_dataset=batches,
        data_collator=lambda items: items[0],
        callbacks=[watch],
    )
    trainer.remove_callback(PrinterCallback)  # it prints a dictionary at the end; progress lines say more
    watch.trainer = trainer
    return trainer
