"""Scores of pictures known in closed form, verdicts, reject rows, sweeps and the report."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.synthesis.pictured import moving, noise
from uvrlab.config import FiltersConfig
from uvrlab.data import schema
from uvrlab.report import Report
from uvrlab.synthesis.filters import (
    FILTERS,
    apply,
    judge,
    pages,
    pictures,
)
from uvrlab.synthesis.filters.clip import measure_frames

OWN = FiltersConfig()
Row = dict[str, Any]


def verdicts(rows: list[Row]) -> dict[str, str]:
    return {row["filter"]: row["verdict"] for row in rows}


def scores(rows: list[Row]) -> dict[str, float]:
    return {row["filter"]: row["score"] for row in rows}


def test_every_filter_has_a_threshold_field_and_the_other_way_round() -> None:
    fields = {name for name, field in FiltersConfig.model_fields.items() if field.annotation == float | None}
    assert fields == FILTERS.keys()


def test_an_ordinary_picture_in_motion_is_kept_by_every_filter() -> None:
    rows = measure_frames("c", moving(noise(), 3), 0.25, OWN)
    assert set(verdicts(rows).values()) == {"keep"}


@pytest.mark.parametrize(
    ("frames", "dropped"),
    [
        (np.zeros((8, 96, 128, 3), np.uint8), {"black", "blurred", "frozen", "static_difference", "static_flow"}),
        (np.stack([noise()] * 8), {"frozen", "static_difference", "static_flow"}),
        (moving(noise() // 32, 3), {"black", "blurred"}),
    ],
    ids=["black", "frozen", "dark"],
)
def test_a_faulty_picture_is_dropped_by_name(frames: np.ndarray, dropped: set[str]) -> None:
    found = verdicts(measure_frames("c", frames, 0.25, OWN))
    assert {name for name, verdict in found.items() if verdict == "drop"} == dropped


def test_a_blurred_picture_is_dropped_as_blurred_alone() -> None:
    import cv2

    soft = np.stack([cv2.GaussianBlur(frame, (0, 0), 12) for frame in moving(noise(), 3)])
    found = verdicts(measure_frames("c", soft, 0.25, OWN))
    assert {name for name, verdict in found.items() if verdict == "drop"} == {"blurred"}


def test_flow_is_the_speed_in_picture_heights_a_second() -> None:
    """3 px a quarter second in a picture of 96 lines: 3 / 96 / 0.25 = 0.125 heights/s."""
    assert pictures.flow(pictures.luma(moving(noise(), 3)), 0.25) == pytest.approx(0.125, rel=0.15)


def test_difference_and_frozen_count_what_changes() -> None:
    """Frames of 10, 10, 10, 14, 14: changes 0, 0, 4, 0, so three quarters are frozen; the 75th percentile is 0 + 0.25 * 4 = 1."""
    grey = np.stack([np.full((4, 4), level, np.uint8) for level in (10, 10, 10, 14, 14)])
    change = pictures.changes(grey)
    assert change.tolist() == [0, 0, 4, 0]
    assert pictures.frozen(change) == 0.75
    assert pictures.difference(change) == pytest.approx(1.0)
    assert pictures.brightness(grey) == 10.0


def test_a_cut_is_found_where_it_is_and_counted_per_minute() -> None:
    frames = np.concatenate([moving(noise(1), 1), moving(255 - noise(2), 1)])
    assert pictures.cuts(frames, 4.0) == [8]
    row = next(row for row in measure_frames("c", frames, 0.25, OWN) if row["filter"] == "cuts")
    assert (row["score"], row["detail"], row["verdict"]) == (15.0, "2.00 s", "keep")


@given(st.sampled_from(sorted(FILTERS)), st.floats(-200, 200), st.floats(-200, 200))
def test_a_verdict_is_its_side_of_the_threshold(name: str, score: float, threshold: float) -> None:
    own = OWN.model_copy(update={name: threshold})
    wrong = score < threshold if FILTERS[name].drops == "below" else score > threshold
    assert judge(name, score, own, clip_id="c")["verdict"] == ("drop" if wrong else "keep")
    assert judge(name, score, own, clip_id="c", able=False)["verdict"] == "not judged"
    assert judge(name, None, own, clip_id="c")["verdict"] == "not judged"
    assert judge(name, score, OWN.model_copy(update={name: None}), clip_id="c")["score"] == pytest.approx(score, abs=1e-6)


def test_what_is_dropped_becomes_one_reject_row_with_scores_and_thresholds() -> None:
    rows = [
        judge("black", 3.0, OWN, clip_id="a"),
        judge("blurred", 1.0, OWN, clip_id="a"),
        judge("text_words", 1.0, OWN, clip_id="b", pair_id="b:0", detail="query"),
        judge("black", 90.0, OWN, clip_id="b"),
    ]
    found = apply(rows)
    assert found.clips == {"a": {"item": "a", "reason": "filter:black", "detail": "black 3 is below 8; blurred 1 is below 10"}}
    assert found.pairs == {"b:0": {"item": "b:0", "reason": "filter:text_words", "detail": "text_words 1 is below 3 (query)"}}
    assert schema.to_arrow("filters", rows).num_rows == 4
    assert schema.to_arrow("rejects", [*found.clips.values(), *found.pairs.values()]).num_rows == 2


def test_silence_is_what_ingest_heard(real_clip: Callable[..., Row]) -> None:
    from uvrlab.synthesis.filters.clip import silence

    own = OWN.model_copy(update={"silence": -50.0})
    row = real_clip("a") | {"loudness_db": None}
    assert (silence(row, OWN)["score"], silence(row, OWN)["verdict"]) == (-120.0, "not judged")
    assert (silence(row, own)["verdict"], silence(row, own)["detail"]) == ("drop", "no sound track")
    heard = row | {"has_audio": True, "audible": True, "loudness_db": -20.0}
    assert silence(heard, own)["verdict"] == "keep"


def test_a_sweep_is_the_keep_rate_at_every_threshold() -> None:
    values = np.array([1.0, 2.0, 3.0, 4.0])
    below, above = dict(pages.sweep("black", values, 5)), dict(pages.sweep("cuts", values, 5))
    assert (below[1.0], below[4.0]) == (100.0, pytest.approx(40.0))  # 1, 2 and 3 of five fall; one has no score
    assert (above[1.0], above[4.0]) == (pytest.approx(40.0), 100.0)


def test_the_report_shows_each_filter_with_its_keep_rate() -> None:
    rows = [judge("black", score, OWN, clip_id=str(score)) for score in (2.0, 50.0, 80.0, 120.0)]
    rows += [judge("silence", -20.0, OWN, clip_id="s"), judge("duplicate", None, OWN, clip_id="d")]
    html = pages.section(Report("UVRD"), iter(rows), OWN).html()
    assert "below 8 grey levels" in html
    assert "75" in html and "threshold of black" in html and "brightness of the median frame" in html
    assert "text_words" not in html
