"""Fast rollouts and packed scoring against the plain path, and what becomes of rollouts that are not as asked."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from uvrlab.config import ConfigError, GrpoConfig, load_config
from uvrlab.data.batch import Batch
from uvrlab.data.items import DecodedItem, Item
from uvrlab.models import towers
from uvrlab.models.attention import install
from uvrlab.models.backbones import backbone
from uvrlab.models.build import build_nano
from uvrlab.models.features import featurize
from uvrlab.models.generate import Thought, banned_ids, draw, sample, uniforms
from uvrlab.models.preprocess import default_preprocess
from uvrlab.training.pairs import Pair
from uvrlab.training.policy import log_probs, pack_completions
from uvrlab.training.rollouts import Group, Roller, plan_pairs, rows, score

G = 3
FORM = "<think>red ball</think><answer>ball</answer><gen_emb>"


@pytest.fixture(scope="module")
def parts():
    model, processor = build_nano(["red ball left", FORM, "a bell rings"] * 20)
    with torch.no_grad():
        for weight in model.parameters():  # fresh weights hardly attend: a test on them would not notice what it should
            if weight.ndim > 1:
                weight.mul_(3.0)
    spec = backbone("nano-omni")
    return install(model), spec, processor.tokenizer, default_preprocess(spec)


def clips() -> list[DecodedItem]:
    """A clip with sound, a silent one, a text: the batch that a step of T2V pairs is made of."""
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 255, (4, 112, 112, 3), dtype=np.uint8)
    wave = (0.1 * rng.standard_normal(24000)).astype(np.float32)
    return [
        DecodedItem("heard", frames=frames, fps=2.0, wave=wave),
        DecodedItem("silent", frames=frames[:2], fps=1.0),
        DecodedItem("text", text="a red ball rolls left"),
    ]


def grown(batch: Batch, ids: list[int]) -> Batch:
    """One row with completion tokens behind it, its positions counting on."""
    more = torch.tensor([ids], dtype=torch.long)
    last = batch.position_ids[:, :, -1:]
    return dataclasses.replace(
        batch,
        input_ids=torch.cat([batch.input_ids, more], dim=1),
        attention_mask=torch.cat([batch.attention_mask, torch.ones_like(more)], dim=1),
        position_ids=torch.cat([batch.position_ids, last + torch.arange(1, len(ids) + 1)], dim=2),
    )


def plain(model, spec, collate, item, numbers, steps) -> tuple[list[int], list[float]]:
    """One rollout without cache, sharing or features: media and prefix again for every token."""
    batch, banned, ids, logps = collate([item], cut=False), banned_ids(spec, collate.text), [], []
    stop = collate.text.id(spec.tokens.turn_end)
    with torch.no_grad():
        for t in range(steps):
            logits = towers.head(model, towers.forward(model, grown(batch, ids))[:, -1]).float()
            logits[:, banned] = float("-inf")
            token = int(draw(logits, numbers[t : t + 1]))
            ids.append(token)
            logps.append(float(logits.log_softmax(-1)[0, token]))
            if token == stop:
                break
    return ids, logps


def test_fast_rollouts_and_packed_scores_equal_the_plain_path(parts):
    """Mixed clips with and without sound: token by token, and log-probabilities to 1e-4."""
    model, spec, tokenizer, preprocess = parts
    left, right = (preprocess.collator(spec, tokenizer, model.config, padding_side=side) for side in ("left", "right"))
    items, steps, seeds = clips(), 8, [3, 4, 5]
    featured = featurize(model, right, items)
    found = sample(model, spec, left.text, left(featured, cut=False), seeds, G, max_new_tokens=steps)
    numbers = uniforms(seeds, G, steps)
    expected = [[plain(model, spec, left, item, numbers[G * r + k], steps) for k in range(G)] for r, item in enumerate(items)]
    assert [[t.ids for t in group] for group in found] == [[ids for ids, _ in group] for group in expected]
    wanted = torch.zeros(len(items) * G, steps)
    for row, (_, logps) in enumerate(one for group in expected for one in group):
        wanted[row, : len(logps)] = torch.tensor(logps)
    sampled = torch.zeros_like(wanted)
    for row, thought in enumerate(t for group in found for t in group):
        sampled[row, : len(thought.logps)] = torch.tensor(thought.logps)
    packed = pack_completions(right(featured, cut=False), [[t.ids for t in group] for group in found], tokenizer.pad_token_id)
    scored, entropy = log_probs(model, packed, torch.tensor(banned_ids(spec, left.text)), 1.0, steps)
    torch.testing.assert_close(sampled, wanted, atol=1e-4, rtol=0)
    torch.testing.assert_close(scored.detach(), wanted, atol=1e-4, rtol=0)
    assert scored.requires_grad and bool((entropy[wanted != 0] > 0).all())


def test_a_left_padded_batch_cannot_be_packed(parts):
    model, spec, tokenizer, preprocess = parts
    left = preprocess.collator(spec, tokenizer, model.config, padding_side="left")
    with pytest.raises(ValueError, match="right padding"):
        pack_completions(left(clips()[2:], cut=False), [[[1, 2]]], 0)


def pair(number: int, target: int | None = None, group: str = "T2T") -> Pair:
    item = Item(f"i{number}", text=f"text {number}")
    return Pair(f"p{number}", group, "rl", item, item, number if target is None else target)


def roller(parts, own: GrpoConfig) -> Roller:
    model, spec, tokenizer, preprocess = parts
    return Roller(model, spec, tokenizer, preprocess, None, own, 0)


def thought(roller: Roller, text: str, *, ended: bool = True, vector: bool = True) -> Thought:
    ids = [*roller.text.response(text), *([roller.text.id(roller.text.turn_end)] if ended else [])]
    return Thought(ids, ended, np.eye(128, dtype=np.float32)[0] if vector else None, [0.0] * len(ids))


SPELLED = "<think>red</think><answer>ball</answer>"
CASES = {
    "as asked": (FORM, {}, []),
    "no read-out": ("<think>red</think><answer>ball</answer>", {"vector": False}, ["no <gen_emb>"]),
    "two read-outs": (FORM + "<gen_emb>", {}, ["several <gen_emb>"]),
    "cut off behind its read-out": (FORM, {"ended": False}, ["truncated"]),
    "cut off before it": ("<think>red", {"ended": False, "vector": False}, ["no <gen_emb>", "truncated"]),
    "a read-out without an answer": ("<think>red</think><gen_emb>", {}, ["malformed"]),
    "words behind the read-out": (FORM + " and more", {}, ["malformed"]),
}


@pytest.mark.parametrize("name", CASES)
def test_a_rollout_takes_part_only_in_the_exact_form(parts, name):
    text, options, flags = CASES[name]
    own = roller(parts, GrpoConfig())
    judged = own.judge([Group(pair(0), "query", [], 0.0, [thought(own, text, **options)])])
    assert judged.flags == [flags]
    assert bool(np.isnan(judged.vectors).all()) == bool(flags) and judged.format[0] == float(not flags)


def test_a_read_out_that_is_spelled_out_is_none(parts):
    """The prompt's own words hold a literal <gen_emb>; a policy that writes it letter by letter must not be read either."""
    own = roller(parts, GrpoConfig())
    ids = [*own.text.response(SPELLED), *own.text.plain("<gen_emb>"), own.text.id(own.text.turn_end)]
    spelled = Thought(ids, True, None, [0.0] * len(ids))
    assert own.words(spelled).endswith("<gen_emb>") and own.faults(spelled) == ["no <gen_emb>"]


def test_rewards_of_a_step_are_r_times_d_on_both_sides():
    """Two pairs, G = 2, orthogonal targets e0, e1; the query rollouts of pair 0 are e0 and e1, those of pair 1 both e1.

    Query 0/0: both of its top two are its own targets, d = 1 - 0: 1. Query 0/1: none is, d = 0 - 1: r d = 0. Queries of pair 1: 1
    each. Target 0: similar to query 0/0 alone, top two hold it and one of three at 0, of which one is a positive: r = 2/3 =
    (1 + 1/3) / 2, d = 1/2 - 0. Target 1: three queries at 1, two of them positives: r = 2/3, d = 1 - 1/2.
    """
    own = GrpoConfig(pairs=2, group_size=2)
    e0, e1 = np.eye(4)[:2]
    vectors = np.array([e0, e1, e0, e0, e1, e1, e1, e1])  # pair 0: queries, targets; pair 1: queries, targets
    scores = score(own, vectors, np.ones(8), np.full(8, 10.0), [0, 1], np.random.default_rng(0))
    expected = [1, 0, 1 / 3, 1 / 3, 1, 1, 1 / 3, 1 / 3]
    np.testing.assert_allclose(scores.parts["embedding"], expected, atol=1e-12)
    np.testing.assert_allclose(scores.total, np.array(expected) + 1)
    assert scores.flags[1] == ["rank 0"]


def test_a_malformed_rollout_earns_nothing_and_is_nobodys_candidate():
    own = GrpoConfig(pairs=2, group_size=2)
    e0, e1 = np.eye(4)[:2]
    vectors = np.array([e0, e0, e0, np.full(4, np.nan), e1, e1, e1, e1])
    form = np.array([1, 1, 1, 0, 1, 1, 1, 1.0])
    scores = score(own, vectors, form, np.full(8, 10.0), [0, 1], np.random.default_rng(0))
    np.testing.assert_allclose(scores.total, [2, 2, 2, 0, 2, 2, 2, 2])


def test_pairs_with_equal_targets_are_masked_and_flagged_and_without_others_their_form_alone_counts():
    own = GrpoConfig(pairs=2, group_size=2)
    vectors = np.random.default_rng(0).normal(size=(8, 4))
    scores = score(own, vectors, np.ones(8), np.full(8, 10.0), [7, 7], np.random.default_rng(0))
    assert np.isnan(scores.parts["embedding"]).all() and scores.total.tolist() == [1.0] * 8
    assert all({"unscored", "equal target"} <= set(flags) for flags in scores.flags)
    kept = score(own.model_copy(update={"false_negatives": "keep"}), vectors, np.ones(8), np.full(8, 10.0), [7, 7], None)
    assert not np.isnan(kept.parts["embedding"]).any()


def test_a_cached_target_counts_as_g_equal_rollouts():
    rng = np.random.default_rng(1)
    queries, targets = rng.normal(size=(3, 2, 4)), rng.normal(size=(3, 4))
    both = np.stack([queries, targets[:, None].repeat(2, axis=1)], axis=1).reshape(-1, 4)
    own = GrpoConfig(pairs=3, group_size=2)
    cached = own.model_copy(update={"target_cache": True})
    alone = np.concatenate([queries.reshape(-1, 4), targets])
    found = score(cached, alone, np.ones(6), np.ones(6), [0, 1, 2], np.random.default_rng(0))
    whole = score(own, both, np.ones(12), np.ones(12), [0, 1, 2], np.random.default_rng(0))
    np.testing.assert_allclose(found.total, whole.total.reshape(3, 2, 2)[:, 0].reshape(-1))


def test_the_shuffled_control_keeps_what_every_group_earns():
    rng = np.random.default_rng(2)
    vectors, own = rng.normal(size=(3 * 2 * 4, 5)), GrpoConfig(pairs=3, group_size=4)
    control = own.model_copy(update={"reward": "shuffled"})
    one, other = (score(o, vectors, np.ones(24), np.ones(24), [0, 1, 2], np.random.default_rng(0)) for o in (own, control))
    groups = [scores.parts["embedding"].reshape(-1, 4) for scores in (one, other)]
    assert not np.allclose(*groups)
    np.testing.assert_allclose(np.sort(groups[0]), np.sort(groups[1]))


def test_length_costs_where_it_is_asked_for():
    """96 tokens at most, 48 free: 72 tokens cost half of the weight."""
    own = GrpoConfig(pairs=2, group_size=2, length_cost=0.2)
    vectors = np.repeat(np.eye(4)[:2], 4, axis=0)
    scores = score(own, vectors, np.ones(8), np.array([48, 72, 96, 10, 10, 10, 10, 10]), [0, 1], np.random.default_rng(0))
    np.testing.assert_allclose(scores.total, [2, 1.9, 1.8, 2, 2, 2, 2, 2])


def test_rows_hold_every_part_and_flag(parts):
    own = roller(parts, GrpoConfig(pairs=2, group_size=2))
    thoughts = [thought(own, FORM), thought(own, "<think>red", ended=False, vector=False)]
    groups = [Group(pair(i), side, [], 0.0, thoughts) for i in range(2) for side in ("query", "target")]
    judged = own.judge(groups)
    scores = score(own.own, judged.vectors, judged.format, np.ones(8), [0, 1], np.random.default_rng(0))
    table = rows(4, groups, judged, scores, np.arange(8.0), [True, False, False, False])
    assert [row["sample"] for row in table] == [0, 1] * 4 and {row["step"] for row in table} == {4}
    assert table[1]["flags"] == ["no <gen_emb>", "truncated", "flat group"]
    assert json.loads(table[0]["rewards"]).keys() == {"format", "embedding", "rank", "gap", "total"}
    assert table[0]["completion"] == FORM


@settings(max_examples=30)
@given(st.integers(0, 9), st.integers(2, 6), st.integers(0, 4))
def test_a_plan_is_of_one_dataset_a_step_with_two_targets_and_follows_from_its_seed(seed, size, reserve):
    pairs = [pair(i, target=i // 3, group="ab"[i % 2]) for i in range(18)] + [pair(99, group="alone")]
    plan = plan_pairs(pairs, 5, size, seed, reserve)
    assert plan == plan_pairs(pairs, 5, size, seed, reserve)
    for chosen in plan:
        assert len(chosen) == size + reserve and len({pairs[i].group for i in chosen}) == 1
        assert len({pairs[i].target_id for i in chosen[:size]}) > 1


def test_near_targets_share_a_step_each_once_before_any_comes_again():
    """Targets on an arc, two pairs each: a step is a pair and its neighbours on the arc, by brute force."""
    pairs = [pair(i, target=i // 2) for i in range(16)]
    angles = 0.03 * np.array([p.target_id for p in pairs]) ** 2
    circle = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    for chosen in plan_pairs(pairs, 6, 3, 0, 1, circle):
        first, *others = (pairs[i].target_id for i in chosen)
        wanted = sorted(set(range(8)) - {first}, key=lambda t: abs(t**2 - first**2))[:3]
        assert others == wanted
    assert sorted(plan_pairs(pairs[:4], 1, 5, 0, 0, circle[:4])[0][:4]) == [0, 1, 2, 3]


def test_pairs_without_two_targets_are_refused():
    with pytest.raises(ValueError, match="none with two different targets"):
        plan_pairs([pair(0), pair(1, target=0)], 1, 2, 0)


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("grpo.pairs=1", "grpo.pairs"),
        ("grpo.group_size=1", "grpo.group_size"),
        ("grpo.iterations=7", "no multiple of iterations"),
        ("grpo.micro_batches=3", "micro batches"),
        ("grpo.temperature=0.0", "grpo.temperature"),
    ],
)
def test_what_cannot_run_is_refused_by_the_configuration(override, said):
    with pytest.raises(ConfigError, match=said):
        load_config(None, [override])
