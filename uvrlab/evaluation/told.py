"""The thoughts that a model had about the world's clips, beside the scene graphs that they can be held against."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from uvrlab.data.world import Scene
from uvrlab.data.world.attributes import Told, stretch
from uvrlab.models.modes import Spoken
from uvrlab.models.thoughts import parts
from uvrlab.rewards.text import format_reward

if TYPE_CHECKING:
    from uvrlab.evaluation.evaluate import Benchmark
    from uvrlab.evaluation.vectors import Vectors


def about_clips(embedder: Any, bench: Benchmark, vectors: Vectors) -> list[Told]:
    """One entry a distinct candidate that shows a clip with a scene graph and was thought about as one window; else none."""
    found: dict[str, Told] = {}
    for row in bench.candidates():
        key = vectors.key(row)
        if key not in found and row["clip_id"] in bench.scenes and "video" in row["modalities"]:
            said = vectors.reading(row).thoughts
            if len(said) == 1:
                found[key] = _told(embedder.collate.text, bench, row, said[0])
    return list(found.values())


def _told(text: Any, bench: Benchmark, row: Mapping[str, Any], said: Spoken) -> Told:
    clip, scene = bench.index[row["clip_id"]], Scene.from_json(bench.scenes[row["clip_id"]])
    start_s, end_s = row["start_s"] or clip.start_s, row["end_s"] or clip.end_s
    thought, summary = parts(said.text)
    return Told(
        stretch(scene, start_s - clip.start_s, end_s - clip.start_s),
        thought,
        summary,
        len(text.plain(thought)),
        len(text.plain(summary)),
        well_formed=said.ended and said.read and format_reward(said.text) == 1.0,
        heard="audio" in row["modalities"] and clip.audible,
    )
