"""One item to one row of tokens: template, media placeholders in the family's order, read-out and response positions.

User turn: video (its sound inside), image, a sound on its own, then the text; UME-R1's read-out and instruction follow. A row never
depends on another row.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from uvrlab.data.batch import Template
from uvrlab.data.items import DecodedItem, FeaturedItem, ItemError, MediaShape
from uvrlab.data.mel import mel_frames
from uvrlab.data.pixels import grid_of
from uvrlab.data.positions import PositionRule
from uvrlab.data.prompts import TextEncoder, audio_tokens, interleave
from uvrlab.data.spec import DISC_TOKEN, GEN_TOKEN, Backbone


@dataclass
class Row:
    """Ids of one row, positions (3, length), and where things stand in it; -1 means absent."""

    ids: list[int]
    positions: Any
    n_prompt: int
    disc: int
    gen: int
    truncated: bool
    shape: MediaShape


class Layout:
    """Lays items out for one backbone, tokenizer and model configuration."""

    def __init__(self, spec: Backbone, text: TextEncoder, config: Any, max_text_tokens: int, max_interleaved_s: float) -> None:
        self.spec, self.text, self.max_text_tokens = spec, text, max_text_tokens
        self.max_interleaved_s = max_interleaved_s
        self.positions = PositionRule(spec, config, text)
        self.audio_window = config.audio_config.n_window if spec.hears else 0

    def row(self, item: DecodedItem | FeaturedItem, response: str | None, template: Template, cut: bool) -> Row:
        """One row; `cut` ends an embed row without a response at its read-out."""
        shape = self.shape_of(item)
        media = self.media_ids(shape)
        ids, n_before, truncated = self._user(item, media, template)
        disc = gen = -1
        if template == "embed":
            disc = len(ids)
            ids.append(self.text.id(DISC_TOKEN))
        if template != "embed" or response is not None or not cut:
            ids += self._assistant(template)
        if template == "last":
            disc = len(ids)
            ids.append(self.text.id(self.spec.tokens.end_of_text))
        n_prompt = len(ids)
        if response is not None:
            written = self.text.response(response)
            gens = [i for i, token in enumerate(written) if token == self.text.vocabulary.get(GEN_TOKEN)]
            gen = n_prompt + gens[-1] if gens else -1  # the last one counts, as in UME-R1
            ended = bool(gens) and gens[-1] == len(written) - 1  # a thought ends at its read-out, as when it is generated
            ids += [*written, *([] if ended else [self.text.id(self.spec.tokens.turn_end)])]
        return Row(ids, self.positions(len(ids), shape, media, n_before), n_prompt, disc, gen, truncated, shape)

    def _user(self, item: DecodedItem | FeaturedItem, media: list[int], template: Template) -> tuple[list[int], int, bool]:
        """Ids up to the end of the user's text, the number of ids before the media, and whether the text was cut."""
        encode, tokens = self.text, self.spec.tokens
        start, end = encode.id(tokens.turn_start), encode.id(tokens.turn_end)
        text, truncated = encode.truncate(item.text or "", self.max_text_tokens)
        system = self.spec.default_system
        if template == "embed":  # UME-R1 asks in the user's turn, GVE in the system's
            text = " ".join(part for part in (item.instruction, text) if part) + "\n"
        else:
            system = item.instruction or system
        ids = [start, *encode.plain(f"system\n{system}"), end, *encode.raw("\n"), start] if system else [start]
        if not media:
            return [*ids, *encode.plain(f"user\n{text}")], 0, truncated
        ids += encode.raw("user\n")
        return [*ids, *media, *encode.plain(text)], len(ids), truncated

    def _assistant(self, template: Template) -> list[int]:
        """What follows the user's text: UME-R1's instruction in the embed template, and the generation prompt."""
        encode, tokens = self.text, self.spec.tokens
        instruction = encode.raw(f"\n{self.spec.instruction}") if template == "embed" else []
        turn = [encode.id(tokens.turn_end), *encode.raw("\n"), encode.id(tokens.turn_start), *encode.raw("assistant\n")]
        return [*instruction, *turn]

    def shape_of(self, item: DecodedItem | FeaturedItem) -> MediaShape:
        """Media shapes of one item; raises where the backbone cannot hold it."""
        if isinstance(item, FeaturedItem):
            return item.shape
        spec = self.spec
        if item.wave is not None and not spec.hears:
            raise ItemError(f"item {item.item_id}: {spec.name} has no audio tower; leave the audio modality out")
        video = None if item.frames is None else grid_of(spec, item.frames, video=True)
        image = None if item.image is None else grid_of(spec, item.image[None], video=False)
        per_grid = spec.temporal_patch / item.fps if item.frames is not None and item.fps else None
        mel = 0 if item.wave is None else mel_frames(spec, len(item.wave))
        if video and per_grid and mel:
            self._check_length(item.item_id, max(video[0] * per_grid, mel / 100), per_grid)
        return MediaShape(video, image, mel, per_grid, audio_tokens(spec, mel, self.audio_window) if mel else 0)

    def _check_length(self, item_id: str, seconds: float, per_grid: float) -> None:
        if seconds > self.max_interleaved_s + per_grid:
            raise ItemError(
                f"item {item_id}: {seconds:.1f} s of picture with sound, but interleaved position ids stay in order up to "
                f"{self.max_interleaved_s} s only; cut the clip into windows and pool them"
            )

    def media_ids(self, shape: MediaShape) -> list[int]:
        """Placeholders of one item."""
        encode, tokens, unit = self.text, self.spec.tokens, self.spec.merge**2
        start, end = encode.id(tokens.vision_start), encode.id(tokens.vision_end)
        ids: list[int] = []
        if shape.video:
            n = shape.video[0] * shape.video[1] * shape.video[2] // unit
            inner = self._interleaved(shape) if shape.mel else [encode.id(tokens.video)] * n
            ids += [start, *inner, end]
        if shape.image:
            ids += [start, *[encode.id(tokens.image)] * (shape.image[0] * shape.image[1] * shape.image[2] // unit), end]
        if shape.mel and not shape.video:
            ids += self._sound([encode.id(str(tokens.audio))] * shape.audio)
        return ids

    def _interleaved(self, shape: MediaShape) -> list[int]:
        """A video's tokens with its sound's between them, between sound marks."""
        assert shape.video and shape.seconds_per_grid
        picture, sound = self.text.id(self.spec.tokens.video), self.text.id(str(self.spec.tokens.audio))
        order = interleave(self.spec, shape.video, shape.seconds_per_grid, shape.audio)
        return self._sound([picture if is_picture else sound for is_picture in order])

    def _sound(self, inner: list[int]) -> list[int]:
        tokens = self.spec.tokens
        return [self.text.id(str(tokens.audio_start)), *inner, self.text.id(str(tokens.audio_end))]
