"""MS-TI and MS-TV: which of ten windows of one long video is meant by a picture, or a short clip, of it and a text.

The picture shows which object is meant, the text says what that object does: neither finds the window alone. Windows are cut where
nothing happens, so an event is wholly inside one; every window in which the object does it is right. The window that the picture is
from is no candidate: likeness alone would choose it, and every model would start below chance.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from uvrlab.data.world import Scene, words
from uvrlab.data.world.motion import place_at
from uvrlab.data.world.scene import Event
from uvrlab.data.world.tables import stable_rng
from uvrlab.data.world.words import pick, sentence

POOL = 10  # candidates a query
WINDOWS = POOL + 1  # of a video: the candidates, and the one that the reference is from
MAX_POSITIVES = 5
LEADS = ("in another moment", "look for the moment when", "at another time", "elsewhere in this video")
Span = tuple[float, float]
Act = tuple[int, str, tuple[int, ...]]  # an object, a motion, the windows in which it does it


@dataclass(frozen=True)
class Moment:
    """One composed query: the reference's window and span (an instant for a picture), the text, the right windows, and whether
    another object does the same in a wrong window, so that the text alone would be misled.
    """

    window: int
    start_s: float
    end_s: float
    text: str
    positives: tuple[int, ...]
    contested: bool


def pool_windows(scene: Scene) -> list[Span] | None:
    """Eleven windows of about equal length, no event cut; None where an event leaves no room for a cut."""
    cuts = [0.0]
    for number in range(1, WINDOWS):
        ideal = scene.duration_s * number / WINDOWS
        near = [round(ideal + step / 10, 1) for step in sorted(range(-15, 16), key=abs)]
        free = [t for t in near if all(t <= e.start_s or t >= e.end_s for e in scene.events)]
        if not free:
            return None
        cuts.append(free[0])
    return list(pairwise([*cuts, scene.duration_s]))


def picture_moment(scene: Scene, windows: list[Span]) -> Moment | None:
    """MS-TI: a frame at rest names the object by its place in it."""
    rng = stable_rng("uvrb picture", scene.clip_id)
    for number, motion, right in _asked(scene, windows, rng):
        for at in rng.permutation(WINDOWS).tolist():
            times = np.round(np.arange(windows[at][0] + 0.3, windows[at][1] - 0.3, 0.1), 1)
            quiet = [t for t in times.tolist() if all(t < e.start_s - 0.2 or t > e.end_s + 0.2 for e in scene.events)]
            if at in right or not quiet:
                continue
            frame = round(float(quiet[int(rng.integers(len(quiet)))]) * scene.fps)
            time_s = round((frame + 0.5) / scene.fps, 6)
            who = f"the {words.place_words(place_at(scene, number, time_s))} one of this picture"
            return _moment(scene, windows, at, (time_s, time_s), who, (number, motion, right), rng)
    return None


def clip_moment(scene: Scene, windows: list[Span]) -> Moment | None:
    """MS-TV: a short clip names the object by what it does there."""
    rng = stable_rng("uvrb clip", scene.clip_id)
    for number, motion, right in _asked(scene, windows, rng):
        shown = [e for e in scene.events if e.object == number and e.motion != motion and _window(windows, e) not in right]
        for event in (shown[int(i)] for i in rng.permutation(len(shown))):
            low, high = windows[at := _window(windows, event)]
            start_s, end_s = max(low, round(event.start_s - 0.4, 1)), min(high, round(event.end_s + 0.4, 1))
            if all(e is event or e.end_s <= start_s or e.start_s >= end_s for e in scene.events):
                return _moment(scene, windows, at, (start_s, end_s), "the one that acts in this clip", (number, motion, right), rng)
    return None


def _asked(scene: Scene, windows: list[Span], rng: np.random.Generator) -> Iterator[Act]:
    """(object, motion, right windows) that can be asked, those first in which another object does the same elsewhere."""
    if len(scene.objects) < 2:
        return
    acts = sorted({(e.object, e.motion) for e in scene.events})
    found = [(*acts[int(i)], _right(scene, windows, *acts[int(i)])) for i in rng.permutation(len(acts))]
    found = [act for act in found if len(act[2]) <= MAX_POSITIVES]
    yield from sorted(found, key=lambda act: not _contested(scene, windows, act, ()))


def _window(windows: list[Span], event: Event) -> int:
    return next(i for i, (low, high) in enumerate(windows) if low <= event.start_s and event.end_s <= high)


def _right(scene: Scene, windows: list[Span], number: int, motion: str) -> tuple[int, ...]:
    return tuple(sorted({_window(windows, e) for e in scene.events if (e.object, e.motion) == (number, motion)}))


def _contested(scene: Scene, windows: list[Span], act: Act, besides: tuple[int, ...]) -> bool:
    """Whether another object does the same in a wrong window that is none of `besides`."""
    others = (e for e in scene.events if e.motion == act[1] and e.object != act[0])
    return any(_window(windows, e) not in (*act[2], *besides) for e in others)


def _moment(scene: Scene, windows: list[Span], at: int, span: Span, who: str, act: Act, rng: np.random.Generator) -> Moment:
    text = sentence(f"{pick(LEADS, rng)} {who} {pick(words.MOTION_WORDS[act[1]], rng)}")
    return Moment(at, *span, text, act[2], _contested(scene, windows, act, (at,)))
