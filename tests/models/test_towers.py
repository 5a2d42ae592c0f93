"""Two calls, towers and language model, against the plain model on the same batch; gradient; and the counting errors."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from tests.models.families import BLIP, FAMILIES, FRAMES, WAVE, collator, family, items  # noqa: E402
from uvrlab.data.batch import Batch  # noqa: E402
from uvrlab.data.items import DecodedItem, ItemError  # noqa: E402
from uvrlab.models import towers  # noqa: E402
from uvrlab.models.backbones import backbone  # noqa: E402
from uvrlab.models.features import featurize  # noqa: E402


def plain(name: str, batch: Batch) -> Any:
    """Hidden states of the untouched model in one call, as a user of transformers would make it, row by row."""
    model, media = family(name, packed=False)[0], batch.media
    call: dict[str, Any] = {
        "input_ids": batch.input_ids,
        "attention_mask": batch.attention_mask,
        "position_ids": batch.position_ids,
    }
    call |= {"pixel_values": media.image_patches, "image_grid_thw": media.image_grid}
    call |= {"pixel_values_videos": media.video_patches, "video_grid_thw": media.video_grid}
    if media.mels is not None:
        sounds = torch.split(media.mels, media.mel_lengths.tolist(), dim=1)
        longest = int(media.mel_lengths.max())
        call["input_features"] = torch.stack([torch.nn.functional.pad(s, (0, longest - s.shape[1])) for s in sounds])
        call["feature_attention_mask"] = (torch.arange(longest) < media.mel_lengths[:, None]).long()
    with torch.no_grad():
        return model.model(**{k: v for k, v in call.items() if v is not None}).last_hidden_state


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("side", ["left", "right"])
def test_both_calls_equal_the_plain_model(name: str, side: Any) -> None:
    batch = collator(name, padding_side=side)([item for item in items(name) if item.wave is not BLIP])
    with torch.no_grad():
        ours = towers.forward(family(name)[0], batch)
    keep = batch.attention_mask.bool()
    torch.testing.assert_close(ours[keep], plain(name, batch)[keep], rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", FAMILIES)
def test_a_mixed_batch_equals_each_item_alone(name: str) -> None:
    model, collate = family(name)[0], collator(name)
    batch = collate(items(name))
    with torch.no_grad():
        together = towers.forward(model, batch)
        for row, item in enumerate(items(name)):
            one = collate([item])
            alone = towers.forward(model, one)[0]
            torch.testing.assert_close(together[row, : len(alone)], alone, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", FAMILIES)
def test_hidden_states_do_depend_on_media_and_on_time(name: str) -> None:
    """Guards the equality tests: a model that ignored pictures, sound or positions would pass them."""
    model, collate = family(name)[0], collator(name)
    base = DecodedItem("a", "b", frames=FRAMES, fps=2.0, wave=WAVE if backbone(name).hears else None)
    changed = [replace(base, frames=FRAMES[::-1].copy())]
    if backbone(name).positions_per_s:
        changed.append(replace(base, fps=1.6))
    if base.wave is not None:
        changed.append(replace(base, wave=WAVE[::-1].copy()))
    with torch.no_grad():
        states = [towers.forward(model, collate([item]))[0, -1] for item in [base, *changed]]
    assert all((state - states[0]).abs().max() > 1e-3 for state in states[1:])


@pytest.mark.parametrize("name", FAMILIES)
def test_gradient_reaches_towers_and_language_model(name: str) -> None:
    model, collate = family(name)[0], collator(name)
    batch = collate(items(name), ["a red ball"] * len(items(name)))
    loss, count = towers.next_token_loss(model, towers.forward(model, batch), batch.labels)
    (loss / count).backward()
    core = towers.core_of(model)
    for part in (
        core.visual.patch_embed,
        core.language_model.layers[0],
        *([core.audio_tower.layers[0]] if backbone(name).hears else []),
    ):
        assert any(p.grad is not None and p.grad.abs().max() > 0 for p in part.parameters())
    model.zero_grad()


@pytest.mark.parametrize("name", ["nano-omni", "qwen3-omni-30b-a3b"])
def test_gradient_of_packed_attention_equals_the_loops(name: str) -> None:
    grads = []
    for packed in (True, False):
        model = family(name, packed)[0]
        batch = collator(name)(items(name)[:3], ["a"] * 3)
        loss, _ = towers.next_token_loss(model, towers.forward(model, batch), batch.labels)
        loss.backward()
        grads.append(torch.cat([p.grad.flatten() for p in model.model.visual.parameters() if p.grad is not None]))
        model.zero_grad()
    torch.testing.assert_close(grads[0], grads[1], rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("name", FAMILIES)
def test_the_loss_equals_the_models_own(name: str) -> None:
    model, batch = family(name)[0], collator(name)([DecodedItem("a", "b"), DecodedItem("c", "d e f")], ["red", "a blue ball"])
    with torch.no_grad():
        loss, count = towers.next_token_loss(model, towers.forward(model, batch), batch.labels)
        out = model(input_ids=batch.input_ids, attention_mask=batch.attention_mask, labels=batch.labels)
    assert count == int((batch.labels != -100).sum())
    assert float(loss / count) == pytest.approx(float(out.loss), abs=1e-5)


@pytest.mark.parametrize("name", FAMILIES)
def test_features_stand_in_for_media(name: str) -> None:
    model, collate = family(name)[0], collator(name)
    featured = featurize(model, collate, items(name))
    raw, ready = collate(items(name)), collate(featured)
    assert not ready.media
    with torch.no_grad():
        torch.testing.assert_close(towers.forward(model, ready), towers.forward(model, raw), rtol=0, atol=1e-5)


def test_removing_a_modality_from_features_equals_never_having_had_it() -> None:
    model, collate = family("nano-omni")[0], collator("nano-omni")
    item = DecodedItem("a", "b", frames=FRAMES, fps=2.0, wave=WAVE)
    featured = featurize(model, collate, [item])[0]
    with torch.no_grad():
        for gone in ("video", "audio"):
            expected = towers.forward(model, collate([item.without(gone)]))
            torch.testing.assert_close(towers.forward(model, collate([featured.without(gone)])), expected, rtol=0, atol=1e-5)


def test_placeholders_without_features_are_an_error() -> None:
    model, collate = family("nano-omni")[0], collator("nano-omni")
    batch = collate([DecodedItem("a", frames=FRAMES, fps=2.0)])
    with pytest.raises(ValueError, match="48 video placeholders but 0 video features"):
        towers.forward(model, replace(batch, media=collate([DecodedItem("b", "c")]).media))
    with pytest.raises(ItemError, match="collate them apart"):
        collate([DecodedItem("a", frames=FRAMES, fps=2.0), *featurize(model, collate, [DecodedItem("b", image=FRAMES[0])])])
