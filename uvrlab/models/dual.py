"""CLIP-type dual encoders of transformers (CLIP, SigLIP and their kin): a text tower, an image tower, no video tower.

A video is the mean of its frames' unit vectors (CLIP4Clip's parameter-free pooling, arXiv 2104.08860); an item of several
modalities is the sum of their unit vectors. Text beyond the tower's window is cut and counted.
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

# Model types with `get_text_features` and `get_image_features`, and how their text is padded: SigLIP was trained on full windows.
MODEL_TYPES: dict[str, str | bool] = {
    "aimv2": True,
    "align": "max_length",
    "altclip": True,
    "chinese_clip": True,
    "clip": True,
    "groupvit": True,
    "metaclip_2": True,
    "siglip": "max_length",
    "siglip2": "max_length",
    "vision-text-dual-encoder": True,
}


class DualEncoder(ForeignEmbedder):
    """A loaded dual encoder and its processor."""

    def __init__(self, model: Any, processor: Any, digest: str, device: str = "cpu") -> None:
        size = getattr(model.config.vision_config, "image_size", None) or 224
        sampling = Sampling(max_height=2 * size)  # the processor's own resize does the rest
        self.model, self.processor, self.device = model.to(device).eval(), processor, device
        self.padding = MODEL_TYPES[model.config.model_type]
        window = getattr(model.config.text_config, "max_position_embeddings", 512)
        self.window = min(window, processor.tokenizer.model_max_length)
        super().__init__(digest, self._texts(["a"])[0].shape[1], Preprocessing(sampling, "dual"), device)

    @classmethod
    def load(cls, path: str | Path, device: str = "cpu") -> DualEncoder:
        """Load a checkpoint's folder: config.json, *.safetensors, tokenizer and preprocessor_config.json."""
        import transformers

        folder = Path(path)
        found = json.loads((folder / "config.json").read_text())["model_type"] if (folder / "config.json").is_file() else None
        if found not in MODEL_TYPES:
            raise ModelError(f"{folder}: found model type {found!r}; expected a dual encoder: {', '.join(MODEL_TYPES)}")
        if not (folder / "preprocessor_config.json").is_file():
            raise ModelError(f"{folder}: no preprocessor_config.json; expected the processor's files beside the weights")
        digest = folder_digest(folder, "dual")
        options: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
        model, told = transformers.AutoModel.from_pretrained(folder, use_safetensors=True, output_loading_info=True, **options)
        if missing := sorted(told["missing_keys"]):
            raise ModelError(f"{folder}: its weights lack {len(missing)} tensors, first {missing[0]}; expected a whole checkpoint")
        return cls(model, transformers.AutoProcessor.from_pretrained(folder, **options), digest, device)

    def fault(self, item: DecodedItem) -> str | None:
        """A dual encoder takes text, pictures and frames in any mix."""
        return None

    def vectors(self, items: Sequence[DecodedItem]) -> tuple[np.ndarray, int]:
        """(B, D) sums of the modalities' unit vectors, and how many texts were cut."""
        sums = np.zeros((len(items), self.width), np.float32)
        spoken = [i for i, item in enumerate(items) if item.text and item.text.strip()]
        cut = 0
        if spoken:
            found, cut = self._texts([str(items[i].text) for i in spoken])
            sums[spoken] += found
        stills = {i: [item.image] for i, item in enumerate(items) if item.image is not None}
        films = {i: list(item.frames) for i, item in enumerate(items) if item.frames is not None}
        for shown in (stills, films):
            if shown:
                sums[list(shown)] += self._pictures(list(shown.values()))
        return sums, cut

    def _texts(self, texts: list[str]) -> tuple[np.ndarray, int]:
        import torch

        lengths = [len(ids) for ids in self.processor.tokenizer(texts, verbose=False)["input_ids"]]
        inputs = self.processor.tokenizer(
            texts, padding=self.padding, truncation=True, max_length=self.window, return_tensors="pt"
        ).to(self.device)
        with torch.inference_mode():
            found = _pooled(self.model.get_text_features(**inputs))
        return normalised(found), sum(length > self.window for length in lengths)

    def _pictures(self, groups: list[list[np.ndarray]]) -> np.ndarray:
        """(N, D) unit vectors of groups of pictures (H, W, 3): of each group the mean."""
        import torch

        pictures = [picture for group in groups for picture in group]
        inputs = self.processor.image_processor(images=pictures, return_tensors="pt", input_data_format="channels_last").to(
            self.device
        )
        with torch.inference_mode():
            found = normalised(_pooled(self.model.get_image_features(**inputs)))
        edges = np.cumsum([len(group) for group in groups])[:-1]
        return normalised(np.stack([part.mean(0) for part in np.split(found, edges)]))


def _pooled(found: Any) -> np.ndarray:
    """The projected vectors of either kind of answer."""
    return getattr(found, "pooler_output", found).float().cpu().numpy()
