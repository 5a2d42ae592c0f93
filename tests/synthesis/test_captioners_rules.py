"""What `rules` measures is what was put there, and what it writes keeps its range whatever the facts are."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from uvrlab.data.probe import probe
from uvrlab.data.schema import STYLES, WORD_RANGES, item
from uvrlab.data.world import Scene, render_clip, sample_scene
from uvrlab.synthesis.captioners import flow, picture
from uvrlab.synthesis.captioners.answers import problems, text_problems
from uvrlab.synthesis.captioners.base import PROFILES, ProviderError, draw_profile
from uvrlab.synthesis.captioners.facts import Facts, Stretch, _livelier, measure_facts
from uvrlab.synthesis.captioners.loudness import Loudness, measure_loudness
from uvrlab.synthesis.captioners.rules import Rules, _continuation
from uvrlab.synthesis.captioners.styles import write
from uvrlab.synthesis.view import ClipView

Row = dict[str, Any]
RULES = Rules()
REAL = Path(__file__).resolve().parents[3] / "shared" / "data" / "real_clips"
H, W, FPS = 120, 160, 8.0


def _texture(seed: int = 0) -> np.ndarray:
    noise = np.random.default_rng(seed).integers(0, 256, (60, 80, 3), np.uint8)
    return cv2.GaussianBlur(cv2.resize(noise, (4 * W, 4 * H), interpolation=cv2.INTER_CUBIC), (0, 0), 2.0)


def _window(x: float, y: float, zoom: float = 1.0) -> np.ndarray:
    """The picture that a view centred at (x, y) of the texture shows."""
    matrix = np.array([[zoom, 0, W / 2 - zoom * x], [0, zoom, H / 2 - zoom * y]])
    return cv2.warpAffine(_texture(), matrix, (W, H))


def _steps(frames: list[np.ndarray]) -> list[flow.Step]:
    return flow.steps(np.stack(frames), np.arange(len(frames)) / FPS)


@pytest.mark.parametrize(
    ("word", "path"),
    [
        ("right", lambda t: (300 + 4 * t, 240, 1.0)),
        ("left", lambda t: (300 - 4 * t, 240, 1.0)),
        ("down", lambda t: (300, 240 + 3 * t, 1.0)),
        ("up", lambda t: (300, 240 - 3 * t, 1.0)),
        ("in", lambda t: (300, 240, 1.03**t)),
        ("out", lambda t: (300, 240, 1.4 * 0.97**t)),
        ("still", lambda t: (300, 240, 1.0)),
    ],
)
def test_a_view_that_travels_is_named_by_where_it_goes(word: str, path: Callable[[int], tuple[float, float, float]]) -> None:
    assert flow.view_word(_steps([_window(*path(t)) for t in range(9)])) == word


def test_a_thing_that_crosses_a_resting_view_has_a_place_and_a_heading() -> None:
    frames = []
    for t in range(9):
        frame = _window(300, 240)
        cv2.rectangle(frame, (110 - 6 * t, 80), (134 - 6 * t, 104), (250, 250, 250), -1)
        cv2.line(frame, (110 - 6 * t, 92), (134 - 6 * t, 92), (20, 20, 20), 3)
        frames.append(frame)
    found = _steps(frames)
    assert (flow.view_word(found), flow.heading_word(found)) == ("still", "left")
    assert flow.place_word(found) in ("bottom centre", "bottom right") and flow.strength(found) > 0.5
    assert flow.cuts(found) == ()


def test_what_creeps_shows_over_a_second() -> None:
    """A third of a pixel a frame is rest from frame to frame; over a second 10.4 % of the picture go 8/3 of 120 lines: 0.23 %."""
    frames = []
    for t in range(33):
        frame = _window(300, 240)
        part = _window(300 - t / 3, 240)[70:110, 100:150]  # what the rectangle shows creeps to the right
        frame[70:110, 100:150] = part
        frames.append(frame)
    close, wide = _steps(frames), flow.steps(np.stack(frames[::8]), np.arange(5.0))
    assert flow.strength(close) < 0.05 and _livelier(close, wide) is wide
    assert flow.strength(wide) == pytest.approx(0.23, abs=0.05) and flow.place_word(wide) == "bottom right"
    still = _steps([_window(300, 240)] * 9)
    assert _livelier(still, still[::4]) is still


def test_a_cut_is_found_at_its_frame_and_a_pan_is_none() -> None:
    warm, cold = np.array([250, 180, 120]) / 255, np.array([60, 130, 250]) / 255
    frames = [(_window(300, 240) * warm).astype(np.uint8)] * 5 + [(_window(150, 120) * cold).astype(np.uint8)] * 5
    assert flow.cuts(_steps(frames)) == (round(5 / FPS, 2),)
    assert flow.cuts(_steps([_window(200 + 12 * t, 240) for t in range(9)])) == ()


@pytest.mark.parametrize(
    ("rgb", "name"),
    [
        ((10, 10, 12), "black"),
        ((250, 250, 250), "white"),
        ((128, 126, 127), "grey"),
        ((220, 30, 30), "red"),
        ((250, 140, 10), "orange"),
        ((120, 80, 45), "brown"),
        ((222, 200, 160), "beige"),
        ((245, 230, 40), "yellow"),
        ((40, 170, 60), "green"),
        ((20, 70, 25), "dark green"),
        ((50, 210, 220), "turquoise"),
        ((150, 190, 235), "light blue"),
        ((40, 70, 220), "blue"),
        ((150, 40, 200), "purple"),
        ((250, 150, 190), "pink"),
    ],
)
def test_colours_have_their_common_names(rgb: tuple[int, int, int], name: str) -> None:
    frame = np.full((1, 24, 24, 3), rgb, np.uint8)
    assert picture.shares(picture.colour_numbers(frame)) == ((name, 1.0),)


def test_a_burst_is_a_loudness_event_with_its_times() -> None:
    """0.02 rms hum of 3 s with a burst of 0.4 from 1.0 to 1.4 s: level 20 log10 of the rms of both together."""
    rate = 16_000
    wave = np.random.default_rng(0).normal(0, 0.002, 3 * rate).astype(np.float32)
    wave[rate : rate + round(0.4 * rate)] = 0.4
    found = measure_loudness(wave, rate)
    assert found.loud == ((1.0, 1.4),)
    assert found.level_db == pytest.approx(10 * np.log10(0.16 * 0.4 / 3), abs=0.1)


def test_profiles_are_drawn_at_30_60_10() -> None:
    rng = np.random.default_rng(0)
    drawn = [draw_profile(rng) for _ in range(4000)]
    for name, share in PROFILES.items():
        assert drawn.count(name) / 4000 == pytest.approx(share, abs=0.03)


_WORDS = st.sampled_from(["still", "nearly still", "left", "in", "about", "unclear"])
_SHARES = st.lists(st.sampled_from(picture.NAMES), min_size=1, max_size=3, unique=True).map(lambda n: tuple((c, 0.25) for c in n))
_PLACE = st.sampled_from([None, "centre", "top left", "bottom right"])
_HEADING = st.sampled_from([None, "left", "up"])
_MOTION = st.floats(0, 40)


@st.composite
def _facts(draw: st.DrawFn) -> Facts:
    count = draw(st.integers(1, 12))
    duration = draw(st.floats(0.2, 60))
    edges = np.linspace(0, duration, count + 1).round(1)
    luma = st.floats(0, 255)
    parts = [
        Stretch(
            float(a),
            float(b),
            draw(luma),
            draw(_SHARES)[:2],
            draw(_WORDS),
            draw(_MOTION),
            draw(_HEADING),
            draw(_PLACE),
            draw(st.booleans()),
        )
        for a, b in pairwise(edges)
    ]
    fields = tuple(((row, column), draw(_SHARES)) for row in picture.ROWS for column in picture.COLUMNS)
    track = draw(st.sampled_from(["none", "silent", "sound"]))
    loud = tuple((float(i), i + 0.5) for i in range(draw(st.integers(0, 5))))
    return Facts(
        duration_s=round(duration, 2),
        width=draw(st.sampled_from([80, 120, 213])),
        height=120,
        frames=count,
        luma=draw(luma),
        colours=draw(_SHARES),
        fields=fields,
        cuts_s=tuple(edges[1:-1][: draw(st.integers(0, 6))].tolist()),
        view=draw(_WORDS),
        motion=draw(_MOTION),
        heading=draw(_HEADING),
        place=draw(_PLACE),
        stretches=tuple(parts),
        track=track,
        sound=Loudness(draw(st.floats(-60, 0)), loud, (), ()) if track == "sound" else None,
    )


_GIVEN = st.one_of(
    st.none(), st.integers(1, 260).map(lambda n: " ".join(["word"] * n)), st.just("A dog runs: it barks; then rests.")
)


@settings(max_examples=150)
@given(
    facts=_facts(), caption=_GIVEN, style=st.sampled_from(STYLES), profile=st.sampled_from(list(PROFILES)), seed=st.integers(0, 9)
)
def test_every_style_keeps_its_range_whatever_was_measured(facts: Facts, caption: Any, style: str, profile: Any, seed: int) -> None:
    text = write(style, facts, caption, profile, np.random.default_rng(seed))
    low, high = WORD_RANGES[style]
    assert low <= len(text.split()) <= high
    assert write(style, facts, caption, profile, np.random.default_rng(seed)) == text


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Scene, ClipView]]:
    """Six rendered clips, as a folder of videos without scene graphs."""
    base, made = tmp_path_factory.mktemp("media"), []
    for index in range(0, 24, 4):
        scene = sample_scene("train", index)
        (base / f"{index}.mp4").write_bytes(render_clip(scene))
        found = probe(str(base / f"{index}.mp4"))
        named = {"clip_id": f"c{index}", "parent_id": f"c{index}", "media_sha256": f"sha{index}", "uri": f"{index}.mp4"}
        made.append((scene, ClipView({**named, **found.columns(0.0, found.duration_s), "caption": None, "tags": []}, base)))
    return made


def test_the_measured_view_never_contradicts_the_scene(clips: list[tuple[Scene, ClipView]]) -> None:
    wrong = {"pan_left": "right", "pan_right": "left", "zoom_in": "out", "zoom_out": "in"}
    for scene, view in clips:
        facts = measure_facts(view)
        assert facts.view != wrong.get(scene.camera.kind) and facts.cuts_s == ()
        assert facts.track == {"sound": "sound", "silent": "silent", "none": "none"}[scene.track]


def test_captions_of_a_video_without_words_are_in_range_and_repeat(clips: list[tuple[Scene, ClipView]]) -> None:
    for number, (_, view) in enumerate(clips):
        for style in STYLES:
            text = RULES.caption(view, style, np.random.default_rng(number))
            assert not text_problems(style, text)
            assert RULES.caption(view, style, np.random.default_rng(number)) == text
        for rich in (False, True):
            text = RULES.frame_caption(view, 1.03, np.random.default_rng(number), rich)
            assert not text_problems("frame_rich" if rich else "frame", text)
        think, answer, _ = RULES.target_trace(view, np.random.default_rng(number), 0.0) or ("", "", [])
        assert think and answer and len(RULES.facts(view)) == 5


def test_changes_lead_only_between_windows_of_one_video(clips: list[tuple[Scene, ClipView]]) -> None:
    (_, first), (_, other) = clips[0], clips[1]
    early = ClipView({**first.row, "clip_id": "c0@0-2", "end_s": 2.0}, first.base)
    late = ClipView({**first.row, "clip_id": "c0@2-4", "start_s": 2.0}, first.base)
    for kind, end_s, expected in (("video", 2.0, "continuation"), ("image", 1.0, "identity+action")):
        start_s = 0.0 if kind == "video" else end_s
        given_item = item(clip_id="c0", start_s=start_s, end_s=end_s, modalities=[kind])
        assert expected in RULES.strategies(early, given_item, late)
        assert RULES.strategies(early, given_item, other) == ()
        for strategy in RULES.strategies(early, given_item, late):
            text = RULES.change(early, given_item, late, strategy, np.random.default_rng(0))
            assert not text_problems(strategy, text)
    half = item(clip_id="c0", start_s=0.0, end_s=2.0, modalities=["video"])
    rest = ClipView({**first.row, "start_s": 2.0}, first.base)
    assert RULES.strategies(first, half, rest) == ("continuation",)  # the rest of the very same clip
    with pytest.raises(ProviderError, match="does not lead"):
        RULES.change(early, given_item, other, "identity+action", np.random.default_rng(0))


@settings(max_examples=50)
@given(facts=_facts(), seed=st.integers(0, 20))
def test_a_continuation_keeps_its_range_whatever_was_measured(facts: Facts, seed: int) -> None:
    """A pan with motion that has a place and a direction would be 17 words of 15; "next hardly any motion" 4 of 5 at least."""
    pan = replace(facts, view="right", motion=2.0, heading="right", place="bottom centre")
    for measured in (facts, pan, replace(facts, view="unclear", motion=0.0)):
        assert not text_problems("continuation", _continuation(measured, np.random.default_rng(seed)))


def test_what_does_not_decode_is_a_reject_and_planning_decodes_nothing(real_clip: Callable[..., Row]) -> None:
    view = ClipView({**real_clip("gone"), "media_sha256": "gone"}, Path("nowhere"))
    assert RULES.tasks(view) >= {"T2V", "T2I"} and RULES.styles(view, {"concise": 1.0})
    with pytest.raises(ProviderError, match="not measured"):
        RULES.caption(view, "concise", np.random.default_rng(0))


@pytest.mark.skipif(not REAL.is_dir(), reason="no ../shared/data/real_clips beside the repository")
@pytest.mark.parametrize(
    ("name", "view_word", "heading", "cuts"),
    [("bear_behind_bars", None, "left", 0), ("portrait_roof_pan", "right", None, 0), ("bbb_bird_on_branch", "still", None, 1)],
)
def test_facts_of_real_clips_hold_by_eye(name: str, view_word: str | None, heading: str | None, cuts: int) -> None:
    row = next(json.loads(line) for line in (REAL / "manifest.jsonl").open() if json.loads(line)["clip_id"] == name)
    found = probe(str(REAL / row["file"]))
    facts = measure_facts(
        ClipView({**found.columns(0.0, found.duration_s), "uri": row["file"], "media_sha256": row["sha256"]}, REAL)
    )
    assert view_word in (None, facts.view) and heading in (None, facts.heading) and len(facts.cuts_s) == cuts


def test_answers_are_judged_by_schema_range_and_still_words() -> None:
    assert problems("concise", {"text": "word " * 12}) == []
    assert "found 3 words, expected 10 to 25" in problems("concise", {"text": "only three words"})[0]
    assert problems("concise", {"caption": "x"}) and problems("concise", ["x"])
    assert "implies motion" in problems("frame", {"text": "a dog that moves over a green meadow under a blue sky"})[0]
    wrong = {"questions": [{"question": "What?", "options": ["a", "b"], "answer": "c"}]}
    assert "none of its options" in problems("questions", wrong)[0]
