"""A step of `grpo` against stock TRL on the same image prompts, and against the plain video path of ours.

`python bench/grpo.py [--pairs N] [--steps N] [--out FILE]`. The shipped nano-omni with an adapter of rank 16, both sides of N
pairs, G = 8 rollouts of a fixed length (the turn end is banned everywhere), KL to a reference, one update: sampling, reading the
vectors, scoring under reference and policy, backward. Towers run in every step, once a prompt in ours. Stock: TRL's GRPOTrainer,
which knows no video, reads no vector and is given a reward that costs nothing. Plain: every rollout decoded from its own media and
prefix, its vector from another forward pass, its log-probabilities from a row of its own. CPU seconds decide, since the load of
others does not enter them.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from PIL import Image
from transformers import TrainerCallback
from trl import GRPOTrainer

from uvrlab.config import GrpoConfig, RunConfig
from uvrlab.data.items import DecodedItem, Item
from uvrlab.data.spec import DISC_TOKEN
from uvrlab.models import generate, towers
from uvrlab.models.adapter import new_adapter
from uvrlab.models.features import featurize
from uvrlab.models.generate import Thought
from uvrlab.models.modeldir import load_backbone
from uvrlab.models.preprocess import default_preprocess
from uvrlab.training import rollouts
from uvrlab.training.grpo_trainer import PairGRPO, complete_reference, trl_config
from uvrlab.training.pairs import Pair
from uvrlab.training.policy import log_probs, pack_completions
from uvrlab.training.rollouts import Group, Roller

WARM_UP, PICTURE = 1, 224
RUN = RunConfig()


class Media:
    """Decoded items by id; with `model` through its towers, once a step."""

    device = "cpu"

    def __init__(self, items: Sequence[DecodedItem], collate: Any, model: Any = None) -> None:
        self.items, self.collate, self.model = {item.item_id: item for item in items}, collate, model
        self.features: dict[str, Any] = {}

    def get(self, item: Item) -> list[Any]:
        """The item's one part."""
        if self.model is None:
            return [self.items[item.item_id]]
        if not self.features:
            self.features = {f.item_id: f for f in featurize(self.model, self.collate, list(self.items.values()))}
        return [self.features[item.item_id]]


class PlainRoller(Roller):
    """A prompt is prefilled for every rollout of it, and a vector costs a pass over all that stands before it."""

    def roll_out(self, pairs: Sequence[Pair], sides: Sequence[Any], key: str) -> list[Group]:
        asked = [(pair, side) for pair in pairs for side in sides for _ in range(self.own.group_size)]
        batch = self.prompts([getattr(pair, side) for pair, side in asked], self.collate_left)
        limit = {"max_new_tokens": self.own.max_completion_tokens}
        found = generate.sample(self.model, self.spec, self.text, batch, list(range(len(asked))), 1, **limit)
        ids = torch.tensor([rollout[0].ids for rollout in found])
        behind = batch.position_ids[:, :, -1:] + torch.arange(1, ids.shape[1] + 1)
        whole = replace(
            batch,
            input_ids=torch.cat([batch.input_ids, ids], dim=1),
            attention_mask=torch.cat([batch.attention_mask, torch.ones_like(ids)], dim=1),
            position_ids=torch.cat([batch.position_ids, behind], dim=2),
        )
        states = towers.forward(self.model, whole)[:, -1]
        thoughts = [Thought(r[0].ids, r[0].ended, state.numpy(), r[0].logps) for r, state in zip(found, states, strict=True)]
        g, groups = self.own.group_size, []
        for start in range(0, len(asked), g):
            row = batch.input_ids[start][batch.attention_mask[start].bool()].tolist()
            groups.append(Group(*asked[start], row, float(batch.position_ids[0, start, -1]) + 1, thoughts[start : start + g]))
        return groups


class PlainGRPO(PairGRPO):
    """Every completion is scored in a row of its own, behind its own prompt and media."""

    def _score(self, groups: Sequence[Group], model: Any, width: int) -> Any:
        each = [(group, thought) for group in groups for thought in group.thoughts]
        prompts = self.roller.prompts([group.item for group, _ in each])
        packed = pack_completions(prompts, [[thought.ids] for _, thought in each], self.roller.tokenizer.pad_token_id)
        banned = torch.tensor(self.roller.banned)
        return model(scoring=lambda policy: log_probs(policy, packed, banned, self.temperature, width))


class Clock(TrainerCallback):
    """Wall and CPU seconds of every step."""

    def __init__(self, media: Media | None = None) -> None:
        self.media, self.wall_s, self.cpu_s = media, list[float](), list[float]()

    def on_step_begin(self, *_: Any, **__: Any) -> None:
        if self.media:
            self.media.features.clear()
        self._begun = (time.perf_counter(), time.process_time())

    def on_step_end(self, *_: Any, **__: Any) -> None:
        self.wall_s.append(time.perf_counter() - self._begun[0])
        self.cpu_s.append(time.process_time() - self._begun[1])


def policy() -> tuple[Any, Any]:
    """The nano backbone under an adapter, its pictures of up to 64 tokens as in larger backbones."""
    torch.manual_seed(0)
    loaded = load_backbone("nano-omni")
    loaded = replace(loaded, spec=replace(loaded.spec, max_pixels=PICTURE**2))
    loaded.processor.image_processor.size = {"shortest_edge": loaded.spec.min_pixels, "longest_edge": PICTURE**2}
    model = new_adapter(loaded.spec, loaded.model, dropout=0.0)
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data.add_(0.01 * torch.randn_like(parameter))
    return loaded, model


def images(count: int) -> list[DecodedItem]:
    """Pictures of 64 tokens."""
    rng = np.random.default_rng(0)
    return [DecodedItem(f"image {i}", image=rng.integers(0, 255, (PICTURE, PICTURE, 3), dtype=np.uint8)) for i in range(count)]


def clips(count: int) -> list[DecodedItem]:
    """Videos of 4 s with sound."""
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 255, (count, 8, 112, 112, 3), dtype=np.uint8)
    waves = (0.1 * rng.standard_normal((count, 64000))).astype(np.float32)
    return [DecodedItem(f"clip {i}", frames=frames[i], fps=2.0, wave=waves[i]) for i in range(count)]


def ours(items: Sequence[DecodedItem], own: GrpoConfig, folder: Path, plain: bool = False) -> dict[str, Any]:
    """Steps of our trainer over pairs of these items."""
    loaded, model = policy()
    preprocess = default_preprocess(loaded.spec)
    collate = preprocess.collator(loaded.spec, loaded.tokenizer, model.config)
    media = Media(items, collate, None if plain else model)
    sides = [Item(item.item_id, text="-") for item in items]
    pairs = [Pair(str(i), "V2V", "rl", sides[2 * i], sides[2 * i + 1], i) for i in range(own.pairs)]
    roller = (PlainRoller if plain else Roller)(model, loaded.spec, loaded.tokenizer, preprocess, media, own, 0)
    trainer = (PlainGRPO if plain else PairGRPO)(roller, pairs, [list(range(own.pairs))] * own.steps, own, RUN, folder)
    prompt_tokens = int(roller.prompts(sides).attention_mask.sum(1).max())
    return timed(trainer, Clock(media), own, prompt_tokens)


def stock(items: Sequence[DecodedItem], own: GrpoConfig, folder: Path) -> dict[str, Any]:
    """Steps of TRL's own trainer on the same pictures with the same words."""
    loaded, model = policy()
    spec, text = loaded.spec, default_preprocess(loaded.spec).collator(loaded.spec, loaded.tokenizer, model.config).text
    ask = [{"type": "image"}, {"type": "text", "text": f"\n{DISC_TOKEN}\n{spec.instruction}"}]
    rows = {"prompt": [[{"role": "user", "content": ask}]] * len(items), "image": [Image.fromarray(item.image) for item in items]}
    config = trl_config(own, RUN, folder, 2)
    config.generation_kwargs = {"suppress_tokens": generate.banned_ids(spec, text)}
    trainer = GRPOTrainer(
        model=model,
        reward_funcs=[lambda completions, **_: [float(i % 7) for i in range(len(completions))]],
        args=config,
        train_dataset=Dataset.from_dict(rows),
        processing_class=loaded.processor,
    )
    complete_reference(trainer.accelerator.unwrap_model(trainer.model))
    ids = loaded.processor.apply_chat_template(
        [{"role": "user", "content": [{"type": "image", "image": rows["image"][0]}, ask[1]]}],
        tokenize=True,
        add_generation_prompt=True,
    )
    return timed(trainer, Clock(), own, len(ids[0]))


def timed(trainer: Any, clock: Clock, own: GrpoConfig, prompt_tokens: int) -> dict[str, Any]:
    """Medians a step without the first, and what they mean in tokens."""
    trainer.add_callback(clock)
    trainer.train()
    wall, cpu = (statistics.median(values[WARM_UP:]) for values in (clock.wall_s, clock.cpu_s))
    made = 2 * own.pairs * own.group_size * own.max_completion_tokens
    rates = {"completion_tokens_per_cpu_s": round(made / cpu, 1), "prompt_tokens": prompt_tokens}
    return {"wall_s_a_step": round(wall, 3), "cpu_s_a_step": round(cpu, 3), **rates}


def compare(ways: dict[str, dict[str, Any]], own: GrpoConfig) -> dict[str, Any]:
    """How much faster ours is, and how much would follow from the tokens of the prefix that it computes once a group."""
    base, other = ways
    g, c, prompt = own.group_size, own.max_completion_tokens, ways[base]["prompt_tokens"]
    bound = g * (prompt + c) / (prompt + g * c)
    ratio = ways[other]["cpu_s_a_step"] / ways[base]["cpu_s_a_step"]
    return {
        "ways": ways,
        "ours_is_faster_by": round(ratio, 2),
        "tokens_shared_bound": round(bound, 2),
        "of_bound": round(ratio / bound, 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=4)
    parser.add_argument("--steps", type=int, default=4, help="the first is a warm-up")
    parser.add_argument("--out", type=Path, default=Path("bench/results/grpo.json"))
    args = parser.parse_args()
    real = generate.banned_ids

    def endless(spec: Any, text: Any) -> list[int]:
        return sorted({*real(spec, text), text.id(spec.tokens.turn_end)})

    generate.banned_ids = rollouts.banned_ids = endless  # every rollout then has the same length, in all ways
    common = {"steps": args.steps, "pairs": args.pairs, "save_steps": args.steps + 1}
    short, long = GrpoConfig(max_completion_tokens=48, **common), GrpoConfig(max_completion_tokens=18, **common)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        pictures, films = images(2 * args.pairs), clips(2 * args.pairs)
        image = {"ours": ours(pictures, short, folder / "a"), "stock TRL": stock(pictures, short, folder / "b")}
        video = {"ours": ours(films, long, folder / "c"), "plain": ours(films, long, folder / "d", plain=True)}
    result = {
        "what": f"a GRPO step: {args.pairs} pairs, both sides, G = {short.group_size}, KL, LoRA rank 16, nano-omni, float32",
        "command": f"OMP_NUM_THREADS={torch.get_num_threads()} python bench/grpo.py --pairs {args.pairs} --steps {args.steps}",
        "torch_threads": torch.get_num_threads(),
        "machine": f"{platform.machine()}, {platform.python_version()}, torch {torch.__version__}",
        "images, completions of 48 tokens": compare(image, short),
        "videos of 4 s with sound, completions of 18 tokens": compare(video, long),
    }
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
