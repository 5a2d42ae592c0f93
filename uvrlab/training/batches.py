"""One training step as the trainer takes it: sides collated from cached features, each whole or in parts that fit into memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch.utils.data import Dataset

from uvrlab.data.batch import Batch
from uvrlab.data.collate import Collator
from uvrlab.data.items import Item
from uvrlab.models.features import FeatureCache
from uvrlab.runs import processes
from uvrlab.training import distributed
from uvrlab.training.pairs import Pair

SIDES = ("query", "target", "negatives", "said")  # what a step may hold as batches
NOBODY = -1  # the id of a negative that only fills up


class Collation:
    """Turns the rows of one process into the inputs of a step.

    With `chunk_pairs` each side is a list of batches of that size; with `chunk_tokens` as well only where all sides together have
    more tokens than that, padding included.
    """

    def __init__(
        self, cache: FeatureCache, collate: Collator, chunk_pairs: int | None = None, chunk_tokens: int | None = None
    ) -> None:
        self.cache, self.collate, self.chunk_pairs, self.chunk_tokens = cache, collate, chunk_pairs, chunk_tokens

    def pairs(
        self, rows: Sequence[Pair], *, written: bool = True, negatives: Sequence[tuple[Item, int]] | None = None
    ) -> dict[str, Any]:
        """Pairs with their responses where `written`, and hard negatives, items with the ids of their media."""
        sides: dict[str, tuple[Sequence[Item], Sequence[str | None]]] = {
            "query": ([p.query for p in rows], [p.query_response if written else None for p in rows]),
            "target": ([p.target for p in rows], [p.target_response if written else None for p in rows]),
        }
        step: dict[str, Any] = {"target_ids": torch.tensor([p.target_id for p in rows]), "written": written}
        if negatives is not None:
            sides["negatives"] = [item for item, _ in negatives], [None] * len(negatives)
            step["negative_ids"] = torch.tensor([target_id for _, target_id in negatives])
        return step | self._sides(sides)

    def said(self, items: Sequence[Item], responses: Sequence[str]) -> dict[str, Any]:
        """Answers in the chat template, for their next tokens alone."""
        return {**self._sides({"said": (items, responses)}, template="chat"), "written": True}

    def _sides(self, sides: Mapping[str, tuple[Sequence[Item], Sequence[str | None]]], **options: Any) -> dict[str, Any]:
        """Every side whole, or every side in parts: they are read in one way."""
        if self.chunk_pairs is None or self.chunk_tokens is not None:
            whole = {name: self._parts(*side, len(side[0]), **options)[0] for name, side in sides.items()}
            if self.chunk_pairs is None or sum(side.input_ids.numel() for side in whole.values()) <= (self.chunk_tokens or 0):
                return whole
        return {name: self._parts(*side, self.chunk_pairs, **options) for name, side in sides.items()}

    def _parts(self, items: Sequence[Item], responses: Sequence[str | None], size: int, **options: Any) -> list[Batch]:
        # A clip with sound longer than a window has several parts; training looks at the first.
        return [
            self.collate([self.cache.get(item)[0] for item in items[at : at + size]], responses[at : at + size], **options)
            for at in range(0, len(items), size)
        ]


class PairBatches(Dataset):
    """Item t is batch t of the plan.

    Of W processes, which take turns at the items, the one in turn at item t * W + part gets that part of batch t.
    """

    def __init__(self, pairs: Sequence[Pair], plan: Sequence[Sequence[int]], collation: Collation) -> None:
        self.pairs, self.plan, self.collation = pairs, plan, collation

    def __len__(self) -> int:
        return len(self.plan) * processes()

    def __getitem__(self, item: int) -> dict[str, Any]:
        step, part = divmod(item, processes())
        return self.collation.pairs([self.pairs[i] for i in distributed.share(self.plan[step], part)])
