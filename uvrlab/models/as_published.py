"""Published Qwen-VL checkpoints as embedders: GVE, GME and UME-R1, which see and do not hear."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from uvrlab.data.items import DecodedItem, Item
from uvrlab.data.spec import DISC_TOKEN, GEN_TOKEN
from uvrlab.models.encode import Embedder, Encoded, Entry
from uvrlab.models.foreign import without_sound
from uvrlab.models.modeldir import ModelError, load_model
from uvrlab.models.published import MODEL_TYPES, TEMPLATES, Published, has_readouts, recognise
from uvrlab.runs import digest_json

BLANK = np.full((56, 56, 3), 255, np.uint8)  # what UME-R1's own evaluation puts beside a text alone


@dataclass(eq=False)
class PublishedEmbedder(Embedder):
    """A published checkpoint; the sound of a video is left out, as in UVRB's protocol.

    `blank`: a text alone is accompanied by a white picture, as in UME-R1's evaluation.
    """

    blank: bool = False

    def encode_or_reject(self, items: Sequence[Entry], **options: Any) -> Encoded:
        """As `Embedder.encode_or_reject`, on the items as this checkpoint takes them."""
        return super().encode_or_reject([self._taken(item) for item in items], **options)

    def _taken(self, item: Entry) -> Entry:
        item = without_sound(item)
        media = item.has_media if isinstance(item, Item) else any(x is not None for x in (item.image, item.frames, item.wave))
        if media or not self.blank:
            return item
        return DecodedItem(item.item_id, item.text, image=BLANK, instruction=item.instruction)


def load(path: str | Path, device: str = "cpu", kind: Published | None = None) -> PublishedEmbedder:
    """A published checkpoint's folder as an embedder; `kind` by its own files where it is not named.

    Raises ModelError where the folder is not what `kind` says.
    """
    folder = Path(path)
    kind = kind or recognise(folder)
    if kind is None:
        raise ModelError(f"{folder}: nothing in it says that it is GVE or UME-R1; name the kind, gve or ume-r1, if it is one")
    if kind == "ume-r1" and not has_readouts(folder):
        raise ModelError(
            f"{folder}: its tokenizer has no {DISC_TOKEN} and {GEN_TOKEN}, which UME-R1 is read at; "
            "expected a UME-R1 checkpoint, or name another kind"
        )
    loaded = load_model(folder, device=device, template=TEMPLATES[kind])
    if loaded.spec.family not in ("qwen2-vl", "qwen2.5-vl"):
        raise ModelError(f"{folder}: a {loaded.spec.family} model; {kind} checkpoints are of model type {' or '.join(MODEL_TYPES)}")
    parts: dict[str, Any] = {name: getattr(loaded, name) for name in ("spec", "model", "tokenizer", "preprocess", "digest")}
    if kind == "ume-r1":  # the white picture changes every text's vector, so this is not the model that the bare folder is
        parts["digest"] = digest_json([loaded.digest, kind])
    return PublishedEmbedder(**parts, device=device, blank=kind == "ume-r1")
