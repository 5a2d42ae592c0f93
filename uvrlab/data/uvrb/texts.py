"""The twelve kinds of query texts of the mirror: each yields wordings of one scene, from the plainest to the fullest.

A wording is taken when it is true of one candidate only; where the plain one is true of several, the next says more. Every text
speaks of what its dataset speaks of: a spatial one of no motion, a temporal one of no place, a theme of no colour and no shape.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import combinations

from uvrlab.data.uvrb.clauses import (
    Generator,
    Said,
    background,
    beside,
    camera,
    does,
    ended,
    hues,
    join,
    placed,
    resting,
    rests,
    sentences,
    thing,
    things,
    timeline,
)
from uvrlab.data.uvrb.facts import gists, ordered_events, place_before
from uvrlab.data.world import Scene, words
from uvrlab.data.world.motion import place_at
from uvrlab.data.world.scene import Event
from uvrlab.data.world.words import NUMBERS, list_words, pick, with_article

LONG_WORDS = 200
Wordings = Iterator[Said]


def short(scene: Scene, rng: Generator) -> Wordings:
    """MSRVTT: one or two things that happen, in one sentence."""
    happen = timeline(scene, rng, article="a")
    for said in (happen[:2], happen[:3], happen):
        yield sentences([join(said, ", ")])
        yield sentences([join([*said[:-1], join([said[-1], background(scene, "on a {} background")])], ", ")])
    full = [*happen, background(scene, "on a {} background"), camera(scene, rng)]
    yield sentences([join(full, ", ")])
    cast = things(scene, range(len(scene.objects)), rng, sized=True)
    yield sentences([join([*full, Said(f"with {cast.text}", cast.claim)], ", ")])


def paragraph(scene: Scene, rng: Generator) -> Wordings:
    """DiDeMo: the sentences about all moments of a clip, one behind the other."""
    happen = timeline(scene, rng, article="a")
    idle = [rests(scene, number, rng) for number in resting(scene)]
    yield sentences([*happen, *idle])
    yield sentences([*happen, *idle, camera(scene, rng)])
    yield sentences([*happen, *idle, camera(scene, rng), background(scene)])


def general(scene: Scene, rng: Generator) -> Wordings:
    """CRB-G: the whole clip: setting, cast with places, events, view."""
    yield sentences([_overview(scene, rng), *_cast(scene, rng), *timeline(scene, rng), *_idle(scene, rng), camera(scene, rng)])


def spatial(scene: Scene, rng: Generator) -> Wordings:
    """CRB-S: sizes, places and who stands where from whom, at first; nothing moves in it."""
    pairs = [beside(scene, a, b) for a, b in combinations(range(len(scene.objects)), 2)]
    parts = [_overview(scene, rng), *_cast(scene, rng), *pairs]
    yield sentences(parts)
    yield sentences([*parts, hues(scene)])


def objects(scene: Scene, rng: Generator) -> Wordings:
    """VDC-O: each object's look and what it does, in no order of time and without a setting."""
    parts = []
    for number in range(len(scene.objects)):
        look = thing(scene, number, rng, sized=True)
        parts.append(Said(f"there is {look.text}", look.claim))
        own = [does(scene, e, rng) for e in ordered_events(scene) if e.object == number] or [rests(scene, number, rng)]
        acts = [said.text.removeprefix(f"the {scene.objects[number].name} ") for said in own]
        parts.append(Said(f"it {list_words(list(dict.fromkeys(acts)))}", frozenset().union(*(said.claim for said in own))))
    yield sentences(parts)
    parts += [placed(scene, n, rng, sized=False) for n in range(len(scene.objects))]
    yield sentences(parts)
    yield sentences([*parts, background(scene)])


def temporal(scene: Scene, rng: Generator) -> Wordings:
    """CRB-T: what happens when and for how long, in order; no place and no setting."""
    happen, events = timeline(scene, rng), ordered_events(scene)
    parts = [
        Said(f"{said.text} for {event.end_s - event.start_s:.1f} seconds, from {event.start_s:.1f} seconds on", said.claim)
        for said, event in zip(happen, events, strict=True)
    ]
    parts += _idle(scene, rng)
    yield sentences(parts)
    parts.append(Said.of(f"in all {NUMBERS[min(len(events), 4)]} movements are seen", ("events", len(events))))
    yield sentences(parts)
    yield sentences([*parts, camera(scene, rng)])
    yield sentences([*parts, camera(scene, rng), background(scene)])


def camera_motion(scene: Scene, rng: Generator) -> Wordings:
    """CMRB: how the camera moves, and over what."""
    view = camera(scene, rng)
    pace = (
        "from the first frame to the last" if scene.camera.kind == "still" else "slowly and evenly from the first frame to the last"
    )
    setting = background(scene, "over a {} background")
    cast = list(range(len(scene.objects)))
    for numbers, sized in ((cast[:2], False), (cast, False), (cast, True)):
        shown = things(scene, numbers, rng, sized=sized)
        verb = "is" if len(numbers) == 1 else "are"
        parts = [join([view, Said.of(pace), setting]), Said(f"{shown.text} {verb} in view", shown.claim)]
        yield sentences(parts)
    yield sentences([*parts, *(placed(scene, n, rng, sized=False) for n in cast)])


def event(scene: Scene, rng: Generator) -> Wordings:
    """DREAM-E: one single event; any of the clip's that is the clip's alone, else with the object's size, place, setting."""
    events = [scene.events[int(i)] for i in rng.permutation(len(scene.events))]
    for detail in range(4):
        for one in events:
            yield sentences([_event(scene, one, rng, detail)])


def theme(scene: Scene, rng: Generator) -> Wordings:
    """LoVR-TH: the gist without any object's colour or shape."""
    pace = ("motionless", "calm", "measured", "lively", "busy")[min(len(scene.events), 4)]
    form = pick(("play of simple figures", "study of simple forms in motion", "little geometric scene"), rng)
    crowd = ("a lone figure", "a pair of figures", "a small group", "a full stage")[len(scene.objects) - 1]
    steps = gists(scene)
    parts = [
        Said.of(f"{with_article(pace)} {form} with {crowd}", ("pace", min(len(scene.events), 4)), ("count", len(scene.objects))),
        Said.of(f"{pick(('it is a matter of', 'the action is', 'we see'), rng)} {', then '.join(steps)}", ("gists", *steps)),
        Said.of(pick(words.CAMERA_GIST[scene.camera.kind], rng), ("camera", scene.camera.kind)),
    ]
    several, idle = len({e.object for e in scene.events}) > 1, bool(resting(scene))
    parts.append(
        Said.of("several figures take their turns" if several else "one figure does all the work", ("actors", 1 + several))
    )
    parts.append(Said.of("some of the company only looks on" if idle else "nobody merely looks on", ("onlookers", idle)))
    yield sentences(parts)
    first, second = scene.background.hues
    parts.append(Said.of(f"the mood of the backdrop is {first} and {second}", ("hues", first, second)))
    yield sentences(parts)


def keywords(scene: Scene, rng: Generator) -> Wordings:
    """PEV-K: bare keywords in no order."""
    moves = [does(scene, e, rng) for e in ordered_events(scene)]
    parts = [Said(said.text.removeprefix("the "), said.claim) for said in moves]
    parts += [Said(thing(scene, n, rng).text.split(" ", 1)[1], thing(scene, n, rng).claim) for n in resting(scene)]
    view = camera(scene, rng)
    parts += [Said(view.text.removeprefix("the "), view.claim), background(scene, "{} background")]
    yield join((parts[int(i)] for i in rng.permutation(len(parts))), ", ")


def detailed(scene: Scene, rng: Generator) -> Wordings:
    """VDC-D: all that can be seen, with times, up to 200 words."""
    last = [ended(scene, n, place_at(scene, n, scene.duration_s)) for n in range(len(scene.objects))]
    pairs = [beside(scene, a, b) for a, b in combinations(range(len(scene.objects)), 2)]
    parts = [_overview(scene, rng), *_cast(scene, rng), *timeline(scene, rng, times=True), *_idle(scene, rng), camera(scene, rng)]
    yield sentences([*parts, *last, hues(scene), *pairs], LONG_WORDS)


def long(scene: Scene, rng: Generator) -> Wordings:
    """LoVR-V: a long video's whole course, up to 200 words."""
    happen, view = timeline(scene, rng, times=len(scene.events) <= 9), camera(scene, rng)
    start_s, end_s = scene.camera.start_s, scene.camera.end_s
    view = view if scene.camera.kind == "still" else Said(f"from {start_s:.1f} to {end_s:.1f} seconds {view.text}", view.claim)
    last = [ended(scene, n, place_at(scene, n, scene.duration_s)) for n in range(len(scene.objects))]
    yield sentences([_overview(scene, rng), *_cast(scene, rng), *happen, view, *_idle(scene, rng), *last, hues(scene)], LONG_WORDS)


TEXTS: dict[str, Callable[[Scene, Generator], Wordings]] = {
    "MSRVTT": short,
    "DiDeMo": paragraph,
    "CRB-G": general,
    "CRB-S": spatial,
    "VDC-O": objects,
    "CRB-T": temporal,
    "CMRB": camera_motion,
    "DREAM-E": event,
    "LoVR-TH": theme,
    "PEV-K": keywords,
    "LoVR-V": long,
    "VDC-D": detailed,
}


def _overview(scene: Scene, rng: Generator) -> Said:
    n = len(scene.objects)
    noun = pick(("object", "shape", "figure"), rng) + ("" if n == 1 else "s")
    setting = background(scene, f"the clip {pick(('shows', 'presents', 'contains'), rng)} {NUMBERS[n]} {noun} on a {{}} background")
    return Said(setting.text, setting.claim | {("count", n)})


def _cast(scene: Scene, rng: Generator) -> list[Said]:
    return [placed(scene, number, rng) for number in range(len(scene.objects))]


def _idle(scene: Scene, rng: Generator) -> list[Said]:
    return [rests(scene, number, rng) for number in resting(scene)]


def _event(scene: Scene, one: Event, rng: Generator, detail: int) -> Said:
    """An event alone (detail 0), with the object's size (1), the place where it begins (2), and the setting (3)."""
    what, act = thing(scene, one.object, rng, sized=detail > 0), does(scene, one, rng, "a")
    text = f"{what.text} {act.text.removeprefix(with_article(scene.objects[one.object].name)).strip()}"
    claim = what.claim | act.claim
    if detail > 1:
        place = place_before(scene, one)
        text = f"{text}, at first in the {words.place_words(place)}"
        claim |= {("from", scene.objects[one.object].name, one.motion, place)}
    if detail > 2:
        setting = background(scene, "on a {} background")
        text, claim = f"{text}, {setting.text}", claim | setting.claim
    return Said(text, claim)
