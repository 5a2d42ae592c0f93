"""The benchmark of hearing: pictures and tracks that vary apart, and texts that a reader finds true of one candidate only."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from io import BytesIO
from itertools import combinations, permutations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from uvrlab.config import Config, IngestConfig, RunConfig, WorldConfig
from uvrlab.data import schema
from uvrlab.data.audio import decode_audio
from uvrlab.data.benchmark import Benchmark
from uvrlab.data.hearing import CELLS, DATASETS, TEXTS, add_hearing, facts
from uvrlab.data.world import (
    Mentions,
    Scene,
    attribute_combos,
    combo_allowed,
    mentions,
    render_audio,
    render_clip,
    render_frames,
    stable_rng,
)
from uvrlab.data.world.hearing_scenes import CIRCLE, PICTURES, TRACKS, hearing_id, hearing_scene
from uvrlab.data.world.scene import events_during, overlap_s
from uvrlab.data.world.words import background_words
from uvrlab.stages import run_stage

FAMILIES = 40
WORLD = WorldConfig(hearing=FAMILIES)
numbers = st.integers(0, 5_000)


def row(scene: Scene) -> dict:
    times = {"start_s": 0.0, "end_s": scene.duration_s, "duration_s": scene.duration_s}
    return {"clip_id": scene.clip_id, "scene": scene.to_json(), "audible": True, **times}


@pytest.fixture(scope="module")
def built() -> tuple[Benchmark, dict[str, Scene]]:
    found = {s.clip_id: s for i in range(FAMILIES) for s in (hearing_scene(*cell, i) for cell in CELLS)}
    made = Benchmark()
    add_hearing(made, [row(s) for s in found.values()], WORLD, 0)
    return made, found


# Scenes.


def silent(scene: Scene) -> Scene:
    """Everything about a scene but what is heard."""
    return replace(scene, clip_id="", sounds=())


@settings(max_examples=30)
@given(numbers, st.integers(0, PICTURES - 1), st.integers(0, TRACKS - 1))
def test_a_clip_shows_the_test_split_alone_and_each_of_its_two_sounds_falls_on_one_event(index, picture, track):
    scene = hearing_scene(picture, track, index)
    assert scene.split == "test" and all(combo_allowed("test", *combo) for combo in attribute_combos(scene))
    assert scene == hearing_scene(picture, track, index) == Scene.from_json(scene.to_json())
    first, second = scene.sounds
    assert first.kind != second.kind and first.end_s < second.start_s
    assert [events_during(scene, s) for s in scene.sounds] == [(s.event,) for s in scene.sounds]
    assert all(overlap_s(s, e) == 0.0 for s in scene.sounds for i, e in enumerate(scene.events) if i != s.event)
    assert all(scene.events[s.event].start_s == s.start_s for s in scene.sounds)


@settings(max_examples=20)
@given(numbers)
def test_clips_with_one_picture_differ_in_sound_alone_and_clips_with_one_track_in_picture_alone(index):
    for track in range(1, TRACKS):
        assert silent(hearing_scene(2, track, index)) == silent(hearing_scene(2, 0, index))
    tracks = [hearing_scene(picture, 3, index).sounds for picture in range(PICTURES)]
    assert len(set(tracks)) == 1
    assert len({(silent(hearing_scene(picture, 3, index)).to_json()) for picture in range(PICTURES)}) == PICTURES


def test_so_are_their_frames_and_samples():
    a, b, c = hearing_scene(0, 0, 7), hearing_scene(0, 4, 7), hearing_scene(1, 0, 7)
    times = np.arange(0, 4, 0.5)
    assert np.array_equal(render_frames(a, times), render_frames(b, times))
    assert not np.array_equal(render_frames(a, times), render_frames(c, times))
    assert np.array_equal(render_audio(a), render_audio(c)) and not np.array_equal(render_audio(a), render_audio(b))


def test_every_track_of_the_circle_stands_to_the_others_as_any_other_does():
    """One is the same two kinds in the other order, four share a kind, four share none."""
    tracks = [tuple(s.kind for s in hearing_scene(0, t, 3).sounds) for t in range(TRACKS)]
    for one in range(2 * CIRCLE):
        shared = Counter(len(set(tracks[one]) & set(tracks[t])) for t in range(2 * CIRCLE) if t != one)
        assert shared == {2: 1, 1: 4, 0: 4}
        assert tracks[(one + CIRCLE) % (2 * CIRCLE)] == tracks[one][::-1]
    assert not any(set(tracks[-1]) & set(tracks[t]) for t in range(2 * CIRCLE))


def test_every_kind_of_sound_is_at_least_three_times_as_loud_in_the_file_as_what_is_around_it():
    heard: dict[str, float] = {}
    for scene in (hearing_scene(0, track, index) for index in range(8) for track in (0, 2, 2 * CIRCLE)):
        if {s.kind for s in scene.sounds} <= heard.keys():
            continue
        wave = decode_audio(BytesIO(render_clip(scene)), 0.0, scene.duration_s)
        times = np.arange(len(wave)) / 16_000
        spans = [(times >= s.start_s) & (times < s.end_s) for s in scene.sounds]
        quiet = float(np.sqrt(np.mean(wave[~(spans[0] | spans[1])] ** 2)))
        heard |= {s.kind: float(np.sqrt(np.mean(wave[span] ** 2))) / quiet for s, span in zip(scene.sounds, spans, strict=True)}
    assert len(heard) == 8 and min(heard.values()) > 3, heard


# Texts. `true_of` reads a text without its claim and looks it up in the scene graph by plain loops.


def true_of(needs: str, text: str, scene: Scene) -> bool:
    read = mentions(text)
    happens = [(scene.objects[e.object].name, e.motion, e) for e in scene.events]
    kinds = [s.kind for s in scene.sounds]
    if needs == "sound":
        return list(read.sounds) == kinds
    if needs == "picture":
        return _seen_in_order(read, scene) and _looks(text, read, scene)
    if needs == "both":
        (act,), (kind,) = read.events, read.sounds
        return kind in kinds and any((name, motion) == act for name, motion, _ in happens)
    pairs = zip(read.sounds, read.events, strict=True)
    return all(
        any(
            s.kind == kind and (name, motion) == act and overlap_s(s, e) >= 0.2 for s in scene.sounds for name, motion, e in happens
        )
        for kind, act in pairs
    )


def _seen_in_order(read: Mentions, scene: Scene) -> bool:
    """Whether the told events happen one behind the other, in the order of the text."""
    order = sorted(scene.events, key=lambda e: e.start_s)
    done = [(scene.objects[e.object].name, e.motion) for e in order]
    told = list(read.events)
    return all(act in done for act in told) and [done.index(act) for act in told] == sorted(done.index(act) for act in told)


def _looks(text: str, read: Mentions, scene: Scene) -> bool:
    names = {o.name for o in scene.objects}
    camera = not read.cameras or read.cameras == (scene.camera.kind,)
    background = not read.backgrounds or background_words(scene) in text
    return set(read.objects) <= names and camera and background


def test_every_text_is_true_of_exactly_one_candidate_of_its_pool(built):
    made, found = built
    for known in DATASETS.values():
        queries = [q for q in made.queries if q["dataset"] == known.name]
        assert len(queries) == FAMILIES and not made.rejects
        for query in queries:
            assert len(query["pool"]) == len(set(query["pool"])) == len(known.pool)
            right = [name for name in query["pool"] if true_of(known.needs, query["item"]["text"], found[name])]
            assert right == query["positives"] == [query["query_id"]], query
            assert query["ability"] == known.needs and query["item"]["modalities"] == ["text"]
        candidates = {c["candidate_id"]: c["item"]["modalities"] for c in made.corpus if c["dataset"] == known.name}
        assert set(candidates) == {name for q in queries for name in q["pool"]}
        assert all(held == ["video", "audio"] for held in candidates.values())


HEARD = ("hears", "then")


def left(claim: frozenset, condition: str) -> frozenset:
    """What of a claim can be checked by the picture (v), or by the sound (a), alone."""
    return frozenset(f for f in claim if f[0] != "while" and (f[0] in HEARD) == (condition == "a"))


@pytest.mark.parametrize("known", DATASETS.values(), ids=lambda d: d.needs)
def test_what_one_modality_can_find_is_what_the_table_says(known):
    """Of every clip that may be asked for: 1 / candidates of which the part of its text that this modality knows is true."""
    for index in range(12):
        scenes = {cell: hearing_scene(*cell, index) for cell in known.pool}
        told = {cell: facts(scene) for cell, scene in scenes.items()}
        for cell in known.asked:
            wordings = TEXTS[known.needs](scenes[cell], stable_rng(index, *cell))
            claim = next(s.claim for s in wordings if sum(s.claim <= own for own in told.values()) == 1)
            for condition, share in known.alone.items():
                assert 1 / sum(left(claim, condition) <= own for own in told.values()) == pytest.approx(share), (condition, claim)


def test_only_the_sound_tells_the_candidates_of_a_sound_query_apart(built):
    made, found = built
    for query in (q for q in made.queries if q["dataset"] == "hear-sound"):
        assert len({silent(found[name]).to_json() for name in query["pool"]}) == 1
        assert len({left(facts(found[name]), "v") for name in query["pool"]}) == 1
        read = mentions(query["item"]["text"])
        assert not (read.objects or read.events or read.cameras or read.backgrounds)


def test_only_the_picture_tells_the_candidates_of_a_picture_query_apart(built):
    made, found = built
    for query in (q for q in made.queries if q["dataset"] == "hear-picture"):
        assert len({found[name].sounds for name in query["pool"]}) == 1
        assert not mentions(query["item"]["text"]).sounds


def test_a_query_for_both_has_candidates_with_either_half_right(built):
    made, found = built
    for query in (q for q in made.queries if q["dataset"] == "hear-both"):
        (act,), (kind,) = (read := mentions(query["item"]["text"])).events, read.sounds
        halves = Counter()
        for scene in (found[name] for name in query["pool"]):
            acts = {(scene.objects[e.object].name, e.motion) for e in scene.events}
            halves[act in acts, kind in {s.kind for s in scene.sounds}] += 1
        assert halves == {(True, True): 1, (True, False): 2, (False, True): 2, (False, False): 4}


def test_a_conflict_is_the_same_picture_with_the_sounds_of_its_events_exchanged(built):
    made, found = built
    for query in (q for q in made.queries if q["dataset"] == "hear-conflict"):
        (right,) = query["positives"]
        twins = [n for n in query["pool"] if n != right and silent(found[n]) == silent(found[right])]
        assert [[s.kind for s in found[n].sounds] for n in twins] == [[s.kind for s in found[right].sounds][::-1]]
        elsewhere = {tuple(s.kind for s in found[n].sounds) for n in found if found[n].index == found[right].index and "-t00" in n}
        assert elsewhere == {tuple(s.kind for s in found[twins[0]].sounds)}  # the usual places are the twin's


def test_what_is_asked_for_is_drawn_evenly_and_the_order_of_a_text_tells_nothing(built):
    """Within 4 standard errors of even: the place of the right clip in its pool, and which sound a conflict names first."""
    made, found = built
    for known in DATASETS.values():
        places = Counter(q["pool"].index(q["positives"][0]) for q in made.queries if q["dataset"] == known.name)
        expected = FAMILIES / len(known.asked)
        assert all(abs(n - expected) < 4 * expected**0.5 + 1 for n in places.values()), places
    conflicts = [q for q in made.queries if q["dataset"] == "hear-conflict"]
    first = sum(mentions(q["item"]["text"]).sounds[0] == found[q["query_id"]].sounds[0].kind for q in conflicts)
    assert abs(first - FAMILIES / 2) < 4 * (FAMILIES / 4) ** 0.5


def test_casts_have_nothing_in_common_that_a_text_could_name():
    for index in range(12):
        casts = [hearing_scene(picture, 0, index) for picture in range(5)]
        acts = [{(s.objects[e.object].name, e.motion) for e in s.events} for s in casts]
        assert not any(a & b for a, b in combinations(acts, 2))
        assert len({tuple((e.start_s, e.end_s) for e in s.events) for s in casts}) == 1


def test_a_pool_that_lacks_a_clip_is_asked_about_nowhere_and_a_larger_benchmark_changes_no_query(built):
    made, found = built
    lost, less = Benchmark(), Benchmark()
    add_hearing(lost, [row(s) for s in found.values() if s.clip_id != hearing_id(1, 0, 2)], WORLD, 0)
    gone = {(q["dataset"], q["query_id"]) for q in made.queries} - {(q["dataset"], q["query_id"]) for q in lost.queries}
    assert sorted(name for name, _ in gone) == ["hear-both", "hear-conflict", "hear-picture"] and not lost.rejects
    add_hearing(less, [row(s) for s in found.values()], WORLD.model_copy(update={"hearing": 5}), 0)
    assert all(query in made.queries for query in less.queries) and len(less.queries) == 20


def test_a_number_that_names_no_scene_is_an_error():
    for wrong in permutations((0, 0, 99)):
        if wrong != (0, 0, 99):
            with pytest.raises(ValueError, match="expected 0-9, 0-10"):
                hearing_scene(*wrong)


# The stage.


def test_ingest_writes_four_datasets_beside_the_clips_and_none_by_default(tmp_path: Path):
    world = WorldConfig(train=1, val=0, test=1, family_size=1, hearing=1)
    run_stage(Config(run=RunConfig(workers=1), ingest=IngestConfig(world=world)).for_stage("ingest"), {}, tmp_path / "out")
    queries = schema.read_table("queries", tmp_path / "out" / "benchmark" / "queries")
    assert {q["dataset"] for q in queries} >= set(DATASETS)
    clips = {c["clip_id"]: c for c in schema.read_table("clips", tmp_path / "out" / "benchmark" / "clips")}
    assert {hearing_id(*cell, 0) for cell in CELLS} == {name for name in clips if name.startswith("hear-")}
    assert all(clip["audible"] and clip["split"] == "test" for name, clip in clips.items() if name.startswith("hear-"))
    assert {c["clip_id"].split("-")[0] for c in schema.read_table("clips", tmp_path / "out" / "clips")} == {"world"}
    assert WorldConfig().hearing == 0
