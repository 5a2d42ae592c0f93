"""The small pieces that the mirror's texts are put together from: words, and what they claim."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from uvrlab.data.uvrb.facts import Claim, Fact, ordered_events
from uvrlab.data.world import Scene, words
from uvrlab.data.world.scene import Event
from uvrlab.data.world.words import count_words, list_words, pick, sentence, with_article

Generator = np.random.Generator


@dataclass(frozen=True)
class Said:
    """A piece of text and the facts that it states."""

    text: str
    claim: Claim

    @classmethod
    def of(cls, text: str, *stated: Fact) -> Said:
        return cls(text, frozenset(stated))


def join(parts: Iterable[Said], separator: str = " ", limit: int | None = None) -> Said:
    """Pieces in order; with `limit`, those behind the last that fits into so many words are left out."""
    taken: list[Said] = []
    total = 0
    for part in parts:
        total += count_words(part.text)
        if limit is not None and total > limit:
            break
        taken.append(part)
    return Said(separator.join(p.text for p in taken), frozenset().union(*(p.claim for p in taken)))


def sentences(parts: Iterable[Said], limit: int | None = None) -> Said:
    """Each piece as a sentence of its own."""
    return join((Said(sentence(p.text), p.claim) for p in parts), limit=limit)


def thing(scene: Scene, number: int, rng: Generator, *, sized: bool = False) -> Said:
    """ "a red star", or "a big red star"."""
    found = scene.objects[number]
    if not sized:
        return Said.of(with_article(found.name), ("object", found.name))
    size = pick(words.SIZE_WORDS[found.size], rng)
    return Said.of(with_article(f"{size} {found.name}"), ("object", found.name), ("size", found.name, found.size))


def things(scene: Scene, numbers: Sequence[int], rng: Generator, *, sized: bool = False) -> Said:
    """ "a red star, a blue ring and a white cross"."""
    parts = [thing(scene, number, rng, sized=sized) for number in numbers]
    return Said(list_words([p.text for p in parts]), frozenset().union(*(p.claim for p in parts)))


def placed(scene: Scene, number: int, rng: Generator, *, sized: bool = True) -> Said:
    """Where an object is at first."""
    what, found = thing(scene, number, rng, sized=sized), scene.objects[number]
    verb = pick(("starts in the", "begins in the", "is first seen in the"), rng)
    return Said(f"{what.text} {verb} {words.place_words(found.place)}", what.claim | {("place", found.name, found.place)})


def ended(scene: Scene, number: int, place: tuple[int, int]) -> Said:
    name = scene.objects[number].name
    return Said.of(f"at the end the {name} is in the {words.place_words(place)}", ("end", name, place))


def beside(scene: Scene, first: int, second: int) -> Said:
    """Which of two objects is further left, else further up, at first; no two share a place."""
    a, b = scene.objects[first], scene.objects[second]
    if a.place[1] != b.place[1]:
        left, right = (a, b) if a.place[1] < b.place[1] else (b, a)
        return Said.of(f"the {left.name} is to the left of the {right.name}", ("left of", left.name, right.name))
    upper, lower = (a, b) if a.place[0] < b.place[0] else (b, a)
    return Said.of(f"the {upper.name} is above the {lower.name}", ("above", upper.name, lower.name))


def does(scene: Scene, event: Event, rng: Generator, article: str = "the") -> Said:
    """ "the red star moves left"."""
    name = scene.objects[event.object].name
    named = with_article(name) if article == "a" else f"the {name}"
    claim: frozenset[Fact] = frozenset({("does", name, event.motion), ("object", name)})
    return Said(f"{named} {pick(words.MOTION_WORDS[event.motion], rng)}", claim)


def rests(scene: Scene, number: int, rng: Generator) -> Said:
    name = scene.objects[number].name
    return Said.of(f"the {name} {pick(words.MOTION_WORDS['still'], rng)}", ("rests", name))


def resting(scene: Scene) -> list[int]:
    """Objects that never move."""
    return [i for i in range(len(scene.objects)) if all(e.object != i for e in scene.events)]


def timeline(scene: Scene, rng: Generator, *, times: bool = False, article: str = "the") -> list[Said]:
    """Every event in order, each said to come behind the one before it."""
    made: list[Said] = []
    events = ordered_events(scene)
    for at, event in enumerate(events):
        said = does(scene, event, rng, article)
        lead = "" if at == 0 else pick(("then ", "next ", "after that "), rng)
        if times:
            lead = f"between {event.start_s:.1f} and {event.end_s:.1f} seconds "
        order: set[Fact] = set()
        if at and events[at - 1].start_s < event.start_s:
            before = events[at - 1]
            order.add(("before", scene.objects[before.object].name, before.motion, scene.objects[event.object].name, event.motion))
        made.append(Said(f"{lead}{said.text}", said.claim | order))
    return made


def background(scene: Scene, template: str = "the background is {}") -> Said:
    """The background's pattern and first hue in a `template`."""
    stated = ("background", scene.background.style, scene.background.hues[0])
    return Said.of(template.format(words.background_words(scene)), stated)


def hues(scene: Scene) -> Said:
    first, second = scene.background.hues
    return Said.of(f"the background mixes {first} and {second} tones", ("hues", first, second))


def camera(scene: Scene, rng: Generator) -> Said:
    return Said.of(pick(words.CAMERA_WORDS[scene.camera.kind], rng), ("camera", scene.camera.kind))
