"""What thoughts and summaries get right about a clip: precision and recall of its attributes against the scene graph.

Both are means over clips: of those that a text says something of (precision), or that have something to be said (recall). Chance
is what the same texts earn against other clips, so it knows how much they say. Plain counting; no model and no torch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict

from uvrlab.data.items import ROUNDING_S
from uvrlab.data.world.scene import Scene, segment
from uvrlab.data.world.words import mentions
from uvrlab.evaluation.metrics import bootstrap_interval
from uvrlab.runs import Metric

Aspect = Literal["colours", "shapes", "motions", "order", "sounds"]
ASPECTS: tuple[Aspect, ...] = ("colours", "shapes", "motions", "order", "sounds")
PARTS: tuple[Literal["thought", "summary"], ...] = ("thought", "summary")
OTHERS = 16  # clips that each text is held against for its chance level
Set = frozenset[object]
Facts = Mapping[str, Set]
# What the right claims are a share of: all that is claimed, or all that is shown.
SHARES: dict[str, Callable[[Set, Set], int]] = {"precision": lambda claimed, _: len(claimed), "recall": lambda _, shown: len(shown)}


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


class Attribute(BaseModel):
    """One aspect of one part of a completion, shares of clips; None where no clip gives a value. `right_per_token`: true claims
    over tokens."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    part: Literal["thought", "summary"]
    aspect: Aspect
    precision: Metric | None
    recall: Metric | None
    chance_precision: float | None
    chance_recall: float | None
    right_per_token: float


class Attributes(BaseModel):
    """Every aspect of both parts over n completions, the share of them in the asked form, and their mean tokens by part."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    n: int
    well_formed: Metric
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


def stretch(scene: Scene, start_s: float, end_s: float) -> Scene:
    """The scene of a stretch of a clip, on the clip's own clock; the scene itself where that is the whole."""
    whole = start_s <= ROUNDING_S and end_s >= scene.duration_s - ROUNDING_S
    return scene if whole else segment(scene, max(0.0, start_s), min(end_s, scene.duration_s))


def measure(told: Sequence[Told], seed: int = 0, bootstrap: int = 2000) -> Attributes | None:
    """Precision and recall of every aspect over some completions; None without any."""
    if not told:
        return None
    shown = [true(one.scene) for one in told]
    well = [float(one.well_formed) for one in told]
    scores: list[Attribute] = []
    density: dict[str, float] = {}
    tokens: dict[str, float] = {}
    for part in PARTS:
        claimed = [said(getattr(one, part)) for one in told]
        total = sum(getattr(one, f"{part}_tokens") for one in told)
        right = {aspect: sum(len(c[aspect] & s[aspect]) for c, s in zip(claimed, shown, strict=True)) for aspect in ASPECTS}
        tokens[part], density[part] = total / len(told), sum(right.values()) / max(total, 1)
        for aspect in ASPECTS:
            kept = [i for i, one in enumerate(told) if one.heard or aspect != "sounds"]
            sides = [claimed[i][aspect] for i in kept], [shown[i][aspect] for i in kept]
            shares: dict[str, Any] = {}
            for name, of in SHARES.items():
                values = _values(*sides, of)
                shares[name] = _mean(values, seed, bootstrap) if values else None
                shares[f"chance_{name}"] = _chance(*sides, of)
            scores.append(Attribute(part=part, aspect=aspect, right_per_token=right[aspect] / max(total, 1), **shares))
    return Attributes(
        n=len(told),
        well_formed=_mean(well, seed, bootstrap),
        tokens=tokens,
        right_per_token=density,
        scores=tuple(scores),
    )


def form_row(name: str, found: Attributes) -> dict[str, Any]:
    """A report's row about the form and the length of completions of model `name`."""
    return {
        "model": name,
        "well-formed": found.well_formed,
        "tokens of a thought": round(found.tokens["thought"], 1),
        "tokens of a summary": round(found.tokens["summary"], 1),
        "right in 100 tokens of a summary": round(100 * found.right_per_token["summary"], 2),
    }


def aspect_rows(name: str, found: Attributes) -> list[dict[str, Any]]:
    """A report's rows about model `name`, one a part and aspect."""
    return [
        {
            "model": name,
            "part": one.part,
            "aspect": one.aspect,
            "precision": one.precision,
            "chance of precision": one.chance_precision,
            "recall": one.recall,
            "chance of recall": one.chance_recall,
            "right in 100 tokens": round(100 * one.right_per_token, 2),
        }
        for one in found.scores
    ]


def _chance(claimed: list[Set], shown: list[Set], of: Callable[[Set, Set], int]) -> float | None:
    """The mean value of texts that are held against other clips than their own; None for a single clip."""
    n = len(shown)
    shifts = sorted({round(n * k / (OTHERS + 1)) for k in range(1, OTHERS + 1)} - {0, n})
    chances = [np.mean(found) for k in shifts if (found := _values(claimed, shown[k:] + shown[:k], of))]
    return float(np.mean(chances)) if chances else None


def _values(claimed: list[Set], shown: list[Set], of: Callable[[Set, Set], int]) -> list[float]:
    """right / of(claimed, shown) of each clip where that is not 0."""
    return [len(c & s) / of(c, s) for c, s in zip(claimed, shown, strict=True) if of(c, s)]


def _mean(values: list[float], seed: int, bootstrap: int) -> Metric:
    low, high = bootstrap_interval(values, seed, bootstrap)
    return Metric(value=float(np.mean(values)), unit="share", low=low, high=high, n=len(values))
