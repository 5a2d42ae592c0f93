"""Sources: real upstream samples are understood, their id traps included, and annotations without a video become rejects."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from uvrlab.config import SourceConfig
from uvrlab.data.sources import read_source
from uvrlab.data.sources.activitynet import bare_id
from uvrlab.data.sources.common import MediaIndex, SourceError, moment_queries, read_rows, stem, strings
from uvrlab.data.sources.folder import clip_ids


def folder(tmp_path: Path, *names: str, **texts: str) -> Path:
    for name in names:
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"media")
    for name, text in texts.items():
        (tmp_path / name.replace("__", ".")).write_text(text)
    return tmp_path


def read(kind: str, path: Path, **more):
    return read_source(SourceConfig(kind=kind, path=str(path), **more))


def sample(shared: Path, name: str) -> str:
    file = shared / "data" / "annotation_samples" / name
    if not file.is_file():
        pytest.skip(f"needs ../shared/data/annotation_samples/{name}")
    return str(file)


# Ids.


def test_ids_with_dots_dashes_and_prefixes_find_their_files():
    names = ["a/NUsG9BgSes0_210.0_360.0.mp4", "-4wsuPCjDBc_5_15.avi", "v_uqiMw7tQ1Cc.mkv", "deep/er/clip.mp4", "clip.webm"]
    index = MediaIndex({n: f"/root/{n}" for n in [*names, "notes.txt"]})
    assert index.find("NUsG9BgSes0_210.0_360.0") == names[0]
    assert index.find("-4wsuPCjDBc_5_15") == names[1]
    assert index.find("uqiMw7tQ1Cc", "v_uqiMw7tQ1Cc") == names[2]
    assert index.find("clip") == "clip.webm"
    assert index.find("deep/er/clip.mp4") == names[3]
    assert index.find("clip.mp4") == "clip.webm"
    assert index.find("notes.txt", "notes", "NUsG9BgSes0_210") is None


@pytest.mark.parametrize(
    ("given_id", "expected"),
    [
        ("v_uqiMw7tQ1Cc", "uqiMw7tQ1Cc"),
        ("uqiMw7tQ1Cc", "uqiMw7tQ1Cc"),
        ("v_abcdefghi", "v_abcdefghi"),  # eleven characters: an id that begins with v_
        ("v_v_abcdefghi", "v_abcdefghi"),
        ("v_-4wsuPCjDB", "v_-4wsuPCjDB"),
    ],
)
def test_the_prefix_of_activitynet_is_dropped_only_where_it_is_one(given_id, expected):
    assert bare_id(given_id) == expected


@given(st.lists(st.tuples(st.sampled_from(["a", "b/a", "b", "x.y"]), st.sampled_from([".mp4", ".mkv", ".gif"])), unique=True))
def test_folder_ids_are_unique_and_come_from_the_path(parts):
    names = [a + b for a, b in parts]
    ids = clip_ids(names)
    assert len(set(ids.values())) == len(names)
    assert all(name.startswith(clip_id) for name, clip_id in ids.items())


def test_stems_drop_only_a_video_suffix():
    assert [stem(n) for n in ("x/a.b.mp4", "a.b", "id_2.5", ".mp4")] == ["a.b", "a.b", "id_2.5", ".mp4"]


def test_list_cells_may_be_lists_literals_or_words():
    assert strings(["a", 1]) == ("a", "1")
    assert strings("['a_1', 'b']") == ("a_1", "b")
    assert strings('["a"]') == ("a",)
    assert strings("[broken") == ("[broken",)
    assert strings("word") == ("word",)
    assert strings(None) == strings("") == ()


# Folder.


def test_a_folder_comes_in_with_or_without_captions(tmp_path):
    manifest = "file,text,family,tags\na.mp4, a  cat ,pets,\"['x', 'y']\"\na.mp4,a grey cat,,\ngone.mp4,no video,,\n,,,\n"
    path = folder(tmp_path, "a.mp4", "sub/b.mkv", "sub/b.mp4", "readme.txt", captions__csv=manifest)
    plain = read("folder", path)
    assert [r.clip_id for r in plain.rows] == ["a", "sub/b.mkv", "sub/b.mp4"]
    made = read("folder", path, captions="captions.csv")
    assert made.rows[0].captions == ("a cat", "a grey cat")
    assert (made.rows[0].family, made.rows[0].tags) == ("pets", ("x", "y"))
    assert [(r.item, r.reason) for r in made.rejects] == [("gone.mp4", "missing"), ("captions.csv:4", "annotation")]
    assert "media not found" in made.rejects[0].detail
    assert [r.clip_id for r in read("folder", path, captions="captions.csv", unlisted=False).rows] == ["a"]


def test_column_names_are_configured_and_a_wrong_one_is_named(tmp_path):
    path = folder(tmp_path, "a.mp4", notes__jsonl=json.dumps({"film": "a.mp4", "worte": "eine Katze"}))
    made = read("folder", path, captions="notes.jsonl", columns={"file": "film", "caption": "worte"})
    assert made.rows[0].captions == ("eine Katze",)
    with pytest.raises(SourceError, match=r"expected 'movie'; correct ingest\.source\.columns\.file"):
        read("folder", path, captions="notes.jsonl", columns={"file": "movie"})


def test_a_folder_that_is_not_there_says_what_to_set(tmp_path):
    with pytest.raises(SourceError, match=r"ingest\.source\.path"):
        read("folder", tmp_path / "nothing")


def test_a_folder_behind_fsspec_gives_urls():
    import fsspec

    memory = fsspec.filesystem("memory")
    memory.pipe("/films/a/b.mp4", b"x")
    memory.pipe("/films/a.jsonl", b'{"file": "a/b.mp4", "caption": "one"}')
    made = read_source(SourceConfig(kind="folder", path="memory://films", captions="a.jsonl"))
    assert [(r.clip_id, r.uri, r.captions) for r in made.rows] == [("a/b", "memory:///films/a/b.mp4", ("one",))]


def test_the_real_manifest_is_understood(shared):
    path = shared / "data" / "real_clips"
    if not path.is_dir():
        pytest.skip("needs ../shared/data/real_clips")
    made = read("folder", path, captions="manifest.jsonl")
    assert len(made.rows) == 74
    assert not made.rejects
    assert sum(r.family == "asl" for r in made.rows) == 16
    assert all(r.captions and r.licence for r in made.rows)
    assert sum(len(r.moments) > 0 for r in made.rows) == 10


# Benchmarks.


def test_msrvtt_with_semicolons_gives_a_query_a_line(tmp_path, shared):
    captions = sample(shared, "msrvtt_jsfusion_test_semicolon.csv")
    n = len(Path(captions).read_text().splitlines()) - 1
    made = read("msrvtt", folder(tmp_path, "video9770.mp4", "all/video9771.avi"), captions=captions)
    assert len(made.queries) == n
    assert (made.queries[0].query_id, made.queries[0].text) == ("ret0", "a person is connecting something to system")
    assert [r.clip_id for r in made.rows] == ["video9770", "video9771"]
    assert len(made.rejects) == n - 2
    assert {r.reason for r in made.rejects} == {"missing"}
    assert made.evaluation_only


def test_msrvtt_with_the_wrong_columns_is_an_error(tmp_path):
    with pytest.raises(SourceError, match="separator"):
        read("msrvtt", folder(tmp_path, "a.mp4", x__csv="one|two\n1|2\n"))


@pytest.mark.parametrize("name", ["activitynet_captions_val_1_official.json", "activitynet_captions_val1_tvr_format.jsonl"])
def test_activitynet_joins_the_sentences_of_a_video_whatever_the_form_and_prefix(tmp_path, shared, name):
    made = read("activitynet", folder(tmp_path, "uqiMw7tQ1Cc.mp4", "v_bXdq2zI1Ms0.mkv"), captions=sample(shared, name))
    assert [r.clip_id for r in made.rows] == ["uqiMw7tQ1Cc", "bXdq2zI1Ms0"]
    lifting = "The coach helps the guy in red with the proper body placement and lifting technique."
    assert made.queries[0].text == f"A weight lifting tutorial is given. {lifting}"
    assert made.queries[1].text.startswith("A man is seen speaking to the camera and pans out")
    assert (made.rows[1].moments[0].start_s, made.rows[1].moments[0].end_s) == (0.0, 10.23)
    assert all("media not found" in r.detail for r in made.rejects)


def test_qvhighlights_asks_inside_the_video(tmp_path, shared):
    made = read("qvhighlights", folder(tmp_path, "NUsG9BgSes0_210.0_360.0.mp4"), captions=sample(shared, "qvhighlights_val.jsonl"))
    assert [r.clip_id for r in made.rows] == ["NUsG9BgSes0_210.0_360.0"]
    query = made.queries[0]
    assert query.query_id == "2579"
    assert len(query.pool) == 15
    assert set(query.positives) < set(query.pool)
    assert query.positives[0] == "NUsG9BgSes0_210.0_360.0@80-90"  # 2-second clips 41..74: 82 s to 150 s


@pytest.mark.parametrize("name", ["charades_sta_test_tvr_format.jsonl", "tacos_val.jsonl"])
def test_other_sets_of_that_form_are_read_too(tmp_path, shared, name):
    made = read("qvhighlights", folder(tmp_path, "none.mp4"), captions=sample(shared, name))
    assert not made.rows
    assert made.rejects


def test_null_windows_are_rejects_not_queries():
    made = moment_queries(
        "d", "v", 20.0, [("q0", "a man", None), ("q1", " ", [[0, 5]]), ("q2", "ok", [[0, 5]]), ("q3", "late", [[30, 40]])]
    )
    assert [q.query_id for q in made.queries] == ["q2"]
    assert [r.item for r in made.rejects] == ["q0", "q1", "q3"]


def test_a_moment_s_positives_are_the_windows_it_covers_by_half():
    """Windows of 10 s. [4, 15] covers 6/10 and 5/10: both. [9, 12] covers 1/10 and 2/10: the larger."""
    made = moment_queries("d", "v", 20.0, [("a", "x", [[4, 15]]), ("b", "y", [[9, 12]])])
    assert [q.positives for q in made.queries] == [("v@0-10", "v@10-20"), ("v@10-20",)]


def uvrb(tmp_path: Path, name: str = "MSRVTT", pos=("c1", "c3")) -> Path:
    tables = tmp_path / name / "jsonl"
    tables.mkdir(parents=True)
    (tables / "queries.jsonl").write_text(
        "\n".join(
            json.dumps(q)
            for q in [{"id": "q1", "text": "a cat"}, {"id": 2, "text": "", "image": "f.jpg"}, {"id": "q3", "text": "x"}]
        )
    )
    (tables / "corpus.jsonl").write_text(
        "\n".join(
            json.dumps(c)
            for c in [{"id": "c1", "video": "videos/a.mp4"}, {"id": "c2", "video": "./sub/b.mp4"}, {"id": "c3", "video": "no.mp4"}]
        )
    )
    rows = [{"qid": "q1", "pos": ["c1"]}, {"qid": 2, "pos": ["c2"], "neg": ["c1"]}, {"qid": "q3", "pos": list(pos)}]
    (tables / "instances.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    folder(tmp_path / name, "videos/a.mp4", "sub/b.mp4", "images/f.jpg")
    return tmp_path


def test_uvrb_triples_become_queries_corpus_and_pools(tmp_path):
    made = read("uvrb", uvrb(tmp_path))
    assert [(q.query_id, q.task, q.positives, q.pool) for q in made.queries] == [
        ("q1", "T2V", ("c1",), ()),
        ("2", "I2V", ("c2",), ("c2", "c1")),
        ("q3", "T2V", ("c1", "c3"), ()),
    ]
    assert {q.instruction for q in made.queries} == {"Find the clip that corresponds to the described scene in the given video."}
    assert [(c.candidate_id, c.clip_id) for c in made.corpus] == [("c1", "MSRVTT/videos/a.mp4"), ("c2", "MSRVTT/sub/b.mp4")]
    assert {(r.item, r.reason) for r in made.rejects} == {("MSRVTT/no.mp4", "missing")}


@pytest.mark.parametrize(
    ("table", "line", "message"),
    [
        ("queries", {"id": "q4", "text": "x"}, r"MSRVTT/jsonl/queries.jsonl, row 4: query 'q4' has no row in instances"),
        ("queries", {"id": "q1", "text": "x"}, r"queries.jsonl, row 4: id 'q1' stands in row 1 already"),
        ("queries", {"text": "x"}, r"queries.jsonl, row 4: found keys text, expected 'id'"),
        ("instances", {"qid": "q1", "pos": ["c2"]}, r"instances.jsonl, row 4: qid 'q1' stands in row 1 already"),
        ("corpus", {"id": "c1"}, r"corpus.jsonl, row 4: id 'c1' stands in row 1 already"),
    ],
)
def test_faults_of_the_real_files_name_file_and_row(tmp_path, table, line, message):
    with (uvrb(tmp_path) / "MSRVTT" / "jsonl" / f"{table}.jsonl").open("a") as file:
        file.write("\n" + json.dumps(line))
    with pytest.raises(SourceError, match=message):
        read("uvrb", tmp_path)


@pytest.mark.parametrize(("pos", "message"), [([], "row 3: query 'q3' has no positive"), (["c9"], "'c9', which is not in corpus")])
def test_a_query_of_the_real_files_without_a_known_positive_is_an_error(tmp_path, pos, message):
    with pytest.raises(SourceError, match=message):
        read("uvrb", uvrb(tmp_path, pos=pos))


def test_an_unknown_uvrb_dataset_is_an_error_with_the_nearest_name(tmp_path):
    with pytest.raises(SourceError, match="did you mean 'MSRVTT'"):
        read("uvrb", uvrb(tmp_path, "MSR-VTT"))


def test_csv_with_a_byte_order_mark_and_tabs(tmp_path):
    file = tmp_path / "x.csv"
    file.write_bytes("\ufefffile\tcaption\na.mp4\tone, two; three\n".encode())
    assert read_rows(str(file)) == [{"file": "a.mp4", "caption": "one, two; three"}]
