"""Our models, and every model that we can load, in mteb as they are: `mteb.evaluate(MtebModel.load(PATH), tasks)`.

mteb hands over data sets; their media are taken undecoded and read by our own workers, so a vector is the same as in `uvr run
evaluate` and no video decoder of mteb's is needed. mteb is an extra: `pip install uvrlab[bench]`.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from mteb.models.abs_encoder import AbsEncoder
from mteb.models.model_meta import ModelMeta, ScoringFunction
from mteb.types import PromptType

from uvrlab.data.items import Item
from uvrlab.models.embedder import EmbedderProtocol, load

ROWS = 256  # whose media lie on disk at a time


class MtebModel(AbsEncoder):
    """An embedder as mteb's encoder. `instruct` puts mteb's task prompt before queries: by default for models trained that way."""

    def __init__(self, embedder: EmbedderProtocol, name: str = "model", *, workers: int = 2, instruct: bool | None = None) -> None:
        self.embedder, self.workers = embedder, workers
        self.instruct = embedder.preprocess.template == "last" if instruct is None else instruct
        self.mteb_model_meta = ModelMeta.create_empty(
            {
                "name": f"uvrlab/{name}",
                "revision": embedder.digest[:12],
                "embed_dim": embedder.width,
                "modalities": list(embedder.modalities),
                "similarity_fn_name": ScoringFunction.COSINE,
                "use_instructions": self.instruct,
            }
        )

    @classmethod
    def load(cls, path: str | Path, device: str = "cpu", kind: str = "auto", **options: Any) -> MtebModel:
        """A model by its path; `kind` as in `uvrlab.models.embedder.load`."""
        return cls(load(path, device, kind), Path(path).resolve().name, **options)

    def encode(
        self,
        inputs: Any,
        *,
        task_metadata: Any,
        hf_split: str,
        hf_subset: str,
        prompt_type: PromptType | None = None,
        batch_size: int = 32,
        **_: Any,
    ) -> np.ndarray:
        """(N, D) float32 unit vectors of a data loader's rows, in order. Raises ItemError naming a row that cannot be read."""
        asked = self.instruct and prompt_type == PromptType.query
        instruction = self.get_instruction(task_metadata, prompt_type) or None if asked else None
        rows = enumerate(_undecoded(inputs.dataset))
        found = [np.zeros((0, self.embedder.width), np.float32)]
        while some := list(islice(rows, ROWS)):
            with tempfile.TemporaryDirectory() as folder:
                items = [_item(f"row-{number}", row, Path(folder), instruction) for number, row in some]
                found.append(self.embedder.encode(items, batch_size=batch_size, workers=self.workers))
        return np.concatenate(found)


def _undecoded(dataset: Any) -> Iterator[Mapping[str, Any]]:
    """Rows whose videos and sounds are paths or bytes still."""
    from datasets import Audio, Video

    for name, kind in (("video", Video), ("audio", Audio)):
        if name in dataset.features:
            dataset = dataset.cast_column(name, kind(decode=False))
    return iter(dataset)


def _item(name: str, row: Mapping[str, Any], folder: Path, instruction: str | None) -> Item:
    """A row as an item; what has no file gets one in `folder`."""
    parts: dict[str, Any] = {"text": row.get("text") or None, "instruction": instruction}
    if row.get("image") is not None:
        file = folder / f"{name}.png"
        row["image"].convert("RGB").save(file)
        parts["image_uri"] = str(file)
    video, sound = (_file(row.get(kind), folder / f"{name}.{kind}") for kind in ("video", "audio"))
    if video and sound:
        same = video == sound
        parts |= {"video_uri": str(video if same else _joined(video, sound, folder / f"{name}.mkv")), "sound": True}
    elif video or sound:
        parts["video_uri" if video else "audio_uri"] = str(video or sound)
    return Item(name, **parts)


def _file(value: Mapping[str, Any] | None, otherwise: Path) -> Path | None:
    """Where a medium lies: its own path, or its bytes written to `otherwise`."""
    if value is None:
        return None
    if value.get("bytes") is None:
        return Path(value["path"])
    otherwise.write_bytes(value["bytes"])
    return otherwise


def _joined(video: Path, sound: Path, out: Path) -> Path:
    """The picture of one file and the sound of another in one Matroska file, packets copied."""
    import av

    options = {"avoid_negative_ts": "disabled"}  # else a sound's priming would shift the picture
    with av.open(str(video)) as seen, av.open(str(sound)) as heard, av.open(str(out), "w", "matroska", options=options) as file:
        pairs = [(seen, seen.streams.video[0]), (heard, heard.streams.audio[0])]
        targets = [file.add_stream_from_template(stream) for _, stream in pairs]
        for (box, stream), target in zip(pairs, targets, strict=True):
            for packet in box.demux(stream):
                if packet.dts is not None and (packet.pts or 0) >= 0:
                    packet.stream = target
                    file.mux(packet)
    return out
