"""Checkpoints as their authors publish them: recognised by their own files, so that a folder is read the way its paper reads it.

GVE (and GME, whose prompt is the same) is the state at an `<|endoftext|>` appended to the generation prompt, UME-R1 the state at
its two tokens. Their own classes are plain subclasses of the Qwen ones without further weights, so the library's classes load them
(as_published.py) and no code of a checkpoint is ever run.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

from uvrlab.data.spec import DISC_TOKEN, GEN_TOKEN

MARK = "uvrlab.json"  # names the table's row in a backbone folder that we wrote
Published = Literal["gve", "ume-r1"]
TEMPLATES: dict[str, Literal["embed", "last"]] = {"gve": "last", "ume-r1": "embed"}
MODEL_TYPES = ("qwen2_vl", "qwen2_5_vl")


def recognise(folder: Path) -> Published | None:
    """Which published embedder a folder holds, told by its configuration and tokenizer; None: no sign of one."""
    config = json.loads((folder / "config.json").read_text())
    if (folder / MARK).exists() or config.get("model_type") not in MODEL_TYPES:
        return None
    names = [*(config.get("architectures") or []), *(config.get("auto_map") or {}).values()]
    if any(str(name).endswith("ForEmbedding") for name in names):
        return "gve"
    return "ume-r1" if has_readouts(folder) else None


def has_readouts(folder: Path) -> bool:
    """Whether both of UME-R1's tokens stand in the tokenizer's files."""
    files = [folder / name for name in ("tokenizer.json", "added_tokens.json", "tokenizer_config.json")]
    texts = [file.read_text() for file in files if file.is_file()]
    return any(f'"{DISC_TOKEN}"' in text and f'"{GEN_TOKEN}"' in text for text in texts)
