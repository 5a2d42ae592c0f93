"""What each way of reading an item is worth, query by query: speed, think, mixed, oracle, pass@k, a consensus, and the router.

A mode is (mode of the queries, mode of the candidates). Candidates are read greedily, once, when a corpus is indexed; only queries
are sampled. `oracle` and `pass@k` look at the truth: they are bounds, not ways to search, and have no chance level.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from uvrlab.config import EvaluateConfig
from uvrlab.evaluation import tasks, uvrb
from uvrlab.evaluation.results import AUTO, ORACLE
from uvrlab.evaluation.tasks import QueryScore, Task
from uvrlab.models.modes import Mode, Reading
from uvrlab.models.router import side_by_side, who_thinks

Array = np.ndarray[Any, Any]
SINGLES: tuple[Mode, Mode] = ("speed", "think")
MIXED: dict[str, tuple[Mode, Mode]] = {"think/speed": ("think", "speed"), "speed/think": ("speed", "think")}  # queries/candidates
BEST = "best_of_k"


@dataclass(frozen=True)
class Scored:
    """One dataset in one mode: what each query got, and what reading it cost. `thinks`: whether it was thought about at all."""

    mode: str
    task: Task
    scores: Sequence[QueryScore]
    n_tokens: Sequence[float]
    milliseconds: Sequence[float]
    thinks: Sequence[bool]
    fallbacks: int = 0


def needed(wanted: Sequence[str]) -> list[tuple[Mode, bool]]:
    """(mode, whether candidates are read in it too) of every pass over the benchmark that the wanted modes need."""
    found: list[tuple[Mode, bool]] = []
    found += [("speed", True)] if set(wanted) & {"speed", ORACLE, "mixed", AUTO} else []
    found += [("think", True)] if set(wanted) - {"speed"} else []
    found += [("best_of_k", False)] if set(wanted) & {BEST, "pass_at_k"} else []
    return found


def possible(wanted: Sequence[str], has: Sequence[Mode]) -> list[str]:
    """Those of the wanted modes for which a model that `has` these ways of reading can be evaluated."""
    return [mode for mode in wanted if all(read in has for read, _ in needed([mode]))]


class Scorer:
    """Scores the tasks of a benchmark from vectors by mode: `vectors[mode]` has `get`, `samples` and `reading` of item rows."""

    def __init__(self, vectors: Mapping[Mode, Any], metrics: Sequence[str], own: EvaluateConfig) -> None:
        self.vectors, self.metrics, self.own = vectors, metrics, own

    def all(self, wanted: Sequence[str], every: Sequence[Task]) -> Iterator[Scored]:
        """Every task in every wanted mode, mode by mode."""
        for mode in wanted:
            found = [self.one(mode, task) for task in every]
            for place in range(len(found[0])):
                yield from (of_task[place] for of_task in found)

    def one(self, mode: str, task: Task) -> list[Scored]:
        """One task in one configured mode, which may be several: `mixed` is two, `pass_at_k` is k."""
        if mode == "mixed":
            return [self.plain(task, *sides, name) for name, sides in MIXED.items()]
        if mode == "pass_at_k":
            return self.pass_at_k(task)
        if mode == ORACLE:
            return [oracle(self.plain(task, "speed", "speed"), self.plain(task, "think", "think"))]
        if mode == AUTO:
            return [self.auto(task)]
        return [self.plain(task, "best_of_k", "think", BEST) if mode == BEST else self.plain(task, mode, mode)]  # type: ignore[arg-type]

    def plain(self, task: Task, query: Mode, corpus: Mode, name: str = "") -> Scored:
        """Queries in one mode against candidates in another."""
        scores = tasks.score(task, self._queries(task, query), self._corpus(task, corpus), self._metrics(task))
        return self._scored(name or query, task, scores, self._readings(task, query))

    def pass_at_k(self, task: Task) -> list[Scored]:
        """pass@1 to pass@k from the same k samples of each query."""
        samples = self.vectors["best_of_k"].samples([q.item for q in task.queries])  # (Q, k, D)
        corpus, k = self._corpus(task, "think"), samples.shape[1]
        tried = [tasks.score(task, samples[:, j], corpus, self._metrics(task)) for j in range(k)]
        readings = self._readings(task, "best_of_k")
        found = []
        for n in range(1, k + 1):
            scores = [_best_of([one[i] for one in tried], n) for i in range(len(task.queries))]
            whole = self._scored(f"pass@{n}", task, scores, readings)
            tokens, spent = ([n / k * cost for cost in costs] for costs in (whole.n_tokens, whole.milliseconds))
            found.append(replace(whole, n_tokens=tokens, milliseconds=spent))
        return found

    def auto(self, task: Task) -> Scored:
        """Each query as the router decides from its own candidates; a thought without a vector is paid for and adds nothing."""
        disc, gen = (self._queries(task, mode) for mode in SINGLES)
        speed, think = (self._corpus(task, mode) for mode in SINGLES)
        quick, slow = (self._readings(task, mode) for mode in SINGLES)
        thinks = who_thinks(tasks.candidate_scores(task, disc, speed), **self.own.router.model_dump())
        spoke = thinks & np.array([reading.mode != "speed" for reading in slow])
        vectors = side_by_side(disc, gen, spoke), side_by_side(speed, think)
        return Scored(
            AUTO,
            task,
            tasks.score(task, *vectors, self._metrics(task)),
            [reading.n_tokens * t for reading, t in zip(slow, thinks.tolist(), strict=True)],
            [a.milliseconds + b.milliseconds * t for a, b, t in zip(quick, slow, thinks.tolist(), strict=True)],
            thinks.tolist(),
            sum(reading.fallbacks for reading, t in zip(slow, thinks.tolist(), strict=True) if t),
        )

    def _metrics(self, task: Task) -> list[str]:
        """Those of every dataset, and the one that this dataset is judged by."""
        return list(dict.fromkeys((*self.metrics, uvrb.main_metric(task.dataset))))

    def _queries(self, task: Task, mode: Mode) -> Array:
        found: Array = self.vectors[mode].get([q.item for q in task.queries])
        return found

    def _corpus(self, task: Task, mode: Mode) -> Array:
        found: Array = self.vectors[mode].get(list(task.corpus.values()))
        return found

    def _readings(self, task: Task, mode: Mode) -> list[Reading]:
        return [self.vectors[mode].reading(q.item) for q in task.queries]

    @staticmethod
    def _scored(mode: str, task: Task, scores: Sequence[QueryScore], readings: Sequence[Reading]) -> Scored:
        return Scored(
            mode,
            task,
            scores,
            [reading.n_tokens for reading in readings],
            [reading.milliseconds for reading in readings],
            [bool(reading.thoughts) for reading in readings],
            sum(reading.fallbacks for reading in readings),
        )


def oracle(disc: Scored, gen: Scored) -> Scored:
    """Per query and metric the better of the two, queries and candidates both in that mode (UME-R1 section 4.4); ties go to disc.

    Tokens and time are those of the mode whose first positive stands higher: a bound knows without thinking that it need not think.
    """
    thinks = [g.first_relevant_rank < d.first_relevant_rank for d, g in zip(disc.scores, gen.scores, strict=True)]

    def taken(of_disc: Sequence[Any], of_gen: Sequence[Any]) -> list[Any]:
        return [g if t else d for d, g, t in zip(of_disc, of_gen, thinks, strict=True)]

    scores = [
        replace(better, values={name: max(d.values[name], g.values[name]) for name in d.values})
        for better, d, g in zip(taken(disc.scores, gen.scores), disc.scores, gen.scores, strict=True)
    ]
    tokens, spent = taken(disc.n_tokens, gen.n_tokens), taken(disc.milliseconds, gen.milliseconds)
    return replace(disc, mode=ORACLE, scores=scores, thinks=thinks, n_tokens=tokens, milliseconds=spent)


def _best_of(tried: Sequence[QueryScore], k: int) -> QueryScore:
    """What the best of k of the n samples of a query is expected to get."""
    values = {name: best_of([one.values[name] for one in tried], k) for name in tried[0].values}
    rank = -best_of([-one.first_relevant_rank for one in tried], k)
    return replace(tried[0], values=values, first_relevant_rank=rank, top_ids=(), top_scores=())


def best_of(values: Sequence[float], k: int) -> float:
    """Expected maximum of k of n values, drawn without replacement: unbiased for k fresh samples.

    For hits of 0 and 1 it is pass@k = 1 - C(n - c, k) / C(n, k) (Chen et al. 2021, equation 1); it also holds for the shares that
    ties give. ValueError unless 1 <= k <= n.
    """
    n = len(values)
    if not 1 <= k <= n:
        raise ValueError(f"found k {k} and {n} samples; expected 1 <= k <= samples")
    expected = sum(value * math.comb(i, k - 1) for i, value in enumerate(sorted(values))) / math.comb(n, k)
    return min(expected, max(values))  # rounding must not pass the best there is
