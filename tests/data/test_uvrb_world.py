"""The procedural UVRB: scenes of the test split alone, texts that determine their clips, moments that need both of their parts."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from uvrlab.config import Config, IngestConfig, RunConfig, WorldConfig
from uvrlab.data import schema
from uvrlab.data.benchmark import Benchmark
from uvrlab.data.uvrb import moments
from uvrlab.data.uvrb.build import ASPECT, LONG, add_uvrb
from uvrlab.data.uvrb.datasets import DATASETS, dataset, find
from uvrlab.data.uvrb.facts import FactIndex, facts
from uvrlab.data.uvrb.plan import KINDS, uvrb_plan
from uvrlab.data.uvrb.texts import LONG_WORDS, TEXTS
from uvrlab.data.world import Scene, attribute_combos, combo_allowed, mentions, stable_rng
from uvrlab.data.world.uvrb_scenes import ASPECTS, LONG_S, uvrb_scene
from uvrlab.data.world.words import count_words
from uvrlab.runs import RunDir
from uvrlab.stages import run_stage

N = 16
indices = st.integers(0, 10_000)


def scenes(n: int) -> list[Scene]:
    return [scene for kind, where in uvrb_plan(n, 0).items() for i in where if (scene := uvrb_scene(kind, i, 0))]


def row(scene: Scene) -> dict:
    times = {"start_s": 0.0, "end_s": scene.duration_s, "duration_s": scene.duration_s}
    return {"clip_id": scene.clip_id, "scene": scene.to_json(), "audible": False, **times}


@pytest.fixture(scope="module")
def built() -> tuple[Benchmark, dict[str, Scene]]:
    made, found = Benchmark(), {s.clip_id: s for s in scenes(N)}
    add_uvrb(made, [row(s) for s in found.values()], 0)
    return made, found


# Scenes.


@settings(max_examples=30)
@given(indices, st.sampled_from(KINDS))
def test_every_scene_shows_combinations_of_the_test_split_alone_and_no_sound(index, kind):
    scene = uvrb_scene(kind, index, 0)
    if scene is not None:
        assert all(combo_allowed("test", *combo) for combo in attribute_combos(scene))
        assert (scene.split, scene.sounds, scene.track) == ("test", (), "none")
        assert kind != "long" or LONG_S[0] <= scene.duration_s <= LONG_S[1]


@settings(max_examples=30)
@given(indices, st.sampled_from(sorted(ASPECTS)))
def test_a_sibling_differs_in_its_aspect_alone(index, kind):
    base, other = uvrb_scene("short", index, 0), uvrb_scene(kind, index, 0)
    if other is None:
        return
    same = {
        "looks": sorted((o.colour, o.shape, o.size) for o in base.objects)
        == sorted((o.colour, o.shape, o.size) for o in other.objects),
        "place": {o.name: o.place for o in base.objects} == {o.name: o.place for o in other.objects},
        "camera": base.camera == other.camera,
        "time": [(base.objects[e.object].name, e.motion) for e in base.events]
        == [(other.objects[e.object].name, e.motion) for e in other.events],
    }
    same["place"] |= kind == "looks"  # other names stand in the same places
    same["time"] |= kind == "looks"
    assert {aspect for aspect, equal in same.items() if not equal} == {kind}
    assert (base.background, base.flaws, base.duration_s) == (other.background, other.flaws, other.duration_s)


# Texts.


@settings(max_examples=60)
@given(indices, st.sampled_from(sorted(TEXTS)))
def test_every_wording_is_true_of_its_scene_and_claims_what_a_reader_finds_in_it(index, name):
    """`mentions` reads a text without knowing its claim: objects, motions, camera and gist must agree."""
    scene = uvrb_scene("long" if name in LONG else "short", index, 0)
    for said in TEXTS[name](scene, stable_rng(index)):
        read, claim = mentions(said.text), said.claim
        assert claim <= facts(scene)
        assert set(read.cameras) == {fact[1] for fact in claim if fact[0] == "camera"}
        named = {fact[1] for fact in claim if fact[0] in ("object", "place", "does", "rests", "end")}
        assert set(read.objects) == named
        told = {(name, motion) for name, motion in read.events if name and motion != "still"}
        if name != "VDC-O":  # says "it"
            assert told == {fact[1:3] for fact in claim if fact[0] == "does"}
        assert set(read.gists) == {gist for fact in claim if fact[0] == "gists" for gist in fact[1:]}
        assert count_words(said.text) <= LONG_WORDS


def test_the_index_finds_what_a_plain_search_finds():
    found = {s.clip_id: s for s in scenes(6)}
    index = FactIndex(found)
    for scene in found.values():
        for fact in sorted(facts(scene), key=repr)[:8]:
            claim = frozenset([fact, ("count", len(scene.objects))])
            assert index.matches(claim) == tuple(name for name, other in found.items() if claim <= facts(other))


def test_every_text_determines_one_candidate_and_no_text_is_asked_twice(built):
    made, _ = built
    for name in TEXTS:
        queries = [q for q in made.queries if q["dataset"] == f"world-{name}"]
        assert len(queries) == len({q["item"]["text"] for q in queries}) == N
        assert all(q["positives"] == [q["query_id"]] for q in queries), name
        assert {q["instruction"] for q in queries} == {DATASETS[name].prompt}
    for name, aspect in ASPECT.items():
        candidates = [c["candidate_id"] for c in made.corpus if c["dataset"] == f"world-{name}"]
        assert {f"{base}-{aspect}" for base in candidates[::2]} == set(candidates[1::2])


def test_a_spatial_text_says_nothing_of_motion_and_a_theme_nothing_of_looks(built):
    texts = {name: [q["item"]["text"] for q in built[0].queries if q["dataset"] == f"world-{name}"] for name in TEXTS}
    assert not any(mentions(text).events for text in texts["CRB-S"])
    assert not any(mentions(text).objects for text in texts["LoVR-TH"])
    assert not any(mentions(text).backgrounds for text in texts["VDC-O"])


def test_a_clip_that_could_not_be_rendered_is_asked_about_nowhere_and_the_rest_stays(built):
    made, found = Benchmark(), built[1]
    lost = {"uvrb-000001", "uvrb-000002-camera", "uvrb-long-000003"}
    add_uvrb(made, [row(s) for name, s in found.items() if name not in lost], 0)
    assert not lost & {r["item"]["clip_id"] for r in (*made.queries, *made.corpus)}
    assert not made.rejects
    assert len({q["dataset"] for q in made.queries}) == 16


# Moments.


@settings(max_examples=25)
@given(indices)
def test_windows_cover_a_video_and_cut_no_event(index):
    scene = uvrb_scene("long", index, 0)
    windows = moments.pool_windows(scene)
    if windows is not None:
        assert [windows[0][0], windows[-1][1]] == [0.0, scene.duration_s]
        assert len(windows) == 11 and all(a[1] == b[0] for a, b in pairwise(windows))
        assert all(any(low <= e.start_s and e.end_s <= high for low, high in windows) for e in scene.events)


def test_the_right_windows_are_those_in_which_the_meant_object_does_it(built):
    made, found = built
    for name in ("world-MS-TI", "world-MS-TV"):
        queries = [q for q in made.queries if q["dataset"] == name]
        assert len(queries) == N and all(len(q["pool"]) == 10 and q["positives"] for q in queries)
        spans = {c["candidate_id"]: (c["item"]["start_s"], c["item"]["end_s"]) for c in made.corpus if c["dataset"] == name}
        for query in queries:
            scene, item = found[query["item"]["clip_id"]], query["item"]
            motion = mentions(item["text"]).events[0][1]
            right = {}
            for number in range(len(scene.objects)):
                own = [e for e in scene.events if (e.object, e.motion) == (number, motion)]
                right[number] = [p for p in query["pool"] if any(spans[p][0] <= e.start_s < spans[p][1] for e in own)]
            assert query["positives"] in right.values()
            assert not any(low <= item["start_s"] < high for low, high in (spans[p] for p in query["pool"]))
            moving = [e for e in scene.events if e.start_s < item["end_s"] and e.end_s > item["start_s"]]
            assert len(moving) == (0 if item["start_s"] == item["end_s"] else 1)


# The stage.


def ingest(out: Path, uvrb: int) -> str:
    world = WorldConfig(train=1, val=0, test=1, family_size=1, uvrb=uvrb)
    run_stage(Config(run=RunConfig(workers=1), ingest=IngestConfig(world=world)).for_stage("ingest"), {}, out)
    names = {q["dataset"] for q in schema.read_table("queries", out / "benchmark" / "queries")}
    assert {n for n in names if find(n)} == ({f"world-{n}" for n in DATASETS} if uvrb else set())
    assert {c["clip_id"].split("-")[0] for c in schema.read_table("clips", out / "clips")} == {"world"}
    return RunDir(out).digest


def test_ingest_writes_sixteen_datasets_beside_the_clips(tmp_path, monkeypatch):
    monkeypatch.setenv("UVR_WORK", str(tmp_path / "work"))
    ingest(tmp_path / "on", 1)


@pytest.mark.long
def test_ingest_is_deterministic_and_writes_none_by_default(tmp_path, monkeypatch):
    monkeypatch.setenv("UVR_WORK", str(tmp_path / "work"))
    first, off = ingest(tmp_path / "on", 1), ingest(tmp_path / "off", WorldConfig().uvrb)
    monkeypatch.setenv("UVR_WORK", str(tmp_path / "other"))  # nothing rendered before is found there
    assert ingest(tmp_path / "again", 1) == first != off


def test_a_name_that_only_looks_right_is_an_error():
    with pytest.raises(ValueError, match="did you mean 'world-MSRVTT'"):
        find("world-MSR-VTT")
    assert find("world-rich") is None
    assert find("world-CMRB") is dataset("CMRB")
