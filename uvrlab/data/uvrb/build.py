"""The procedural UVRB: queries and candidates of sixteen datasets over shared clips, each text checked against every candidate.

A dataset has the task, query form, pool and metric of the one that it mirrors. Datasets about one aspect (place, looks, time,
camera) have pairs of siblings as candidates that differ in that aspect alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from uvrlab.data.benchmark import Benchmark
from uvrlab.data.sources.common import Candidate, QueryRow
from uvrlab.data.uvrb import moments
from uvrlab.data.uvrb.clauses import Said
from uvrlab.data.uvrb.datasets import DATASETS, MIRROR, Dataset
from uvrlab.data.uvrb.facts import Claim, FactIndex, facts
from uvrlab.data.uvrb.texts import TEXTS
from uvrlab.data.world import Scene, segment
from uvrlab.data.world.tables import stable_rng
from uvrlab.data.world.words import count_words

Row = dict[str, Any]
WORDINGS = 24  # tried for one text before what is left gets its second positives
DRAWS = 4  # of a dataset's wordings, each from another random state
ASPECT = {"CRB-S": "place", "VDC-O": "looks", "CRB-T": "time", "CMRB": "camera"}  # of the siblings among the candidates
LONG = ("LoVR-V", "LoVR-C2V", "MS-TI", "MS-TV")
SUBCLIP_S = (3.0, 8.0)


@dataclass
class Tally:
    """What building one dataset came to. `several`: queries whose text, frame or clip is true of a second candidate."""

    dataset: Dataset
    queries: int = 0
    candidates: int = 0
    words: int = 0  # of all texts
    reworded: int = 0
    several: int = 0
    contested: int = 0  # composed queries whose text alone would be misled

    def row(self) -> Row:
        """A line of the report, the published dataset's numbers beside ours."""
        known, n = self.dataset, max(self.queries, 1)
        return {
            "dataset": f"{MIRROR}{known.name}",
            "ability": known.ability,
            "query": known.query,
            "metric": known.metric,
            "queries": self.queries,
            "published queries": known.n_query,
            "candidates": moments.POOL if known.pools else self.candidates,
            "published candidates": known.n_corpus,
            "words": round(self.words / n, 1) if self.words else None,
            "published words": known.words,
            "reworded": self.reworded,
            "of several": self.several,
            "text misleads": self.contested if known.pools else None,
        }


def add_uvrb(made: Benchmark, clips: Sequence[Row], seed: int) -> list[Tally]:
    """Add all sixteen datasets over `clips` (rows with a scene, `uvrb_plan`'s kinds by the form of their ids)."""
    scenes = {c["clip_id"]: Scene.from_json(c["scene"]) for c in clips}
    long = {name: s for name, s in scenes.items() if "-long-" in name}
    short = {name: s for name, s in scenes.items() if name not in long and not s.tags}
    rows, tallies = {c["clip_id"]: c for c in clips}, []
    for known in DATASETS.values():
        pool = long if known.name in LONG else _pairs(short, scenes, ASPECT[known.name]) if known.name in ASPECT else short
        tally = Tally(known)
        queries, candidates = _BUILD[known.query](known, pool, seed, tally)
        tally.queries, tally.candidates = len(queries), len(candidates)
        tallies.append(tally)
        made.add(queries, candidates, rows)
    return tallies


def _pairs(short: Mapping[str, Scene], scenes: Mapping[str, Scene], aspect: str) -> dict[str, Scene]:
    """Short scenes with a sibling in this aspect, each followed by it."""
    found: dict[str, Scene] = {}
    for name, scene in short.items():
        if (sibling := scenes.get(f"{name}-{aspect}")) is not None:
            found |= {name: scene, f"{name}-{aspect}": sibling}
    return found


Built = tuple[list[QueryRow], list[Candidate]]


def _query(known: Dataset, query_id: str, positives: Sequence[str], **more: Any) -> QueryRow:
    return QueryRow(
        f"{MIRROR}{known.name}",
        known.ability,
        known.task,
        query_id,
        tuple(positives),
        **{"style": "", "instruction": known.prompt} | more,
    )


def _whole(known: Dataset, pool: Mapping[str, Scene]) -> list[Candidate]:
    return [Candidate(f"{MIRROR}{known.name}", name, name) for name in pool]


def _texts(known: Dataset, pool: Mapping[str, Scene], seed: int, tally: Tally) -> Built:
    """A text a candidate. Equal texts would be one query asked twice, so a text that is taken is reworded as well."""
    index, queries, taken = FactIndex(pool), [], set[str]()
    for name, scene in pool.items():
        said, right, tries = _determined(known.name, name, scene, index, seed, taken)
        taken.add(said.text)
        tally.words += count_words(said.text)
        tally.reworded += tries > 0
        tally.several += len(right) > 1
        queries.append(_query(known, name, right, text=said.text))
    return queries, _whole(known, pool)


def _determined(
    dataset: str, name: str, scene: Scene, index: FactIndex, seed: int, taken: set[str]
) -> tuple[Said, tuple[str, ...], int]:
    """The first wording true of one candidate only, else the one true of the fewest; what it is true of; wordings refused."""
    best: tuple[Said, tuple[str, ...], int] | None = None
    drawn = (said for draw in range(DRAWS) for said in TEXTS[dataset](scene, stable_rng(seed, "uvrb", dataset, name, draw)))
    for tries, said in enumerate(islice(drawn, WORDINGS)):
        right = index.matches(said.claim)
        if said.text not in taken and (best is None or len(right) < len(best[1])):
            best = said, right, tries
        if best is not None and len(best[1]) == 1:
            break
    if best is None:
        raise ValueError(f"{dataset}: every wording of {name} is another clip's already; widen its texts")
    return best


def _frames(known: Dataset, pool: Mapping[str, Scene], seed: int, tally: Tally) -> Built:
    """One random frame a clip: it shows the cast and the background."""
    index, queries = FactIndex(pool), []
    for name, scene in pool.items():
        frame = int(stable_rng(seed, "uvrb", known.name, name).integers(scene.n_frames))
        at_s = round((frame + 0.5) / scene.fps, 6)
        right = index.matches(_seen(scene))
        tally.several += len(right) > 1
        queries.append(_query(known, name, right, clip_id=name, start_s=at_s, end_s=at_s))
    return queries, _whole(known, pool)


def _subclips(known: Dataset, pool: Mapping[str, Scene], seed: int, tally: Tally) -> Built:
    """One sub-clip of 3-8 s a long video."""
    index, queries = FactIndex(pool), []
    for name, scene in pool.items():
        rng = stable_rng(seed, "uvrb", known.name, name)
        length = round(float(rng.uniform(*SUBCLIP_S)), 1)
        start_s = round(float(rng.uniform(0.0, scene.duration_s - length)), 1)
        part = segment(scene, start_s, start_s + length)
        right = index.matches(_seen(scene) | {f for f in facts(part) if f[0] == "does"})
        tally.several += len(right) > 1
        queries.append(_query(known, name, right, clip_id=name, start_s=start_s, end_s=round(start_s + length, 1)))
    return queries, _whole(known, pool)


def _seen(scene: Scene) -> Claim:
    """What every frame shows, whatever happens: the cast and the background."""
    return frozenset(f for f in facts(scene) if f[0] in ("object", "background", "hues", "count"))


def _moments(known: Dataset, pool: Mapping[str, Scene], seed: int, tally: Tally) -> Built:
    """One composed query a long video, among ten windows of that video."""
    ask = moments.clip_moment if known.query == "T+V" else moments.picture_moment
    queries, candidates = [], []
    for name, scene in pool.items():
        windows = moments.pool_windows(scene)
        found = ask(scene, windows) if windows else None
        if windows is None or found is None:
            raise ValueError(f"{known.name}: nothing can be asked about {name}; the plan must leave it out")
        ids = tuple(f"{name}@{start:.1f}-{end:.1f}" for start, end in windows)
        own = f"{MIRROR}{known.name}"
        candidates += [
            Candidate(own, i, name, *span) for at, (i, span) in enumerate(zip(ids, windows, strict=True)) if at != found.window
        ]
        tally.words += count_words(found.text)
        tally.several += len(found.positives) > 1
        tally.contested += found.contested
        media = {"clip_id": name, "start_s": found.start_s, "end_s": found.end_s}
        pool_ids = (*ids[: found.window], *ids[found.window + 1 :])
        queries.append(_query(known, name, [ids[i] for i in found.positives], text=found.text, pool=pool_ids, **media))
    return queries, candidates


_BUILD = {"T": _texts, "I": _frames, "V": _subclips, "T+I": _moments, "T+V": _moments}
