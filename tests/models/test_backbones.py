"""The table against upstream's own configuration files, and what the nano backbone promises."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from uvrlab.models.backbones import BACKBONES, CONTROL_TOKENS, NANO, backbone

# Where the kept files of a checkpoint are; "" stands for the configuration's top level.
FILES = {
    "qwen2-vl-2b": ("Qwen2-VL-2B-Instruct/config.reconstructed.json", ""),
    "qwen2-vl-7b": ("Qwen2-VL-7B-Instruct/config.reconstructed.json", ""),
    "qwen2.5-vl-3b": ("Qwen2.5-VL-3B-Instruct/config.json", ""),
    "qwen2.5-vl-7b": ("Qwen2.5-VL-7B-Instruct/config.json", ""),
    "qwen2.5-omni-3b": ("Qwen2.5-Omni-3B/thinker_config.reconstructed.json", ""),
    "qwen2.5-omni-7b": ("Qwen2.5-Omni-7B/config.reconstructed.json", "thinker_config"),
    "qwen3-omni-30b-a3b": ("Qwen3-Omni-30B-A3B-Instruct/config.as-printed-by-transformers-5.7.0.json", "thinker_config"),
}
RENAMED = {"embed_dim": ("embed_dim", "hidden_size")}


def upstream(shared: Path, name: str) -> dict[str, Any]:
    file, part = FILES[name]
    config = json.loads((shared / "data/upstream_configs" / file).read_text())
    return config[part] if part else config


def rope(config: dict[str, Any]) -> tuple[float, list[int]]:
    found = config.get("rope_parameters") or config.get("rope_scaling")
    return float(found.get("rope_theta") or config["rope_theta"]), found["mrope_section"]


@pytest.mark.parametrize("name", FILES)
def test_shapes_equal_the_published_configuration(name: str, shared: Path) -> None:
    config, spec = upstream(shared, name), backbone(name)
    text = config.get("text_config", config)
    for field, value in spec.shapes["text"].items():
        if field == "rope_parameters":
            assert (value["rope_theta"], value["mrope_section"]) == rope(text)
        elif field != "tie_word_embeddings":
            assert text[field] == value, field
    for part in ("vision", "audio"):
        for field, value in (spec.shapes[part] or {}).items():
            assert config[f"{part}_config"].get(field, value) == value, (part, field)
    tied = config.get("tie_word_embeddings", text.get("tie_word_embeddings", False))
    assert tied == spec.shapes["top"]["tie_word_embeddings"]


@pytest.mark.parametrize("name", FILES)
def test_position_rules_equal_the_published_configuration(name: str, shared: Path) -> None:
    config, spec = upstream(shared, name), backbone(name)
    found = config.get("position_id_per_seconds") or config["vision_config"].get("tokens_per_second")
    assert found == spec.positions_per_s
    assert config.get("seconds_per_chunk") == spec.seconds_per_chunk


def test_preprocessor_facts_equal_the_published_files(shared: Path) -> None:
    kept = {
        "qwen2-vl-2b": "Qwen2-VL-2B-Instruct/preprocessor_config.json",
        "qwen2.5-vl-3b": "Qwen2.5-VL-3B-Instruct/preprocessor_config.json",
        "qwen2.5-omni-7b": "Qwen2.5-Omni-7B/preprocessor_config.json",
        "qwen3-omni-30b-a3b": "Qwen3-Omni-30B-A3B-Instruct/preprocessor_config.as-quoted.json",
    }
    for name, file in kept.items():
        found, spec = json.loads((shared / "data/upstream_configs" / file).read_text()), backbone(name)
        assert (found["patch_size"], found["merge_size"], found["temporal_patch_size"]) == (
            spec.patch,
            spec.merge,
            spec.temporal_patch,
        )
        assert (found["min_pixels"], found["max_pixels"]) == (spec.min_pixels, spec.max_pixels)
        assert tuple(found.get("image_mean", spec.image_mean)) == spec.image_mean
        assert tuple(found.get("image_std", spec.image_std)) == spec.image_std
        assert found.get("feature_size") == spec.mel_bins
        assert found.get("n_samples", spec.mel_chunk_s * 16_000) == spec.mel_chunk_s * 16_000


def test_every_token_name_is_in_the_published_tokenizer(shared: Path) -> None:
    kept = {
        "qwen2-vl-2b": "Qwen2-VL-2B-Instruct",
        "qwen2.5-vl-3b": "Qwen2.5-VL-3B-Instruct",
        "qwen2.5-omni-7b": "Qwen2.5-Omni-7B-AWQ",
    }
    for name, folder in kept.items():
        file = shared / "data/upstream_configs" / folder / "tokenizer_config.json"
        published = {t["content"] for t in json.loads(file.read_text())["added_tokens_decoder"].values()}
        spec = backbone(name)
        used = {*spec.tokens.media(), spec.tokens.pad, spec.tokens.turn_start, spec.tokens.turn_end, *spec.readout_from}
        assert used <= published
        assert json.loads(file.read_text())["pad_token"] == spec.tokens.pad


def test_chat_templates_render_as_the_published_ones(shared: Path) -> None:
    jinja2 = pytest.importorskip("jinja2")
    from uvrlab.models.build import chat_template

    kept = {
        "qwen2-vl-2b": "Qwen2-VL-2B-Instruct/chat_template.json",
        "qwen2.5-vl-3b": "Qwen2.5-VL-3B-Instruct/chat_template.json",
        "qwen2.5-omni-7b": "Qwen2.5-Omni-7B-AWQ/chat_template.jinja",
    }
    for name, file in kept.items():
        published = (shared / "data/upstream_configs" / file).read_text()
        published = json.loads(published)["chat_template"] if file.endswith(".json") else published
        kinds = ["video", "image", *(["audio"] if backbone(name).hears else [])]
        content = [*({"type": kind, kind: "x"} for kind in kinds), {"type": "text", "text": "what?"}]
        chats = [
            [{"role": "user", "content": content}],
            [{"role": "system", "content": "Find."}, {"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}],
        ]
        for messages in chats:
            call = {"messages": messages, "add_generation_prompt": True}
            ours = jinja2.Template(chat_template(backbone(name))).render(**call)
            assert ours == jinja2.Template(published).render(**call)


def test_the_table_is_complete_and_unknown_names_get_the_nearest() -> None:
    assert set(BACKBONES) == {"nano-omni", *FILES}
    assert all(name == spec.name for name, spec in BACKBONES.items())
    with pytest.raises(ValueError, match=r"did you mean qwen2\.5-vl-7b"):
        backbone("qwen2.5-vl-7")


def test_the_table_loads_no_torch() -> None:
    code = "import sys, uvrlab.models.backbones, uvrlab.data.collate, uvrlab.models.encode; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_nano_holds_every_control_token_as_one_and_any_text_survives() -> None:
    from uvrlab.models.build import build_nano

    model, processor = build_nano(["a red ball rolls to the left"] * 20)
    tokenizer = processor.tokenizer
    for name in (*CONTROL_TOKENS, *backbone("nano-omni").tokens.media()):
        assert len(tokenizer.encode(name, add_special_tokens=False)) == 1
    for text in ("Ünïcödé 猫 😀\t\r\n\x00\x7f e\u0301 ﬁ", "".join(map(chr, range(32, 1000)))):
        assert tokenizer.decode(tokenizer.encode(text, add_special_tokens=False)) == text
    kept = tokenizer.decode(tokenizer.encode("<think>a</think><gen_emb><|im_end|>"), skip_special_tokens=True)
    assert kept == "<think>a</think><gen_emb>"
    full = sum(p.numel() for p in model.parameters()) + (NANO["vocab_size"] - len(tokenizer)) * NANO["text"]["hidden_size"]
    assert 1.5e6 <= full <= 2.5e6


def test_training_a_tokenizer_twice_gives_the_same_one() -> None:
    from uvrlab.models.tokenizer import train_tokenizer

    texts = ["a red ball rolls left", "two blue cubes jump"] * 10
    one, two = (train_tokenizer(texts, 400, backbone("nano-omni")) for _ in range(2))
    assert one.backend_tokenizer.to_str() == two.backend_tokenizer.to_str()


@pytest.mark.parametrize("name", ["nano-omni", "qwen2-vl-2b", "qwen2.5-vl-3b", "qwen2.5-omni-3b", "qwen3-omni-30b-a3b"])
def test_adapters_sit_on_the_language_model_only(name: str) -> None:
    """Towers have layers of the same names (Omni's visual gate_proj), which a bare list of names would catch."""
    from uvrlab.models.build import build_tiny

    model, _ = build_tiny(name)
    hit = [path for path, _ in model.named_modules() if re.fullmatch(backbone(name).lora_targets, path)]
    assert hit
    assert all(".language_model." in path for path in hit)
    assert not any(path.endswith("o_proj") for path in hit)
