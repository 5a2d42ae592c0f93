"""The epochs of the curriculum: each is probed, planned and mined when its first step comes, by the model as it is then.

What was found is kept beside the checkpoints, and a killed run takes it up from there: the model that found it is gone by then.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from uvrlab.config import CurriculumConfig
from uvrlab.data import schema
from uvrlab.training import distributed
from uvrlab.training.checkpoints import once
from uvrlab.training.curriculum import alignment, probabilities
from uvrlab.training.curriculum_mining import Read, Row, kept_negatives, mine_pairs, task_of
from uvrlab.training.curriculum_plan import Step, plan_epoch
from uvrlab.training.pairs import Pair, draw, usable_groups


@dataclass(frozen=True)
class Epoch:
    """Scores and probabilities of the tasks, the steps that follow from them, and the rows of the table `negatives`."""

    scores: dict[str, float]
    shares: dict[str, float]
    steps: list[Step]
    mined: list[Row]

    @cached_property
    def negatives(self) -> dict[str, list[str]]:
        """{pair: the pairs whose targets are its hard negatives}."""
        return kept_negatives(self.mined)


class Epochs:
    """`step(n)` is step n of the whole run (from 0) and its epoch.

    `prober` gives the vectors of the first epoch, `reader` those of the model that trains; `answers` says how many are replayed.
    """

    def __init__(
        self,
        pairs: Sequence[Pair],
        answers: int,
        own: CurriculumConfig,
        seed: int,
        model: Any,
        prober: Callable[[], Read],
        reader: Read,
        folder: Path,
    ) -> None:
        self.pairs, self.answers, self.own, self.seed = pairs, answers, own, seed
        self.model, self.prober, self.reader, self.folder = model, prober, reader, folder
        self.sizes = {group: len(rows) for group, rows in usable_groups(pairs).items()}
        self.made: list[Epoch] = []
        self.spent_s = {"probing": 0.0, "mining": 0.0}  # in this process
        folder.mkdir(parents=True, exist_ok=True)

    def step(self, number: int) -> tuple[Epoch, Step]:
        """Step `number` and its epoch, begun where it is new."""
        epoch, at = divmod(number, self.own.epoch_steps)
        while len(self.made) <= epoch:
            self.made.append(self._begin(len(self.made)))
        return self.made[epoch], self.made[epoch].steps[at]

    def _begin(self, epoch: int) -> Epoch:
        was = self.model.training
        self.model.eval()
        with distributed.whole(self.model):
            read = self._read(epoch)
            scores = once(self.folder / f"epoch-{epoch + 1}.json", lambda: self._probe(read()))
            history = [made.scores for made in self.made] + [scores]
            shares = probabilities(self.own.schedule, history, self.sizes, self.own.epochs, *self.own.sigma)
            steps = plan_epoch(self.pairs, self.answers, shares, self.own, self.seed, epoch)
            mined = self._mined(epoch, steps, read)
        self.model.train(was)
        return Epoch(scores, shares, steps, mined)

    def _read(self, epoch: int) -> Callable[[], Read]:
        """The epoch's prober, loaded when it is first needed."""
        if epoch:
            return lambda: self.reader
        loaded: list[Read] = []

        def first() -> Read:
            loaded.extend([] if loaded else [self.prober()])
            return loaded[0]

        return first

    def _probe(self, read: Read) -> dict[str, float]:
        with self._timed("probing"):
            return probe(self.pairs, read, self.own, self.seed)

    def _mined(self, epoch: int, steps: Sequence[Step], read: Callable[[], Read]) -> list[Row]:
        mining = self.own.mining
        if epoch and not mining.every_epoch:
            return self.made[0].mined
        drawn = [i for step in steps if step.kind == "pairs" for i in step.rows] if mining.every_epoch else range(len(self.pairs))
        wanted = [i for i in drawn if task_of(self.pairs[i]) in self.own.mined_tasks]
        file = self.folder / f"negatives-{epoch + 1}.parquet"

        def mine() -> int:
            with self._timed("mining"):
                rows = mine_pairs(self.pairs, wanted, read(), mining, self.seed) if wanted else []
            return schema.write_file("negatives", [{"epoch": epoch + 1, **row} for row in rows], file)

        once(self.folder / f"negatives-{epoch + 1}.json", mine)
        return schema.read_table("negatives", file)

    @contextmanager
    def _timed(self, what: str) -> Iterator[None]:
        start = time.monotonic()
        yield
        self.spent_s[what] += time.monotonic() - start


def probe(pairs: Sequence[Pair], read: Read, own: CurriculumConfig, seed: int) -> dict[str, float]:
    """{task: score}: the alignment of up to `own.probe_pairs` pairs of each task, with different targets, equal every epoch."""
    rng, chosen = np.random.default_rng([seed, 29]), dict[str, list[int]]()
    for group, rows in usable_groups(pairs).items():
        size = min(own.probe_pairs, len({pairs[i].target_id for i in rows}))
        chosen[group] = draw(pairs, rows, [], size, rng)
    flat = [pairs[i] for some in chosen.values() for i in some]
    query, target = read([pair.query for pair in flat]), read([pair.target for pair in flat])
    scores, at = dict[str, float](), 0
    for group, some in chosen.items():
        end = at + len(some)
        scores[group] = alignment(query[at:end], target[at:end], own.score)
        at = end
    return scores
