"""How an item is read: by its disc vector, behind a thought, behind k sampled ones, or as a router decides query by query.

Each vector comes with a `Reading`: the mode that it is really of, what it cost, and the thoughts, so that a person can read why. A
thought without <gen_emb> has no vector: the disc vector stands in and the reading says so.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from uvrlab.models.generate import Thought, sample, seed_of, think, words
from uvrlab.models.router import Router, side_by_side

if TYPE_CHECKING:
    from uvrlab.models.encode import Embedder, Encoded

Array = np.ndarray[Any, Any]
Mode = Literal["speed", "think", "best_of_k", "auto"]
MODES: tuple[Mode, ...] = get_args(Mode)


@dataclass(frozen=True)
class Thinking:
    """How thoughts are made. `think` is greedy; `best_of_k` samples `k` and agrees on one vector. Equal seeds, equal thoughts."""

    k: int = 8
    consensus: Literal["medoid", "mean"] = "medoid"
    temperature: float = 1.0
    max_new_tokens: int = 96
    seed: int = 0

    def __post_init__(self) -> None:
        if self.k < 1 or self.temperature <= 0 or self.max_new_tokens < 1:
            raise ValueError(f"found {self}; expected k and max_new_tokens of at least 1, temperature above 0")


@dataclass(frozen=True)
class Spoken:
    """One thought: its words, its tokens, whether it ended by itself, and whether a vector could be read from it."""

    text: str
    n_tokens: int
    ended: bool
    read: bool


@dataclass(frozen=True)
class Reading:
    """What stands behind the vector of one item. `milliseconds` are its share of its batches' model time, decoding left out.

    `mode` is the one that the vector is of: "speed" too where no thought had one, or where the router wanted none.
    """

    mode: Mode
    milliseconds: float
    thoughts: tuple[Spoken, ...] = ()  # window by window, k each

    @property
    def n_tokens(self) -> int:
        """Tokens generated, whether their thoughts were of use or not."""
        return sum(thought.n_tokens for thought in self.thoughts)

    @property
    def fallbacks(self) -> int:
        """Thoughts without <gen_emb>, for which the disc vector stands in."""
        return sum(not thought.read for thought in self.thoughts)


@dataclass
class Notes:
    """What is gathered while the parts of some items are read, by the number of the owning item."""

    milliseconds: defaultdict[int, float] = field(default_factory=lambda: defaultdict(float))
    thoughts: dict[int, list[Spoken]] = field(default_factory=dict)
    windows: Counter[int] = field(default_factory=Counter)

    def took(self, owners: Sequence[int], seconds: float) -> None:
        """Share the time of a batch among its rows."""
        for owner in owners:
            self.milliseconds[owner] += 1000 * seconds / len(owners)

    def window(self, owner: int) -> int:
        """The number of an item's next window: what it is sampled from must not depend on where a batch ends."""
        self.windows[owner] += 1
        return self.windows[owner] - 1

    def reading(self, owner: int, mode: Mode) -> Reading:
        """Everything about one item."""
        said = tuple(self.thoughts.get(owner, ()))
        return Reading(mode if any(thought.read for thought in said) else "speed", self.milliseconds[owner], said)


def read(embedder: Embedder, parts: Sequence[Any], owners: Sequence[int], mode: Mode, thinking: Thinking, notes: Notes) -> Array:
    """(B, K, D) vectors behind thoughts of B decoded parts, K = k in mode `best_of_k`, else 1; disc vectors where one has none."""
    several = thinking.k if mode == "best_of_k" else 1
    found = np.zeros((len(parts), several, embedder.width), np.float32)
    missing = np.ones(found.shape[:2], bool)
    text, rows = embedder.collate.text, max(1, len(parts) // several)
    for start in range(0, len(parts), rows):
        some = slice(start, start + rows)
        batch = embedder.collate_left(parts[some], template="embed", cut=False).to(embedder.device)
        seeds = [seed_of(thinking.seed, p.item_id, notes.window(o)) for p, o in zip(parts[some], owners[some], strict=True)]
        for row, thoughts in enumerate(_thoughts(embedder, batch, seeds, mode, thinking), start):
            for j, thought in enumerate(thoughts):
                if thought.vector is not None:
                    found[row, j], missing[row, j] = thought.vector, False
            spoken = [Spoken(words(text, t), len(t.ids), t.ended, t.vector is not None) for t in thoughts]
            notes.thoughts.setdefault(owners[row], []).extend(spoken)
    if lost := np.flatnonzero(missing.any(axis=1)).tolist():
        disc = embedder.embed(embedder.collate([parts[i] for i in lost], template=embedder.preprocess.template))
        found[lost] = np.where(missing[lost][..., None], disc[:, None], found[lost])
    return found


def _thoughts(embedder: Embedder, batch: Any, seeds: Sequence[int], mode: Mode, thinking: Thinking) -> list[list[Thought]]:
    model, spec, text = embedder.model, embedder.spec, embedder.collate.text
    if mode == "think":
        return [[thought] for thought in think(model, spec, text, batch, thinking.max_new_tokens)]
    options: dict[str, Any] = {"temperature": thinking.temperature, "max_new_tokens": thinking.max_new_tokens}
    return sample(model, spec, text, batch, seeds, thinking.k, **options)


def agree(samples: Array, has_vector: Array, consensus: Literal["medoid", "mean"]) -> Array:
    """(D,) unit vector that k samples (k, D) agree on; only those that have a vector of their own count, if any has.

    `medoid`: the one with the highest mean cosine to all, the first of equals. `mean`: their direction on average.
    """
    own = samples[has_vector] if has_vector.any() else samples
    mean = own.mean(axis=0)
    # The mean cosine of a unit vector to all of them is its product with their mean.
    chosen = own[int(np.argmax(own @ mean))] if consensus == "medoid" else mean
    return chosen / np.linalg.norm(chosen)


def consensus(samples: Array, readings: Sequence[Reading], thinking: Thinking) -> Array:
    """(N, D) what the samples (N, k, D) of each item agree on."""
    every = zip(samples, readings, strict=True)
    agreed = [agree(own, has_vector(reading, thinking.k), thinking.consensus) for own, reading in every]
    return np.stack(agreed) if agreed else samples[:, 0]


def has_vector(reading: Reading, k: int) -> Array:
    """(k,) bool: whether sample j of an item has a vector of its own in at least one window."""
    return np.array([any(thought.read for thought in reading.thoughts[j::k]) for j in range(k)])


def encode_auto(embedder: Embedder, items: Sequence[Any], router: Router, **options: Any) -> Encoded:
    """(K, 2 D) vectors for `router.candidates`: disc first; what the router is unsure of thinks, and has a gen half as well.

    Raises ItemError and ValueError as `Embedder.encode_or_reject`.
    """
    quick = embedder.encode_or_reject(items, mode="speed", **options)
    unsure = np.flatnonzero(router.unsure(quick.vectors))
    slow = embedder.encode_or_reject([items[quick.kept[i]] for i in unsure], mode="think", **options)
    unsure = unsure[slow.kept]  # what cannot be read a second time keeps its disc vector
    gen, thinks, readings = np.zeros_like(quick.vectors), np.zeros(len(quick.vectors), bool), list(quick.readings)
    for i, vector, reading in zip(unsure, slow.vectors, slow.readings, strict=True):
        gen[i], thinks[i] = vector, reading.mode != "speed"
        readings[i] = replace(reading, milliseconds=readings[i].milliseconds + reading.milliseconds)
    return replace(quick, vectors=side_by_side(quick.vectors, gen, thinks), readings=readings)
