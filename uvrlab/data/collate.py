"""Decoded items to one batch: one template, counted placeholders, position ids by the model's own rule.

Every sample is laid out on its own, so clips with and without sound mix in one batch, and no sample depends on its neighbours.
Text may be truncated (counted); media never is (an error that names the item).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from uvrlab.data.items import DecodedItem, ItemError
from uvrlab.data.mel import log_mel, mel_frames
from uvrlab.data.pixels import grid_of, patches
from uvrlab.data.positions import MediaShape, PositionRule
from uvrlab.data.prompts import TextEncoder, audio_tokens, interleave
from uvrlab.data.spec import DISC_TOKEN, GEN_TOKEN, Backbone

if TYPE_CHECKING:
    import torch

# embed: UME-R1's user turn with <disc_emb> and the instruction. chat: the bare user turn, for next-token training.
# last: GVE's, a generation prompt and an appended end-of-text token.
Template = Literal["embed", "chat", "last"]
IGNORED = -100


@dataclass(frozen=True)
class Media:
    """Tower inputs of a batch, in row order; `*_rows` name the batch row that owns each entry.

    patches (P, 3 * temporal * patch * patch), grids (n, 3), seconds_per_grid (videos,), mels (bins, frames of all sounds),
    mel_lengths (sounds,).
    """

    image_patches: torch.Tensor | None = None
    image_grid: torch.Tensor | None = None
    image_rows: tuple[int, ...] = ()
    video_patches: torch.Tensor | None = None
    video_grid: torch.Tensor | None = None
    video_rows: tuple[int, ...] = ()
    seconds_per_grid: torch.Tensor | None = None
    mels: torch.Tensor | None = None
    mel_lengths: torch.Tensor | None = None
    audio_rows: tuple[int, ...] = ()

    def to(self, device: str) -> Media:
        """The same media on another device."""
        moved = {k: v.to(device) for k, v in vars(self).items() if hasattr(v, "to")}
        return replace(self, **moved)


@dataclass(frozen=True)
class Batch:
    """One collated batch of B rows and L tokens.

    input_ids, attention_mask, labels (B, L); position_ids (3, B, L); disc_positions, gen_positions (B,): index of the read-out
    token in the row, -1 where it has none. `gen_positions` looks at the response only, never at the prompt's own words.
    """

    input_ids: torch.Tensor
    attention_mask: torch.Tensor
    position_ids: torch.Tensor
    labels: torch.Tensor
    disc_positions: torch.Tensor
    gen_positions: torch.Tensor
    media: Media
    padding_side: Literal["left", "right"]
    truncated: int  # rows whose text was cut

    def to(self, device: str) -> Batch:
        """The same batch on another device."""
        moved = {k: v.to(device) for k, v in vars(self).items() if hasattr(v, "to")}
        return replace(self, **moved)


@dataclass
class _Row:
    ids: list[int]
    positions: Any
    n_prompt: int
    disc: int
    gen: int
    truncated: bool
    shape: MediaShape


class Collator:
    """Turns `DecodedItem`s into a `Batch` for one backbone, tokenizer and model configuration."""

    def __init__(
        self,
        spec: Backbone,
        tokenizer: Any,
        config: Any,
        *,
        padding_side: Literal["left", "right"] = "right",
        max_text_tokens: int = 512,
        max_interleaved_s: float | None = None,
    ) -> None:
        self.spec, self.text = spec, TextEncoder(tokenizer, spec)
        self.padding_side, self.max_text_tokens = padding_side, max_text_tokens
        self.max_interleaved_s = spec.max_seconds if max_interleaved_s is None else max_interleaved_s
        self.positions = PositionRule(spec, config, self.text)
        self.audio_window = config.audio_config.n_window if spec.hears else 0

    def __call__(
        self,
        items: Sequence[DecodedItem],
        responses: Sequence[str | None] | None = None,
        *,
        template: Template | Sequence[Template] = "embed",
        cut: bool = True,
    ) -> Batch:
        """Collate items, each with an optional response that follows the assistant turn and carries the labels.

        `cut` drops everything behind <disc_emb> of rows without a response: attention is causal, so the vector stays the same.
        With `cut=False` such rows end in the generation prompt.
        """
        if not items:
            raise ItemError("an empty batch; expected at least one item")
        templates: Sequence[Template] = [template] * len(items) if isinstance(template, str) else template
        rows = [
            self._row(item, response, kind, cut)
            for item, response, kind in zip(items, responses or [None] * len(items), templates, strict=True)
        ]
        media = self._media(items, rows)
        return self._pad(rows, media)

    def _row(self, item: DecodedItem, response: str | None, template: Template, cut: bool) -> _Row:
        text, cut_text = self.text.truncate(item.text or "", self.max_text_tokens)
        system = item.instruction or self.spec.default_system
        tokens, encode = self.spec.tokens, self.text
        start, end = encode.id(tokens.turn_start), encode.id(tokens.turn_end)
        ids: list[int] = []
        if system:
            ids += [start, *encode.plain(f"system\n{system}"), end, *encode.raw("\n")]
        shape = self.shape_of(item)
        media = self._media_ids(shape)
        lead = [start, *encode.raw("user\n"), *media] if media else [start]
        user = text if media else f"user\n{text}"
        n_lead = len(ids) + len(lead) - len(media)
        ids += lead
        disc = gen = -1
        if template == "embed":
            ids += encode.plain(f"{user}\n")
            disc = len(ids)
            ids.append(encode.id(DISC_TOKEN))
            if response is not None or not cut:
                ids += encode.raw(f"\n{self.spec.instruction}")
        else:
            ids += encode.plain(user)
        if template != "embed" or response is not None or not cut:
            ids += [end, *encode.raw("\n"), start, *encode.raw("assistant\n")]
        if template == "last":
            disc = len(ids)
            ids.append(encode.id(tokens.end_of_text))
        n_prompt = len(ids)
        if response is not None:
            written = encode.response(response)
            gens = [i for i, token in enumerate(written) if token == encode.vocabulary.get(GEN_TOKEN)]
            gen = n_prompt + gens[-1] if gens else -1
            ids += [*written, end]
        positions = self.positions(len(ids), shape, media, n_lead)
        return _Row(ids, positions, n_prompt, disc, gen, cut_text, shape)

    def shape_of(self, item: DecodedItem) -> MediaShape:
        """Media shapes of one item; raises where the backbone or the template cannot hold it."""
        spec = self.spec
        if item.wave is not None and not spec.hears:
            raise ItemError(f"item {item.item_id}: {spec.name} has no audio tower; leave the audio modality out")
        video = None if item.frames is None else grid_of(spec, item.frames, video=True)
        image = None if item.image is None else grid_of(spec, item.image[None], video=False)
        per_grid = spec.temporal_patch / item.fps if item.frames is not None and item.fps else None
        mel = 0 if item.wave is None else mel_frames(spec, len(item.wave))
        longest_s = max(video[0] * per_grid, mel / 100) if video and per_grid and mel else 0.0
        if per_grid and longest_s > self.max_interleaved_s + per_grid:
            raise ItemError(
                f"item {item.item_id}: {longest_s:.1f} s of picture with sound, but interleaved position ids stay in order "
                f"up to {self.max_interleaved_s} s only; cut the clip into windows and pool them"
            )
        return MediaShape(video, image, mel, per_grid, audio_tokens(spec, mel, self.audio_window) if mel else 0)

    def _media_ids(self, shape: MediaShape) -> list[int]:
        """Placeholders of one item: video (with its sound inside), image, then a sound on its own."""
        tokens, encode, unit = self.spec.tokens, self.text, self.spec.merge**2
        ids: list[int] = []
        if shape.video:
            n = shape.video[0] * shape.video[1] * shape.video[2] // unit
            inner = [encode.id(tokens.video)] * n
            if shape.mel:
                picture, sound = encode.id(tokens.video), encode.id(str(tokens.audio))
                order = interleave(self.spec, shape.video, float(shape.seconds_per_grid or 0), shape.audio)
                inner = [picture if is_picture else sound for is_picture in order]
                inner = [encode.id(str(tokens.audio_start)), *inner, encode.id(str(tokens.audio_end))]
            ids += [encode.id(tokens.vision_start), *inner, encode.id(tokens.vision_end)]
        if shape.image:
            n = shape.image[0] * shape.image[1] * shape.image[2] // unit
            ids += [encode.id(tokens.vision_start), *[encode.id(tokens.image)] * n, encode.id(tokens.vision_end)]
        if shape.mel and not shape.video:
            sound = encode.id(str(tokens.audio))
            ids += [encode.id(str(tokens.audio_start)), *[sound] * shape.audio, encode.id(str(tokens.audio_end))]
        return ids

    def _media(self, items: Sequence[DecodedItem], rows: Sequence[_Row]) -> Media:
        import torch

        parts: dict[str, Any] = {}
        videos = [i for i, item in enumerate(items) if item.frames is not None]
        images = [i for i, item in enumerate(items) if item.image is not None]
        sounds = [i for i, item in enumerate(items) if item.wave is not None]
        if videos:
            parts["video_patches"] = torch.cat([patches(self.spec, items[i].frames, video=True) for i in videos])  # type: ignore[arg-type]
            parts["video_grid"] = torch.tensor([rows[i].shape.video for i in videos])
            parts["seconds_per_grid"] = torch.tensor([rows[i].shape.seconds_per_grid for i in videos], dtype=torch.float32)
        if images:
            pictures = [items[i].image for i in images]
            parts["image_patches"] = torch.cat([patches(self.spec, p[None], video=False) for p in pictures if p is not None])
            parts["image_grid"] = torch.tensor([rows[i].shape.image for i in images])
        if sounds:
            mels = log_mel(self.spec, [items[i].wave for i in sounds])  # type: ignore[misc]
            parts["mels"] = torch.cat(mels, dim=1)
            parts["mel_lengths"] = torch.tensor([mel.shape[1] for mel in mels])
        return Media(video_rows=tuple(videos), image_rows=tuple(images), audio_rows=tuple(sounds), **parts)

    def _pad(self, rows: Sequence[_Row], media: Media) -> Batch:
        import torch

        width = max(len(row.ids) for row in rows)
        left = self.padding_side == "left"
        ids = torch.full((len(rows), width), self.text.id(self.spec.tokens.pad))
        mask = torch.zeros_like(ids)
        labels = torch.full_like(ids, IGNORED)
        positions = torch.ones((3, *ids.shape), dtype=rows[0].positions.dtype)
        offsets = [width - len(row.ids) if left else 0 for row in rows]
        for r, (row, at) in enumerate(zip(rows, offsets, strict=True)):
            span = slice(at, at + len(row.ids))
            ids[r, span] = torch.tensor(row.ids)
            mask[r, span] = 1
            positions[:, r, span] = row.positions
            labels[r, at + row.n_prompt : at + len(row.ids)] = ids[r, at + row.n_prompt : at + len(row.ids)]
        return Batch(
            input_ids=ids,
            attention_mask=mask,
            position_ids=positions,
            labels=labels,
            disc_positions=torch.tensor([row.disc + at if row.disc >= 0 else -1 for row, at in zip(rows, offsets, strict=True)]),
            gen_positions=torch.tensor([row.gen + at if row.gen >= 0 else -1 for row, at in zip(rows, offsets, strict=True)]),
            media=media,
            padding_side=self.padding_side,
            truncated=sum(row.truncated for row in rows),
        )
