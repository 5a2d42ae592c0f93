"""All knowledge of a backbone, in one literal table. No torch here: importing this module costs nothing.

Token *names* stand here, never ids: the same id means different things across families (151646 is an object mark in Qwen2.5-VL and
the audio placeholder in Qwen2.5-Omni), so ids are always looked up in the tokenizer. The numbers are those of the published
checkpoints' own configuration files, not the library's class defaults, which are no checkpoint at all.
"""

from __future__ import annotations

import difflib
from typing import Any

from uvrlab.data.spec import CONTROL_TOKENS, DISC_TOKEN, GEN_TOKEN, HALF, Backbone, Tokens

__all__ = ["BACKBONES", "CONTROL_TOKENS", "DISC_TOKEN", "GEN_TOKEN", "NANO", "Backbone", "Tokens", "backbone"]

VL_TOKENS = Tokens("<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>")
OMNI_TOKENS = Tokens("<|vision_bos|>", "<|vision_eos|>", "<|IMAGE|>", "<|VIDEO|>", "<|audio_bos|>", "<|audio_eos|>", "<|AUDIO|>")
OMNI3_TOKENS = Tokens(
    "<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>", "<|audio_start|>", "<|audio_end|>", "<|audio_pad|>"
)
OBJECT_REF = ("<|object_ref_start|>", "<|object_ref_end|>")
TOOL_CALL = ("<tool_call>", "</tool_call>")


def _text(hidden: int, layers: int, heads: int, kv: int, inner: int, vocab: int, tied: bool, positions: int) -> dict[str, Any]:
    return {
        "hidden_size": hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": kv,
        "intermediate_size": inner,
        "vocab_size": vocab,
        "tie_word_embeddings": tied,
        "max_position_embeddings": positions,
        "rms_norm_eps": 1e-6,
        "rope_parameters": {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [16, 24, 24]},
    }


_VISION_2 = {
    "depth": 32,
    "embed_dim": 1280,
    "num_heads": 16,
    "mlp_ratio": 4,
    "patch_size": 14,
    "spatial_merge_size": 2,
    "temporal_patch_size": 2,
}
_VISION_25 = {
    "depth": 32,
    "hidden_size": 1280,
    "num_heads": 16,
    "intermediate_size": 3420,
    "patch_size": 14,
    "spatial_merge_size": 2,
    "temporal_patch_size": 2,
    "window_size": 112,
    "fullatt_block_indexes": [7, 15, 23, 31],
}
_AUDIO_25 = {
    "num_mel_bins": 128,
    "encoder_layers": 32,
    "encoder_attention_heads": 20,
    "encoder_ffn_dim": 5120,
    "d_model": 1280,
    "n_window": 100,
    "max_source_positions": 1500,
}
_OMNI_25_TOP = {"position_id_per_seconds": 25, "seconds_per_chunk": 2, "tie_word_embeddings": False}
_QWEN3_TEXT = {
    "hidden_size": 2048,
    "num_hidden_layers": 48,
    "num_attention_heads": 32,
    "num_key_value_heads": 4,
    "head_dim": 128,
    "intermediate_size": 768,
    "moe_intermediate_size": 768,
    "num_experts": 128,
    "num_experts_per_tok": 8,
    "norm_topk_prob": True,
    "vocab_size": 152064,
    "max_position_embeddings": 65536,
    "rms_norm_eps": 1e-6,
    "rope_parameters": {
        "rope_type": "default",
        "rope_theta": 1e6,
        "mrope_section": [24, 20, 20],
        "mrope_interleaved": True,
        "interleaved": True,
    },
}
_QWEN3_VISION = {
    "depth": 27,
    "hidden_size": 1152,
    "num_heads": 16,
    "intermediate_size": 4304,
    "patch_size": 16,
    "spatial_merge_size": 2,
    "temporal_patch_size": 2,
    "out_hidden_size": 2048,
    "num_position_embeddings": 2304,
    "deepstack_visual_indexes": [8, 16, 24],
    "hidden_act": "gelu_pytorch_tanh",
}
_QWEN3_AUDIO = {**_AUDIO_25, "n_window": 50, "n_window_infer": 800, "output_dim": 2048, "downsample_hidden_size": 480}

# Sizes of the shipped backbone, all in one place: 1.8 million parameters, 64 visual and 100 audio tokens for a clip of 4 s.
NANO: dict[str, Any] = {
    "vocab_size": 1536,
    "text": {
        **_text(128, 4, 4, 2, 384, 1536, True, 4096),
        "rope_parameters": {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [4, 6, 6]},
    },
    "vision": {
        **_VISION_25,
        "depth": 3,
        "hidden_size": 96,
        "num_heads": 4,
        "intermediate_size": 256,
        "fullatt_block_indexes": [2],
        "out_hidden_size": 128,
    },
    "audio": {
        **_AUDIO_25,
        "num_mel_bins": 64,
        "encoder_layers": 2,
        "encoder_attention_heads": 4,
        "encoder_ffn_dim": 256,
        "d_model": 64,
        "output_dim": 128,
    },
    "top": {**_OMNI_25_TOP, "tie_word_embeddings": True},
}


def _vl(name: str, text: dict[str, Any], *, generation: str) -> Backbone:
    two = generation == "2"
    vision = {**_VISION_2, "hidden_size": text["hidden_size"]} if two else {**_VISION_25, "tokens_per_second": 2}
    if not two:
        vision["out_hidden_size"] = text["hidden_size"]
    prefix = "Qwen2VL" if two else "Qwen2_5_VL"
    return Backbone(
        name=name,
        family="qwen2-vl" if two else "qwen2.5-vl",
        model_class=f"{prefix}ForConditionalGeneration",
        config_class=f"{prefix}Config",
        processor_class=f"{prefix}Processor",
        tokens=VL_TOKENS,
        readout_from=OBJECT_REF if two else TOOL_CALL,
        shapes={"text": text, "vision": vision, "audio": None, "top": {"tie_word_embeddings": text["tie_word_embeddings"]}},
        hidden_size=text["hidden_size"],
        positions_per_s=None if two else 2,
        extra_tokens=OBJECT_REF if two else (*OBJECT_REF, *TOOL_CALL),
    )


def _omni(name: str, text: dict[str, Any]) -> Backbone:
    hidden = text["hidden_size"]
    return Backbone(
        name=name,
        family="qwen2.5-omni",
        model_class="Qwen2_5OmniThinkerForConditionalGeneration",
        config_class="Qwen2_5OmniThinkerConfig",
        processor_class="Qwen2_5OmniProcessor",
        tokens=OMNI_TOKENS,
        readout_from=TOOL_CALL,
        shapes={
            "text": text,
            "vision": {**_VISION_25, "out_hidden_size": hidden},
            "audio": {**_AUDIO_25, "output_dim": hidden},
            "top": _OMNI_25_TOP,
        },
        hidden_size=hidden,
        interleave="chunks",
        positions_per_s=25,
        seconds_per_chunk=2,
        mel_bins=128,
        extra_tokens=TOOL_CALL,
    )


BACKBONES: dict[str, Backbone] = {
    "nano-omni": Backbone(
        name="nano-omni",
        family="qwen2.5-omni",
        model_class="Qwen2_5OmniThinkerForConditionalGeneration",
        config_class="Qwen2_5OmniThinkerConfig",
        processor_class="Qwen2_5OmniProcessor",
        tokens=OMNI_TOKENS,
        readout_from=(DISC_TOKEN, GEN_TOKEN),  # its own rows: both tokens are trained from the start
        shapes={key: NANO[key] for key in ("text", "vision", "audio", "top")},
        hidden_size=NANO["text"]["hidden_size"],
        default_system=None,
        instruction="Think, answer, embed.",
        interleave="chunks",
        positions_per_s=25,
        seconds_per_chunk=2,
        min_pixels=3136,
        max_pixels=112 * 112,
        video_min_pixels=3136,
        video_max_pixels=112 * 112,
        mel_bins=64,
        mel_chunk_s=30,
    ),
    "qwen2-vl-2b": _vl("qwen2-vl-2b", _text(1536, 28, 12, 2, 8960, 151936, True, 32768), generation="2"),
    "qwen2-vl-7b": _vl("qwen2-vl-7b", _text(3584, 28, 28, 4, 18944, 152064, False, 32768), generation="2"),
    "qwen2.5-vl-3b": _vl("qwen2.5-vl-3b", _text(2048, 36, 16, 2, 11008, 151936, True, 128000), generation="2.5"),
    "qwen2.5-vl-7b": _vl("qwen2.5-vl-7b", _text(3584, 28, 28, 4, 18944, 152064, False, 128000), generation="2.5"),
    "qwen2.5-omni-3b": _omni("qwen2.5-omni-3b", _text(2048, 36, 16, 2, 11008, 151936, False, 32768)),
    "qwen2.5-omni-7b": _omni("qwen2.5-omni-7b", _text(3584, 28, 28, 4, 18944, 152064, False, 32768)),
    "qwen3-omni-30b-a3b": Backbone(
        name="qwen3-omni-30b-a3b",
        family="qwen3-omni",
        model_class="Qwen3OmniMoeThinkerForConditionalGeneration",
        config_class="Qwen3OmniMoeThinkerConfig",
        processor_class="Qwen3OmniMoeProcessor",
        tokens=OMNI3_TOKENS,
        readout_from=TOOL_CALL,
        shapes={
            "text": _QWEN3_TEXT,
            "vision": _QWEN3_VISION,
            "audio": _QWEN3_AUDIO,
            "top": {"position_id_per_seconds": 13, "seconds_per_chunk": 2, "tie_word_embeddings": False},
        },
        hidden_size=2048,
        # The experts are fused parameters, not linear layers: the adapter sits on attention, o_proj left alone as in GVE.
        lora_targets=r".*language_model.*self_attn\.(q_proj|k_proj|v_proj)",
        interleave="merge",
        positions_per_s=13,
        seconds_per_chunk=2,
        patch=16,
        video_min_pixels=128 * 32 * 32,
        video_max_pixels=768 * 32 * 32,
        image_mean=HALF,
        image_std=HALF,
        mel_bins=128,
        mel_tail="reflect",
        extra_tokens=TOOL_CALL,
    ),
}


def backbone(name: str) -> Backbone:
    """The table's row of `name`; an unknown name is answered with the nearest ones."""
    if name not in BACKBONES:
        near = difflib.get_close_matches(name, BACKBONES, n=2) or list(BACKBONES)
        raise ValueError(f"unknown backbone {name!r}; did you mean {', '.join(near)}?")
    return BACKBONES[name]
