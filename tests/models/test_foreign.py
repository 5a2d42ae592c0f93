"""Embedders of other libraries, their real classes at tiny random size: CLIP, SigLIP, sentence-transformers where installed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from rendered import video  # noqa: E402

from tests.models.families import FRAMES, SMALL, WAVE  # noqa: E402
from uvrlab.data.items import DecodedItem, Item, ItemError  # noqa: E402
from uvrlab.models import embedder  # noqa: E402
from uvrlab.models.modeldir import ModelError  # noqa: E402

TEXTS = ["a red ball rolls left", "a blue cube turns", "two dogs run over a green field"]
TOWER = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2}


def word_pieces(folder: Path) -> Any:
    """A tokenizer of whole words that CLIP and BERT can both use."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *sorted({word for text in TEXTS for word in text.split()})]
    core = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="[UNK]"))
    core.pre_tokenizer = pre_tokenizers.Whitespace()
    core.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    marks = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]", "eos_token": "[SEP]"}
    return PreTrainedTokenizerFast(tokenizer_object=core, model_max_length=16, **marks)


def save_dual(folder: Path, name: str) -> Path:
    """A checkpoint of `CLIP` or `Siglip` with random weights."""
    import transformers

    tokenizer = word_pieces(folder)
    text = {**TOWER, "vocab_size": len(tokenizer), "max_position_embeddings": 12, "eos_token_id": 3, "pad_token_id": 0}
    vision = {**TOWER, "image_size": 32, "patch_size": 8}
    kinds = {"CLIP": {"projection_dim": 24}, "Siglip": {}}
    config = getattr(transformers, f"{name}Config")(text_config=text, vision_config=vision, **kinds[name])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = getattr(transformers, f"{name}Model")(config)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.ndim > 1:
                weight.mul_(8.0)
    model.save_pretrained(folder)
    size = {"CLIP": {"size": {"shortest_edge": 32}, "crop_size": {"height": 32, "width": 32}}}
    pictures = getattr(transformers, f"{name}ImageProcessor")(**size.get(name, {"size": {"height": 32, "width": 32}}))
    getattr(transformers, f"{name}Processor")(image_processor=pictures, tokenizer=tokenizer).save_pretrained(folder)
    if not (folder / "preprocessor_config.json").exists():  # published checkpoints have it
        pictures.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module", params=["CLIP", "Siglip"])
def dual(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    return request.param, save_dual(tmp_path_factory.mktemp(request.param), request.param)


def unit(x: Any) -> np.ndarray:
    return np.asarray(x, np.float32) / np.linalg.norm(np.asarray(x, np.float32), axis=-1, keepdims=True)


def plain(name: str, folder: Path) -> tuple[Any, Any]:
    """(texts -> vectors, pictures -> vectors) as the library's documentation writes them."""
    import transformers

    model = getattr(transformers, f"{name}Model").from_pretrained(folder)
    processor = transformers.AutoProcessor.from_pretrained(folder)
    padding = {"padding": "max_length", "max_length": 12} if name == "Siglip" else {"padding": True}

    def texts(values: list[str]) -> np.ndarray:
        inputs = processor(text=values, truncation=True, return_tensors="pt", **padding)
        with torch.inference_mode():
            return unit(model.get_text_features(**inputs).pooler_output)

    def pictures(values: Any) -> np.ndarray:
        with torch.inference_mode():
            return unit(model.get_image_features(**processor(images=list(values), return_tensors="pt")).pooler_output)

    return texts, pictures


def test_a_dual_encoder_gives_the_mean_over_frames_and_the_sum_over_modalities(dual: tuple[str, Path]) -> None:
    name, folder = dual
    one = embedder.load(folder)
    assert embedder.kind_of(folder) == "dual" and isinstance(one, embedder.EmbedderProtocol)
    texts, pictures = plain(name, folder)
    asked = [
        DecodedItem("t", TEXTS[0]),
        DecodedItem("v", frames=FRAMES, fps=2.0),
        DecodedItem("i", image=SMALL[0]),
        DecodedItem("ti", TEXTS[1], image=SMALL[1]),
        DecodedItem("t2", TEXTS[2]),
    ]
    mean = unit(pictures(FRAMES).mean(0))
    both = unit(texts([TEXTS[1]])[0] + pictures([SMALL[1]])[0])
    expected = np.stack([texts([TEXTS[0]])[0], mean, pictures([SMALL[0]])[0], both, texts([TEXTS[2]])[0]])
    for size in (1, 3, 8):
        assert ((one.encode(asked, batch_size=size) * expected).sum(1) >= 0.9999).all()
    assert np.unique(expected.round(3), axis=0).shape[0] == len(asked)
    assert one.width == expected.shape[1]


def test_files_rejects_and_long_texts(dual: tuple[str, Path], tmp_path: Path) -> None:
    one, base = embedder.load(dual[1]), str(tmp_path)
    (tmp_path / "a.mp4").write_bytes(video(20, fps=10, sound=WAVE, height=96, width=160))
    (tmp_path / "bad.mp4").write_bytes(b"no video")
    asked = [
        Item("v", video_uri="a.mp4", end_s=2.0, sound=True, base=base),
        Item("bad", video_uri="bad.mp4", base=base),
        Item("s", audio_uri="a.mp4", end_s=1.0, base=base),
        Item("silent", video_uri="a.mp4", end_s=2.0, base=base),
        Item("long", text="a red ball rolls left " * 9),
    ]
    found = one.encode_or_reject(asked, workers=1)
    assert (found.kept, [reject.item for reject in found.rejects]) == ([0, 3, 4], ["bad", "s"])
    assert "does not hear" in found.rejects[1].detail and found.truncated == 1
    assert found.vectors[0] @ found.vectors[1] >= 0.9999
    with pytest.raises(ItemError, match="2 of 5 items cannot be encoded, first bad"):
        one.encode(asked, workers=0)
    with pytest.raises(ValueError, match="mode 'think': a dual model has speed only"):
        one.encode(asked, mode="think")


def test_a_digest_follows_weights_and_processing(dual: tuple[str, Path], tmp_path: Path) -> None:
    import shutil

    first = embedder.load(dual[1]).digest
    shutil.copytree(dual[1], tmp_path / "copy")
    assert embedder.load(tmp_path / "copy").digest == first
    file = tmp_path / "copy" / "preprocessor_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"image_mean": [0.1, 0.2, 0.3]}))
    assert embedder.load(tmp_path / "copy").digest != first
    file.unlink()
    with pytest.raises(ModelError, match=r"no preprocessor_config\.json"):
        embedder.load(tmp_path / "copy")


def save_bert(folder: Path) -> Path:
    """A text model built in memory and saved."""
    import transformers

    library = pytest.importorskip("sentence_transformers", reason="sentence-transformers is in the extra `bench` alone")
    tokenizer = word_pieces(folder)
    config = transformers.BertConfig(vocab_size=len(tokenizer), max_position_embeddings=16, **TOWER)
    inner = folder / "inner"
    transformers.BertModel(config).save_pretrained(inner)
    tokenizer.save_pretrained(inner)
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer

    model = library.SentenceTransformer(modules=[Transformer(str(inner)), Pooling(32)], device="cpu")
    model.save_pretrained(str(folder / "model"))
    return folder / "model"


def test_a_sentence_transformer_gives_its_own_vectors_and_refuses_what_it_cannot_see(tmp_path: Path) -> None:
    folder = save_bert(tmp_path)
    import sentence_transformers

    one = embedder.load(folder)
    expected = sentence_transformers.SentenceTransformer(str(folder), device="cpu").encode(TEXTS, normalize_embeddings=True)
    assert embedder.kind_of(folder) == "sentence-transformers" and isinstance(one, embedder.EmbedderProtocol)
    np.testing.assert_allclose(one.encode([Item(text, text=text) for text in TEXTS], batch_size=2), expected, atol=1e-5)
    found = one.encode_or_reject([DecodedItem("v", frames=FRAMES, fps=2.0), DecodedItem("t", TEXTS[0])])
    assert found.kept == [1] and found.rejects[0].detail == "the model takes text, not video; leave it out"


def test_a_sentence_transformer_over_clip_gives_the_mean_over_frames(tmp_path: Path) -> None:
    library = pytest.importorskip("sentence_transformers", reason="sentence-transformers is in the extra `bench` alone")
    from sentence_transformers.sentence_transformer.modules import Transformer

    inner = save_dual(tmp_path / "clip", "CLIP")
    model = library.SentenceTransformer(modules=[Transformer(str(inner))], device="cpu")
    model.save_pretrained(str(tmp_path / "model"))
    one, same = embedder.load(tmp_path / "model"), embedder.load(inner)
    asked = [DecodedItem("t", TEXTS[0]), DecodedItem("v", frames=FRAMES, fps=2.0), DecodedItem("ti", TEXTS[1], image=SMALL[1])]
    assert ((one.encode(asked) * same.encode(asked)).sum(1) >= 0.9999).all()


def test_code_and_pickles_of_a_folder_are_never_run(tmp_path: Path) -> None:
    (tmp_path / "modules.json").write_text(json.dumps([{"idx": 0, "name": "0", "path": "", "type": "custom_st.Transformer"}]))
    with pytest.raises(ModelError, match=r"module custom_st\.Transformer is code of its own, which is never run"):
        embedder.load(tmp_path)
    (tmp_path / "modules.json").write_text(json.dumps([{"idx": 0, "path": "", "type": "sentence_transformers.models.Transformer"}]))
    (tmp_path / "pytorch_model.bin").write_bytes(b"")
    with pytest.raises(ModelError, match=r"pytorch_model\.bin is pickled; save the model again as safetensors"):
        embedder.load(tmp_path)
    (tmp_path / "modules.json").unlink()
    with pytest.raises(ModelError, match=r"found pytorch_model\.bin; expected backbone\.json"):
        embedder.load(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "clap"}))
    with pytest.raises(ModelError, match="found model type 'clap'; expected a dual encoder"):
        embedder.load(tmp_path, kind="dual")
