"""GVE and UME-R1 in their published form: recognised, and equal to what their users write with transformers' own classes."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from rendered import video  # noqa: E402

from tests.models.checkpoints import save_gve, save_ume_r1  # noqa: E402
from tests.models.families import FRAMES, SMALL, WAVE, family  # noqa: E402
from uvrlab.data.items import DecodedItem, Item  # noqa: E402
from uvrlab.data.spec import DISC_TOKEN, EMBED_INSTRUCTION  # noqa: E402
from uvrlab.models import embedder  # noqa: E402
from uvrlab.models.adapter import new_adapter  # noqa: E402
from uvrlab.models.as_published import BLANK  # noqa: E402
from uvrlab.models.encode import Embedder  # noqa: E402
from uvrlab.models.modeldir import ModelError, install_readouts, load_backbone, load_model, save_backbone, save_model_dir  # noqa: E402

VIDEO_SIZE = {"shortest_edge": 128 * 28 * 28, "longest_edge": 200 * 28 * 28}  # GVE's limits of one frame


@pytest.fixture(scope="module")
def gve(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_gve(tmp_path_factory.mktemp("gve"))


@pytest.fixture(scope="module")
def ume(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_ume_r1(tmp_path_factory.mktemp("ume"))


def items() -> list[DecodedItem]:
    return [
        DecodedItem("text", "a red ball rolls left, then a bell rings"),
        DecodedItem("video", frames=FRAMES, fps=2.0),
        DecodedItem("image", "what is this?", image=FRAMES[0]),
        DecodedItem("both", "and this?", image=SMALL[0], frames=SMALL, fps=2.0),
    ]


@cache
def library(folder: Path, name: str) -> tuple[Any, Any]:
    import transformers

    model = getattr(transformers, f"{name}ForConditionalGeneration").from_pretrained(folder, dtype=torch.float32)
    return model, getattr(transformers, f"{name}Processor").from_pretrained(folder)


def reference(folder: Path, name: str, item: DecodedItem, text: str, instruction: str | None, tail: str) -> tuple[Any, Any]:
    """(ids, last hidden states) of one item through the library's own class, processor and template, `tail` behind the prompt."""
    model, processor = library(folder, name)
    parts: list[dict[str, Any]] = [{"type": "video"}] if item.frames is not None else []
    parts += [{"type": "image"}] if item.image is not None else []
    parts += [{"type": "text", "text": text}] if text else []
    system = [{"role": "system", "content": instruction}] if instruction else []
    prompt = processor.apply_chat_template(
        [*system, {"role": "user", "content": parts}], tokenize=False, add_generation_prompt=True
    )
    videos = [torch.from_numpy(item.frames).permute(0, 3, 1, 2)] if item.frames is not None else None
    options = {"size": VIDEO_SIZE, "do_sample_frames": False}
    images = [item.image] if item.image is not None else None
    inputs = processor(text=[prompt + tail], images=images, videos=videos, videos_kwargs=options, return_tensors="pt")
    with torch.inference_mode():
        return inputs["input_ids"][0], model(**inputs, output_hidden_states=True).hidden_states[-1][0]


def unit(vector: Any) -> np.ndarray:
    return torch.nn.functional.normalize(vector.float(), dim=-1).numpy()


@pytest.mark.parametrize("instruction", [None, "Find the clip."])
def test_gve_is_the_state_at_the_appended_end_of_text(gve: Path, instruction: str | None) -> None:
    one = embedder.load(gve)
    asked = [replace(item, instruction=instruction) for item in items()]
    found = one.encode(asked, batch_size=3)
    for item, vector in zip(asked, found, strict=True):
        said = instruction or "You are a helpful assistant."
        _, states = reference(gve, "Qwen2_5_VL", item, item.text or "", said, "<|endoftext|>")
        assert vector @ unit(states[-1]) >= 0.9999, item.item_id
    _, bare = reference(gve, "Qwen2_5_VL", asked[0], asked[0].text or "", instruction, "")
    assert found[0] @ unit(bare[-1]) < 0.99  # what a reader without the appended token gets


def test_ume_r1_is_the_state_at_its_token_and_a_text_alone_has_a_white_picture(ume: Path) -> None:
    one = embedder.load(ume)
    for item, vector in zip(items(), one.encode(items(), batch_size=4), strict=True):
        shown = item if item.item_id != "text" else DecodedItem("text", item.text, image=BLANK)
        text = f"{item.text or ''}\n{DISC_TOKEN}\n{EMBED_INSTRUCTION}"
        ids, states = reference(ume, "Qwen2VL", shown, text, None, "")
        disc = load_backbone(ume).tokenizer.get_vocab()[DISC_TOKEN]
        assert vector @ unit(states[ids.tolist().index(disc)]) >= 0.9999, item.item_id


def test_a_published_folder_is_read_as_its_own_files_tell(gve: Path, ume: Path) -> None:
    assert (embedder.kind_of(gve), embedder.kind_of(ume), embedder.kind_of("nano-omni")) == ("gve", "ume-r1", "uvrlab")
    assert load_model(gve).preprocess.template == Embedder.load(gve).preprocess.template == "last"
    assert embedder.load(gve).modes == ("speed",) and embedder.load(ume).modes == ("speed", "think", "best_of_k", "auto")
    assert embedder.load(ume).digest != embedder.load(ume, kind="uvrlab").digest  # which shows no white picture
    as_bare = embedder.load(gve, kind="uvrlab").digest
    assert as_bare == embedder.load(gve, kind="gve").digest != Embedder.load(gve, template="embed").digest


def test_a_model_without_a_read_out_in_its_response_refuses_to_think(gve: Path) -> None:
    for mode in ("think", "best_of_k", "auto"):
        with pytest.raises(ValueError, match=f"mode '{mode}': a model read by template 'last' has speed only"):
            embedder.load(gve).encode([DecodedItem("t", "a ball")], mode=mode)


def test_ume_r1_brings_both_tokens_so_no_row_is_added(ume: Path, gve: Path) -> None:
    assert install_readouts(load_backbone(ume)) == []
    assert len(install_readouts(load_backbone(gve))) == 2


def test_a_published_checkpoint_is_a_starting_point(gve: Path, tmp_path: Path) -> None:
    """A fresh adapter changes nothing: the model directory made from the checkpoint gives the vectors of the checkpoint."""
    start = load_model(gve, merge=False)
    model = new_adapter(start.spec, start.model, rank=2, trainable_rows=[5])
    save_model_dir(tmp_path / "model", start, model)
    again, shown = Embedder.load(tmp_path / "model"), items()[1:]
    assert again.preprocess.template == "last"
    assert ((again.encode(shown) * embedder.load(gve).encode(shown)).sum(1) >= 0.9999).all()


def test_a_published_model_leaves_the_sound_of_a_video_out_and_refuses_a_sound_alone(gve: Path, tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(video(20, fps=10, sound=WAVE, height=96, width=160))
    base = str(tmp_path)
    asked = [Item("a", video_uri="a.mp4", end_s=2.0, sound=sound, base=base) for sound in (True, False)]
    found = embedder.load(gve).encode_or_reject([*asked, Item("s", audio_uri="a.mp4", end_s=1.0, base=base)], workers=0)
    assert found.kept == [0, 1] and found.vectors[0] @ found.vectors[1] >= 0.9999
    assert "no audio tower" in found.rejects[0].detail


def test_a_folder_of_another_kind_is_an_error_that_says_what_was_found(gve: Path, ume: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="expected a UME-R1 checkpoint"):
        embedder.load(gve, kind="ume-r1")
    with pytest.raises(ModelError, match="no model at"):
        embedder.load(tmp_path / "gone")
    with pytest.raises(ModelError, match=r"found nothing; expected backbone\.json"):
        embedder.load(tmp_path)
    with pytest.raises(ModelError, match="unknown kind of model 'clap'; expected auto or one of uvrlab, gve"):
        embedder.load(gve, kind="clap")
    model, processor = family("nano-omni")
    save_backbone(model, processor, tmp_path / "omni", "nano-omni")
    with pytest.raises(ModelError, match=r"a qwen2\.5-omni model; gve checkpoints are of model type qwen2_vl or qwen2_5_vl"):
        embedder.load(tmp_path / "omni", kind="gve")
    run = tmp_path / "run" / "model"
    run.mkdir(parents=True)
    (run / "backbone.json").write_text("{}")
    with pytest.raises(ModelError, match=r"is a run directory; give its model, .*run/model"):
        embedder.load(tmp_path / "run")


def test_a_checkpoint_that_lacks_weights_is_refused_where_the_library_would_draw_them(gve: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = tmp_path / "cut"
    shutil.copytree(gve, folder)
    state = load_file(folder / "model.safetensors")
    del state["model.layers.0.self_attn.q_proj.weight"]
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"lack 1 tensors of Qwen2_5_VL.*q_proj\.weight"):
        embedder.load(folder)
    assert json.loads((gve / "config.json").read_text())["hidden_size"] == 2048  # flat, as published
