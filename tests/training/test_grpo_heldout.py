"""Held-out thoughts beside their scene graphs: whose clip they are about, which stretch of it, and what does not count."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

pytest.importorskip("torch")

from uvrlab.data.items import Item
from uvrlab.data.world import sample_scene, segment, stable_rng, trace
from uvrlab.models.generate import Thought
from uvrlab.training.grpo_heldout import Reader, scenes_of

SCENE = sample_scene("val", 0)
CLIPS = [
    {"media_sha256": "one", "start_s": 0.0, "scene": SCENE.to_json()},
    {"media_sha256": "shared", "start_s": 0.0, "scene": SCENE.to_json()},
    {"media_sha256": "shared", "start_s": 4.0, "scene": SCENE.to_json()},
    {"media_sha256": "real", "start_s": 0.0, "scene": None},
]


class Letters:
    """A text encoder whose tokens are letters."""

    def plain(self, text: str) -> list[int]:
        return list(map(ord, text))


def reader(completion: str) -> Reader:
    roller = SimpleNamespace(text=Letters(), words=lambda _: completion, faults=lambda t: [] if t.ended else ["truncated"])
    return Reader(roller, scenes_of(CLIPS))


def test_only_a_file_with_one_clip_and_a_scene_graph_can_be_judged():
    assert set(scenes_of(CLIPS)) == {"one"}
    about = [
        Item("t", text="x"),
        Item("r", video_uri="r.mp4", media_sha256="real"),
        Item("s", video_uri="s", media_sha256="shared"),
    ]
    assert [reader("")._told(item, Thought([1], True, None)) for item in about] == [None] * 3


def test_a_thought_stands_beside_the_stretch_that_it_is_about():
    think, answer, _ = trace(SCENE, stable_rng("trace", 0))
    read = reader(f"<think>{think}</think><answer>{answer}</answer><gen_emb>")
    whole = read._told(Item("w", video_uri="w.mp4", media_sha256="one", sound=True), Thought([1], True, None))
    part = read._told(Item("p", video_uri="w.mp4", media_sha256="one", start_s=1.0, end_s=3.0), Thought([1], False, None))
    assert (whole.scene, whole.thought, whole.summary) == (SCENE, think, answer) and whole.well_formed and whole.heard
    assert (whole.thought_tokens, whole.summary_tokens) == (len(think), len(answer))
    assert part.scene == segment(SCENE, 1.0, 3.0) and not part.well_formed and not part.heard
