"""The trainer: losses of the published form, and a killed run that ends with the weights of an uninterrupted one."""

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from uvrlab.config import RunConfig, SftConfig
from uvrlab.data.items import FeaturedItem
from uvrlab.losses.contrastive import info_nce
from uvrlab.models import towers
from uvrlab.models.adapter import new_adapter
from uvrlab.models.attention import install
from uvrlab.models.backbones import backbone
from uvrlab.models.build import build_nano
from uvrlab.models.preprocess import default_preprocess
from uvrlab.training import contrastive
from uvrlab.training.batches import Collation, PairBatches
from uvrlab.training.pairs import Pair

WORDS = ["red ball", "blue star", "green ring", "white cross", "cyan square", "orange circle"]


class TextCache:
    """A feature cache for items without media."""

    def get(self, item):
        return [FeaturedItem(item.item_id, item.text, item.instruction)]


def build(steps: int):
    from uvrlab.data.items import Item

    torch.manual_seed(0)
    model, processor = build_nano([*WORDS, "think answer"] * 10)
    spec = backbone("nano-omni")
    model = new_adapter(spec, install(model), rank=4, alpha=8, dropout=0.0)
    collate = default_preprocess(spec).collator(spec, processor.tokenizer, model.config)
    response = "<think>{0}</think><answer>{0}</answer><gen_emb>"
    rows = [
        Pair(
            str(i),
            "T2T",
            "train",
            Item(f"q{i}", text=w),
            Item(f"t{i}", text=w[::-1]),
            i,
            response.format(w),
            response.format(w[::-1]),
        )
        for i, w in enumerate(WORDS)
    ]
    plan = [list(np.random.default_rng(i).permutation(6)[:4]) for i in range(steps)]
    return model, PairBatches(rows, plan, Collation(TextCache(), collate))


OWN = SftConfig(steps=6, batch_size=4, save_steps=2, bf16=False, learning_rate=1e-2)


def test_the_loss_is_the_sum_of_its_published_parts():
    model, batches = build(1)
    inputs = batches[0]
    module = contrastive.TwoSided(model, OWN)
    found = {name: float(part) for name, part in module(**inputs).items()}
    assert found["loss"] == pytest.approx(found["disc"] + found["gen"] + found["next_token"], rel=1e-5)
    sides = [inputs["query"], inputs["target"]]
    states = [towers.forward(model, side) for side in sides]
    for name, positions in (("disc", "disc_positions"), ("gen", "gen_positions")):
        read = [
            torch.nn.functional.normalize(h[torch.arange(4), getattr(s, positions)], dim=-1)
            for h, s in zip(states, sides, strict=True)
        ]
        assert found[name] == pytest.approx(float(info_nce(*read, temperature=OWN.temperature)), rel=1e-4)


def test_a_killed_run_ends_as_an_uninterrupted_one(tmp_path, monkeypatch):
    model, batches = build(6)
    whole = contrastive.train(model, batches, OWN, RunConfig(), tmp_path / "whole")

    model, batches = build(6)
    real = contrastive.ContrastiveTrainer.compute_loss
    seen = []

    def dies(self, *args, **kwargs):
        seen.append(1)
        if len(seen) == 4:
            raise KeyboardInterrupt
        return real(self, *args, **kwargs)

    monkeypatch.setattr(contrastive.ContrastiveTrainer, "compute_loss", dies)
    with pytest.raises(KeyboardInterrupt):
        contrastive.train(model, batches, OWN, RunConfig(), tmp_path / "killed")
    monkeypatch.setattr(contrastive.ContrastiveTrainer, "compute_loss", real)
    (tmp_path / "killed" / "checkpoint-4").mkdir()  # a checkpoint that the kill cut short
    model, batches = build(6)
    resumed = contrastive.train(model, batches, OWN, RunConfig(), tmp_path / "killed")
    one, other = (load_file(tmp_path / name / "checkpoint-6" / "adapter.safetensors") for name in ("whole", "killed"))
    assert all(torch.equal(one[key], other[key]) for key in one)
    assert resumed == whole


def test_only_steps_with_more_tokens_than_allowed_go_through_the_gradient_cache():
    _, batches = build(1)
    step = batches[0]
    tokens = sum(step[name].input_ids.numel() for name in ("query", "target"))
    batches.collation.chunk_pairs = 3
    for limit, parts in ((None, [3, 1]), (tokens - 1, [3, 1]), (tokens, None)):
        batches.collation.chunk_tokens = limit
        for name in ("query", "target"):
            side = batches[0][name]
            assert ([len(part.input_ids) for part in side] if isinstance(side, list) else None) == parts


def test_the_gradient_cache_gives_the_gradients_and_the_run_of_the_whole_batch(tmp_path):
    """Chunks of 3 pairs out of 4, so that the last one is smaller; InfoNCE still sees all 4, next token counts all tokens."""
    gradients, ends = [], []
    for chunk in (None, 3):
        model, batches = build(2)
        batches.collation.chunk_pairs = chunk
        trainer = contrastive.make_trainer(model, batches, OWN, RunConfig(), tmp_path / str(chunk))
        trainer.training_step(trainer.model, batches[0]) if chunk else trainer.compute_loss(trainer.model, batches[0]).backward()
        gradients.append({name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None})
        model, batches = build(2)
        batches.collation.chunk_pairs = chunk
        own = OWN.model_copy(update={"steps": 2})
        ends.append(contrastive.train(model, batches, own, RunConfig(), tmp_path / f"run {chunk}")[-1])
    assert gradients[0].keys() == gradients[1].keys() and len(gradients[0]) > 10
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient, atol=1e-5, rtol=1e-4)
    assert ends[1] == pytest.approx(ends[0], rel=1e-3)
