"""The plan of batches: one dataset each, no target twice, the same for the same seed."""

from hypothesis import given, settings
from hypothesis import strategies as st

from uvrlab.data.items import Item
from uvrlab.training.pairs import Pair, plan_batches


def pairs(groups: list[tuple[str, int]]) -> list[Pair]:
    word = Item("q", text="words")
    return [Pair(str(i), group, "train", word, word, target) for i, (group, target) in enumerate(groups)]


drawn = st.lists(st.tuples(st.sampled_from(["T2V/concise", "T2V/rich", "I2V"]), st.integers(0, 12)), min_size=2, max_size=60)


@settings(max_examples=60)
@given(drawn, st.integers(2, 9), st.integers(0, 5))
def test_every_batch_is_one_group_of_distinct_targets(groups, size, seed):
    rows = pairs(groups)
    per_group = {g: {t for h, t in groups if h == g} for g, _ in groups}
    if max(map(len, per_group.values())) < 2:
        return
    plan = plan_batches(rows, 12, size, seed)
    assert plan == plan_batches(rows, 12, size, seed)
    for batch in plan:
        (group,) = {rows[i].group for i in batch}
        targets = [rows[i].target_id for i in batch]
        assert len(set(targets)) == len(targets) == min(size, len(per_group[group]))


def test_a_pass_over_a_group_uses_every_pair_before_any_comes_again():
    rows = pairs([("I2V", t) for t in range(12)])
    used = [i for batch in plan_batches(rows, 3, 4, 0) for i in batch]
    assert sorted(used) == list(range(12))
