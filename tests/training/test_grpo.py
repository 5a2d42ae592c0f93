"""The trainer on TRL: its loss is ours, its KL starts at 0, and a killed run ends as an uninterrupted one."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from uvrlab.config import GrpoConfig, RunConfig
from uvrlab.data import schema
from uvrlab.data.items import FeaturedItem, Item
from uvrlab.data.spec import DISC_TOKEN, GEN_TOKEN
from uvrlab.losses.policy import LossInputs, policy_loss
from uvrlab.models.adapter import new_adapter
from uvrlab.models.attention import install
from uvrlab.models.backbones import backbone
from uvrlab.models.build import build_nano, build_tiny
from uvrlab.models.preprocess import default_preprocess
from uvrlab.training import grpo_loop
from uvrlab.training.grpo_trainer import PairGRPO
from uvrlab.training.pairs import Pair
from uvrlab.training.rollouts import Roller

WORDS = ["red ball", "blue star", "green ring", "white cross"]
SMALL = GrpoConfig(steps=4, pairs=2, group_size=3, max_completion_tokens=6, save_steps=2, learning_rate=1e-2, kl_weight=0.1)


class TextCache:
    """A feature cache for items without media."""

    device = "cpu"

    def get(self, item):
        return [FeaturedItem(item.item_id, item.text, item.instruction)]


def start(own: GrpoConfig, name: str = "nano-omni") -> Roller:
    """A policy whose adapter and read-out rows are no longer those of the backbone, as after `sft`."""
    torch.manual_seed(0)
    model, processor = build_nano(WORDS * 10) if name == "nano-omni" else build_tiny(name)
    spec, tokenizer = backbone(name), processor.tokenizer
    read_outs = [tokenizer.get_vocab()[token] for token in (DISC_TOKEN, GEN_TOKEN)]
    model = new_adapter(spec, install(model), rank=4, alpha=8, dropout=0.0, trainable_rows=read_outs)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.1 * torch.randn_like(parameter))
    return Roller(model, spec, tokenizer, default_preprocess(spec), TextCache(), own, 0)


PAIRS = [Pair(str(i), "T2T", "rl", Item(f"q{i}", text=w), Item(f"t{i}", text=w[::-1]), i) for i, w in enumerate(WORDS)]


def noisy(monkeypatch) -> None:
    """Give every rollout a reward of its own: a policy this young is well-formed too seldom to learn from its true ones."""
    from uvrlab.training import grpo_trainer

    real = grpo_trainer.score

    def earns(own, vectors, form, n_tokens, ids, rng):
        scores = real(own, vectors, form, n_tokens, ids, rng)
        scores.total[:] = np.random.default_rng(len(n_tokens)).normal(size=len(scores.total))
        return scores

    monkeypatch.setattr(grpo_trainer, "score", earns)


def final(folder, step: int = 4):
    return load_file(folder / f"checkpoint-{step}" / "adapter.safetensors")


@pytest.mark.parametrize("name", ["nano-omni", "qwen2.5-omni-7b"], ids=["tied", "untied"])
def test_the_kl_to_the_start_is_0_at_first_and_not_for_long(name, tmp_path, monkeypatch):
    """With a trained adapter and trained rows of new tokens, which TRL's own reference leaves out."""
    noisy(monkeypatch)
    roller = start(SMALL, name)
    history = grpo_loop.train(roller, PAIRS, SMALL, RunConfig(), tmp_path)
    assert abs(history[0]["kl"]) < 1e-9 < history[-1]["kl"]
    assert max(row["sampling_difference"] for row in history) < 1e-4
    own = dict(roller.model.named_parameters())
    pairs = [(value, own[key.replace(".ref", ".default")]) for key, value in own.items() if ".ref" in key]
    rows = [key for key in own if key.endswith("trainable_tokens_delta.ref")]
    assert len(rows) == (1 if name == "nano-omni" else 2)
    assert not any(value.requires_grad for value, _ in pairs) and any(not torch.equal(*pair) for pair in pairs)
    roller.model.delete_adapter("ref")
    roller.model.save_pretrained(tmp_path / "adapter", save_embedding_layers=False)
    assert sorted(f.name for f in (tmp_path / "adapter").glob("*.*s*")) == ["adapter_config.json", "adapter_model.safetensors"]


@pytest.mark.parametrize("level", ["token", "sequence"])
def test_the_loss_that_trl_takes_is_the_published_one(level, tmp_path, monkeypatch):
    """On fresh rollouts and on their second use, where ratios differ from 1: `losses.policy`, term by term."""
    noisy(monkeypatch)
    own = SMALL.model_copy(update={"level": level, "iterations": 2, "clip": (0.02, 0.03)})
    seen = []
    real = PairGRPO._compute_loss

    def compare(self, model, inputs):
        loss = real(self, model, inputs)
        ours = policy_loss(
            LossInputs(
                self._scored,
                inputs["completion_mask"].bool(),
                inputs["advantages"],
                inputs["old_per_token_logps"],
                inputs["ref_per_token_logps"],
            ),
            level=own.level,
            clip=own.clip,
            kl_weight=own.kl_weight,
            length=own.max_completion_tokens if own.level == "token" else None,
        )
        seen.append((float(loss), float(ours.loss), float(ours.clipped_low + ours.clipped_high)))
        return loss

    monkeypatch.setattr(PairGRPO, "_compute_loss", compare)
    grpo_loop.train(start(own), PAIRS, own, RunConfig(), tmp_path)
    assert len(seen) == 4 and any(clipped for *_, clipped in seen)
    for theirs, ours, _ in seen:
        assert theirs == pytest.approx(ours, rel=1e-4, abs=1e-7)


def test_a_killed_run_ends_as_an_uninterrupted_one(tmp_path, monkeypatch):
    noisy(monkeypatch)
    whole = grpo_loop.train(start(SMALL), PAIRS, SMALL, RunConfig(), tmp_path / "whole")
    real, seen = PairGRPO._compute_loss, []

    def dies(self, *args):
        seen.append(1)
        if len(seen) == 4:
            raise KeyboardInterrupt
        return real(self, *args)

    monkeypatch.setattr(PairGRPO, "_compute_loss", dies)
    with pytest.raises(KeyboardInterrupt):
        grpo_loop.train(start(SMALL), PAIRS, SMALL, RunConfig(), tmp_path / "killed")
    monkeypatch.setattr(PairGRPO, "_compute_loss", real)
    (tmp_path / "killed" / "checkpoint-3").mkdir()  # a checkpoint that the kill cut short
    resumed = grpo_loop.train(start(SMALL), PAIRS, SMALL, RunConfig(), tmp_path / "killed")
    one, other = final(tmp_path / "whole"), final(tmp_path / "killed")
    assert resumed == whole and all(torch.equal(one[key], other[key]) for key in one)
    tables = [schema.read_table("rollouts", tmp_path / name / "rollouts") for name in ("whole", "killed")]
    assert tables[0] == tables[1] and len(tables[0]) == 4 * 2 * 2 * 3
    assert len({row["completion"] for row in tables[0]}) > 12


def test_micro_batches_do_not_change_what_is_learnt(tmp_path, monkeypatch):
    noisy(monkeypatch)
    for name, parts in (("one", 1), ("two", 2)):
        own = SMALL.model_copy(update={"micro_batches": parts})
        grpo_loop.train(start(own), PAIRS, own, RunConfig(), tmp_path / name)
    one, two = final(tmp_path / "one"), final(tmp_path / "two")
    for key, value in one.items():
        torch.testing.assert_close(two[key], value, atol=1e-4, rtol=1e-3)


def test_pairs_without_any_difference_in_reward_are_drawn_anew_as_often_as_allowed(tmp_path):
    """An untrained policy is never well-formed, so that both pairs are flat, in both rounds of each step."""
    own = SMALL.model_copy(update={"steps": 1, "save_steps": 1, "dynamic_sampling": 2})
    (row,) = grpo_loop.train(start(own), PAIRS, own, RunConfig(), tmp_path)
    assert (row["flat_groups"], row["redrawn_pairs"], row["format"]) == (1.0, 4.0, 0.0)


def test_with_cached_targets_only_queries_are_rolled_out(tmp_path, monkeypatch):
    noisy(monkeypatch)
    own = SMALL.model_copy(update={"steps": 1, "save_steps": 1, "target_cache": True})
    grpo_loop.train(start(own), PAIRS, own, RunConfig(), tmp_path)
    table = schema.read_table("rollouts", tmp_path / "rollouts")
    assert len(table) == 2 * 3 and {row["side"] for row in table} == {"query"}


def test_the_control_shuffles_what_a_generation_earned_the_same_way_in_every_run(tmp_path, monkeypatch):
    """The real reward, with the numbers that TRL's loop hands it: equal seeds shuffle alike, another seed does not."""
    from uvrlab.training import grpo_trainer

    own, drawn = SMALL.model_copy(update={"steps": 1, "save_steps": 1, "reward": "shuffled"}), []
    real = grpo_trainer.score

    def spied(own, vectors, form, n_tokens, ids, rng):
        drawn.append(copy.deepcopy(rng).random())
        return real(own, vectors, form, n_tokens, ids, rng)

    monkeypatch.setattr(grpo_trainer, "score", spied)
    for name, seed in (("one", 0), ("again", 0), ("other", 1)):
        grpo_loop.train(start(own), PAIRS, own, RunConfig(seed=seed), tmp_path / name)
    assert drawn[0] == drawn[1] != drawn[2]


def test_ids_that_were_not_rolled_out_are_not_scored(tmp_path, monkeypatch):
    own = SMALL.model_copy(update={"steps": 1, "save_steps": 1})
    real = PairGRPO._check_ids

    def other(self, groups, input_ids, keep):
        return real(self, groups, input_ids + 1, keep)

    monkeypatch.setattr(PairGRPO, "_check_ids", other)
    with pytest.raises(RuntimeError, match="not those rolled out"):
        grpo_loop.train(start(own), PAIRS, own, RunConfig(), tmp_path)
