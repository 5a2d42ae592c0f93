"""Decoded items to one batch: one template, counted placeholders, position ids by the model's own rule.

Every sample is laid out on its own, so clips with and without sound mix in one batch, and no sample depends on its neighbours.
Text may be truncated (counted); media never is (an error that names the item).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from uvrlab.data.batch import IGNORED, Batch, Features, Media, PaddingSide, Template
from uvrlab.data.items import DecodedItem, FeaturedItem, ItemError, MediaShape
from uvrlab.data.layout import Layout, Row
from uvrlab.data.mel import log_mel
from uvrlab.data.pixels import patches
from uvrlab.data.positions import PositionRule
from uvrlab.data.prompts import TextEncoder
from uvrlab.data.spec import Backbone


class Collator:
    """Turns items into a `Batch` for one backbone, tokenizer and model configuration. Holds no weights."""

    def __init__(
        self,
        spec: Backbone,
        tokenizer: Any,
        config: Any,
        *,
        padding_side: PaddingSide = "right",
        max_text_tokens: int = 512,
        max_interleaved_s: float | None = None,
    ) -> None:
        self.spec, self.text, self.padding_side = spec, TextEncoder(tokenizer, spec), padding_side
        longest_s = spec.max_seconds if max_interleaved_s is None else max_interleaved_s
        self.layout = Layout(spec, self.text, config, max_text_tokens, longest_s)

    def __call__(
        self,
        items: Sequence[DecodedItem | FeaturedItem],
        responses: Sequence[str | None] | None = None,
        *,
        template: Template | Sequence[Template] = "embed",
        cut: bool = True,
    ) -> Batch:
        """Collate items, each with an optional response that follows the assistant turn and carries the labels.

        `cut` drops everything behind <disc_emb> of rows without a response: attention is causal, so the vector stays the same.
        With `cut=False` such rows end in the generation prompt. `template` is one for all, or one a row.
        """
        if not items:
            raise ItemError("an empty batch; expected at least one item")
        kinds: Sequence[Template] = [template] * len(items) if isinstance(template, str) else template
        written = responses or [None] * len(items)
        rows = [self.layout.row(*one, cut) for one in zip(items, written, kinds, strict=True)]
        raw = [item if isinstance(item, DecodedItem) else None for item in items]
        media = self._media(raw, [row.shape for row in rows])
        featured = [item for item in items if isinstance(item, FeaturedItem) and item.shape != MediaShape()]
        if featured and media:
            raise ItemError("a batch mixes decoded media with tower features; collate them apart")
        return self._pad(rows, media, _stack(featured) if featured else None)

    def shape_of(self, item: DecodedItem | FeaturedItem) -> MediaShape:
        """Media shapes of one item; raises where the backbone or the template cannot hold it."""
        return self.layout.shape_of(item)

    def media_ids(self, shape: MediaShape) -> list[int]:
        """Placeholder ids of one item's media, in the family's order."""
        return self.layout.media_ids(shape)

    @property
    def positions(self) -> PositionRule:
        """The rule that numbers a row's tokens."""
        return self.layout.positions

    def media(self, items: Sequence[DecodedItem]) -> Media:
        """Tower inputs of decoded items alone, without any text."""
        return self._media(items, [self.shape_of(item) for item in items])

    def _media(self, items: Sequence[DecodedItem | None], shapes: Sequence[MediaShape]) -> Media:
        import torch

        parts: dict[str, Any] = {}
        some = [(i, item) for i, item in enumerate(items) if item is not None]
        videos = {i: item.frames for i, item in some if item.frames is not None}
        images = {i: item.image for i, item in some if item.image is not None}
        sounds = {i: item.wave for i, item in some if item.wave is not None}
        if videos:
            parts["video_patches"] = torch.cat([patches(self.spec, frames, video=True) for frames in videos.values()])
            parts["video_grid"] = torch.tensor([shapes[i].video for i in videos])
            parts["seconds_per_grid"] = torch.tensor([shapes[i].seconds_per_grid for i in videos], dtype=torch.float32)
        if images:
            parts["image_patches"] = torch.cat([patches(self.spec, image[None], video=False) for image in images.values()])
            parts["image_grid"] = torch.tensor([shapes[i].image for i in images])
        if sounds:
            mels = log_mel(self.spec, list(sounds.values()))
            parts["mels"] = torch.cat(mels, dim=1)
            parts["mel_lengths"] = torch.tensor([mel.shape[1] for mel in mels])
        return Media(video_rows=tuple(videos), image_rows=tuple(images), audio_rows=tuple(sounds), **parts)

    def _pad(self, rows: Sequence[Row], media: Media, features: Features | None) -> Batch:
        import torch

        width = max(len(row.ids) for row in rows)
        ids = torch.full((len(rows), width), self.text.id(self.spec.tokens.pad))
        mask, labels = torch.zeros_like(ids), torch.full_like(ids, IGNORED)
        positions = torch.ones((3, *ids.shape), dtype=rows[0].positions.dtype)
        starts = [width - len(row.ids) if self.padding_side == "left" else 0 for row in rows]
        for r, (row, at) in enumerate(zip(rows, starts, strict=True)):
            end = at + len(row.ids)
            ids[r, at:end] = torch.tensor(row.ids)
            mask[r, at:end] = 1
            positions[:, r, at:end] = row.positions
            labels[r, at + row.n_prompt : end] = ids[r, at + row.n_prompt : end]
        discs = [row.disc + at if row.disc >= 0 else -1 for row, at in zip(rows, starts, strict=True)]
        gens = [row.gen + at if row.gen >= 0 else -1 for row, at in zip(rows, starts, strict=True)]
        return Batch(
            input_ids=ids,
            attention_mask=mask,
            position_ids=positions,
            labels=labels,
            disc_positions=torch.tensor(discs),
            gen_positions=torch.tensor(gens),
            media=media,
            features=features,
            padding_side=self.padding_side,
            truncated=sum(row.truncated for row in rows),
        )


def _stack(items: Sequence[FeaturedItem]) -> Features:
    kinds = ("image", "video", "audio")
    return Features(*(tuple(x for item in items if (x := getattr(item, kind)) is not None) for kind in kinds))
