"""Builds backbones with random weights: the nano one, and tiny copies of every family on upstream's own configuration facts.

A tiny copy keeps classes, token names, position rules and window rules; only widths, depths and head counts shrink.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any

from uvrlab.data.prompts import token_id
from uvrlab.models.backbones import Backbone, backbone
from uvrlab.models.tokenizer import train_tokenizer

TINY_TEXTS = ("a red ball rolls left, then a bell rings", "Ünïcödé 猫 😀", "user assistant system You are a helpful assistant.")
_TINY_TEXT = {
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 96,
    "max_position_embeddings": 4096,
}
_TINY_MOE = {"head_dim": 16, "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32, "intermediate_size": 32}
_TINY_VISION = {
    "qwen2-vl": {"depth": 2, "embed_dim": 32, "num_heads": 2, "hidden_size": 64},
    "qwen2.5-vl": {"depth": 2, "hidden_size": 32, "num_heads": 2, "intermediate_size": 48, "out_hidden_size": 64},
    "qwen2.5-omni": {"depth": 2, "hidden_size": 32, "num_heads": 2, "intermediate_size": 48, "out_hidden_size": 64},
    "qwen3-omni": {"depth": 3, "hidden_size": 32, "num_heads": 2, "intermediate_size": 48, "out_hidden_size": 64},
}
_TINY_AUDIO = {"encoder_layers": 2, "encoder_attention_heads": 2, "encoder_ffn_dim": 48, "d_model": 32, "output_dim": 64}


def token_ids(spec: Backbone, tokenizer: Any) -> dict[str, int]:
    """The configuration's token id fields, looked up by name."""
    tokens = spec.tokens
    ids: dict[str, str | None] = {
        "image_token_id": tokens.image,
        "video_token_id": tokens.video,
        "vision_start_token_id": tokens.vision_start,
        "vision_end_token_id": tokens.vision_end,
    }
    if spec.hears:
        ids |= {
            "audio_token_id": tokens.audio,
            "audio_start_token_id": tokens.audio_start,
            "audio_end_token_id": tokens.audio_end,
        }
    return {field: token_id(tokenizer, name) for field, name in ids.items() if name}


def make_config(spec: Backbone, shapes: dict[str, Any], tokenizer: Any) -> Any:
    """A transformers configuration of the backbone's class with these shapes and the tokenizer's ids."""
    import transformers

    text = {
        **copy.deepcopy(shapes["text"]),
        "pad_token_id": token_id(tokenizer, spec.tokens.pad),
        "eos_token_id": token_id(tokenizer, spec.tokens.turn_end),
        "bos_token_id": token_id(tokenizer, spec.tokens.end_of_text),
    }
    parts: dict[str, Any] = {"text_config": text, "vision_config": copy.deepcopy(shapes["vision"])}
    if spec.hears:
        parts["audio_config"] = copy.deepcopy(shapes["audio"])
    config = getattr(transformers, spec.config_class)(**parts, **shapes["top"], **token_ids(spec, tokenizer))
    for field in ("position_id_per_seconds", "seconds_per_chunk"):  # absent from some config classes, read by the model
        if field in shapes["top"]:
            setattr(config, field, shapes["top"][field])
    return config


def tiny_shapes(name: str, vocab_size: int) -> dict[str, Any]:
    """The published shapes of `name` with widths, depths and head counts shrunk, everything else as published."""
    spec = backbone(name)
    shapes = copy.deepcopy(spec.shapes)
    shapes["text"] |= {**_TINY_TEXT, "vocab_size": vocab_size}
    sections = [2, 3, 3] if spec.family != "qwen3-omni" else [4, 2, 2]
    shapes["text"]["rope_parameters"]["mrope_section"] = sections
    shapes["vision"] |= _TINY_VISION[spec.family]
    if "fullatt_block_indexes" in shapes["vision"]:
        shapes["vision"]["fullatt_block_indexes"] = [1]
    if spec.family == "qwen3-omni":
        shapes["text"] |= _TINY_MOE
        shapes["vision"] |= {"deepstack_visual_indexes": [0, 1], "num_position_embeddings": 64}
        shapes["audio"] |= {"downsample_hidden_size": 16}
    if spec.hears:
        shapes["audio"] |= _TINY_AUDIO
    return shapes


def tiny_config(name: str, tokenizer: Any = None) -> Any:
    """Configuration of a tiny copy of `name`."""
    spec = backbone(name)
    tokenizer = tokenizer or train_tokenizer(TINY_TEXTS, 420, spec)
    return make_config(spec, tiny_shapes(name, len(tokenizer)), tokenizer)


def _model(spec: Backbone, config: Any, seed: int) -> Any:
    import torch
    import transformers

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = getattr(transformers, spec.model_class)(config)
    model.generation_config.pad_token_id = config.get_text_config().pad_token_id
    return model.float().eval()


def build_tiny(name: str, *, seed: int = 0) -> tuple[Any, Any]:
    """(model, processor) of a tiny copy of `name`: real classes, random weights, a tokenizer with the true special-token names."""
    spec = backbone(name)
    tokenizer = train_tokenizer(TINY_TEXTS, 420, spec)
    model = _model(spec, tiny_config(name, tokenizer), seed)
    return model, build_processor(spec, tokenizer)


def build_nano(texts: Iterable[str], *, seed: int = 0) -> tuple[Any, Any]:
    """(model, processor) of the untrained `nano-omni`, its tokenizer trained on `texts`."""
    spec = backbone("nano-omni")
    tokenizer = train_tokenizer([spec.instruction, "user\n", "assistant\n", *texts], spec.shapes["text"]["vocab_size"], spec)
    shapes = copy.deepcopy(spec.shapes)
    shapes["text"]["vocab_size"] = len(tokenizer)
    return _model(spec, make_config(spec, shapes, tokenizer), seed), build_processor(spec, tokenizer)


def chat_template(spec: Backbone) -> str:
    """The family's multimodal chat template (published text; without the default system turn where the backbone has none)."""
    tokens = spec.tokens
    slots = [
        ("image", f"{tokens.vision_start}{tokens.image}{tokens.vision_end}"),
        ("video", f"{tokens.vision_start}{tokens.video}{tokens.vision_end}"),
    ]
    if spec.hears:
        slots.insert(1, ("audio", f"{tokens.audio_start}{tokens.audio}{tokens.audio_end}"))
    branches = "".join(
        f"{{% {'if' if i == 0 else 'elif'} content['type'] == '{kind}' or '{kind}' in content %}}{slot}"
        for i, (kind, slot) in enumerate(slots)
    )
    system = ""
    if spec.default_system:
        system = (
            "{% if loop.first and message['role'] != 'system' %}<|im_start|>system\n"
            + spec.default_system
            + "<|im_end|>\n{% endif %}"
        )
    return (
        "{% for message in messages %}" + system + "<|im_start|>{{ message['role'] }}\n"
        "{% if message['content'] is string %}{{ message['content'] }}<|im_end|>\n{% else %}{% for content in message['content'] %}"
        + branches
        + "{% elif 'text' in content %}{{ content['text'] }}{% endif %}{% endfor %}<|im_end|>\n{% endif %}{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )


def build_processor(spec: Backbone, tokenizer: Any) -> Any:
    """The backbone's own processor class with its pixel limits, means and mel settings from the table."""
    import transformers

    common: dict[str, Any] = {
        "patch_size": spec.patch,
        "merge_size": spec.merge,
        "temporal_patch_size": spec.temporal_patch,
        "image_mean": list(spec.image_mean),
        "image_std": list(spec.image_std),
    }
    images = transformers.Qwen2VLImageProcessor(size={"shortest_edge": spec.min_pixels, "longest_edge": spec.max_pixels}, **common)
    video_size: dict[str, int] = {"shortest_edge": spec.video_min_pixels, "longest_edge": spec.video_max_pixels}
    videos = transformers.Qwen2VLVideoProcessor(size=video_size, do_sample_frames=False, cap_pixels_per_frame=False, **common)
    parts = {"image_processor": images, "video_processor": videos, "tokenizer": tokenizer}
    if spec.hears:
        parts["feature_extractor"] = transformers.WhisperFeatureExtractor(
            feature_size=spec.mel_bins,
            sampling_rate=spec.sampling_rate_hz,
            chunk_length=spec.mel_chunk_s,
            return_attention_mask=True,
        )
    return getattr(transformers, spec.processor_class)(**parts, chat_template=chat_template(spec))
