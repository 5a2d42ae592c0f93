"""The procedural world: clips rendered from a scene graph, and every text about them that can be told true from false.

`sample_scene` draws a scene, `render_clip` films it, `captions`, `questions`, `trace` and `grounded_response` talk about it.
numpy and PyAV only. It makes effects measurable on a laptop; it is no claim about real-world quality.
"""

from uvrlab.data.world.captions import captions, to_clip_row
from uvrlab.data.world.prose import frame_caption
from uvrlab.data.world.questions import Question, questions
from uvrlab.data.world.render import render_clip, render_frames
from uvrlab.data.world.sampling import sample_scene
from uvrlab.data.world.scene import Camera, Event, Object, Scene, Sound, attribute_combos, segment
from uvrlab.data.world.sound import render_audio
from uvrlab.data.world.tables import combo_allowed, stable_rng
from uvrlab.data.world.traces import grounded_response, text_trace, trace
from uvrlab.data.world.words import Mentions, mentions

__all__ = [
    "Camera",
    "Event",
    "Mentions",
    "Object",
    "Question",
    "Scene",
    "Sound",
    "attribute_combos",
    "captions",
    "combo_allowed",
    "frame_caption",
    "grounded_response",
    "mentions",
    "questions",
    "render_audio",
    "render_clip",
    "render_frames",
    "sample_scene",
    "segment",
    "stable_rng",
    "text_trace",
    "to_clip_row",
    "trace",
]
