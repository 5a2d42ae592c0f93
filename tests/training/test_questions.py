"""Rewards of the question stages on a small real model: what is removed, what is scored, and that each term moves the gradient."""

from __future__ import annotations

import ast
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.models.families import BLIP, SMALL, WAVE
from uvrlab.config import FusionConfig, GroundingConfig, RunConfig
from uvrlab.data.items import DecodedItem, FeaturedItem, Item
from uvrlab.data.questions import Asked
from uvrlab.losses.policy import advantages
from uvrlab.models import towers
from uvrlab.models.adapter import new_adapter
from uvrlab.models.attention import install
from uvrlab.models.backbones import backbone
from uvrlab.models.build import build_nano
from uvrlab.models.features import featurize
from uvrlab.models.generate import Thought
from uvrlab.models.preprocess import default_preprocess
from uvrlab.models.respond import respond, under
from uvrlab.rewards.base import combine
from uvrlab.training import questions_loop
from uvrlab.training.fusion import FusionReward
from uvrlab.training.grounding import GroundingReward
from uvrlab.training.pairs import Pair
from uvrlab.training.questions import QuestionRoller, Questions, plan_questions
from uvrlab.training.rollouts import Group
from uvrlab.training.spans import Footage

REPO = Path(__file__).resolve().parents[2]
WORDS = ["a red ball rolls to the left", "then a bell rings", "which sound is heard first", "0.5-1.5 the bell"]
SOUNDS = {"heard": WAVE[:32000], "short": BLIP, "long": np.tile(BLIP, 5), "none": None, "mute": None}
OWN = FusionConfig(steps=2, questions=2, group_size=3, max_completion_tokens=8, save_steps=1, learning_rate=1e-2, kl_weight=0.1)


class Held:
    """Features of a few clips by the name of the item; the text is the item's."""

    device = "cpu"

    def __init__(self, found: dict[str, FeaturedItem]) -> None:
        self.found = found

    def get(self, item: Any) -> list[FeaturedItem]:
        return [replace(self.found[item.item_id], text=item.text)]


@pytest.fixture
def parts() -> tuple[QuestionRoller, Questions]:
    """A policy with an adapter of its own, and one question about each of five clips: sound of all lengths, and none."""
    torch.manual_seed(0)
    model, processor = build_nano(WORDS * 10)
    spec = backbone("nano-omni")
    model = new_adapter(spec, install(model), rank=4, alpha=8, dropout=0.0)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.1 * torch.randn_like(parameter))
    preprocess = default_preprocess(spec)
    collate = preprocess.collator(spec, processor.tokenizer, model.config)
    items = [DecodedItem(name, frames=SMALL, fps=2.0, wave=wave) for name, wave in SOUNDS.items()]
    cache = Held({item.item_id: item for item in featurize(model, collate, items)})
    asked = {n: Asked(n, n, "rl", "which sound is heard first", ("bell", "ball"), "A. bell", "both") for n in SOUNDS}
    samples = [Pair(n, "both", "rl", i, i, 0) for n in SOUNDS for i in [Item(n, text=asked[n].prompt)]]
    clips = {n: {"clip_id": n, "start_s": 0.0, "end_s": 2.0, "scene": None} for n in SOUNDS}
    roller = QuestionRoller(model, spec, processor.tokenizer, preprocess, cache, OWN, 0)
    return roller, Questions(asked, samples, clips)


def group(roller: QuestionRoller, sample: Pair, texts: list[str]) -> Group:
    batch = roller.prompts([sample.query])
    thoughts = [Thought(roller.text.response(text), True, None) for text in texts]
    return Group(sample, "query", batch.input_ids[0].tolist(), float(batch.position_ids[0, 0, -1]) + 1, thoughts)


def response(span: str = "0.5-1.0", caption: str = "a bell", thinking: str = "so", answer: str = "A. bell") -> str:
    return f"<time>{span}</time><caption>{caption}</caption><thinking>{thinking}</thinking><answer>{answer}</answer>"


# --- data and prompts ---


@settings(max_examples=50)
@given(st.integers(1, 9), st.integers(1, 7), st.integers(1, 6), st.integers(0, 3))
def test_the_plan_asks_every_question_before_any_comes_again(n, steps, size, seed):
    samples = [Pair(str(i), "", "", Item("x", text="y"), Item("x", text="y"), 0) for i in range(n)]
    plan = plan_questions(samples, steps, size, seed)
    assert plan == plan_questions(samples, steps, size, seed) and [len(p) for p in plan] == [size] * steps
    flat = [i for p in plan for i in p]
    for start in range(0, len(flat) - n + 1, n):
        assert sorted(flat[start : start + n]) == list(range(n))


def test_no_training_module_reads_true_spans():
    """Pretraining writes grounded responses from the scene graph of its own split; every stage goes through `read_questions`."""
    for file in (REPO / "uvrlab" / "training").glob("*.py"):
        names = {node.attr for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Attribute)}
        names |= {node.id for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Name)}
        names |= {str(node.value) for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Constant)}
        assert not names & {"true_spans", "read_spans"}, file


def test_a_mixed_batch_answers_as_its_clips_alone(parts):
    """Sound longer and shorter than the picture, none at all, and each condition: equal texts and position ids."""
    roller, questions = parts
    items = [under(roller.cache.get(s.query)[0], c) for s in questions.samples for c in ("av", "v", "a", "blind")]
    together = respond(roller.model, roller.spec, roller.collate_left, items, "cpu", max_new_tokens=8)
    alone = [respond(roller.model, roller.spec, roller.collate_left, [item], "cpu", max_new_tokens=8)[0] for item in items]
    assert together == alone
    batch = roller.collate(items, template="chat", cut=False)
    for row, item in enumerate(items):
        one = roller.collate([item], template="chat", cut=False)
        n = one.input_ids.shape[1]
        assert torch.equal(batch.position_ids[:, row, :n], one.position_ids[:, 0])
        assert torch.equal(batch.input_ids[row, :n], one.input_ids[0])


def test_a_roller_under_a_condition_asks_without_the_modality(parts):
    roller, questions = parts
    tokens = {c: set(roller.under(c).prompts([questions.samples[0].query]).input_ids[0].tolist()) for c in ("av", "v", "a")}
    picture, sound = (roller.text.id(name) for name in (roller.spec.tokens.video, roller.spec.tokens.audio))
    assert {c: (picture in ids, sound in ids) for c, ids in tokens.items()} == {
        "av": (True, True),
        "v": (True, False),
        "a": (False, True),
    }


# --- fusion ---


def test_necessity_reads_the_reference_behind_the_rollouts_own_words(parts):
    """Mean log-probability of the reference's tokens, by a plain pass over prompt, words and reference, for every condition."""
    roller, questions = parts
    reward = FusionReward(OWN.model_copy(update={"rule": "necessity"}), questions, roller)
    texts = [response(thinking="so the bell"), response(caption="a red ball"), "no answer at all"]
    for condition, other in reward.rollers.items():
        found = reward._likelihoods(other, [group(roller, questions.samples[0], texts)], texts)
        assert found[2] == 0.0
        for text, score in zip(texts[:2], found, strict=False):
            assert score == pytest.approx(_plain(roller, questions.samples[0], text, condition), abs=1e-4)
    assert found[0] != pytest.approx(found[1], abs=1e-5)  # or the term would be equal in the group, and cancel


def _plain(roller: QuestionRoller, sample: Pair, text: str, condition: Any) -> float:
    item = under(roller.cache.get(sample.query)[0], condition)
    head = text.partition("<answer>")[0] + "<answer>"
    batch = roller.collate([item], template="chat", cut=False)
    ids = [*roller.text.response(head), *(answer := roller.text.response("A. bell</answer>"))]
    grown = replace(
        batch,
        input_ids=torch.cat([batch.input_ids, torch.tensor([ids])], 1),
        attention_mask=torch.ones(1, batch.input_ids.shape[1] + len(ids), dtype=torch.long),
        position_ids=torch.cat([batch.position_ids, batch.position_ids[:, :, -1:] + torch.arange(1, len(ids) + 1)], 2),
    )
    with torch.no_grad():
        logits = towers.head(roller.model, towers.forward(roller.model, grown)[0]).float()
    logits[:, roller.banned] = -math.inf
    logp = logits.log_softmax(-1)[-len(answer) - 1 : -1].gather(1, torch.tensor(answer)[:, None])
    return float(logp.mean())


@pytest.mark.parametrize("rule", ["ge", "gt", "group", "necessity"])
def test_every_rule_has_parts_for_every_rollout(parts, rule):
    roller, questions = parts
    reward = FusionReward(OWN.model_copy(update={"rule": rule}), questions, roller)
    texts = [response(), response(answer="B. ball"), "nothing"]
    groups = [group(roller, sample, texts) for sample in questions.samples[:2]]
    found = reward(groups, texts * 2, "0")
    assert set(found.parts) == set(reward.weights) and all(len(part) == 6 for part in found.parts.values())
    assert found.parts["format"].tolist() == [1, 1, 0] * 2 and found.parts["answer"].tolist() == [1, 0, 0] * 2
    assert ((found.parts["attention"] >= 0) & (found.parts["attention"] <= 0.3)).all()
    assert found.flags == [[], [], ["no form"]] * 2


def test_the_necessity_term_is_live(parts):
    """Equal form and answer: the bonus alone gives the group a variance, and so a gradient."""
    roller, questions = parts
    reward = FusionReward(OWN.model_copy(update={"rule": "necessity", "alpha": 1.0}), questions, roller)
    texts = [
        response(caption=c, thinking=t) for c, t in (("a bell", "so"), ("a red ball", "the bell rings"), ("the left", "a bell"))
    ]
    found = reward([group(roller, questions.samples[0], texts)], texts, "0")
    with torch.no_grad():  # an untrained model hardly uses its clip: score the drop itself, as the bonus clamps it at 0
        av, v, a = (
            reward._likelihoods(reward.rollers[c], [group(roller, questions.samples[0], texts)], texts) for c in ("av", "v", "a")
        )
    drop = np.minimum(np.array(av) - v, np.array(av) - a)
    assert np.var(drop) > 0 and found.parts["attention"] == pytest.approx(-np.expm1(-np.maximum(drop, 0)), abs=1e-6)


# --- grounding ---


class Ears:
    """Pays captions that name the bell, fails on those that name nothing."""

    name = "ears"

    def consistency(self, claims):
        return [None if not claim.caption.strip("?") else float("bell" in claim.caption) for claim in claims]

    def completeness(self, evidence):
        return [0.5 for _ in evidence]


def film(_: str) -> Footage:
    return Footage("heard", np.zeros((8, 8, 8, 3), np.uint8), 4.0, None, 16000, 2.0)


def grounding(questions: Questions, judge: Any = None, **own: Any) -> GroundingReward:
    return GroundingReward(GroundingConfig(**own), questions, judge, film)  # type: ignore[arg-type]


def test_the_reward_is_the_published_sum_and_a_failed_judge_is_nan(parts):
    """format + answer + (cons + comp) / 2: 1 + 1 + (1 + 0.5) / 2; wrong answer and caption: 1 + 0 + (0 + 0.5) / 2; no form: 0."""
    roller, questions = parts
    reward = grounding(questions, Ears())
    texts = [response(), response(caption="a ball", answer="B"), "nothing", response(caption="?")]
    found = reward([group(roller, questions.samples[0], texts)], texts, "0")
    total = combine(found.parts, reward.weights)
    assert total[:3].tolist() == [2.75, 1.25, 0.0] and math.isnan(total[3])
    assert found.flags == [[], [], ["no form"], ["judge failed"]]
    assert advantages(torch.tensor(total), 4).values[3] == 0.0


def test_without_weight_on_intent_nothing_is_judged(parts):
    roller, questions = parts
    reward = grounding(questions, None, weight_intent=0.0)
    found = reward([group(roller, questions.samples[0], [response()])], [response()], "0")
    assert set(found.parts) == set(reward.weights) == {"format", "answer"}


def test_a_span_past_the_end_has_no_form_under_strict_rules_and_is_paid_under_published_ones(parts):
    roller, questions = parts
    texts = [response(span="0.5-9.0")]
    for rules, form, cons in (("strict", 0.0, 0.0), ("published", 1.0, 1.0)):
        found = grounding(questions, Ears(), rules=rules)([group(roller, questions.samples[0], texts)], texts, "0")
        assert (found.parts["format"][0], found.parts["consistency"][0]) == (form, cons)


# --- the loop ---


class Loud:
    """A reward of its own for every rollout: a policy this young is right too seldom to learn from the true ones."""

    weights = {"format": 1.0, "answer": 1.0}

    def __call__(self, groups, texts, key):
        from uvrlab.training.questions import Rewards

        rng = np.random.default_rng(int(key))
        return Rewards({name: rng.normal(size=len(texts)) for name in self.weights}, [[] for _ in texts])


def test_the_loop_starts_at_kl_0_scores_what_it_sampled_and_resumes_exactly(parts, tmp_path, monkeypatch):
    from safetensors.torch import load_file

    roller, questions = parts
    start = {name: p.detach().clone() for name, p in roller.model.named_parameters()}

    def go(folder: Path, steps: int) -> list[dict[str, float]]:
        own = OWN.model_copy(update={"steps": steps})
        roller.own = own
        found = questions_loop.train("grounding", roller, questions, Loud(), own, RunConfig(), folder)
        roller.model.delete_adapter("ref")
        with torch.no_grad():
            for name, p in roller.model.named_parameters():
                p.copy_(start[name])
        return found

    history = go(tmp_path / "whole", 2)
    assert abs(history[0]["kl"]) < 1e-9 < history[1]["kl"]
    assert max(row["sampling_difference"] for row in history) < 1e-4
    assert {"reward", "format", "answer", "flat_groups", "truncated"} <= set(history[0])
    (tmp_path / "whole" / "checkpoint-2" / "complete").unlink()  # as after a kill between the steps
    again = go(tmp_path / "whole", 2)
    assert again[1]["loss"] == history[1]["loss"] and again[1]["reward"] == history[1]["reward"]
    assert load_file(tmp_path / "whole" / "checkpoint-2" / "adapter.safetensors")
