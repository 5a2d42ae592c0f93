"""The two-sided training objective as one module, and the transformers Trainer that runs it, saves it and resumes it exactly."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.utils.data import Dataset, SequentialSampler
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainingArguments

from uvrlab.config import RunConfig, SftConfig
from uvrlab.data.collate import Batch, Collator
from uvrlab.losses.contrastive import gather_with_grad, info_nce
from uvrlab.models import towers
from uvrlab.models.features import FeatureCache
from uvrlab.progress import Progress
from uvrlab.training.pairs import Pair

COMPLETE = "complete"
LOG_EVERY = 10


class TwoSided(nn.Module):
    """loss = w_c InfoNCE(disc) + w_g InfoNCE(gen) + w_t next token (UME-R1 stage 1), both sides in this one forward."""

    def __init__(self, model: Any, own: SftConfig) -> None:
        super().__init__()
        self.model, self.own = model, own

    def forward(self, query: Batch, target: Batch, target_ids: Tensor) -> dict[str, Tensor]:
        """Losses of one batch of pairs: `loss` and its unweighted parts. `target_ids` (B,)."""
        own, device = self.own, str(next(self.parameters()).device)
        query, target = query.to(device), target.to(device)
        states = [towers.forward(self.model, side) for side in (query, target)]  # (B, L, width) each
        ids = gather(target_ids.to(device))
        parts = {"disc": self._nce(states, [query.disc_positions, target.disc_positions], ids)}
        if own.weight_gen and bool((query.gen_positions >= 0).all() and (target.gen_positions >= 0).all()):
            parts["gen"] = self._nce(states, [query.gen_positions, target.gen_positions], ids)
        if own.weight_next_token:
            sums = [towers.next_token_loss(self.model, h, side.labels) for h, side in zip(states, (query, target), strict=True)]
            total = torch.as_tensor(float(sum(n for _, n in sums)), device=device)
            # Data-parallel training averages gradients, so each process divides by the mean token count of all of them.
            parts["next_token"] = sum(loss for loss, _ in sums) / gather(total[None]).mean().clamp(min=1)
        weights = {"disc": own.weight_contrastive, "gen": own.weight_gen, "next_token": own.weight_next_token}
        return {"loss": sum(weights[name] * part for name, part in parts.items()), **parts}  # type: ignore[dict-item]

    def _nce(self, states: Sequence[Tensor], positions: Sequence[Tensor], ids: Tensor) -> Tensor:
        """InfoNCE between the sides' unit vectors at one position a row, over the pairs of every process."""
        read = [h[torch.arange(len(h), device=h.device), at] for h, at in zip(states, positions, strict=True)]
        query, target = (gather_with_grad(F.normalize(x.float(), dim=-1)) for x in read)  # (W * B, D)
        return info_nce(query, target, temperature=self.own.temperature, target_ids=ids)


def gather(x: Tensor) -> Tensor:
    """(B,) of every process as (W * B,), without gradient."""
    if not (dist.is_available() and dist.is_initialized()) or dist.get_world_size() == 1:
        return x
    parts = [torch.empty_like(x) for _ in range(dist.get_world_size())]
    dist.all_gather(parts, x.contiguous())
    return torch.cat(parts)


class PairBatches(Dataset):
    """Item t is batch t of the plan, collated from cached features."""

    def __init__(self, pairs: Sequence[Pair], plan: Sequence[Sequence[int]], cache: FeatureCache, collate: Collator) -> None:
        self.pairs, self.plan, self.cache, self.collate = pairs, plan, cache, collate

    def __len__(self) -> int:
        return len(self.plan)

    def __getitem__(self, step: int) -> dict[str, Any]:
        rows = [self.pairs[i] for i in self.plan[step]]
        return {
            "query": self._side([p.query for p in rows], [p.query_response for p in rows]),
            "target": self._side([p.target for p in rows], [p.target_response for p in rows]),
            "target_ids": torch.tensor([p.target_id for p in rows]),
        }

    def _side(self, items: Sequence[Any], responses: Sequence[str | None]) -> Batch:
        # A clip with sound longer than a window has several parts; training looks at the first.
        return self.collate([self.cache.get(item)[0] for item in items], responses, cut=False)


class ContrastiveTrainer(Trainer):
    """Runs the plan in order, keeps only the adapter in checkpoints, and marks a checkpoint complete when all of it is written."""

    def _get_train_sampler(self, *_: Any, **__: Any) -> SequentialSampler:
        return SequentialSampler(self.train_dataset)  # type: ignore[arg-type]

    def compute_loss(self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None) -> Any:
        parts = model(**inputs)
        self.parts = {name: float(part.detach()) for name, part in parts.items()}
        return (parts["loss"], parts) if return_outputs else parts["loss"]

    def _trained(self) -> dict[str, Tensor]:
        return {name: p for name, p in self.accelerator.unwrap_model(self.model).named_parameters() if p.requires_grad}

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        folder = Path(output_dir or str(self.args.output_dir))
        folder.mkdir(parents=True, exist_ok=True)
        save_file({name: p.detach().cpu().contiguous() for name, p in self._trained().items()}, folder / "adapter.safetensors")

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        saved = load_file(Path(resume_from_checkpoint) / "adapter.safetensors")
        with torch.no_grad():
            for name, p in self._trained().items():
                p.copy_(saved[name])


class _Watch(TrainerCallback):
    """Progress lines, the loss history inside the trainer's own state (so that it survives a kill), and complete-marks."""

    def __init__(self, progress: Progress, pairs_a_step: int) -> None:
        self.progress, self.pairs_a_step = progress, pairs_a_step
        self.trainer: Any = None

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.progress.resume(state.global_step * self.pairs_a_step)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        parts = self.trainer.parts
        self.progress.step(self.pairs_a_step, step=str(state.global_step), **{f"{k}_nats": v for k, v in parts.items()})
        if state.global_step % LOG_EVERY == 0 or state.global_step in (1, state.max_steps):
            state.log_history.append({"step": state.global_step, **parts})

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        (Path(args.output_dir) / f"checkpoint-{state.global_step}" / COMPLETE).touch()


def newest_checkpoint(folder: Path) -> str | None:
    """The newest complete checkpoint; half-written ones do not count."""
    found = [p.parent for p in folder.glob(f"checkpoint-*/{COMPLETE}")]
    return str(max(found, key=lambda p: int(p.name.split("-")[1]))) if found else None


def train(model: Any, batches: PairBatches, own: SftConfig, run: RunConfig, checkpoints: Path) -> list[dict[str, float]]:
    """Train the adapter over the planned batches, resuming from the newest complete checkpoint; returns the loss history."""
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
    model.train()
    trainer.train(resume_from_checkpoint=newest_checkpoint(checkpoints))
    model.eval()
    return [row for row in trainer.state.log_history if "disc" in row]
