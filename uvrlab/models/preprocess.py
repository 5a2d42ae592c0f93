"""`preprocess.json`: everything between a file and the model that a vector depends on, with the versions that made it."""

from __future__ import annotations

import importlib.metadata
import json
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from uvrlab.data.collate import Collator
from uvrlab.data.decoding import Sampling
from uvrlab.data.spec import DISC_TOKEN, GEN_TOKEN, Backbone

PACKAGES = ("av", "numpy", "torch", "torchvision", "transformers", "peft", "tokenizers")


@dataclass(frozen=True)
class Preprocess:
    """Sampling of media, template and read-out. `embed` reads <disc_emb>, `last` an appended end-of-text token (GVE)."""

    sampling: Sampling = field(default_factory=Sampling)
    template: Literal["embed", "last"] = "embed"
    max_text_tokens: int = 512
    video_max_pixels: int | None = None  # of a frame; None: the backbone's own limit

    def apply(self, spec: Backbone) -> Backbone:
        """The backbone's row with this record's pixel limit."""
        limit = self.video_max_pixels
        return replace(spec, video_max_pixels=limit, video_min_pixels=min(spec.video_min_pixels, limit)) if limit else spec

    def collator(
        self, spec: Backbone, tokenizer: Any, config: Any, *, padding_side: Literal["left", "right"] = "right"
    ) -> Collator:
        """The collator that reads items as this record says; training and encoding must both come from here."""
        return Collator(
            self.apply(spec),
            tokenizer,
            config,
            padding_side=padding_side,
            max_text_tokens=self.max_text_tokens,
            max_interleaved_s=self.sampling.max_window_s,
        )

    def save(self, path: Path, spec: Backbone) -> None:
        """Write the record, the token names and, for the reader, decoder and package versions."""
        versions = {name: importlib.metadata.version(name) for name in PACKAGES}
        tokens = {"disc": DISC_TOKEN, "gen": GEN_TOKEN, **{k: v for k, v in asdict(spec.tokens).items() if v}}
        value: dict[str, Any] = {**asdict(self), "tokens": tokens, "decoder": "pyav", "versions": versions}
        path.write_text(json.dumps(value, indent=1, sort_keys=True) + "\n")

    @classmethod
    def load(cls, path: Path) -> Preprocess:
        """Read `preprocess.json`."""
        value = json.loads(path.read_text())
        return cls(Sampling(**value["sampling"]), value["template"], value["max_text_tokens"], value["video_max_pixels"])


def default_preprocess(spec: Backbone, template: Literal["embed", "last"] = "embed") -> Preprocess:
    """What a bare backbone is read with: GVE's 8 frames of at most 200 visual tokens, decoded at up to twice that size."""
    limit = min(spec.video_max_pixels, 200 * (spec.patch * spec.merge) ** 2)
    height = max(224, 2 * int(limit**0.5))
    sampling = Sampling(rate_hz=spec.sampling_rate_hz, max_window_s=spec.max_seconds, max_height=height)
    return Preprocess(sampling, template, video_max_pixels=limit)
