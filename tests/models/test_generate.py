"""Cached greedy generation against running the whole prefix again for every token."""

import numpy as np
import pytest
import torch

from uvrlab.data.collate import Collator
from uvrlab.data.items import DecodedItem
from uvrlab.models import generate, towers
from uvrlab.models.attention import install
from uvrlab.models.backbones import backbone
from uvrlab.models.build import build_tiny
from uvrlab.models.generate import banned_ids, draw, sample, think


@pytest.fixture(scope="module")
def parts():
    model, processor = build_tiny("qwen2.5-omni-3b")
    spec = backbone("qwen2.5-omni-3b")
    return install(model), spec, processor.tokenizer


def items(rng):
    frames = rng.integers(0, 255, (4, 56, 56, 3), dtype=np.uint8)
    wave = (0.1 * rng.standard_normal(32000)).astype(np.float32)
    return [
        DecodedItem("seen and heard", frames=frames, fps=2.0, wave=wave),
        DecodedItem("words", text="a red ball rolls left"),
    ]


def test_a_thought_equals_greedy_decoding_without_a_cache(parts):
    model, spec, tokenizer = parts
    collate = Collator(spec, tokenizer, model.config, padding_side="left")
    both = items(np.random.default_rng(0))
    together = think(model, spec, collate.text, collate(both, cut=False), max_new_tokens=6)
    banned = banned_ids(spec, collate.text)
    for item, thought in zip(both, together, strict=True):
        batch = collate([item], cut=False)
        ids: list[int] = []
        for _ in range(6):
            grown = _grown(batch, ids)
            with torch.no_grad():
                logits = towers.head(model, towers.forward(model, grown)[:, -1]).float()
            logits[:, banned] = float("-inf")
            ids.append(int(logits.argmax()))
        assert thought.ids == ids[: len(thought.ids)]


def test_a_right_padded_batch_is_refused(parts):
    model, spec, tokenizer = parts
    collate = Collator(spec, tokenizer, model.config)
    with pytest.raises(ValueError, match="left padding"):
        think(model, spec, collate.text, collate(items(np.random.default_rng(0)), cut=False))


def _grown(batch, ids):
    """The batch with completion tokens behind it, positions counting on."""
    from dataclasses import replace

    if not ids:
        return batch
    more = torch.tensor([ids])
    start = batch.position_ids[:, :, -1:]
    return replace(
        batch,
        input_ids=torch.cat([batch.input_ids, more], dim=1),
        attention_mask=torch.cat([batch.attention_mask, torch.ones_like(more)], dim=1),
        position_ids=torch.cat([batch.position_ids, start + torch.arange(1, len(ids) + 1)], dim=2),
    )


def test_what_is_sampled_for_a_row_depends_on_its_seed_alone(parts):
    model, spec, tokenizer = parts
    collate = Collator(spec, tokenizer, model.config, padding_side="left")
    both = items(np.random.default_rng(0))
    together = sample(model, spec, collate.text, collate(both, cut=False), [5, 6], 3, max_new_tokens=5)
    for item, seed, rollouts in zip(both, (5, 6), together, strict=True):
        (alone,) = sample(model, spec, collate.text, collate([item], cut=False), [seed], 3, max_new_tokens=5)
        assert [t.ids for t in alone] == [t.ids for t in rollouts]
        assert len({tuple(t.ids) for t in rollouts}) > 1


def test_draws_follow_the_distribution_and_never_a_banned_token():
    logits = torch.tensor([[0.0, float("-inf"), float(np.log(3.0))]])
    drawn = draw(logits.expand(4000, 3), torch.linspace(0, 1, 4001, dtype=torch.float64)[:-1])
    assert torch.bincount(drawn, minlength=3).tolist() == [1000, 0, 3000]


@pytest.mark.parametrize("limit", [96, 2])
def test_a_completion_ends_at_its_read_out_and_the_vector_is_the_state_there(parts, monkeypatch, limit):
    """One of two completions is forced to `a <gen_emb>`, the other goes on to its turn end, or to the limit."""
    model, spec, tokenizer = parts
    collate = Collator(spec, tokenizer, model.config, padding_side="left")
    batch = collate(items(np.random.default_rng(0))[:1], cut=False)
    gen, stop = collate.text.id("<gen_emb>"), collate.text.id(spec.tokens.turn_end)
    (letter,) = collate.text.plain("a")
    script = [[letter, letter], [gen, letter], [gen, letter], [gen, stop]]
    monkeypatch.setattr(generate, "draw", lambda logits, _: torch.tensor(script.pop(0)[-len(logits) :]))
    ((thought, other),) = sample(model, spec, collate.text, batch, [0], 2, max_new_tokens=limit)
    assert thought.ids == [letter, gen] and thought.ended and generate.words(collate.text, thought) == "a<gen_emb>"
    assert other.vector is None and other.ended == (limit > 2)
    assert generate.words(collate.text, other) == ("aaa" if other.ended else "aa")
    with torch.no_grad():
        plain = towers.forward(model, _grown(batch, thought.ids))[0, -1]
    np.testing.assert_allclose(thought.vector, torch.nn.functional.normalize(plain, dim=-1).numpy(), atol=1e-5)
