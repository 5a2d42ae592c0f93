"""TRL's GRPOTrainer, with rollouts and scoring that carry picture and sound: the loop, the loss, the reference and the optimizer
are TRL's own, this subclass replaces where completions come from and how they are scored.

Overridden, each because stock TRL hands only images to the scoring pass and normalises rewards in one way:
- `rollout_func` (TRL's own hook): both sides of the pairs, one prefill a prompt, vectors read from the rollout itself.
- `_get_per_token_logps_and_entropies`: the completions of a prompt packed behind it, banned tokens left out.
- `_generate_and_score_completions`: our advantages in place of TRL's; truncated rollouts stay in the loss, with no reward.
- `_prepare_inputs`: without TRL's shuffle, which would tear the groups of a micro batch apart.
- `_compute_loss`: remembers which rollouts the loss is about to score.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from torch import Tensor
from transformers import PrinterCallback
from trl import GRPOConfig as TrlConfig
from trl import GRPOTrainer
from trl.trainer.utils import split_tensor_dict

from uvrlab.config import RolloutConfig, RunConfig
from uvrlab.losses.policy import CLIP, advantages
from uvrlab.training.checkpoints import AdapterCheckpoints
from uvrlab.training.pairs import Pair
from uvrlab.training.policy import log_probs, pack_completions
from uvrlab.training.rollouts import SIDES, Group, Roller, Scores, Side, rows, score

ROWS_A_PASS = 8  # prompts of like length; a mask over more of them would be padding for the most part
OnStep = Callable[[int, list[dict[str, Any]], dict[str, float]], None]


class PairGRPO(AdapterCheckpoints, GRPOTrainer):
    """One generation is N pairs, both sides of each (queries alone where target vectors are cached), G rollouts a side."""

    columns: tuple[str, ...] = ("format", "embedding")  # the parts of the reward that TRL is told

    def __init__(
        self,
        roller: Roller,
        pairs: Sequence[Pair],
        plan: Sequence[Sequence[int]],
        own: Any,  # GrpoConfig, or of a subclass its own
        run: RunConfig,
        folder: Path,
        *,
        target_vectors: dict[str, np.ndarray] | None = None,
        on_rollouts: OnStep = lambda *_: None,
    ) -> None:
        self.roller, self.pairs, self.plan, self.own = roller, pairs, plan, own
        self.target_vectors, self.on_rollouts = target_vectors or {}, on_rollouts
        self.sides = self.rolled(own)
        self.groups: list[Group] = []
        self._scoring: Sequence[int] = ()
        self._slices: list[Any] = []
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*rollout_func.*experimental")
            super().__init__(
                model=roller.model,
                reward_funcs=[_column(name) for name in self.columns],
                args=trl_config(own, run, folder, len(self.sides)),
                train_dataset=Dataset.from_dict({"prompt": [f"{t} {n}" for t in range(len(plan)) for n in range(self._prompts)]}),
                processing_class=roller.tokenizer,
                rollout_func=self.roll,
            )
        self.remove_callback(PrinterCallback)  # it prints a dictionary at the end; progress lines say more
        model = self.accelerator.unwrap_model(self.model)
        complete_reference(model)
        accept_scoring(model.get_base_model())

    @staticmethod
    def rolled(own: Any) -> tuple[Side, ...]:
        """The sides of a pair that are rolled out."""
        return SIDES[:1] if own.target_cache else SIDES

    @property
    def _prompts(self) -> int:
        return int(self.own.prompts) * len(self.sides)

    def create_model_card(self, *_: Any, **__: Any) -> None:
        """None here: a card belongs to a registered model, and is written there."""

    def roll(self, prompts: Sequence[str], trainer: Any = None) -> dict[str, Any]:
        """TRL's rollout hook. Each of `prompts` is "generation number", G times; this process rolls out its own whole pairs."""
        own, trainer = self.own, trainer or self
        numbers = [prompt.split() for prompt in prompts[:: own.group_size]]
        generation, first = int(numbers[0][0]), int(numbers[0][1])
        planned = [self.pairs[i] for i in self.plan[generation]]
        mine = slice(first // len(self.sides), (first + len(numbers)) // len(self.sides))
        self.model.eval()  # in training mode gradient checkpointing would drop the cache of the rollouts
        with torch.no_grad(), self.accelerator.autocast():
            self._fill(planned, mine, generation)
        self.model.train()
        thoughts = [thought for group in self.groups for thought in group.thoughts]
        self._scoring = range(len(thoughts))
        return {
            "prompt_ids": [group.prompt_ids for group in self.groups for _ in group.thoughts],
            "completion_ids": [thought.ids for thought in thoughts],
            "logprobs": [thought.logps for thought in thoughts],
            **{name: _nullable(self.scores.parts[name][self._local]) for name in self.columns},
        }

    def _fill(self, planned: list[Pair], mine: slice, generation: int) -> None:
        """Roll out the generation's pairs; dynamic sampling redraws those whose every group is flat while the plan has more."""
        own, n = self.own, self.own.prompts
        chosen, spare, redrawn = planned[:n], planned[n:], 0
        groups = self.roller.roll_out(chosen[mine], self.sides, f"{generation}/0")
        self._judge(chosen, groups, generation)
        for turn in range(1, own.dynamic_sampling + 1):
            dull = [i for i in range(n) if bool(self.advantages.flat.view(n, -1)[i].all())]
            if not dull:
                break
            redrawn += len(dull)
            for i in dull:
                chosen[i] = spare.pop(0)
            local = [i - mine.start for i in dull if mine.start <= i < mine.stop]
            new = self.roller.roll_out([chosen[mine.start + i] for i in local], self.sides, f"{generation}/{turn}") if local else []
            size = len(self.sides)
            for place, i in enumerate(local):
                groups[i * size : (i + 1) * size] = new[place * size : (place + 1) * size]
            self._judge(chosen, groups, generation)
        self.redrawn = redrawn

    def _judge(self, pairs: Sequence[Pair], groups: list[Group], generation: int) -> None:
        """Rewards and advantages of the whole generation, of every process; this one's rollouts stand at `_local`."""
        own, device = self.own, self.accelerator.device
        judged = self.roller.judge(groups)
        lengths = [len(thought.ids) for group in groups for thought in group.thoughts]
        table = np.concatenate([judged.vectors, judged.format[:, None], np.array(lengths)[:, None]], axis=1)
        whole = self.accelerator.gather(torch.tensor(table, dtype=torch.float64, device=device)).cpu().numpy()
        vectors, form, n_tokens = whole[:, :-2], whole[:, -2], whole[:, -1]
        if own.target_cache:
            vectors = np.concatenate([vectors, np.stack([self.target_vectors[pair.pair_id] for pair in pairs])])
        rng = np.random.default_rng([self.args.seed, generation])
        self.scores: Scores = score(own, vectors, form, n_tokens, [p.target_id for p in pairs], rng)
        self.advantages = advantages(torch.tensor(self.scores.total), own.group_size, scaling=own.advantage)
        start = self.accelerator.process_index * len(lengths)
        self._local = slice(start, start + len(lengths))
        self.groups, self.judged = groups, judged

    def _generate_and_score_completions(self, inputs: Any) -> Any:
        output = super()._generate_and_score_completions(inputs)
        output["advantages"] = self.advantages.values[self._local].float().to(output["advantages"].device)
        output["rollout"] = torch.arange(len(inputs), device=output["advantages"].device)
        self._tell()
        return output

    def _tell(self) -> None:
        flat, own = self.advantages.flat, self.own
        mine = slice(self._local.start // own.group_size, self._local.stop // own.group_size)
        values = self.advantages.values[self._local].tolist()
        local = Scores(
            {name: part[self._local] for name, part in self.scores.parts.items()},
            *(getattr(self.scores, name)[self._local] for name in ("total", "rank", "gap", "flags")),
        )
        step = self.state.global_step + 1
        table = rows(step, self.groups, self.judged, local, values, flat[mine].tolist())
        self.on_rollouts(step, table, {"flat_groups": float(flat.float().mean()), "redrawn_pairs": float(self.redrawn)})

    def _prepare_inputs(self, generation_batch: Any) -> Any:
        parts = self.args.steps_per_generation
        if self._step % (parts * self.num_iterations) == 0 or not self._slices:
            self._slices = split_tensor_dict(self._generate_and_score_completions(generation_batch), parts)
        return self._slices[self._step % parts]

    def _compute_loss(self, model: Any, inputs: Any) -> Any:
        self._scoring = inputs["rollout"].tolist()
        loss = super()._compute_loss(model, inputs)
        drift = (self._scored - inputs["sampling_per_token_logps"]).abs()[inputs["completion_mask"].bool()]
        self._metrics["train"]["sampling_difference"].append(float(drift.max()))
        self._metrics["train"]["loss"].append(float(loss.detach()))
        return loss

    def _get_per_token_logps_and_entropies(
        self, model: Any, input_ids: Tensor, attention_mask: Tensor, logits_to_keep: int, *_: Any, **__: Any
    ) -> tuple[Tensor, Tensor, None]:
        """(R, T) log-probabilities and entropies of the rollouts being scored; R are whole groups, in the order of TRL's rows."""
        g = self.own.group_size
        groups = [self.groups[row // g] for row in self._scoring[::g]]
        self._check_ids(groups, input_ids, logits_to_keep)
        order = sorted(range(len(groups)), key=lambda i: len(groups[i].prompt_ids))
        found: dict[int, tuple[Tensor, Tensor]] = {}
        for start in range(0, len(order), ROWS_A_PASS):
            some = order[start : start + ROWS_A_PASS]
            logp, entropy = self._score([groups[i] for i in some], model, logits_to_keep)
            found |= {i: (logp[k * g : (k + 1) * g], entropy[k * g : (k + 1) * g]) for k, i in enumerate(some)}
        logp, entropy = (torch.cat([found[i][part] for i in range(len(groups))]) for part in (0, 1))
        self._scored = logp.detach()
        return logp, entropy, None

    def _score(self, groups: Sequence[Group], model: Any, width: int) -> tuple[Tensor, Tensor]:
        roller = self.roller
        prompts = roller.prompts([group.item for group in groups])
        for r, group in enumerate(groups):
            n = int(prompts.attention_mask[r].sum())
            last = float(prompts.position_ids[0, r, n - 1])
            if prompts.input_ids[r, :n].tolist() != group.prompt_ids or last + 1 != group.position:
                raise RuntimeError(
                    f"pair {group.pair.pair_id}, {group.side}: the prompt that is scored ends at position {last} with {n} ids, the "
                    f"one that was rolled out at {group.position - 1} with {len(group.prompt_ids)}; both must be the same"
                )
        packed = pack_completions(prompts, [[t.ids for t in group.thoughts] for group in groups], roller.tokenizer.pad_token_id)
        banned = torch.tensor(roller.banned, device=prompts.input_ids.device)
        with self.accelerator.autocast():
            found: tuple[Tensor, Tensor] = model(scoring=lambda policy: log_probs(policy, packed, banned, self.temperature, width))
        return found

    def _check_ids(self, groups: Sequence[Group], input_ids: Tensor, keep: int) -> None:
        """What TRL is about to score must be what was rolled out, id by id."""
        wanted = [(group, thought) for group in groups for thought in group.thoughts]
        for row, (group, thought) in zip(input_ids.tolist(), wanted, strict=True):
            split = len(row) - keep
            if row[split - len(group.prompt_ids) : split + len(thought.ids)] != [*group.prompt_ids, *thought.ids]:
                raise RuntimeError(f"pair {group.pair.pair_id}, {group.side}: the ids that are scored are not those rolled out")


def _column(name: str) -> Callable[..., list[float | None]]:
    """A reward function for TRL that hands over what the rollout hook worked out for the whole generation."""

    def reward(*_: Any, **columns: Any) -> list[float | None]:
        return list(columns[name])

    reward.__name__ = name
    return reward


def _nullable(values: np.ndarray) -> list[float | None]:
    return [None if np.isnan(value) else float(value) for value in values]


def complete_reference(model: Any) -> None:
    """Make TRL's `ref` adapter equal to the adapter: TRL leaves out trained token rows, and the KL would not start at 0."""
    own = dict(model.named_parameters())
    with torch.no_grad():
        for name, value in own.items():
            if name.endswith(".ref"):
                value.copy_(own[name.removesuffix(".ref") + ".default"])
            if ".ref." in f"{name}.":
                value.requires_grad_(False)


def accept_scoring(base: Any) -> None:
    """Let `model(scoring=f)` return f(base), so that data-parallel and DeepSpeed wrappers see one ordinary forward pass."""
    plain = base.forward

    def forward(*args: Any, scoring: Callable[[Any], Any] | None = None, **kwargs: Any) -> Any:
        return plain(*args, **kwargs) if scoring is None else scoring(base)

    base.forward = forward


def trl_config(own: RolloutConfig, run: RunConfig, folder: Path, sides: int) -> TrlConfig:
    """The stage's configuration as TRL's. The loss of a rollout is its sum over a constant; of GSPO its mean, as published."""
    low, high = own.clip or CLIP[own.level]
    rollouts = own.prompts * sides * own.group_size
    arguments: dict[str, Any] = {
        "output_dir": str(folder),
        "max_steps": own.steps,
        "gradient_accumulation_steps": own.micro_batches,
        "steps_per_generation": own.micro_batches,
        "num_generations": own.group_size,
        "num_iterations": own.iterations,
        "max_completion_length": own.max_completion_tokens,
        "temperature": own.temperature,
        "beta": own.kl_weight,
        "use_bias_correction_kl": False,  # TRL multiplies the KL term by the ratio; UME-R1 does not
        "epsilon": low,
        "epsilon_high": high,
        "importance_sampling_level": own.level,
        "loss_type": "dr_grpo" if own.level == "token" else "grpo",
        "router_aux_loss_coef": 0.0,
        "shuffle_dataset": False,
        "learning_rate": own.learning_rate,
        "lr_scheduler_type": "constant_with_warmup",
        "warmup_steps": round(own.warmup_share * own.steps),
        "weight_decay": 0.0,
        "save_steps": own.save_steps,
        "save_total_limit": 2,
        "seed": run.seed,
        "use_cpu": run.device == "cpu",
        "bf16": own.bf16,
        "activation_checkpointing": own.gradient_checkpointing,
        "deepspeed": own.deepspeed,
        "disable_dropout": True,  # a rollout must be as likely when it is scored as it was when it was sampled
        "report_to": "none",
        "logging_strategy": "no",
        "disable_tqdm": True,
        "remove_unused_columns": False,
        "dataloader_pin_memory": False,
    }
    world = int(os.environ.get("WORLD_SIZE", "1"))
    share, rest = divmod(own.prompts, own.micro_batches * world)
    if rest:
        raise ValueError(
            f"{own.prompts} prompts cannot be shared by {world} processes in {own.micro_batches} micro batches; keep groups whole"
        )
    return TrlConfig(per_device_train_batch_size=rollouts // own.prompts * share, **arguments)
