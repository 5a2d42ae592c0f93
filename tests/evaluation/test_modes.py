"""Modes by hand and by brute force: pass@k over all subsets, the oracle query by query, mixed sides, and the router's share."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from uvrlab.config import EvaluateConfig, RouterConfig
from uvrlab.evaluation import mode_summary, results
from uvrlab.evaluation.modes import Scored, Scorer, best_of, needed, possible
from uvrlab.evaluation.tasks import Query, Task
from uvrlab.models.modes import Reading, Spoken

EYE = np.eye(4, dtype=np.float32)
A, B, C, D = EYE
# Four queries, each with one of four candidates as its positive. By disc the first two hit, by gen the second and third.
QUERIES = tuple(Query(f"q{i}", (f"c{i}",), (), {"row": i}) for i in range(4))
TASK = Task("x", "CG", QUERIES, {f"c{i}": {"row": 10 + i} for i in range(4)})
SAMPLES = np.stack([[B, B, A], [B, B, B], [C, D, D], [A, A, A]])  # hits: 1, 3, 1 and 0 of 3
VECTORS = {"speed": [A, B, D, A], "think": [B, B, C, A], "best_of_k": [B, B, D, A]}
TOKENS = {"speed": 0, "think": 10, "best_of_k": 30}


class Known:
    """Vectors of a mode without a model: query i has row i, candidate i the i-th axis."""

    def __init__(self, mode: str) -> None:
        self.mode = mode

    def get(self, rows):
        return np.stack([VECTORS[self.mode][row["row"]] if row["row"] < 10 else EYE[row["row"] - 10] for row in rows])

    def samples(self, rows):
        return SAMPLES[[row["row"] for row in rows]]

    def reading(self, row):
        n = TOKENS[self.mode]
        read = row["row"] != 3
        return Reading(self.mode if read else "speed", 1.0 + n, (Spoken("", n, True, read),) if n else ())


def scored(*wanted: str, **own):
    scorer = Scorer({mode: Known(mode) for mode in VECTORS}, ("R@1", "MRR"), EvaluateConfig(**own))
    return {one.mode: one for one in scorer.all(wanted, [TASK])}


def hits(one) -> list[float]:
    return [score.values["R@1"] for score in one.scores]


@given(st.lists(st.floats(0, 1), min_size=1, max_size=7), st.data())
def test_the_best_of_k_is_the_mean_of_the_maximum_over_all_subsets(values, data):
    k = data.draw(st.integers(1, len(values)))
    subsets = list(itertools.combinations(values, k))
    assert best_of(values, k) == pytest.approx(sum(map(max, subsets)) / len(subsets))


@pytest.mark.parametrize(("n", "c", "k"), [(8, 3, 2), (8, 0, 8), (8, 8, 1), (8, 1, 8), (5, 2, 4)])
def test_for_hits_it_is_the_unbiased_estimator_of_pass_at_k(n, c, k):
    assert best_of([1.0] * c + [0.0] * (n - c), k) == pytest.approx(1 - math.comb(n - c, k) / math.comb(n, k))


def test_k_beyond_the_samples_is_refused():
    with pytest.raises(ValueError, match="found k 3 and 2 samples"):
        best_of([0.0, 1.0], 3)


def test_speed_think_and_mixed_take_their_own_sides():
    found = scored("speed", "think", "mixed")
    assert hits(found["speed"]) == [1, 1, 0, 0] and hits(found["think"]) == [0, 1, 1, 0]
    assert hits(found["think/speed"]) == hits(found["think"]) and hits(found["speed/think"]) == hits(found["speed"])
    assert found["think/speed"].n_tokens == [10] * 4 and found["speed/think"].n_tokens == [0] * 4
    assert found["think"].fallbacks == 1 and found["speed"].fallbacks == 0


def test_the_oracle_takes_the_better_of_each_query_and_pays_for_a_thought_only_there():
    found = scored("oracle")["oracle"]
    assert hits(found) == [1, 1, 1, 0] and found.n_tokens == [0, 0, 10, 0] and found.thinks == [False, False, True, False]
    assert [score.first_relevant_rank for score in found.scores[:3]] == [1, 1, 1]


def test_pass_at_k_by_hand_and_rising():
    """1, 3, 1 and 0 hits of 3: pass@1 is 1/3, 1, 1/3, 0; pass@2 is 2/3, 1, 2/3, 0; pass@3 is 1, 1, 1, 0."""
    found = scored("pass_at_k", "best_of_k")
    expected = {"pass@1": [1 / 3, 1, 1 / 3, 0], "pass@2": [2 / 3, 1, 2 / 3, 0], "pass@3": [1, 1, 1, 0]}
    for mode, values in expected.items():
        assert hits(found[mode]) == pytest.approx(values)
    assert found["pass@1"].n_tokens == [10] * 4 and found["pass@3"].n_tokens == [30] * 4
    assert hits(found["best_of_k"]) == [0, 1, 0, 0] and found["best_of_k"].n_tokens == [30] * 4


def test_auto_ranks_by_both_cosines_where_it_thinks_and_pays_for_every_thought():
    """Budget 0 is disc alone. At budget 1 all think: what either half names ties, a thought without a vector adds nothing."""
    for budget, tokens in ((0.0, 0), (1.0, 10)):
        found = scored("auto", "speed", router=RouterConfig(budget=budget))
        assert hits(found["auto"]) == ([0.5, 1, 0.5, 0] if budget else [1, 1, 0, 0]) and found["auto"].n_tokens == [tokens] * 4
        assert found["auto"].fallbacks == (1 if budget else 0) and found["auto"].milliseconds == [1.0 + (11.0 if budget else 0)] * 4


def test_only_what_a_mode_needs_is_read():
    assert needed(["speed"]) == [("speed", True)]
    assert needed(["think"]) == [("think", True)]
    assert needed(["think", "pass_at_k"]) == [("think", True), ("best_of_k", False)]
    assert needed(["speed", "oracle"]) == [("speed", True), ("think", True)]
    every = ["speed", "think", "mixed", "oracle", "best_of_k", "pass_at_k", "auto"]
    assert possible(every, ("speed",)) == ["speed"] and possible(every, ("speed", "think", "best_of_k", "auto")) == every
    assert results.is_bound("oracle") and results.is_bound("pass@3") and not results.is_bound("auto")


def table(**modes: list[float]) -> results.Table:
    return {(mode, "R@1", "x"): {f"q{i}": v for i, v in enumerate(values)} for mode, values in modes.items()}


def test_the_router_realises_a_share_of_the_oracles_gain():
    """Speed 1/2, think 1/4, oracle 3/4, auto 5/8 of 8 queries: half of the oracle's gain, for 3 of 8 thoughts of 10 tokens.

    Modes that hit without regard to each other would have 1/2 + 1/4 - 1/8 = 5/8."""
    speed, think = [1, 1, 1, 1, 0, 0, 0, 0], [0, 0, 0, 0, 1, 1, 0, 0]
    oracle, auto = [1, 1, 1, 1, 1, 1, 0, 0], [1, 1, 1, 1, 1, 0, 0, 0]
    spent = read("x")
    known = table(speed=speed, think=think, oracle=oracle, auto=auto)
    found = mode_summary.routing(known, {"x": "CG"}, {"x": "R@1"}, spent, 0, 500)
    assert (found.better_single, found.single, found.oracle, found.auto) == ("speed", 0.5, 0.75, 0.625)
    assert found.realised.value == pytest.approx(0.5) and 0 <= found.realised.low < 0.5 < found.realised.high <= 1
    assert found.oracle_if_independent == pytest.approx(0.625) and found.token_share == pytest.approx(0.375)
    equal = table(speed=speed, think=speed, oracle=speed, auto=speed)
    assert mode_summary.routing(equal, {"x": "CG"}, {"x": "R@1"}, spent, 0, 100).realised is None
    assert mode_summary.routing(table(speed=speed, think=think), {"x": "CG"}, {"x": "R@1"}, spent, 0, 100) is None


def read(dataset: str, thoughts: tuple[int, ...] = (0, 8, 2, 3), tokens: float = 10.0) -> list[Scored]:
    """Eight queries in each mode, of which so many are thought about."""
    task = Task(dataset, "CG", QUERIES * 2, {})
    told = zip(("speed", "think", "oracle", "auto"), thoughts, strict=True)
    return [Scored(mode, task, [], [tokens] * n + [0.0] * (8 - n), [1.0] * 8, [i < n for i in range(8)]) for mode, n in told]


def test_what_routing_costs_is_counted_where_its_gain_is():
    """AVG_D is over UVRB's datasets alone; the thoughts about another one, long and many, are not the router's price there."""
    values = table(speed=[1.0] * 4 + [0.0] * 4, think=[0.0, 1.0] * 4, oracle=[1.0] * 8, auto=[1.0] * 6 + [0.0] * 2)
    known = {(mode, metric, name): v for (mode, metric, _), v in values.items() for name in ("world-MSRVTT", "x")}
    scored = [*read("world-MSRVTT"), *read("x", (0, 8, 8, 8), 500.0)]
    found = mode_summary.routing(
        known, dict.fromkeys(("world-MSRVTT", "x"), "CG"), {"world-MSRVTT": "R@1", "x": "R@1"}, scored, 0, 50
    )
    assert (found.n, found.thinks, found.token_share) == (8, pytest.approx(3 / 8), pytest.approx(3 / 8))


def test_a_bound_has_no_chance_level():
    rows = [
        {"dataset": "x", "ability": "CG", "query_id": "q", "mode": mode, "metric": "R@1", "value": 1.0}
        | {"model_digest": "m", "benchmark_digest": "b"}
        for mode in ("speed", "oracle")
    ]
    found = results.summarise(rows, chances={("x", "R@1"): 0.25}, seed=0, bootstrap=50, bounds={"oracle"}).results
    assert found.score("x", mode="speed").chance == 0.25 and found.score("x", mode="oracle").chance is None
    assert found.score("AVG_D", mode="speed").chance == 0.25 and found.score("AVG_D", mode="oracle").chance is None
