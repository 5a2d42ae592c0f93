"""An epoch's steps: replay has its share, tasks have theirs, and the same arguments give the same plan."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from uvrlab.config import CurriculumConfig, ReplayConfig
from uvrlab.data.items import Item
from uvrlab.training.curriculum_plan import plan_epoch
from uvrlab.training.pairs import Pair

WORD = Item("q", text="words")


def pairs(thinking: int = 20) -> list[Pair]:
    """Ten pairs of each of two tasks; the first `thinking` have thoughts."""
    rows = [Pair(str(i), ("T2V/rich", "I2V")[i % 2], "train", WORD, WORD, i) for i in range(20)]
    return [replace(p, query_response="r", target_response="r") if i < thinking else p for i, p in enumerate(rows)]


def own(steps: int = 20, generative: float = 0.25, grounding: float = 0.1) -> CurriculumConfig:
    return CurriculumConfig(epoch_steps=steps, batch_size=4, replay=ReplayConfig(generative=generative, grounding=grounding))


EVEN = {"T2V/rich": 0.5, "I2V": 0.5}


@settings(max_examples=30)
@given(st.integers(1, 40), st.floats(0, 0.5), st.floats(0, 0.4), st.integers(0, 3))
def test_replay_takes_exactly_its_share_of_the_steps(steps, generative, grounding, epoch):
    chosen = own(steps, generative, grounding)
    plan = plan_epoch(pairs(), 9, EVEN, chosen, 0, epoch)
    counts = Counter(step.kind for step in plan)
    assert len(plan) == steps
    assert (counts["generative"], counts["grounding"]) == (round(generative * steps), round(grounding * steps))
    assert plan == plan_epoch(pairs(), 9, EVEN, chosen, 0, epoch)
    for step in plan:
        if step.kind == "grounding":
            assert len(set(step.rows)) == len(step.rows) == 4 and max(step.rows) < 9
        else:
            assert len({pairs()[i].group for i in step.rows}) == 1


def test_epochs_are_drawn_apart_and_a_task_of_no_probability_never_comes():
    first, second = (plan_epoch(pairs(), 9, {"T2V/rich": 1.0, "I2V": 0.0}, own(), 0, epoch) for epoch in (0, 1))
    assert first != second
    assert {pairs()[i].group for step in first if step.kind == "pairs" for i in step.rows} == {"T2V/rich"}
    assert {pairs()[i].group for step in first if step.kind == "generative" for i in step.rows} == {"T2V/rich", "I2V"}


def test_what_there_is_nothing_of_is_not_replayed():
    """Thoughts on three pairs of one task and one of the other can fill a batch; on one pair of each they cannot."""
    kinds = [Counter(s.kind for s in plan_epoch(pairs(n), answers, EVEN, own(), 0, 0)) for n, answers in ((4, 0), (2, 1))]
    assert kinds == [{"pairs": 15, "generative": 5}, {"pairs": 18, "grounding": 2}]
    plan = plan_epoch(pairs(4), 0, EVEN, own(), 0, 0)
    assert {i for step in plan if step.kind == "generative" for i in step.rows} <= {0, 1, 2, 3}
