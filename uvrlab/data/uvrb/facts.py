"""What is true of a scene, as a set of plain facts; and which of many scenes a text is true of, by what it claims.

A text of the mirror carries its claim, a set of these facts. It is true of a scene exactly where its claim is a subset of the
scene's facts, so whether a text determines its clip is counted, not hoped for. Times in seconds and sizes relative to nothing are
left out on purpose: a text must find its clip without them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import combinations

from uvrlab.data.world import Scene
from uvrlab.data.world.scene import Event, place_after
from uvrlab.data.world.words import MOVES_GIST

Fact = tuple[object, ...]
Claim = frozenset[Fact]


def ordered_events(scene: Scene) -> list[Event]:
    """The events by their start."""
    return sorted(scene.events, key=lambda e: (e.start_s, e.object))


def place_before(scene: Scene, event: Event) -> tuple[int, int]:
    """Where an event's object stands when the event begins."""
    place = scene.objects[event.object].place
    for earlier in ordered_events(scene):
        if earlier.object == event.object and earlier.end_s <= event.start_s:
            place = place_after(place, earlier.motion)
    return place


def facts(scene: Scene) -> Claim:
    """Every fact of a scene that a text may claim."""
    found: set[Fact] = {("count", len(scene.objects)), ("camera", scene.camera.kind)}
    found |= {("background", scene.background.style, scene.background.hues[0]), ("hues", *scene.background.hues)}
    return frozenset(found | _objects(scene) | _events(scene) | _gist(scene))


def _objects(scene: Scene) -> set[Fact]:
    found: set[Fact] = set()
    busy = {e.object for e in scene.events}
    for number, thing in enumerate(scene.objects):
        found |= {("object", thing.name), ("size", thing.name, thing.size), ("place", thing.name, thing.place)}
        if number not in busy:
            found.add(("rests", thing.name))
    for a, b in combinations(scene.objects, 2):
        for first, second in ((a, b), (b, a)):
            if first.place[1] < second.place[1]:
                found.add(("left of", first.name, second.name))
            if first.place[0] < second.place[0]:
                found.add(("above", first.name, second.name))
    return found


def _events(scene: Scene) -> set[Fact]:
    events = ordered_events(scene)
    found: set[Fact] = {("events", len(events))}
    for event in events:
        name = scene.objects[event.object].name
        found |= {("does", name, event.motion), ("from", name, event.motion, place_before(scene, event))}
    for number, thing in enumerate(scene.objects):
        own = [e for e in events if e.object == number]
        found.add(("end", thing.name, place_after(place_before(scene, own[-1]), own[-1].motion) if own else thing.place))
    for a, b in combinations(events, 2):
        if a.start_s < b.start_s:
            found.add(("before", scene.objects[a.object].name, a.motion, scene.objects[b.object].name, b.motion))
    return found


def _gist(scene: Scene) -> set[Fact]:
    found: set[Fact] = {("gists", *gists(scene)), ("pace", min(len(scene.events), 4))}
    found.add(("actors", min(len({e.object for e in scene.events}), 2)))
    found.add(("onlookers", len({e.object for e in scene.events}) < len(scene.objects)))
    found.add(("patterned", scene.background.style not in ("plain", "gradient")))
    return found


def gists(scene: Scene) -> list[str]:
    """What an abstract text calls the motions, in order, without immediate repeats."""
    named = [MOVES_GIST[e.motion] for e in ordered_events(scene)]
    return [g for i, g in enumerate(named) if i == 0 or g != named[i - 1]]


class FactIndex:
    """Scenes by their facts: `matches(claim)` are the ids of all scenes of which the claim is true, in their given order."""

    def __init__(self, scenes: Mapping[str, Scene], facts_of: Callable[[Scene], Claim] = facts) -> None:
        self._order = {name: at for at, name in enumerate(scenes)}
        self._where: dict[Fact, set[str]] = {}
        for name, scene in scenes.items():
            for fact in facts_of(scene):
                self._where.setdefault(fact, set()).add(name)

    def matches(self, claim: Claim) -> tuple[str, ...]:
        sets = sorted((self._where.get(fact, set()) for fact in claim), key=len)
        found = set(self._order) if not sets else set.intersection(*sets)
        return tuple(sorted(found, key=self._order.__getitem__))
