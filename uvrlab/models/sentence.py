"""Any sentence-transformers model: text models, CLIP through its wrapper, and models that take several modalities in one message.

What the model takes it says itself (`SentenceTransformer.supports`). A video goes in whole where it can, else as the mean of its
frames' unit vectors; several modalities go in as one input where the model can join them, else as the sum of their unit vectors.
The library is an extra: `pip install uvrlab[bench]`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from uvrlab.data.decoding import Sampling
from uvrlab.data.items import DecodedItem
from uvrlab.models.foreign import ForeignEmbedder, Preprocessing, folder_digest, normalised
from uvrlab.models.modeldir import ModelError

OWN = "sentence_transformers."
Parts = dict[str, Any]  # modality -> input, of one item
PICKLED = ("*.bin", "*.pt", "*.ckpt")


class SentenceEmbedder(ForeignEmbedder):
    """A loaded SentenceTransformer."""

    def __init__(self, model: Any, digest: str, device: str = "cpu") -> None:
        width = model.get_embedding_dimension() or len(model.encode(["a"], show_progress_bar=False)[0])
        super().__init__(digest, width, Preprocessing(Sampling(max_height=448), "sentence-transformers"), device)
        self.model = model.to(device).eval()
        self.modalities = tuple(name for name in ("text", "image", "video") if self._takes(name))

    @classmethod
    def load(cls, path: str | Path, device: str = "cpu") -> SentenceEmbedder:
        """Load a saved model's folder (modules.json). No code of it is run and no pickled weights are read."""
        folder = Path(path)
        if not (folder / "modules.json").is_file():
            raise ModelError(f"{folder}: no modules.json; expected a folder that SentenceTransformer.save_pretrained wrote")
        kinds = [module["type"] for module in json.loads((folder / "modules.json").read_text())]
        if foreign := [kind for kind in kinds if not kind.startswith(OWN)]:
            raise ModelError(f"{folder}: its module {foreign[0]} is code of its own, which is never run; expected {OWN}*")
        pickled = sorted(file for pattern in PICKLED for file in folder.rglob(pattern))
        if bare := [file for file in pickled if not any(file.parent.glob("*.safetensors"))]:
            raise ModelError(f"{folder}: {bare[0].relative_to(folder)} is pickled; save the model again as safetensors")
        try:
            from sentence_transformers import SentenceTransformer
        except ImportError as error:
            raise ModelError("sentence-transformers is not installed; pip install 'uvrlab[bench]'") from error
        options: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
        model = SentenceTransformer(str(folder), device=device, **options)
        return cls(model, folder_digest(folder, "sentence-transformers"), device)

    def fault(self, item: DecodedItem) -> str | None:
        """A modality that the model does not know; video counts as known where pictures are."""
        for name in _parts(item):
            if name not in self.modalities:
                return f"the model takes {', '.join(self.modalities)}, not {name}; leave it out"
        return None

    def _takes(self, name: str) -> bool:
        return bool(self.model.supports(name) or (name == "video" and self.model.supports("image")))

    def vectors(self, items: Sequence[DecodedItem]) -> tuple[np.ndarray, int]:
        """(B, D) sums of the inputs' unit vectors, and how many texts were cut (unknown here: 0)."""
        sums = np.zeros((len(items), self.width), np.float32)
        inputs: dict[str, list[tuple[int, float, Any]]] = {}  # one kind of input -> owner, weight, value
        for owner, item in enumerate(items):
            for kind, weight, value in self._inputs(_parts(item)):
                inputs.setdefault(kind, []).append((owner, weight, value))
        for entries in inputs.values():
            found = self.model.encode([value for *_, value in entries], batch_size=len(entries), show_progress_bar=False)
            weighted = normalised(np.asarray(found, np.float32)) * np.array([[weight] for _, weight, _ in entries], np.float32)
            np.add.at(sums, [owner for owner, *_ in entries], weighted)
        return sums, 0

    def _inputs(self, parts: Parts) -> list[tuple[str, float, Any]]:
        """(kind, weight, value) of what is encoded for one item."""
        if len(parts) > 1 and self.model.supports(tuple(sorted(parts))):
            return [("+".join(sorted(parts)), 1.0, parts)]
        found: list[tuple[str, float, Any]] = []
        for name, value in parts.items():
            if name == "video" and not self.model.supports("video"):
                found += [("image", 1 / len(value), _picture(frame)) for frame in value]
            else:
                found.append((name, 1.0, value))
        return found


def _parts(item: DecodedItem) -> Parts:
    """An item's modalities in the library's own forms: str, PIL picture, frames (T, H, W, 3)."""
    parts: Parts = {}
    if item.text and item.text.strip():
        parts["text"] = item.text
    if item.image is not None:
        parts["image"] = _picture(item.image)
    if item.frames is not None:
        parts["video"] = item.frames
    return parts


def _picture(array: np.ndarray) -> Any:
    from PIL import Image

    return Image.fromarray(array)
