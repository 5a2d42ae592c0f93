"""The benchmark of hearing: queries that need the sound of a clip, its picture, both, or a sound out of its place.

Four data sets over families of clips in which picture and sound vary apart (`uvrlab.data.world.hearing_scenes`); a query has a
small pool of its own. Every text carries its claim, a set of facts, and is taken when the claim is true of one candidate only.
Which candidate is asked for is drawn evenly, so whoever does not read the text is at chance, whatever clips it prefers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

from uvrlab.config import WorldConfig
from uvrlab.data.benchmark import Benchmark
from uvrlab.data.sources.common import Candidate, QueryRow
from uvrlab.data.uvrb import facts as seen
from uvrlab.data.uvrb.clauses import Generator, Said, does, sentences
from uvrlab.data.uvrb.facts import Claim, FactIndex
from uvrlab.data.uvrb.texts import Wordings, short
from uvrlab.data.world import Scene, words
from uvrlab.data.world.changes import heard
from uvrlab.data.world.hearing_scenes import CASTS, CIRCLE, PICTURES, hearing_id
from uvrlab.data.world.scene import events_during
from uvrlab.data.world.tables import stable_rng
from uvrlab.data.world.words import pick

Row = dict[str, Any]
Cell = tuple[int, int]  # the numbers of a picture and a track
Needs = Literal["sound", "picture", "both", "conflict"]


@dataclass(frozen=True)
class Dataset:
    """One data set. `pool`: the candidates of a query, `asked` those that may be right; `alone`: the share of queries that the
    picture (v) or the sound (a) of the candidates can find, that is 1 / candidates of which its part of the text is true.
    """

    needs: Needs
    pool: tuple[Cell, ...]
    asked: tuple[Cell, ...]
    alone: Mapping[str, float]

    @property
    def name(self) -> str:
        return f"hear-{self.needs}"


_TRACKS = tuple((0, track) for track in range(2 * CIRCLE))
_PICTURES = tuple((picture, 0) for picture in range(PICTURES))
_BOTH = tuple((picture, track) for picture in (0, 1, 2) for track in (0, 2, 2 * CIRCLE))  # no kind is in two of these tracks
_PLACES = tuple((picture, track) for picture in range(CASTS) for track in (0, CIRCLE))
DATASETS: dict[str, Dataset] = {
    d.name: d
    for d in (
        Dataset("sound", _TRACKS, _TRACKS, {"v": 1 / 10, "a": 1.0}),
        Dataset("picture", _PICTURES, _PICTURES, {"v": 1.0, "a": 1 / 10}),
        Dataset("both", _BOTH, _BOTH, {"v": 1 / 3, "a": 1 / 3}),
        # Each picture with its sounds in the places that they have in the whole family, and with the two exchanged.
        Dataset("conflict", _PLACES, tuple(cell for cell in _PLACES if cell[1] == CIRCLE), {"v": 1 / 2, "a": 1 / 10}),
    )
}
CELLS: tuple[Cell, ...] = tuple(sorted({cell for d in DATASETS.values() for cell in d.pool}))


def facts(scene: Scene) -> Claim:
    """What is seen, what is heard, and what is seen while it is heard."""
    kinds = [s.kind for s in sorted(scene.sounds, key=lambda s: s.start_s)]
    found: set[seen.Fact] = {("hears", kind) for kind in kinds} | {("then", *pair) for pair in pairwise(kinds)}
    for sound in scene.sounds:
        acts = (scene.events[i] for i in events_during(scene, sound))
        found |= {("while", sound.kind, scene.objects[act.object].name, act.motion) for act in acts}
    return seen.facts(scene) | found


def add_hearing(made: Benchmark, clips: Sequence[Row], world: WorldConfig, seed: int) -> None:
    """Add the four data sets over `clips` (rows with a scene), a query of each a family.

    A pool that lacks a clip, because it could not be rendered, is asked about nowhere: its chance would be another.
    """
    rows = {c["clip_id"]: c for c in clips}
    for known in DATASETS.values():
        queries, candidates = [], []
        for index in range(world.hearing):
            pool = {cell: hearing_id(*cell, index, world.seed) for cell in known.pool}
            if all(name in rows for name in pool.values()):
                queries.append(_query(known, pool, rows, stable_rng(seed, known.name, index)))
                candidates += [Candidate(known.name, name, name) for name in pool.values()]
        made.add(queries, candidates, rows)


def _query(known: Dataset, pool: Mapping[Cell, str], rows: Mapping[str, Row], rng: Generator) -> QueryRow:
    scenes = {name: Scene.from_json(rows[name]["scene"]) for name in pool.values()}
    right = pool[known.asked[int(rng.integers(len(known.asked)))]]
    index = FactIndex(scenes, facts)
    text = next((said.text for said in TEXTS[known.needs](scenes[right], rng) if index.matches(said.claim) == (right,)), None)
    if text is None:
        raise ValueError(f"{known.name}: no wording is true of {right} alone among {len(pool)} candidates; widen its texts")
    options: dict[str, Any] = {"text": text, "style": "", "pool": tuple(pool.values())}
    return QueryRow(known.name, known.needs, "T2V", right, (right,), **options)


def _sound(scene: Scene, rng: Generator) -> Wordings:
    """Which sounds are heard, in order, and nothing else."""
    kinds = [s.kind for s in scene.sounds]
    first, second = (pick(words.SOUND_WORDS[kind], rng) for kind in kinds)
    forms = ("what is heard, in order, is {} and then {}", "the sound track has {} and then {}", "one hears {}, and after it {}")
    claim = frozenset([*(("hears", kind) for kind in kinds), ("then", *kinds)])
    yield sentences([Said(pick(forms, rng).format(first, second), claim)])


def _both(scene: Scene, rng: Generator) -> Wordings:
    """One thing that happens and one sound, in any order, and not whether they come together."""
    event = scene.events[int(rng.integers(len(scene.events)))]
    kind = scene.sounds[int(rng.integers(len(scene.sounds)))].kind
    parts = [does(scene, event, rng, "a"), Said.of(heard([kind], rng), ("hears", kind))]
    yield sentences(parts[int(i)] for i in rng.permutation(len(parts)))


def _conflict(scene: Scene, rng: Generator) -> Wordings:
    """Which sound falls on which event, in any order: what happens and what is heard, taken apart, tell nothing of it."""
    parts = []
    for sound in scene.sounds:
        act = scene.events[events_during(scene, sound)[0]]
        said, name = does(scene, act, rng), scene.objects[act.object].name
        claim = said.claim | {("hears", sound.kind), ("while", sound.kind, name, act.motion)}
        parts.append(Said(f"{heard([sound.kind], rng)} while {said.text}", claim))
    yield sentences(parts[int(i)] for i in rng.permutation(len(parts)))


TEXTS: dict[Needs, Callable[[Scene, Generator], Wordings]] = {
    "sound": _sound,
    "picture": short,
    "both": _both,
    "conflict": _conflict,
}
