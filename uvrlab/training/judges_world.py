"""The rubric judge of the procedural world: what a caption claims is checked against the scene graph of its span.

It knows what happens when, as a viewer with perfect eyes and ears would, but neither the true spans of a question nor its kind:
what an answer rests on is read from the words of question and answer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from uvrlab.data.world import Camera, Event, Scene, Sound, mentions, segment
from uvrlab.data.world.scene import overlap_s
from uvrlab.data.world.words import BACKGROUND_WORDS
from uvrlab.rewards.base import Score
from uvrlab.rewards.grounding import Span
from uvrlab.training.judges import Claim, Evidence

Happening = Event | Sound | Camera
MIN_S = 0.2  # as `segment`: a shorter stretch of something cannot be named


@dataclass(frozen=True)
class WorldJudge:
    """{clip_id: the scene of the clip, on the clip's own clock}."""

    scenes: Mapping[str, Scene]
    name: str = "world"

    @classmethod
    def of(cls, rows: Sequence[Mapping[str, Any]]) -> WorldJudge:
        """From rows of the clips table. Raises ValueError for a clip without a scene graph."""
        if bare := [row["clip_id"] for row in rows if not row["scene"]]:
            raise ValueError(f"clip {bare[0]} has no scene graph ({len(bare)} such); choose judge.kind=embedder or openai")
        return cls({row["clip_id"]: _scene(row) for row in rows})

    def consistency(self, claims: Sequence[Claim]) -> list[Score]:
        """The share of a caption's claims that hold in its span; a caption that claims nothing earns 0."""
        return [self._truth(claim) for claim in claims]

    def completeness(self, evidence: Sequence[Evidence]) -> list[Score]:
        """Sufficiency times tightness: how much is shown of what the answer rests on, and how much of the spans that fills.

        Something is shown where at least half of it is. An answer that rests on nothing with a time, as a colour: 1 for any span.
        """
        return [self._shown(one) for one in evidence]

    def _truth(self, claim: Claim) -> float:
        scene = self.scenes[claim.footage.clip_id]
        start, end = claim.span[0], min(claim.span[1], scene.duration_s)
        if end - start < MIN_S:
            return 0.0
        said, seen = mentions(claim.caption), segment(scene, start, end)
        checks = [name in {o.name for o in seen.objects} for name in said.objects]
        checks += [self._happens(seen, name, motion) for name, motion in said.events]
        checks += [kind in {s.kind for s in seen.sounds} for kind in said.sounds]
        checks += [kind == seen.camera.kind for kind in said.cameras]
        checks += [style == seen.background.style for style in said.backgrounds if style in BACKGROUND_WORDS]
        return sum(checks) / len(checks) if checks else 0.0

    @staticmethod
    def _happens(scene: Scene, name: str | None, motion: str) -> bool:
        moving = {(scene.objects[e.object].name, e.motion) for e in scene.events}
        still = {(o.name, "still") for i, o in enumerate(scene.objects) if all(e.object != i for e in scene.events)}
        return any(kind == motion and name in (None, thing) for thing, kind in moving | still)

    def _shown(self, one: Evidence) -> float:
        scene = self.scenes[one.footage.clip_id]
        needed = rests_on(scene, f"{one.question.question} {one.question.answer_text}")
        if not needed:
            return 1.0
        windows = [Sound("window", *span) for span in one.spans]
        shown = [sum(overlap_s(window, happening) for window in windows) for happening in needed]
        sufficient = sum(min(1.0, 2 * s / (h.end_s - h.start_s)) for s, h in zip(shown, needed, strict=True)) / len(needed)
        filled = sum(_covered(span, needed) for span in one.spans)
        return sufficient * filled / sum(end - start for start, end in one.spans)


def rests_on(scene: Scene, text: str) -> list[Happening]:
    """What a text names of a scene: sounds by kind, the camera's move, motions, and the motions of things named without one.

    Where a sound is named too, only motions that meet such a sound count, unless none does. "At the start" is the first second.
    """
    said = mentions(text)
    if "at the start" in text.lower():
        return [Sound("start", 0.0, min(1.0, scene.duration_s))]
    sounds = [s for s in scene.sounds if s.kind in said.sounds]
    motions = {motion for _, motion in said.events}
    named = [e for e in scene.events if e.motion in motions or (not motions and scene.objects[e.object].name in said.objects)]
    together = [e for e in named if any(overlap_s(e, s) >= MIN_S for s in sounds)]
    camera = [scene.camera] if scene.camera.kind in said.cameras else []
    return [*(together or named), *sounds, *camera]


def _covered(span: Span, happenings: Sequence[Happening]) -> float:
    """Seconds of a span that at least one happening fills."""
    inside = sorted((max(span[0], h.start_s), min(span[1], h.end_s)) for h in happenings)
    total, at = 0.0, span[0]
    for start, end in inside:
        total += max(0.0, end - max(start, at))
        at = max(at, end)
    return total


def _scene(row: Mapping[str, Any]) -> Scene:
    scene = Scene.from_json(row["scene"])
    if row["start_s"] <= 0.05 and row["end_s"] >= scene.duration_s - 0.05:
        return scene
    return segment(scene, row["start_s"], min(row["end_s"], scene.duration_s))
