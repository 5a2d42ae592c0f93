"""Footage of world clips without files: rendered frames and sound as arrays."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from uvrlab.data.questions import Asked
from uvrlab.data.world import Question, Scene, questions, render_audio, render_frames, sample_scene, stable_rng
from uvrlab.training.spans import Footage

FPS, RATE_HZ = 4.0, 16000


def footage(scene: Scene, fps: float = FPS) -> Footage:
    """Frames at `fps` and 16 kHz sound, as decoding would give them but for the codec."""
    times = [(i + 0.5) / fps for i in range(round(scene.duration_s * fps))]
    wave = render_audio(scene, RATE_HZ) if scene.track == "sound" else None
    return Footage(scene.clip_id, np.asarray(render_frames(scene, times)), fps, wave, RATE_HZ, scene.duration_s)


def blank(scene: Scene) -> Footage:
    """The clip's clock without a picture, for a judge that reads the scene graph."""
    return Footage(scene.clip_id, np.zeros((4, 8, 8, 3), np.uint8), 1.0, None, RATE_HZ, scene.duration_s)


def sounding(count: int, split: Any = "train", start: int = 0) -> list[Scene]:
    """The first scenes of a split that have sounds, one of a family."""
    found, index = [], start
    while len(found) < count:
        scene = sample_scene(split, index, family_size=1)
        index += 1
        if scene.track == "sound" and scene.sounds:
            found.append(scene)
    return found


def swapped(scene: Scene, kind: str) -> Scene:
    """The same clip with other sounds at the same times."""
    return replace(scene, sounds=tuple(replace(s, kind=kind, event=None) for s in scene.sounds))


def asked(question: Question) -> Asked:
    """A world question without its spans."""
    return Asked(
        question.question_id, question.clip_id, question.split, question.question, question.options, question.answer, question.needs
    )


def some_questions(scene: Scene) -> list[Question]:
    return questions(scene, stable_rng("test", scene.clip_id))
