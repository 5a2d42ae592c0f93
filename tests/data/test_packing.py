"""Packed conversations against the same ones collated one by one."""

import numpy as np
import pytest
import torch

from uvrlab.data.collate import IGNORED, Collator
from uvrlab.data.items import DecodedItem
from uvrlab.data.packing import Turn, pack
from uvrlab.models import towers
from uvrlab.models.attention import install
from uvrlab.models.backbones import backbone
from uvrlab.models.build import build_nano

TURNS = [
    Turn("What moves?", "the red ball"),
    Turn("", "<think>red</think><answer>ball</answer><gen_emb>", embed=True),
    Turn("Which sound?", "a bell"),
]


@pytest.fixture(scope="module")
def parts():
    model, processor = build_nano(["the red ball", "What moves?", "Which sound? a bell"] * 20)
    return install(model), Collator(backbone("nano-omni"), processor.tokenizer, model.config)


def clip(sound: bool) -> DecodedItem:
    rng = np.random.default_rng(0)
    wave = (0.1 * rng.standard_normal(64000)).astype(np.float32) if sound else None
    return DecodedItem("clip", frames=rng.integers(0, 255, (8, 112, 112, 3), dtype=np.uint8), fps=2.0, wave=wave)


@pytest.mark.parametrize("sound", [True, False])
def test_a_packed_conversation_equals_the_same_one_alone(parts, sound):
    model, collate = parts
    item = clip(sound)
    packed = pack(collate, [item, clip(not sound)], [TURNS, TURNS[:1]])
    with torch.no_grad():
        together = towers.forward(model, packed.batch, mask=packed.mask())[0]
    for number, turn in enumerate(TURNS, 1):
        alone_item = DecodedItem("clip", text=turn.prompt or None, frames=item.frames, fps=item.fps, wave=item.wave)
        alone = collate([alone_item], [turn.response], template="embed" if turn.embed else "chat")
        with torch.no_grad():
            hidden = towers.forward(model, alone)[0]
        here = (packed.segments[0] == number) & (packed.batch.labels[0] != IGNORED)
        there = alone.labels[0] != IGNORED
        if turn.embed:  # alone a thought ends at its read-out, in pretraining its turn is closed as every other
            here = here & (packed.batch.input_ids[0] != collate.text.id("<|im_end|>"))
        assert torch.equal(packed.batch.labels[0][here], alone.labels[0][there])
        assert torch.equal(packed.batch.position_ids[:, 0, here], alone.position_ids[:, 0, there])
        torch.testing.assert_close(together[here], hidden[there], atol=1e-5, rtol=1e-4)


def test_no_conversation_sees_another(parts):
    _, collate = parts
    packed = pack(collate, [clip(True)], [TURNS])
    allowed, seg = packed.mask()[0, 0], packed.segments[0]
    for row in range(len(seg)):
        seen = set(seg[allowed[row]].tolist())
        assert seen <= {0, int(seg[row])}
