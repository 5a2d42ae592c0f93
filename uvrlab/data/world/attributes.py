"""What thoughts and summaries get right about a clip: precision and recall of its attributes against the scene graph.

Both are means over clips: of those that a text says something of (precision), or that have something to be said (recall). Chance
is what the same texts earn against other clips, so it knows how much they say. Plain counting; no model and no torch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict

from uvrlab.data.world.scene import Scene
from uvrlab.data.world.words import mentions
from uvrlab.evaluation.metrics import bootstrap_interval

Aspect = Literal["colours", "shapes", "motions", "order", "sounds"]
ASPECTS: tuple[Aspect, ...] = ("colours", "shapes", "motions", "order", "sounds")
PARTS: tuple[Literal["thought", "summary"], ...] = ("thought", "summary")
OTHERS = 16  # clips that each text is held against for its chance level
Facts = Mapping[str, frozenset[object]]


@dataclass(frozen=True)
class Told:
    """One completion about one clip. `heard`: its sound was given; tokens are those of each part alone."""

    scene: Scene
    thought: str
    summary: str
    thought_tokens: int
    summary_tokens: int
    well_formed: bool
    heard: bool = True


class Share(BaseModel):
    """A mean over n clips with its bootstrap interval, and the chance level."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    value: float
    low: float
    high: float
    n: int
    chance: float | None = None


class Attribute(BaseModel):
    """One aspect of one part of a completion; None where no clip gives a value. `right_per_token`: true claims over tokens."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    part: Literal["thought", "summary"]
    aspect: Aspect
    precision: Share | None
    recall: Share | None
    right_per_token: float


class Attributes(BaseModel):
    """Every aspect of both parts over n completions, the share of them in the asked form, and their mean tokens by part."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    n: int
    well_formed: Share
    tokens: dict[str, float]
    right_per_token: dict[str, float]  # all aspects together, by part
    scores: tuple[Attribute, ...]


def said(text: str) -> Facts:
    """What a text claims, by aspect. `order` holds the pairs (motion, later motion); resting is no motion."""
    found = mentions(text)
    looks = [name.split() for name in found.objects]
    moves = [motion for _, motion in found.events if motion != "still"]
    return {
        "colours": frozenset(colour for colour, _ in looks),
        "shapes": frozenset(shape for _, shape in looks),
        "motions": frozenset(moves),
        "order": frozenset((a, b) for i, a in enumerate(moves) for b in moves[i + 1 :] if a != b),
        "sounds": frozenset(found.sounds),
    }


def true(scene: Scene) -> Facts:
    """What a scene shows and lets hear, by aspect; of two events that start together neither is the later one."""
    moves = [event for event in scene.events if event.motion != "still"]
    return {
        "colours": frozenset(thing.colour for thing in scene.objects),
        "shapes": frozenset(thing.shape for thing in scene.objects),
        "motions": frozenset(event.motion for event in moves),
        "order": frozenset((a.motion, b.motion) for a in moves for b in moves if a.start_s < b.start_s and a.motion != b.motion),
        "sounds": frozenset(sound.kind for sound in scene.sounds),
    }


def measure(told: Sequence[Told], seed: int = 0, bootstrap: int = 2000) -> Attributes | None:
    """Precision and recall of every aspect over some completions; None without any."""
    if not told:
        return None
    shown = [true(one.scene) for one in told]
    well = [float(one.well_formed) for one in told]
    scores, density, tokens = [], {}, {}
    for part in PARTS:
        claimed = [said(getattr(one, part)) for one in told]
        total = sum(getattr(one, f"{part}_tokens") for one in told)
        right = {aspect: sum(len(c[aspect] & s[aspect]) for c, s in zip(claimed, shown, strict=True)) for aspect in ASPECTS}
        tokens[part], density[part] = total / len(told), sum(right.values()) / max(total, 1)
        for aspect in ASPECTS:
            kept = [i for i, one in enumerate(told) if one.heard or aspect != "sounds"]
            sides = [claimed[i][aspect] for i in kept], [shown[i][aspect] for i in kept]
            shares = {
                "precision": _share(*sides, lambda c, _: len(c), seed, bootstrap),
                "recall": _share(*sides, lambda _, s: len(s), seed, bootstrap),
            }
            scores.append(Attribute(part=part, aspect=aspect, right_per_token=right[aspect] / max(total, 1), **shares))
    share = _interval(well, seed, bootstrap)
    return Attributes(n=len(told), well_formed=share, tokens=tokens, right_per_token=density, scores=tuple(scores))


Set = frozenset[object]


def _share(claimed: list[Set], shown: list[Set], of: Callable[[Set, Set], int], seed: int, bootstrap: int) -> Share | None:
    """The mean of right / of(claimed, shown) over clips where that is not 0."""
    values = _values(claimed, shown, of)
    if not values:
        return None
    n = len(shown)
    shifts = sorted({round(n * k / (OTHERS + 1)) for k in range(1, OTHERS + 1)} - {0, n})
    chances = [np.mean(found) for k in shifts if (found := _values(claimed, shown[k:] + shown[:k], of))]
    return _interval(values, seed, bootstrap, float(np.mean(chances)) if chances else None)


def _values(claimed: list[Set], shown: list[Set], of: Callable[[Set, Set], int]) -> list[float]:
    return [len(c & s) / of(c, s) for c, s in zip(claimed, shown, strict=True) if of(c, s)]


def _interval(values: list[float], seed: int, bootstrap: int, chance: float | None = None) -> Share:
    low, high = bootstrap_interval(values, seed, bootstrap)
    return Share(value=float(np.mean(values)), low=low, high=high, n=len(values), chance=chance)
