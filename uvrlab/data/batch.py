"""The records that travel from collation to the model: media as tower inputs, features as tower outputs, and the batch."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import torch

# embed: UME-R1's user turn with <disc_emb> and the instruction. chat: the bare user turn, for next-token training and generation.
# last: GVE's, a generation prompt and an appended end-of-text token.
Template = Literal["embed", "chat", "last"]
PaddingSide = Literal["left", "right"]
IGNORED = -100  # label of a token that carries no loss


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

    def __bool__(self) -> bool:
        return bool(self.image_rows or self.video_rows or self.audio_rows)

    def to(self, device: str) -> Media:
        """The same media on another device."""
        moved: dict[str, Any] = {k: v.to(device) for k, v in vars(self).items() if hasattr(v, "to")}
        return replace(self, **moved)


@dataclass(frozen=True)
class Features:
    """Tower outputs of a batch, in row order: (tokens, width * (1 + deepstack levels)), sound (tokens, width)."""

    image: tuple[Any, ...] = ()
    video: tuple[Any, ...] = ()
    audio: tuple[Any, ...] = ()

    def to(self, device: str) -> Features:
        """The same features on another device."""
        return Features(*(tuple(x.to(device) for x in part) for part in (self.image, self.video, self.audio)))


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
    features: Features | None  # set when the items came with tower outputs; then `media` is empty
    padding_side: PaddingSide
    truncated: int  # rows whose text was cut

    def to(self, device: str) -> Batch:
        """The same batch on another device."""
        moved: dict[str, Any] = {k: v.to(device) for k, v in vars(self).items() if hasattr(v, "to")}
        return replace(self, **moved)
