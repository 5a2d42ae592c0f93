"""The one protocol of everything that turns items into vectors, and the one door through which a model is loaded by its path.

Evaluation needs no more of a model than this. Which class stands behind a folder is told by the folder's own files, or by naming
the kind.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol, cast, runtime_checkable

import numpy as np

from uvrlab.data.decoding import Sampling
from uvrlab.data.workers import MediaPool
from uvrlab.models.backbones import BACKBONES
from uvrlab.models.encode import Encoded, Entry, Mode
from uvrlab.models.modeldir import ModelError
from uvrlab.models.modes import Thinking
from uvrlab.models.published import recognise


class ReadingProtocol(Protocol):
    """How media are read, and what a vector is read from."""

    @property
    def sampling(self) -> Sampling: ...
    @property
    def template(self) -> str: ...


@runtime_checkable
class EmbedderProtocol(Protocol):
    """A model that embeds items. `digest` names weights and reading: equal digests give equal vectors."""

    digest: str
    device: str

    @property
    def preprocess(self) -> ReadingProtocol: ...
    @property
    def width(self) -> int: ...
    @property
    def modes(self) -> tuple[Mode, ...]: ...
    @property
    def modalities(self) -> tuple[str, ...]: ...

    def encode(self, items: Sequence[Entry], *, batch_size: int = ..., workers: int = ..., mode: Mode = ...) -> np.ndarray:
        """(B, D) float32 unit vectors in the order of `items`. Raises ItemError naming one that cannot be encoded."""
        ...

    def encode_or_reject(
        self,
        items: Sequence[Entry],
        *,
        batch_size: int = ...,
        workers: int = ...,
        pool: MediaPool | None = ...,
        mode: Mode = ...,
        thinking: Thinking | None = ...,
    ) -> Encoded:
        """As `encode`, with rejects in the place of errors. Raises ValueError for a mode that is not one of `modes`."""
        ...

    def close(self) -> None:
        """Free what encoding holds, such as decode workers."""
        ...


LOADERS = {
    "uvrlab": "uvrlab.models.encode:Embedder.load",  # a model directory of ours, or a backbone by name or folder
    "gve": "uvrlab.models.as_published:load",  # also GME: an end-of-text token behind the generation prompt
    "ume-r1": "uvrlab.models.as_published:load",
    "dual": "uvrlab.models.dual:DualEncoder.load",
    "sentence-transformers": "uvrlab.models.sentence:SentenceEmbedder.load",
}


def kind_of(path: str | Path) -> str:
    """The kind of a model by its own files. Raises ModelError saying what was found and what there is."""
    from uvrlab.models.dual import MODEL_TYPES

    folder = Path(path)
    if str(path) in BACKBONES or (folder / "backbone.json").is_file():
        return "uvrlab"
    if not folder.is_dir():
        raise ModelError(f"no model at {path}; expected a folder, or one of {', '.join(BACKBONES)}")
    if (folder / "modules.json").is_file():
        return "sentence-transformers"
    if (folder / "model" / "backbone.json").is_file():
        raise ModelError(f"{folder} is a run directory; give its model, {folder / 'model'}")
    if not (folder / "config.json").is_file():
        found = ", ".join(sorted(file.name for file in folder.iterdir())[:5]) or "nothing"
        raise ModelError(f"{folder}: found {found}; expected backbone.json (a model of ours), modules.json or config.json")
    model_type = json.loads((folder / "config.json").read_text()).get("model_type")
    if model_type in MODEL_TYPES:
        return "dual"
    return recognise(folder) or "uvrlab"


def load(path: str | Path, device: str = "cpu", kind: str = "auto") -> EmbedderProtocol:
    """A model by its path, as `kind` or, with "auto", as its own files say. Raises ModelError for a folder of another kind."""
    kind = kind_of(path) if kind == "auto" else kind
    if kind not in LOADERS:
        raise ModelError(f"unknown kind of model {kind!r}; expected auto or one of {', '.join(LOADERS)}")
    module, _, names = LOADERS[kind].partition(":")
    found: Any = importlib.import_module(module)
    for name in names.split("."):
        found = getattr(found, name)
    options = {"kind": kind} if module.endswith("as_published") else {}
    return cast(EmbedderProtocol, found(path, device, **options))
