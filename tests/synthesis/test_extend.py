"""One clip's rows: right for the clip, equal whatever else is in the table, cut on frame edges, faults as rejects."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from uvrlab.config import SynthesizeConfig
from uvrlab.data.schema import STYLES, WORD_RANGES, to_arrow
from uvrlab.data.world import Scene, attribute_combos
from uvrlab.synthesis.captioners.given import Given
from uvrlab.synthesis.captioners.rules import Rules
from uvrlab.synthesis.captioners.world import World
from uvrlab.synthesis.drafts import Subject, leads, subclip
from uvrlab.synthesis.extend import Extension, extend
from uvrlab.synthesis.plan import GIVEN, Cell
from uvrlab.synthesis.view import ClipView

OWN = SynthesizeConfig()
ALL = {Cell("T2V", style): 1 for style in STYLES} | {Cell("I2V"): 2, Cell("V2V"): 2}
COMPOSED = {Cell("TI2V"): 2, Cell("TV2V"): 2}
SEVEN = ALL | COMPOSED | {Cell("T2T", "concise"): 1, Cell("T2I"): 2}


def _world(
    clip: dict[str, Any],
    cells: dict[Cell, int] = ALL,
    seed: int = 0,
    own: SynthesizeConfig = OWN,
    near: Sequence[dict[str, Any]] = (),
) -> Extension:
    return extend(ClipView(clip, Path()), [ClipView(row, Path()) for row in near], cells, World(), own, seed)


def _given(clip: dict[str, Any], cells: dict[Cell, int]) -> Extension:
    return extend(ClipView(clip, Path()), [], cells, Given(), OWN, 0)


def _family(world_clip: Callable[..., Any], number: int) -> list[dict[str, Any]]:
    return [world_clip("train", 4 * number + i) for i in range(4)]


def test_a_clip_with_siblings_gives_all_seven_tasks(world_clip: Callable[..., Any]) -> None:
    clip, *near = _family(world_clip, 0)
    made = _world(clip, SEVEN, near=near)
    assert Counter(p["task"] for p in made.pairs) == {"T2T": 1, "T2I": 2, "T2V": 5, "TI2V": 2, "TV2V": 2, "I2V": 2, "V2V": 2}
    for pair in made.pairs:
        sides = [set(pair[side]["modalities"]) - {"audio"} for side in ("query", "target")]
        letters = {"T": "text", "I": "image", "V": "video"}
        assert sides == [{letters[letter] for letter in side} for side in pair["task"].split("2")]
    assert {t["pair_id"] for t in made.traces} == {p["pair_id"] for p in made.pairs}
    for table in ("pairs", "traces"):
        to_arrow(table, getattr(made, table))


@pytest.mark.parametrize("number", range(4))
def test_composed_queries_refer_to_a_sibling_or_to_what_came_before(world_clip: Callable[..., Any], number: int) -> None:
    clip, *near = _family(world_clip, number)
    ids = {row["clip_id"] for row in near}
    for pair in _world(clip, COMPOSED, near=near).pairs:
        query, target = pair["query"], pair["target"]
        low, high = WORD_RANGES[pair["style"]]
        assert low <= len(query["text"].split()) <= high
        if pair["style"] == "continuation":
            assert query["clip_id"] == target["clip_id"] and query["end_s"] == target["start_s"]
        else:
            assert query["clip_id"] in ids and (target["start_s"], target["end_s"]) == (0.0, 4.0)
        if pair["task"] == "TV2V":
            assert 2.0 <= query["end_s"] - query["start_s"] <= 10.0
            assert (query["start_s"] * 16) % 1 == 0 and (query["end_s"] * 16) % 1 == 0


def test_two_captions_of_one_clip_differ_and_the_target_names_the_clip(world_clip: Callable[..., Any]) -> None:
    for index in range(8):
        (pair,) = _world(world_clip("train", index), {Cell("T2T", "rich"): 1}).pairs
        assert pair["query"]["text"] != pair["target"]["text"]
        assert pair["target"]["clip_id"] == f"world-train-{index:06d}" and pair["target"]["modalities"] == ["text"]


def test_a_pair_to_which_nothing_leads_is_left_out_and_counted(world_clip: Callable[..., Any]) -> None:
    made = _world(world_clip("train", 0), {Cell("TI2V"): 2})
    assert not made.pairs and not made.rejects and made.unled == 2


def test_a_long_reference_is_its_last_ten_seconds(real_clip: Callable[..., Any]) -> None:
    class Follows(Given):
        def strategies(self, reference: Any, item: Any, target: Any) -> tuple[str, ...]:
            return ("continuation",)

        def change(self, reference: Any, item: Any, target: Any, strategy: str, rng: Any) -> str:
            return "The same dog then runs on."

    first, later = real_clip("a", frames=1800), {**real_clip("b", start_s=60.0, frames=45), "parent_id": "a"}
    made = extend(ClipView(later, Path()), [ClipView(first, Path())], {Cell("TV2V"): 1}, Follows(), OWN, 0)
    query, target = made.pairs[0]["query"], made.pairs[0]["target"]
    assert (query["clip_id"], query["start_s"], query["end_s"]) == ("a", 50.0, 60.0)
    assert (target["clip_id"], target["start_s"]) == ("b", 60.0)


def test_a_trace_in_a_loop_is_a_reject_and_its_pair_stays(world_clip: Callable[..., Any]) -> None:
    class Looping(World):
        def target_trace(self, view: Any, rng: Any, error_rate: float) -> Any:
            return "and then the red ring spins " * 9, "A ring.", []

    made = extend(ClipView(world_clip("train", 1), Path()), [], {Cell("I2V"): 1}, Looping(), OWN, 0)
    assert [t["side"] for t in made.traces] == ["query"] and len(made.pairs) == 1
    assert made.rejects[0]["reason"] == "trace:repetition" and made.rejects[0]["item"].endswith("/target")


def test_every_cell_becomes_pairs_with_both_traces(world_clip: Callable[..., Any]) -> None:
    made = _world(world_clip("train", 3))
    assert [(p["task"], p["style"]) for p in made.pairs].count(("I2V", "")) == 2
    assert len(made.pairs) == 9 and not made.rejects
    assert sorted((t["pair_id"], t["side"]) for t in made.traces) == sorted(
        (p["pair_id"], side) for p in made.pairs for side in ("query", "target")
    )
    for table in ("pairs", "traces", "questions"):
        to_arrow(table, getattr(made, table))


@pytest.mark.parametrize("index", range(6))
def test_captions_keep_the_word_range_of_their_style(world_clip: Callable[..., Any], index: int) -> None:
    for pair in _world(world_clip("train", index)).pairs:
        if pair["style"]:
            low, high = WORD_RANGES[pair["style"]]
            assert low <= len(pair["query"]["text"].split()) <= high


def test_times_are_frame_exact_and_inside_the_clip(world_clip: Callable[..., Any]) -> None:
    clip = world_clip("train", 5)
    for pair in _world(clip).pairs:
        query = pair["query"]
        if pair["task"] == "I2V":
            assert query["modalities"] == ["image"] and query["start_s"] == query["end_s"]
            assert (query["start_s"] * 16) % 1 == pytest.approx(0.5)  # the middle of a frame of 16 fps
        elif pair["task"] == "V2V":
            assert (query["start_s"] * 16) % 1 == 0 and (query["end_s"] * 16) % 1 == 0
            assert 0 <= query["start_s"] < query["end_s"] <= clip["end_s"]
        assert (pair["target"]["start_s"], pair["target"]["end_s"]) == (0.0, 4.0)


def test_a_window_keeps_the_clock_of_its_file(real_clip: Callable[..., Any]) -> None:
    clip = real_clip("long", start_s=60.0)
    queries = [p["query"] for p in _given(clip, {Cell("I2V"): 3, Cell("V2V"): 3}).pairs]
    assert all(60.0 <= q["start_s"] <= q["end_s"] <= 63.0 for q in queries)


def test_the_target_has_sound_just_where_the_clip_is_audible(world_clip: Callable[..., Any]) -> None:
    for index in range(12):
        clip = world_clip("train", index)
        wanted = ["video", "audio"] if clip["audible"] else ["video"]
        assert all(p["target"]["modalities"] == wanted for p in _world(clip).pairs)


def test_a_silent_query_has_no_sound_in_its_trace(world_clip: Callable[..., Any]) -> None:
    made = _world(world_clip("train", 0))
    segments = {p["pair_id"] for p in made.pairs if p["task"] == "V2V"}
    thoughts = [t["think"] for t in made.traces if t["pair_id"] in segments and t["side"] == "query"]
    assert thoughts and all("Sound:" not in think for think in thoughts)


def test_rows_depend_on_clip_cells_and_seed_alone(world_clip: Callable[..., Any]) -> None:
    clip = world_clip("train", 8)
    whole, alone = _world(clip), _world(clip, {Cell("V2V"): 1})
    assert whole == _world(clip)
    assert alone.pairs[0] == next(p for p in whole.pairs if p["pair_id"] == alone.pairs[0]["pair_id"])
    assert whole != _world(clip, seed=1)


def test_trace_errors_are_flagged_and_leave_pairs_alone(world_clip: Callable[..., Any]) -> None:
    clip = world_clip("train", 2)
    clean, noisy = _world(clip), _world(clip, own=SynthesizeConfig(trace_error_rate=1.0))
    assert clean.pairs == noisy.pairs
    assert any(t["flags"] for t in noisy.traces) and not any(t["flags"] for t in clean.traces)


def test_questions_carry_the_clips_split_and_never_another_clip(world_clip: Callable[..., Any]) -> None:
    made = _world(world_clip("val", 1))
    assert made.questions and {(q["clip_id"], q["split"]) for q in made.questions} == {("world-val-000001", "val")}


def test_given_uses_the_clips_own_caption_once(real_clip: Callable[..., Any]) -> None:
    made = _given(real_clip("dog"), {Cell("T2V", GIVEN): 3, Cell("I2V"): 1})
    assert [p["style"] for p in made.pairs] == [GIVEN, ""]
    assert made.pairs[0]["query"]["text"] == "A dog runs over a meadow."
    assert made.duplicates == 2 and not made.traces and not made.questions


def test_no_clip_gets_the_same_frame_twice(real_clip: Callable[..., Any]) -> None:
    """Five frames, six draws: at most five frames, and what could not be drawn anew is counted."""
    made = _given(real_clip("short", frames=5), {Cell("I2V"): 6})
    times = [p["query"]["start_s"] for p in made.pairs]
    assert len(times) == len(set(times)) <= 5 and len(times) + made.duplicates == 6


def test_a_clip_without_a_scene_is_a_reject_under_world_with_the_remedy(real_clip: Callable[..., Any]) -> None:
    made = _world(real_clip("dog"))
    assert not made.pairs and made.rejects[0]["item"] == "dog"
    assert "synthesize.provider=given" in made.rejects[0]["detail"]


def test_a_clip_of_three_frames_keeps_its_caption_and_rejects_its_sub_clip(real_clip: Callable[..., Any]) -> None:
    made = _given(real_clip("blip", frames=3), {Cell("T2V", GIVEN): 1, Cell("V2V"): 1})
    assert [p["task"] for p in made.pairs] == ["T2V"]
    assert "3 frames are too few" in made.rejects[0]["detail"]


def test_a_long_clip_of_three_frames_has_no_halves(real_clip: Callable[..., Any]) -> None:
    """A minute at a twentieth of a frame a second could be cut in two by its length, not by its frames."""
    view = ClipView({**real_clip("slow", frames=1800), "fps": 0.05}, Path())
    subject = Subject(view, [], Rules(), SynthesizeConfig())
    assert [lead for task in ("TI2V", "TV2V") for lead in leads(subject, task, np.random.default_rng(0))] == []


@given(n=st.integers(4, 5000), fps=st.floats(5.0, 60.0), seed=st.integers(0, 99))
def test_a_sub_clip_is_never_empty_nor_the_whole(n: int, fps: float, seed: int) -> None:
    low, high = subclip(n, fps, np.random.default_rng(seed))
    assert 0 <= low < high <= n and 2 <= high - low < n
    assert (high - low) / fps <= 10.0 + 1 / fps


def test_scene_of_a_train_clip_shares_no_combination_with_test(world_clip: Callable[..., Any]) -> None:
    combos = {s: set() for s in ("train", "test")}
    for split, found in combos.items():
        for index in range(30):
            found |= attribute_combos(Scene.from_json(world_clip(split, index)["scene"]))
    assert not combos["train"] & combos["test"]
