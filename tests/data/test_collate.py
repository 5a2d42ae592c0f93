"""Collation against the real processors and models: token layout, patches, mel frames, position ids; and every silent failure."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch")

from uvrlab.data.batch import IGNORED  # noqa: E402
from uvrlab.data.collate import Collator  # noqa: E402
from uvrlab.data.items import DecodedItem, ItemError  # noqa: E402
from uvrlab.data.mel import log_mel  # noqa: E402
from uvrlab.data.prompts import interleave  # noqa: E402
from uvrlab.models.backbones import BACKBONES, backbone  # noqa: E402
from uvrlab.models.build import build_tiny  # noqa: E402

FAMILIES = ("qwen2-vl-2b", "qwen2.5-vl-3b", "qwen2.5-omni-7b", "qwen3-omni-30b-a3b")
HEARING = ("qwen2.5-omni-7b", "qwen3-omni-30b-a3b")
RNG = np.random.default_rng(7)
FRAMES = RNG.integers(0, 255, (8, 84, 112, 3), dtype=np.uint8)
WIDE = RNG.integers(0, 255, (6, 100, 200, 3), dtype=np.uint8)
WAVE = (RNG.normal(size=64_000) * 0.1).astype(np.float32)
ODD = (RNG.normal(size=40_123) * 0.1).astype(np.float32)  # no multiple of the hop


@cache
def tiny(name: str) -> tuple[Any, Any]:
    return build_tiny(name)


def collator(name: str, **options: Any) -> Collator:
    model, processor = tiny(name)
    return Collator(backbone(name), processor.tokenizer, model.config, **options)


def upstream(name: str, text: str, *, frames: Any = None, image: Any = None, wave: Any = None, fps: float = 2.0) -> Any:
    """What the family's own processor makes of one chat with one medium, in the words of its documentation."""
    spec, (_, processor) = backbone(name), tiny(name)
    content = [{"type": "video", "video": "x"}] if frames is not None else []
    content += [{"type": "image", "image": "x"}] if image is not None else []
    content += [{"type": "audio", "audio": "x"}] if wave is not None and frames is None else []
    chat = [{"role": "user", "content": [*content, {"type": "text", "text": text}]}]
    prompt = processor.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
    call: dict[str, Any] = {}
    if frames is not None:
        call["videos"] = [torch.from_numpy(frames).permute(0, 3, 1, 2)]
        size = {"shortest_edge": spec.video_min_pixels, "longest_edge": spec.video_max_pixels}
        call |= {"fps": fps, "size": size} if spec.hears else {"video_metadata": [_metadata(len(frames), fps)]}
    if image is not None:
        call["images"] = [torch.from_numpy(image).permute(2, 0, 1)]
    if wave is not None:
        call |= {"audio": [wave], "sampling_rate": 16_000}
        if frames is not None:
            call |= {"audio_from_video_indices": [0], "load_audio_from_video": True}
    return processor(text=[prompt], return_tensors="pt", **call)


def _metadata(count: int, fps: float) -> Any:
    from transformers.video_utils import VideoMetadata

    return VideoMetadata(total_num_frames=count, fps=fps, frames_indices=list(range(count)))


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("frames", [FRAMES, WIDE, FRAMES[:5]], ids=["even", "resized", "odd"])
def test_video_prompts_and_patches_equal_the_processors(name: str, frames: np.ndarray) -> None:
    expected = upstream(name, "what <i>happens</i>?\n", frames=frames)
    batch = collator(name)([DecodedItem("a", "what <i>happens</i>?\n", frames=frames, fps=2.0)], template="chat", cut=False)
    assert torch.equal(batch.input_ids, expected["input_ids"])
    assert torch.equal(batch.media.video_grid, expected["video_grid_thw"])
    assert torch.equal(batch.media.video_patches, expected["pixel_values_videos"])


@pytest.mark.parametrize("name", FAMILIES)
def test_image_prompts_and_patches_equal_the_processors(name: str) -> None:
    expected = upstream(name, "what?", image=WIDE[0])
    batch = collator(name)([DecodedItem("a", "what?", image=WIDE[0])], template="chat", cut=False)
    assert torch.equal(batch.input_ids, expected["input_ids"])
    assert torch.equal(batch.media.image_patches, expected["pixel_values"])


@pytest.mark.parametrize("name", HEARING)
@pytest.mark.parametrize(("wave", "frames", "fps"), [(WAVE, FRAMES, 2), (ODD, WIDE, 2), (WAVE, FRAMES, 4), (ODD, FRAMES, 1.5)])
def test_interleaved_prompts_and_mel_frames_equal_the_processors(name: str, wave: Any, frames: Any, fps: float) -> None:
    expected = upstream(name, "what?", frames=frames, wave=wave, fps=fps)
    batch = collator(name)([DecodedItem("a", "what?", frames=frames, fps=fps, wave=wave)], template="chat", cut=False)
    assert torch.equal(batch.input_ids, expected["input_ids"])
    mel = expected["input_features"][0][:, expected["feature_attention_mask"][0].bool()]
    torch.testing.assert_close(batch.media.mels, mel, rtol=0, atol=1e-5)
    assert batch.media.seconds_per_grid.tolist() == expected["video_second_per_grid"].tolist()


@pytest.mark.parametrize("name", HEARING)
def test_a_sound_alone_equals_the_processors(name: str) -> None:
    expected = upstream(name, "what?", wave=ODD)
    batch = collator(name)([DecodedItem("a", "what?", wave=ODD)], template="chat", cut=False)
    assert torch.equal(batch.input_ids, expected["input_ids"])


def test_mel_frames_do_not_depend_on_neighbours() -> None:
    for name in HEARING:
        spec = backbone(name)
        alone, together = log_mel(spec, [ODD]), log_mel(spec, [WAVE, ODD, np.zeros(8_000, np.float32)])
        assert torch.equal(alone[0], together[1])


def ask_the_model(name: str, batch: Any, row: int = 0) -> Any:
    """Positions by the whole-sample call of the model, as its documentation shows it."""
    model, _ = tiny(name)
    keep = batch.attention_mask[row].bool()
    ids = batch.input_ids[row, keep][None]
    media, spec = batch.media, backbone(name)
    video, sound = row in media.video_rows, row in media.audio_rows
    call: dict[str, Any] = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    call["video_grid_thw"] = media.video_grid[media.video_rows.index(row)][None] if video else None
    call["image_grid_thw"] = media.image_grid[media.image_rows.index(row)][None] if row in media.image_rows else None
    if spec.hears:
        call |= {"use_audio_in_video": video and sound, "second_per_grids": media.seconds_per_grid[:1] if video else None}
        call["audio_seqlens"] = media.mel_lengths[media.audio_rows.index(row)][None] if sound else None
        return model.get_rope_index(**call)[0][:, 0]
    tokens = model.config
    call["mm_token_type_ids"] = (ids == tokens.image_token_id).int() + 2 * (ids == tokens.video_token_id).int()
    if spec.positions_per_s:
        call["second_per_grid_ts"] = media.seconds_per_grid
    return model.model.get_rope_index(**call)[0][:, 0]


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("medium", ["text", "image", "video", "sound video", "sound", "both"])
def test_positions_equal_the_models_own_whole_sample_call(name: str, medium: str) -> None:
    hears = backbone(name).hears
    parts: dict[str, Any] = {
        "text": {},
        "image": {"image": WIDE[0]},
        "video": {"frames": FRAMES, "fps": 2.0},
        "sound video": {"frames": FRAMES, "fps": 2.0, **({"wave": WAVE} if hears else {})},
        "sound": {"wave": ODD} if hears else {},
        "both": {"frames": FRAMES, "fps": 2.0, "image": WIDE[0]},
    }[medium]
    item = DecodedItem("a", "what happens here?", instruction="Find the clip.", **parts)
    batch = collator(name)([item], ["<think>a ball</think>"], template="embed")
    if medium in ("text", "sound"):
        assert torch.equal(batch.position_ids[:, 0], torch.arange(batch.input_ids.shape[1]).expand(3, -1).to(batch.position_ids))
    else:
        assert torch.equal(batch.position_ids[:, 0], ask_the_model(name, batch))


@pytest.mark.parametrize("name", FAMILIES)
def test_rows_do_not_depend_on_neighbours_or_padding_side(name: str) -> None:
    hears = backbone(name).hears
    items = [
        DecodedItem("v", "a", frames=FRAMES, fps=2.0),
        DecodedItem("av", "bb", frames=WIDE, fps=2.0, wave=WAVE if hears else None),
        DecodedItem("t", "a longer text than the others"),
        DecodedItem("i", image=WIDE[0]),
    ]
    for side in ("left", "right"):
        together = collator(name, padding_side=side)(items)
        for row, item in enumerate(items):
            alone, keep = collator(name)([item]), together.attention_mask[row].bool()
            assert torch.equal(together.input_ids[row, keep], alone.input_ids[0])
            assert torch.equal(together.position_ids[:, row, keep], alone.position_ids[:, 0])
            assert together.input_ids[row, together.disc_positions[row]] == alone.input_ids[0, alone.disc_positions[0]]


def test_the_time_axis_has_the_clips_real_sampling_rate() -> None:
    """8 frames of 4 s: grids 1 s apart, so 25 positions; of 8 s: 2 s apart, so 50."""
    for fps, step in ((2.0, 25), (1.0, 50)):
        batch = collator("qwen2.5-omni-7b")([DecodedItem("a", frames=FRAMES, fps=fps)])
        times = batch.position_ids[0, 0, batch.input_ids[0] == tiny("qwen2.5-omni-7b")[0].config.video_token_id].unique()
        assert times.diff().tolist() == [step] * 3


def test_the_time_axis_of_a_window_may_round_down_by_one() -> None:
    """8 frames of 2.8 s: grids 0.7 s apart, so 17.5 positions. Of 5.6 s: 1.4 s, so 35, of which float32 makes 104.99 for three."""
    for seconds, longest in ((2.8, 52), (5.6, 105), (60.0, 1125)):
        batch = collator("qwen2.5-omni-7b")([DecodedItem("a", frames=FRAMES, fps=8 / seconds)])
        times = batch.position_ids[0, 0, batch.input_ids[0] == tiny("qwen2.5-omni-7b")[0].config.video_token_id].unique()
        assert longest - 1 <= times[-1] - times[0] <= longest


def test_sound_and_picture_share_one_clock() -> None:
    """At 4 s of 8 frames, the third grid (2.0 s) and the sound token of 2.0 s have the same temporal position."""
    config = tiny("qwen2.5-omni-7b")[0].config
    batch = collator("qwen2.5-omni-7b")([DecodedItem("a", frames=FRAMES, fps=2.0, wave=WAVE)])
    ids, time = batch.input_ids[0], batch.position_ids[0, 0]
    picture = time[ids == config.video_token_id].unique(sorted=True)
    assert picture[2] == time[ids == config.audio_token_id][50]


def test_too_slow_sampling_with_sound_is_refused_because_chunks_would_split_grids() -> None:
    with pytest.raises(ValueError, match="sample at least 1 frame a second"):
        collator("qwen2.5-omni-7b")([DecodedItem("a", frames=FRAMES[:4], fps=0.8, wave=WAVE)])


def test_long_clips_with_sound_are_refused_and_named() -> None:
    wave = np.zeros(16_000 * 12, np.float32)
    with pytest.raises(ItemError, match=r"clip-7: 12\.0 s of picture with sound.*windows"):
        collator("qwen2.5-omni-7b")([DecodedItem("clip-7", frames=np.repeat(FRAMES, 3, 0), fps=2.0, wave=wave)])


def test_a_backbone_that_cannot_hear_refuses_sound() -> None:
    with pytest.raises(ItemError, match="no audio tower"):
        collator("qwen2.5-vl-3b")([DecodedItem("a", frames=FRAMES, fps=2.0, wave=WAVE)])


def test_chunked_layout_by_hand() -> None:
    """Grids of 4 tokens at 0, 1, 2, 3 s and 75 sound tokens: 8 picture, 50 sound, 8 picture, 25 sound."""
    order = interleave(BACKBONES["qwen2.5-omni-7b"], (4, 4, 4), 1.0, 75)
    assert order == [True] * 8 + [False] * 50 + [True] * 8 + [False] * 25


def test_merged_layout_by_hand() -> None:
    """Grids of 1 token at 0 and 13 positions, 15 sound tokens: grid first at equal times."""
    order = interleave(BACKBONES["qwen3-omni-30b-a3b"], (2, 2, 2), 1.0, 15)
    assert order == [True] + [False] * 13 + [True] + [False] * 2


@pytest.mark.parametrize(
    ("response", "end"), [("<answer>red</answer><gen_emb>", ""), ("<gen_emb> red", "<|im_end|>"), ("red", "<|im_end|>")]
)
def test_labels_cover_the_response_only_which_ends_at_its_read_out_or_with_its_turn(response: str, end: str) -> None:
    tokenizer = tiny("qwen2.5-omni-7b")[1].tokenizer
    batch = collator("qwen2.5-omni-7b")([DecodedItem("a", "b")], [response])
    kept = batch.labels[0] != IGNORED
    assert tokenizer.decode(batch.input_ids[0, kept]) == response + end
    assert torch.equal(batch.labels[0, kept], batch.input_ids[0, kept])
    at = int(batch.gen_positions)
    assert at == -1 if "<gen_emb>" not in response else tokenizer.decode(batch.input_ids[0, at]) == "<gen_emb>"


def test_the_prompts_own_gen_token_is_never_a_readout() -> None:
    """UME-R1's instruction holds a literal <gen_emb>: trap 1 of its released code."""
    batch = collator("qwen2.5-omni-7b")([DecodedItem("a", "b")], ["<think>no read-out</think>"])
    gen = tiny("qwen2.5-omni-7b")[1].tokenizer.get_vocab()["<gen_emb>"]
    assert (batch.input_ids == gen).sum() == 1
    assert batch.gen_positions.tolist() == [-1]


def test_cutting_behind_the_readout_keeps_what_stands_before() -> None:
    item = DecodedItem("a", "b", frames=FRAMES, fps=2.0)
    cut, whole = collator("nano-omni")([item]), collator("nano-omni")([item], cut=False)
    n = cut.input_ids.shape[1]
    assert cut.disc_positions.tolist() == [n - 1] == whole.disc_positions.tolist()
    assert n < whole.input_ids.shape[1]
    assert torch.equal(cut.input_ids, whole.input_ids[:, :n])


def test_the_embed_template_is_ume_r1s() -> None:
    tokenizer, spec = tiny("qwen2-vl-2b")[1].tokenizer, backbone("qwen2-vl-2b")
    batch = collator("qwen2-vl-2b")([DecodedItem("a", "a ball", image=WIDE[0])], cut=False)
    media = "<|vision_start|>" + "<|image_pad|>" * int(batch.media.image_grid[0].prod() // 4) + "<|vision_end|>"
    assert tokenizer.decode(batch.input_ids[0]) == (
        "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n"
        f"<|im_start|>user\n{media}a ball\n<disc_emb>\n{spec.instruction}<|im_end|>\n<|im_start|>assistant\n"
    )


def test_the_last_template_is_gves() -> None:
    tokenizer = tiny("qwen2.5-vl-3b")[1].tokenizer
    batch = collator("qwen2.5-vl-3b")([DecodedItem("a", "a ball", instruction="Find it.")], template="last")
    assert tokenizer.decode(batch.input_ids[0]) == (
        "<|im_start|>system\nFind it.<|im_end|>\n<|im_start|>user\na ball<|im_end|>\n<|im_start|>assistant\n<|endoftext|>"
    )
    assert batch.disc_positions.tolist() == [batch.input_ids.shape[1] - 1]


MARKS = [
    "<gen_emb>",
    "<disc_emb>",
    "<|VIDEO|>",
    "<|AUDIO|>",
    "<|im_end|>",
    "<|endoftext|>",
    "<think>",
    "<",
    "|>",
    " ",
    "猫",
    "\n",
    "a",
]


@settings(max_examples=60)
@given(st.lists(st.sampled_from(MARKS), min_size=1, max_size=12).map("".join).filter(str.strip), st.booleans())
def test_text_from_outside_cannot_forge_tokens_and_survives(text: str, as_response: bool) -> None:
    _, processor = tiny("qwen2.5-omni-7b")
    tokenizer, encode = processor.tokenizer, collator("qwen2.5-omni-7b").text
    ids = encode.response(text) if as_response else encode.plain(text)
    assert tokenizer.decode(ids) == text
    vocabulary = tokenizer.get_vocab()
    foreign = ["<|VIDEO|>", "<|AUDIO|>", "<|im_end|>", "<|endoftext|>"]
    banned = foreign if as_response else [*foreign, "<gen_emb>", "<disc_emb>", "<think>"]
    assert not {vocabulary[name] for name in banned} & set(ids)


def test_long_text_is_cut_and_counted_and_media_never_is() -> None:
    words = " ".join(["ball"] * 400)
    batch = collator("nano-omni", max_text_tokens=64)([DecodedItem("a", words, frames=FRAMES, fps=2.0), DecodedItem("b", "x")])
    assert batch.truncated == 1
    video = tiny("nano-omni")[0].config.video_token_id
    assert (batch.input_ids[0] == video).sum() == batch.media.video_grid[0].prod() // 4
    assert batch.attention_mask[0].sum() < 64 + 80


def test_items_without_anything_are_refused() -> None:
    with pytest.raises(ItemError, match="expected at least one"):
        DecodedItem("a", "  ")
    with pytest.raises(ItemError, match="sampled"):
        DecodedItem("a", frames=FRAMES)
    with pytest.raises(ItemError, match="NaN"):
        DecodedItem("a", wave=np.array([np.nan], np.float32))
    with pytest.raises(ItemError, match="empty batch"):
        collator("nano-omni")([])
