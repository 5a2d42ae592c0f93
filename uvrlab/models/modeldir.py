"""Backbones and model directories on disk: safetensors only, digests, and golden vectors that loading checks.

A backbone is a folder with weights and processor, or a name: `nano-omni` ships with the package. A model is always one backbone
plus one adapter, see ARCHITECTURE: `backbone.json`, `adapter/`, `processor/`, `preprocess.json`, `golden.safetensors`.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from uvrlab.data.places import places, write_places
from uvrlab.data.spec import Backbone
from uvrlab.models.adapter import add_readout_tokens
from uvrlab.models.attention import install
from uvrlab.models.backbones import BACKBONES, backbone
from uvrlab.models.golden import golden_items
from uvrlab.models.preprocess import Preprocess, default_preprocess
from uvrlab.models.published import MARK, TEMPLATES, recognise
from uvrlab.runs import PLACES, digest_json

ASSETS = Path(__file__).parent.parent / "assets"
GOLDEN_COSINE = 0.9999


class ModelError(RuntimeError):
    """A backbone or model directory that cannot be used; the message says what was found, expected and to do."""


@dataclass(frozen=True)
class LoadedBackbone:
    """A backbone in memory: the table's row, the model, its processor, and the digest of its weights."""

    spec: Backbone
    model: Any
    processor: Any
    digest: str
    source: str

    @property
    def tokenizer(self) -> Any:
        """The processor's tokenizer."""
        return self.processor.tokenizer


def save_backbone(model: Any, processor: Any, folder: Path, name: str, *, dtype: str = "float32") -> str:
    """Write weights (safetensors, `dtype`), processor and the table's name into `folder`; returns the weights' digest."""
    import torch

    folder.mkdir(parents=True, exist_ok=True)
    spec = backbone(name)
    state = {key: value.to(getattr(torch, dtype)) for key, value in model.state_dict().items()}
    model.save_pretrained(folder, state_dict=state)
    processor.save_pretrained(folder)
    (folder / MARK).write_text(json.dumps({"backbone": spec.name}) + "\n")
    return weights_digest(folder)


def weights_digest(folder: Path) -> str:
    """sha256 over the names and bytes of the weight files."""
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise ModelError(f"{folder}: no *.safetensors; expected a backbone's weights (pickled weights are never loaded)")
    total = hashlib.sha256()
    for file in files:
        total.update(file.name.encode())
        with file.open("rb") as stream:
            while block := stream.read(1 << 20):
                total.update(block)
    return total.hexdigest()


def backbone_folder(name_or_path: str | Path) -> Path:
    """Where a backbone's weights are: the shipped folder of a name, or the given folder."""
    folder = ASSETS / str(name_or_path) if str(name_or_path) in BACKBONES else Path(name_or_path)
    if not (folder / "config.json").exists():
        raise ModelError(
            f"no backbone at {folder}; expected config.json, *.safetensors and the processor's files. `nano-omni` ships with "
            "the package (`uvr backbone train` makes it); for a real backbone give the folder that holds its weights"
        )
    return folder


def identify(folder: Path) -> Backbone:
    """The table's row of a backbone folder: by our mark, else by model type and language-model width."""
    mark = folder / MARK
    if mark.exists():
        return backbone(json.loads(mark.read_text())["backbone"])
    config = json.loads((folder / "config.json").read_text())
    kind = config["model_type"].removesuffix("_thinker")
    thinker = config.get("thinker_config", config)
    width = thinker.get("text_config", thinker).get("hidden_size")
    families = {"qwen2_vl": "qwen2-vl", "qwen2_5_vl": "qwen2.5-vl", "qwen2_5_omni": "qwen2.5-omni", "qwen3_omni_moe": "qwen3-omni"}
    for spec in BACKBONES.values():
        if spec.name != "nano-omni" and spec.family == families.get(kind) and spec.hidden_size == width:
            return spec
    raise ModelError(f"{folder}: model type {config['model_type']!r} of width {width}; expected one of {', '.join(BACKBONES)}")


def load_backbone(name_or_path: str | Path, *, device: str = "cpu", dtype: str | None = None) -> LoadedBackbone:
    """Load a backbone by name or folder, with packed tower attention, in eval mode. `dtype` defaults to float32 on CPU."""
    import torch
    import transformers

    transformers.utils.logging.disable_progress_bar()
    folder = backbone_folder(name_or_path)
    spec = identify(folder)
    kind = getattr(torch, dtype or ("float32" if device == "cpu" else "bfloat16"))
    digest = weights_digest(folder)
    model, told = getattr(transformers, spec.model_class).from_pretrained(
        folder, dtype=kind, use_safetensors=True, local_files_only=True, output_loading_info=True
    )
    if missing := sorted(told["missing_keys"]):
        raise ModelError(
            f"{folder}: its weights lack {len(missing)} tensors of {spec.model_class}, first {missing[0]}; they would be random, "
            "expected a whole checkpoint"
        )
    processor = getattr(transformers, spec.processor_class).from_pretrained(folder, local_files_only=True)
    return LoadedBackbone(spec, install(model.to(device).eval()), processor, digest, str(name_or_path))


@dataclass(frozen=True)
class LoadedModel:
    """A model ready to encode or to train on: backbone, adapter if any, tokenizer, preprocessing and digest."""

    spec: Backbone
    model: Any
    processor: Any
    preprocess: Preprocess
    digest: str
    backbone: str  # name or path

    @property
    def tokenizer(self) -> Any:
        """The processor's tokenizer."""
        return self.processor.tokenizer


def save_model_dir(folder: Path, loaded: LoadedBackbone | LoadedModel, model: Any, preprocess: Preprocess | None = None) -> str:
    """Write a complete model directory around `model`, a PEFT model over the backbone of `loaded`; returns the model's digest."""
    from safetensors.numpy import save_file

    preprocess = preprocess or getattr(loaded, "preprocess", None) or default_preprocess(loaded.spec)
    folder.mkdir(parents=True, exist_ok=True)
    source = loaded.source if isinstance(loaded, LoadedBackbone) else loaded.backbone
    digest = loaded.digest if isinstance(loaded, LoadedBackbone) else weights_digest(backbone_folder(source))
    # A backbone of the user's is named by its folder alone: where that lies is no part of what was trained.
    shipped = source in BACKBONES
    name = source if shipped else Path(source).resolve().name
    (folder / "backbone.json").write_text(json.dumps({"backbone": name, "digest": digest}, indent=1) + "\n")
    write_places(folder, {} if shipped else {"backbone": str(Path(source).resolve())})
    model.peft_config["default"].base_model_name_or_path = name  # PEFT would write the path
    model.save_pretrained(folder / "adapter", save_embedding_layers=False)
    (folder / "adapter" / "README.md").unlink(missing_ok=True)  # PEFT's empty model card
    loaded.processor.save_pretrained(folder / "processor")
    preprocess.save(folder / "preprocess.json", loaded.spec)
    vectors = golden_vectors(loaded.spec, model, loaded.tokenizer, preprocess)
    save_file({"vectors": vectors}, folder / "golden.safetensors")
    return model_digest(folder)


def model_digest(folder: Path) -> str:
    """sha256 over what a vector depends on: backbone digest, adapter, tokenizer and preprocessing."""
    total = hashlib.sha256(json.loads((folder / "backbone.json").read_text())["digest"].encode())
    sampled = Preprocess.load(folder / "preprocess.json")
    total.update(repr(sampled).encode())
    for name in ("adapter/adapter_config.json", "adapter/adapter_model.safetensors", "processor/tokenizer.json"):
        total.update(name.encode() + (folder / name).read_bytes())
    return total.hexdigest()


def golden_vectors(spec: Backbone, model: Any, tokenizer: Any, preprocess: Preprocess) -> np.ndarray:
    """(20, D) vectors of the fixed inputs under `model`, dropout off."""
    from uvrlab.models.encode import Embedder

    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    was = base.training
    model.eval()
    device = str(base.device)
    try:
        embedder = Embedder(spec, model, tokenizer, preprocess, "golden", device)
        return embedder.encode(golden_items(spec), batch_size=4, workers=0)
    finally:
        model.train(was)


def load_model(
    path: str | Path, *, device: str = "cpu", merge: bool = True, check: bool = True, template: Any = None
) -> LoadedModel:
    """Load a model directory, or a backbone alone by name or folder.

    `merge` folds the adapter into the weights, for encoding; leave it False to train on. `check` compares the golden vectors.
    `template` says how a folder that is no model directory is read out; by default as its own files tell, else "embed".
    """
    folder = Path(path)
    if not (folder / "backbone.json").exists():
        loaded = load_backbone(path, device=device)
        install_readouts(loaded)
        template = template or TEMPLATES.get(recognise(backbone_folder(path)) or "", "embed")
        preprocess = default_preprocess(loaded.spec, template)
        # The same weights read in another way are another model, whose vectors must not be taken for each other.
        digest = loaded.digest if template == "embed" else digest_json([loaded.digest, template])
        return LoadedModel(loaded.spec, loaded.model, loaded.processor, preprocess, digest, loaded.source)
    return _load_directory(folder, device, merge, check)


def install_readouts(loaded: LoadedBackbone) -> list[int]:
    """Add the read-out tokens that a backbone lacks; returns their ids, whose rows an adapter must train."""
    return add_readout_tokens(loaded.spec, loaded.model, loaded.tokenizer)


def _load_directory(folder: Path, device: str, merge: bool, check: bool) -> LoadedModel:
    import transformers
    from peft import PeftModel
    from safetensors.numpy import load_file

    source, digest = backbone_of(folder), json.loads((folder / "backbone.json").read_text())["digest"]
    loaded = load_backbone(source, device=device)
    if loaded.digest != digest:
        raise ModelError(
            f"{folder}: made on a backbone with digest {digest[:12]}, but {source} has {loaded.digest[:12]}; "
            "put the original backbone back, or train again on this one"
        )
    install_readouts(loaded)
    model: Any = PeftModel.from_pretrained(loaded.model, str(folder / "adapter"), is_trainable=not merge, use_safetensors=True)
    model = model.merge_and_unload() if merge else model
    model.eval()
    processor = getattr(transformers, loaded.spec.processor_class).from_pretrained(folder / "processor", local_files_only=True)
    preprocess = Preprocess.load(folder / "preprocess.json")
    result = LoadedModel(loaded.spec, model, processor, preprocess, model_digest(folder), source)
    if check:
        _check_golden(folder, result, load_file(folder / "golden.safetensors")["vectors"])
    return result


def backbone_of(folder: Path) -> str:
    """The backbone of a model directory: a shipped name, or the folder that `places.json` notes. Raises ModelError without it."""
    source = places(folder).get("backbone") or json.loads((folder / "backbone.json").read_text())["backbone"]
    if source not in BACKBONES and not Path(source).is_dir():
        raise ModelError(f"{folder}: found no backbone at {source}; put it back, or write its new place into {folder / PLACES}")
    return source


def _check_golden(folder: Path, loaded: LoadedModel, expected: np.ndarray) -> None:
    found = golden_vectors(loaded.spec, loaded.model, loaded.tokenizer, loaded.preprocess)
    if found.shape != expected.shape:
        raise ModelError(
            f"{folder}: golden vectors of shape {expected.shape}, this model gives {found.shape}; the backbone is another one"
        )
    cosine = (found * expected).sum(1)
    if not cosine.min() >= GOLDEN_COSINE:
        worst = golden_items(loaded.spec)[int(cosine.argmin())].item_id
        raise ModelError(
            f"{folder}: golden input {worst!r} has cosine {cosine.min():.6f} with its saved vector, expected {GOLDEN_COSINE}; "
            "weights, tokenizer or library versions changed, see `versions` in preprocess.json"
        )
