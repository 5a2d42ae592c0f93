"""Checkpoints in the very file layout in which their authors publish them, with few layers: flat configurations of transformers 4,
bf16 weights, a preprocessor file, no control token that the authors do not have. The true widths are kept, so that a folder is
recognised as the real one is."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import torch

from uvrlab.data.spec import CONTROL_TOKENS, DISC_TOKEN, GEN_TOKEN
from uvrlab.models import build
from uvrlab.models.backbones import backbone
from uvrlab.models.tokenizer import train_tokenizer

VISION = {
    "qwen2.5-vl": {"depth": 1, "hidden_size": 32, "num_heads": 2, "intermediate_size": 48, "fullatt_block_indexes": [0]},
    "qwen2-vl": {"depth": 1, "embed_dim": 32, "num_heads": 2},
}
GVE_CONFIG = {
    "architectures": ["Qwen25VLForEmbedding"],
    "auto_map": {"AutoModel": "modeling_qwen25vl.Qwen25VLForEmbedding"},
}


def save_gve(folder: Path, seed: int = 0) -> Path:
    """GVE-3B: Qwen2.5-VL with a class of its own and no further tokens."""
    return _save(folder, "qwen2.5-vl-3b", GVE_CONFIG, (), seed)


def save_ume_r1(folder: Path, seed: int = 0) -> Path:
    """UME-R1-2B: Qwen2-VL with two tokens more."""
    return _save(folder, "qwen2-vl-2b", {}, (DISC_TOKEN, GEN_TOKEN), seed)


def _save(folder: Path, name: str, extra: dict[str, Any], tokens: tuple[str, ...], seed: int) -> Path:
    spec = backbone(name)
    tokenizer = train_tokenizer(build.TINY_TEXTS, 420, spec)
    shapes = copy.deepcopy(spec.shapes)
    shapes["text"] |= {"num_hidden_layers": 1, "intermediate_size": 64, "vocab_size": len(tokenizer)}
    shapes["vision"] |= VISION[spec.family]
    config = build.make_config(spec, shapes, tokenizer)
    model = build._model(spec, config, seed)
    with torch.no_grad():
        for weight in model.parameters():  # fresh weights hardly attend: a test on them would not notice what it should
            if weight.ndim > 1:
                weight.mul_(4.0)
    model.to(torch.bfloat16).save_pretrained(folder)
    build.build_processor(spec, tokenizer).save_pretrained(folder)
    _edit(folder / "config.json", lambda found: _flat(found) | extra)
    _edit(folder / "tokenizer.json", lambda found: found | {"added_tokens": _own(found["added_tokens"], tokens)})
    (folder / "processor_config.json").unlink()
    pixels = {
        "min_pixels": spec.min_pixels,
        "max_pixels": spec.max_pixels,
        "patch_size": 14,
        "temporal_patch_size": 2,
        "merge_size": 2,
    }
    named = {"image_processor_type": "Qwen2VLImageProcessor", "processor_class": spec.processor_class}
    means = {"image_mean": list(spec.image_mean), "image_std": list(spec.image_std)}
    (folder / "preprocessor_config.json").write_text(json.dumps({**pixels, **means, **named}))
    return folder


def _flat(config: dict[str, Any]) -> dict[str, Any]:
    """A configuration as transformers 4 wrote it: the language model's fields at the top, positions under `rope_scaling`."""
    text = {k: v for k, v in config.pop("text_config").items() if k not in ("model_type", "layer_types", "rope_parameters")}
    config["vision_config"].pop("rope_parameters", None)
    rope = {"rope_theta": 1000000.0, "rope_scaling": {"type": "mrope", "mrope_section": [16, 24, 24]}}
    return {**text, **config, **rope, "torch_dtype": "bfloat16", "transformers_version": "4.51.3"}


def _own(added: list[dict[str, Any]], kept: tuple[str, ...]) -> list[dict[str, Any]]:
    return [token for token in added if token["content"] not in CONTROL_TOKENS or token["content"] in kept]


def _edit(file: Path, change: Any) -> None:
    file.write_text(json.dumps(change(json.loads(file.read_text()))))
