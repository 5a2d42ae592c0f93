"""The curriculum's trainer on a small real model: negatives are keys, every kind of step trains, and a kill changes nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file

from tests.training import test_contrastive
from uvrlab.config import CurriculumConfig, MiningConfig, ReplayConfig, RunConfig
from uvrlab.data.items import Item
from uvrlab.losses.contrastive import info_nce
from uvrlab.models import towers
from uvrlab.training import contrastive, curriculum_loop
from uvrlab.training.batches import NOBODY, Collation
from uvrlab.training.curriculum_epochs import Epochs, probe
from uvrlab.training.curriculum_replay import Answer
from uvrlab.training.heldout import encode
from uvrlab.training.pairs import Pair

WORDS = test_contrastive.WORDS
OWN = CurriculumConfig(
    epochs=2,
    epoch_steps=3,
    batch_size=4,
    save_steps=2,
    bf16=False,
    learning_rate=1e-2,
    probe_pairs=4,
    mined_tasks=("T2T", "T2V"),
    mining=MiningConfig(negatives=2, margin=None),
    replay=ReplayConfig(generative=0.25, grounding=0.25),
)
ANSWERS = [Answer(word, Item(word, text=f"which one? {word}"), f"<answer>{word}</answer>") for word in WORDS[:4]]


class Held(test_contrastive.TextCache):
    """A feature cache for items without media, as reading vectors needs it."""

    device = "cpu"

    def __init__(self, collate: Any) -> None:
        self.collate = collate


def build(own: CurriculumConfig, folder: Path, used: list[str] | None = None) -> tuple[Any, curriculum_loop.Steps]:
    """A model and the steps of a run on texts; `used` notes who was asked for vectors."""
    model, batches = test_contrastive.build(1)
    cache = Held(batches.collation.collate)
    response = "<think>{0}</think><answer>{0}</answer><gen_emb>"
    pairs = [
        Pair(f"{t}{i}", t, "train", Item(f"q{i}", text=w), Item(f"t{i}", text=w[::-1]), i, response.format(w), response.format(w))
        for t in ("T2T", "T2V/rich")
        for i, w in enumerate(WORDS)
    ]

    def reader(items: Any) -> Any:
        (used if used is not None else []).append("reader")
        return encode(model, items, cache)

    def prober() -> Any:
        (used if used is not None else []).append("prober")
        return lambda items: encode(model, items, cache)

    epochs = Epochs(pairs, len(ANSWERS), own, 0, model, prober, reader, folder / "epochs")
    return model, curriculum_loop.Steps(epochs, pairs, ANSWERS, Collation(cache, cache.collate, own.chunk_pairs))


def run(own: CurriculumConfig, folder: Path, used: list[str] | None = None) -> tuple[list[Any], curriculum_loop.Steps]:
    model, steps = build(own, folder, used)
    return curriculum_loop.train(model, steps, own, RunConfig(), folder), steps


def test_a_run_killed_inside_an_epoch_ends_as_an_uninterrupted_one(tmp_path, monkeypatch):
    """Killed in step 4, the first of epoch 2, behind the checkpoint of step 2: what either epoch found is taken up."""
    whole, steps = run(OWN, tmp_path / "whole")
    real, calls, used = contrastive.ContrastiveTrainer.compute_loss, [], list[str]()

    def dies(self, *args, **kwargs):
        calls.append(1)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return real(self, *args, **kwargs)

    monkeypatch.setattr(contrastive.ContrastiveTrainer, "compute_loss", dies)
    with pytest.raises(KeyboardInterrupt):
        run(OWN, tmp_path / "killed", used)
    assert used.count("prober") == 1 and used.count("reader") > 0
    monkeypatch.setattr(contrastive.ContrastiveTrainer, "compute_loss", real)
    used.clear()
    resumed, again = run(OWN, tmp_path / "killed", used)
    assert used == [], "nothing is probed or mined twice"
    assert resumed == whole and again.epochs.made == steps.epochs.made
    one, other = (load_file(tmp_path / name / "checkpoint-6" / "adapter.safetensors") for name in ("whole", "killed"))
    assert all(torch.equal(one[key], other[key]) for key in one)


def test_an_epoch_is_probed_by_the_model_at_the_end_of_the_last_one(tmp_path):
    own = OWN.model_copy(update={"save_steps": 3})
    _, steps = run(own, tmp_path)
    model, fresh = build(own, tmp_path / "other")
    start = probe(fresh.pairs, fresh.epochs.reader, own, 0)
    state = {
        name.removeprefix("model."): value for name, value in load_file(tmp_path / "checkpoint-3" / "adapter.safetensors").items()
    }
    assert not model.load_state_dict(state, strict=False).unexpected_keys
    then = probe(fresh.pairs, fresh.epochs.reader, own, 0)
    assert steps.epochs.made[0].scores == pytest.approx(start, abs=1e-6)
    assert steps.epochs.made[1].scores == pytest.approx(then, abs=1e-6)
    assert max(abs(start[task] - then[task]) for task in start) > 1e-3, "training has moved them"


def test_negatives_are_mined_anew_each_epoch_or_once_for_all(tmp_path):
    _, steps = build(OWN, tmp_path / "anew")
    drawn = [{steps.pairs[i].pair_id for i in steps.epochs.step(n)[1].rows} for n in range(6)]
    for n, epoch in enumerate(steps.epochs.made):
        wanted = [drawn[3 * n + at] for at, step in enumerate(epoch.steps) if step.kind == "pairs"]
        assert {(row["epoch"], row["query_id"]) for row in epoch.mined} == {(n + 1, name) for some in wanted for name in some}
    once = OWN.model_copy(update={"mining": MiningConfig(margin=None, every_epoch=False)})
    _, steps = build(once, tmp_path / "once")
    steps.epochs.step(5)
    first, second = (epoch.mined for epoch in steps.epochs.made)
    assert first == second and {row["query_id"] for row in first} == {pair.pair_id for pair in steps.pairs}


def by_kind(own: CurriculumConfig, folder: Path) -> tuple[Any, dict[str, Any]]:
    """A model and the inputs of the first step of each kind."""
    model, steps = build(own, folder)
    kinds = {steps.epochs.step(number)[1].kind: number for number in reversed(range(own.epoch_steps))}
    return model, {kind: steps[number] for kind, number in kinds.items()}


def test_hard_negatives_are_keys_unless_they_fill_up_or_are_targets_of_the_batch(tmp_path):
    model, steps = build(OWN, tmp_path)
    rows, others = steps.pairs[:3], steps.pairs
    negatives = [(others[4].target, 4), (others[1].target, 1), (others[0].target, NOBODY)]
    step = steps.collation.pairs(rows, written=False, negatives=negatives)
    parts = contrastive.TwoSided(model, OWN)(**step)
    read = [_vectors(model, step[name]) for name in ("query", "target", "negatives")]
    options = {"temperature": OWN.temperature, "false_negative_margin": 0.1, "duplicate_tolerance": 1e-5}
    wanted = info_nce(read[0], read[1], hard_negatives=read[2][:1], **options)
    assert parts.keys() == {"loss", "disc"} and float(parts["disc"]) == pytest.approx(float(wanted), rel=1e-4)


def _vectors(model: Any, batch: Any) -> torch.Tensor:
    states = towers.forward(model, batch)
    return F.normalize(states[torch.arange(len(states)), batch.disc_positions], dim=-1)


def test_each_kind_of_step_has_the_losses_of_what_it_holds(tmp_path):
    model, steps = by_kind(OWN, tmp_path)
    found = {kind: set(contrastive.TwoSided(model, OWN)(**step)) for kind, step in steps.items()}
    assert found == {
        "pairs": {"loss", "disc"},
        "generative": {"loss", "disc", "gen", "next_token"},
        "grounding": {"loss", "next_token"},
    }


@pytest.mark.parametrize("kind", ["pairs", "generative", "grounding"])
def test_the_gradient_cache_gives_the_gradients_of_the_whole_step(tmp_path, kind):
    """Chunks of 3 of 4 pairs and of 8 negatives, with vectors cut to 8 numbers as well."""
    gradients = []
    for chunk in (None, 3):
        own = OWN.model_copy(update={"chunk_pairs": chunk, "matryoshka": (8, 32)})
        model, steps = by_kind(own, tmp_path / str(chunk))
        trainer = contrastive.make_trainer(model, curriculum_loop.Numbers(1), own, RunConfig(), tmp_path / f"trainer {chunk}")
        inputs = steps[kind]
        trainer.training_step(trainer.model, inputs) if chunk else trainer.compute_loss(trainer.model, inputs).backward()
        gradients.append({name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None})
    assert gradients[0].keys() == gradients[1].keys() and len(gradients[0]) > 10
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient, atol=1e-5, rtol=1e-4)


def test_the_schedule_is_kept_as_numbers_that_read_back_exactly(tmp_path):
    _, steps = build(OWN, tmp_path)
    epoch, _ = steps.epochs.step(0)
    told = json.loads((tmp_path / "epochs" / "epoch-1.json").read_text())
    assert told == epoch.scores and np.isfinite(list(told.values())).all()
    assert sum(epoch.shares.values()) == pytest.approx(1)
