"""The scene graph: what is in a clip, what happens in it and when, as frozen plain data that goes to JSON and back.

Times are seconds on a grid of 0.1. A sound that starts with an event comes from that event's object; every other sound is off
screen.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from typing import Any

from uvrlab.data.schema import Split
from uvrlab.data.world.tables import FPS, SIZE_PX

MIN_OVERLAP_S = 0.2  # a shorter overlap of a sound and an event is not something a viewer would call "together"


@dataclass(frozen=True)
class Object:
    """One thing. `place` is its (row, column) of the 3 x 3 grid at the start; `still`: it never moves in the whole clip."""

    colour: str
    shape: str
    size: str
    place: tuple[int, int]
    still: bool = False

    @property
    def name(self) -> str:
        return f"{self.colour} {self.shape}"


@dataclass(frozen=True)
class Event:
    """Object number `object` does `motion` from `start_s` to `end_s`."""

    object: int
    motion: str
    start_s: float
    end_s: float


@dataclass(frozen=True)
class Sound:
    """`event` is the number of the event that makes the sound, None for one from off screen; `pitch` scales its frequencies."""

    kind: str
    start_s: float
    end_s: float
    event: int | None = None
    pitch: float = 1.0


@dataclass(frozen=True)
class Camera:
    """One camera move (or `still`) between two times; before and after it the view rests."""

    kind: str
    start_s: float
    end_s: float


@dataclass(frozen=True)
class Background:
    style: str
    hues: tuple[str, str]
    seed: int


@dataclass(frozen=True)
class Flaws:
    """What a camera and a codec do to a clip: pixel noise (sigma, of 255), brightness, CRF, sound floor (dBFS), sample rate."""

    seed: int
    noise: float
    gain: float
    flicker: float
    crf: int
    floor_db: float
    sample_rate_hz: int


@dataclass(frozen=True)
class Scene:
    """A whole clip. `contrasts`: every aspect in which its family differs; `tags`: which of them set this clip apart."""

    clip_id: str
    split: Split
    index: int
    seed: int
    duration_s: float
    objects: tuple[Object, ...]
    events: tuple[Event, ...]
    sounds: tuple[Sound, ...]
    camera: Camera
    background: Background
    track: str
    flaws: Flaws
    contrasts: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    fps: float = FPS
    size_px: int = SIZE_PX

    @property
    def n_frames(self) -> int:
        return round(self.duration_s * self.fps)

    def to_json(self) -> str:
        """Compact JSON with sorted keys: equal scenes, equal text."""
        return json.dumps(asdict(self), sort_keys=True, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Scene:
        """The inverse of `to_json`; ValueError where the text is not a scene of this version."""
        try:
            return _scene_from(json.loads(text))
        except (KeyError, TypeError, json.JSONDecodeError) as error:
            raise ValueError(f"not a scene: {error!r} in {text[:60]!r}; render the world again with this version") from error


def _scene_from(raw: dict[str, Any]) -> Scene:
    return Scene(
        **{
            **raw,
            "objects": tuple(Object(**{**o, "place": tuple(o["place"])}) for o in raw["objects"]),
            "events": tuple(Event(**e) for e in raw["events"]),
            "sounds": tuple(Sound(**s) for s in raw["sounds"]),
            "camera": Camera(**raw["camera"]),
            "background": Background(**{**raw["background"], "hues": tuple(raw["background"]["hues"])}),
            "flaws": Flaws(**raw["flaws"]),
            "contrasts": tuple(raw["contrasts"]),
            "tags": tuple(raw["tags"]),
        }
    )


def attribute_combos(scene: Scene) -> set[tuple[str, str, str]]:
    """Every (colour, shape, motion) that the clip shows; an object that never moves shows "still"."""
    looks = [(o.colour, o.shape) for o in scene.objects]
    moving = {(*looks[e.object], e.motion) for e in scene.events}
    return moving | {(o.colour, o.shape, "still") for o in scene.objects if o.still}


def overlap_s(first: Event | Sound | Camera, second: Event | Sound | Camera) -> float:
    """Seconds that two happenings share; 0 where they do not meet."""
    return max(0.0, min(first.end_s, second.end_s) - max(first.start_s, second.start_s))


def events_during(scene: Scene, sound: Sound) -> tuple[int, ...]:
    """Numbers of the events that a viewer sees while `sound` is heard (at least 0.2 s together), in order."""
    return tuple(i for i, e in enumerate(scene.events) if overlap_s(e, sound) >= MIN_OVERLAP_S - 1e-9)


def place_after(place: tuple[int, int], motion: str) -> tuple[int, int]:
    """Where an object stands after a motion: only the four directions change the place."""
    row, column = place
    step = {"left": (0, -1), "right": (0, 1), "up": (-1, 0), "down": (1, 0)}.get(motion, (0, 0))
    return row + step[0], column + step[1]


def segment(scene: Scene, start_s: float, end_s: float) -> Scene:
    """The scene graph of a sub-clip, with its own clock: for words, questions and spans.

    Events and sounds are clipped to the window, those with less than 0.2 s inside leave. Pixels of a sub-clip come from the parent
    (`render_frames(parent, times)` or the parent's file), never from rendering a segment. ValueError for a window outside the clip.
    """
    if not 0.0 <= start_s < end_s <= scene.duration_s + 1e-6:
        raise ValueError(f"window {start_s:g}-{end_s:g} s is not inside {scene.clip_id} (0-{scene.duration_s:g} s)")
    window = Sound("window", start_s, end_s)
    kept = [i for i, e in enumerate(scene.events) if overlap_s(e, window) >= MIN_OVERLAP_S]
    objects = list(scene.objects)
    for event in scene.events:
        if event.end_s <= start_s + 1e-6:
            moved = objects[event.object]
            objects[event.object] = replace(moved, place=place_after(moved.place, event.motion))
    camera = _clipped(scene.camera, start_s, end_s) if overlap_s(scene.camera, window) >= MIN_OVERLAP_S else None
    return replace(
        scene,
        clip_id=f"{scene.clip_id}@{start_s:.1f}-{end_s:.1f}",
        duration_s=round(end_s - start_s, 3),
        objects=tuple(objects),
        events=tuple(_clipped(scene.events[i], start_s, end_s) for i in kept),
        sounds=tuple(
            replace(_clipped(s, start_s, end_s), event=kept.index(s.event) if s.event in kept else None)
            for s in scene.sounds
            if overlap_s(s, window) >= MIN_OVERLAP_S
        ),
        camera=camera or Camera("still", 0.0, round(end_s - start_s, 3)),
    )


def _clipped(happening: Any, start_s: float, end_s: float) -> Any:
    start, end = max(happening.start_s, start_s) - start_s, min(happening.end_s, end_s) - start_s
    return replace(happening, start_s=round(start, 3), end_s=round(end, 3))
