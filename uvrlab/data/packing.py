"""Several conversations about one clip in one row: the clip's tokens stand once, and no conversation sees another.

Next-token pretraining is bound by media tokens; sharing them gives several times the text for the price. A packed row equals its
conversations collated one by one (tested): same position ids, and a mask that hides the other segments.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from uvrlab.data.collate import IGNORED, Batch, Collator
from uvrlab.data.items import DecodedItem, MediaShape
from uvrlab.data.spec import DISC_TOKEN

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Turn:
    """One user text and the response to it; `embed` puts <disc_emb> and the instruction behind the user's text."""

    prompt: str
    response: str
    embed: bool = False


@dataclass(frozen=True)
class PackedBatch:
    """A batch and its segments: (B, L), 0 for the shared head, 1.. for the conversations, -1 for padding."""

    batch: Batch
    segments: torch.Tensor

    def mask(self) -> torch.Tensor:
        """Who may look at whom: (B, 1, L, L) bool; causal, own segment or shared head."""
        import torch

        seg = self.segments
        own = (seg[:, :, None] == seg[:, None, :]) | (seg[:, None, :] == 0)
        causal = torch.ones(seg.shape[1], seg.shape[1], dtype=torch.bool, device=seg.device).tril()
        allowed = own & causal & (seg[:, None, :] >= 0)
        return (allowed | torch.eye(seg.shape[1], dtype=torch.bool, device=seg.device))[:, None]


def pack(collator: Collator, items: Sequence[DecodedItem], turns: Sequence[Sequence[Turn]]) -> PackedBatch:
    """Rows of `items` (their text is ignored) with their conversations; labels on the responses and their turn end."""
    import torch

    heads = [_head(collator, item) for item in items]
    rows = [_row(collator, head, own) for head, own in zip(heads, turns, strict=True)]
    width = max(len(ids) for ids, *_ in rows)
    ids = torch.full((len(rows), width), collator.text.id(collator.spec.tokens.pad))
    labels, segments = torch.full_like(ids, IGNORED), torch.full_like(ids, -1)
    positions = torch.ones((3, *ids.shape), dtype=rows[0][1].dtype)
    for r, (row_ids, row_positions, row_labels, row_segments) in enumerate(rows):
        n = len(row_ids)
        ids[r, :n], labels[r, :n] = torch.tensor(row_ids), torch.tensor(row_labels)
        segments[r, :n], positions[:, r, :n] = torch.tensor(row_segments), row_positions
    none = torch.full((len(rows),), -1)
    batch = Batch(
        input_ids=ids,
        attention_mask=(segments >= 0).long(),
        position_ids=positions,
        labels=labels,
        disc_positions=none,
        gen_positions=none,
        media=collator.media(items),
        features=None,
        padding_side="right",
        truncated=0,
    )
    return PackedBatch(batch, segments)


@dataclass(frozen=True)
class _Head:
    """What the conversations share: the opening of the user turn and the media."""

    ids: list[int]
    positions: torch.Tensor
    shape: MediaShape
    has_media: bool


def _head(collator: Collator, item: DecodedItem) -> _Head:
    encode, tokens = collator.text, collator.spec.tokens
    shape = collator.shape_of(item)
    media = collator.media_ids(shape)
    opening = [encode.id(tokens.turn_start), *(encode.raw("user\n") if media else [])]
    ids = [*opening, *media]
    return _Head(ids, collator.positions(len(ids), shape, media, len(opening)), shape, bool(media))


def _row(collator: Collator, head: _Head, turns: Sequence[Turn]) -> tuple[list[int], torch.Tensor, list[int], list[int]]:
    import torch

    ids, labels = list(head.ids), [IGNORED] * len(head.ids)
    segments, positions = [0] * len(head.ids), [head.positions]
    first = head.positions[0, -1] + 1
    for number, turn in enumerate(turns, 1):
        asked, written = _turn(collator, turn, head.has_media)
        ids += asked + written
        labels += [IGNORED] * len(asked) + written
        segments += [number] * (len(asked) + len(written))
        span = torch.arange(len(asked) + len(written), dtype=head.positions.dtype) + first
        positions.append(span.expand(3, -1))
    return ids, torch.cat(positions, dim=1), labels, segments


def _turn(collator: Collator, turn: Turn, has_media: bool) -> tuple[list[int], list[int]]:
    spec, encode = collator.spec, collator.text
    start, end = encode.id(spec.tokens.turn_start), encode.id(spec.tokens.turn_end)
    user = turn.prompt if has_media else f"user\n{turn.prompt}"
    asked = encode.plain(user)
    if turn.embed:
        asked = [*encode.plain(f"{user}\n"), encode.id(DISC_TOKEN), *encode.raw(f"\n{spec.instruction}")]
    asked = [*asked, end, *encode.raw("\n"), start, *encode.raw("assistant\n")]
    return asked, [*encode.response(turn.response), end]  # a base closes every turn, a thought's as well
