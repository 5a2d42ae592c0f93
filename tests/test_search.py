"""encode, index and search with a real (untrained) nano model on rendered clips: incremental, exact, honest about faults."""

from __future__ import annotations

import json
import shutil
import wave
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import safe_open

from tests.models.test_foreign import save_dual
from uvrlab.data.audio import decode_audio
from uvrlab.data.world import captions, render_clip, sample_scene, stable_rng
from uvrlab.models.modes import Thinking
from uvrlab.search import answer, encode_to_file, read_items, search
from uvrlab.search_index import SearchError, update_index


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The nano backbone with fresh weights, as a folder."""
    from uvrlab.models.build import build_nano
    from uvrlab.models.modeldir import save_backbone

    folder = tmp_path_factory.mktemp("nano")
    save_backbone(*build_nano([captions(sample_scene("train", 0), stable_rng(0))["rich"]]), folder, "nano-omni")
    return str(folder)


@pytest.fixture(scope="session")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two clips of 4 s and one of 20 s; read only."""
    folder = tmp_path_factory.mktemp("clips")
    for index, seconds in enumerate((4.0, 4.0, 20.0)):
        (folder / f"clip{index}.mp4").write_bytes(render_clip(sample_scene("test", 4 * index, duration_s=seconds)))
    return folder


@pytest.fixture(scope="session")
def built(model: str, clips: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("built") / "index"
    made = update_index(folder, model=model, add=[str(clips)])
    assert made == {"videos": 3, "windows": 5, "added": 5, "encoded": 5, "removed": 0, "rejected": []}
    return folder


@pytest.fixture
def index(built: Path, tmp_path: Path) -> Path:
    """A private copy of an index over the three clips."""
    return Path(shutil.copytree(built, tmp_path / "index"))


def test_a_video_finds_itself_first_with_its_span(index: Path, clips: Path) -> None:
    hit = search(index, video=str(clips / "clip1.mp4"), k=2)[0]
    assert hit["video"] == str(clips / "clip1.mp4") and (hit["start_s"], hit["end_s"]) == (0.0, 4.0)
    assert hit["score"] == pytest.approx(1.0, abs=1e-3)


def test_long_videos_are_windows_of_at_most_eight_seconds(index: Path, clips: Path) -> None:
    hits = [h for h in search(index, text="a bell rings", k=99) if h["video"].endswith("clip2.mp4")]
    spans = sorted((h["start_s"], h["end_s"]) for h in hits)
    assert len(spans) == 3 and spans[0][0] == 0.0 and spans[-1][1] == pytest.approx(20.0, abs=0.1)
    assert all(end - start <= 8.0 for start, end in spans)


@pytest.mark.parametrize(
    "query", [{"text": "a star"}, {"image": 0}, {"video": 0}, {"audio": 0}, {"text": "a star", "image": 1, "video": 0, "audio": 1}]
)
def test_every_mix_of_modalities_is_a_query(index: Path, clips: Path, query: dict[str, Any]) -> None:
    given = {key: str(clips / f"clip{value}.mp4") if isinstance(value, int) else value for key, value in query.items()}
    hits = search(index, **given, k=3)
    scores = [hit["score"] for hit in hits]
    assert len(hits) == 3 and scores == sorted(scores, reverse=True) and set(hits[0]) == {"video", "start_s", "end_s", "score"}


def test_a_sound_file_and_the_track_that_it_was_cut_from_are_one_query(index: Path, clips: Path, tmp_path: Path) -> None:
    track = decode_audio(str(clips / "clip0.mp4"))
    assert track is not None
    with wave.open(str(tmp_path / "sound.wav"), "wb") as file:
        file.setparams((1, 2, 16_000, 0, "NONE", ""))
        file.writeframes((track * 32767).astype("<i2").tobytes())
    found = [search(index, audio=str(path), k=5) for path in (tmp_path / "sound.wav", clips / "clip0.mp4")]
    assert [h["video"] for h in found[0]] == [h["video"] for h in found[1]]
    assert [h["score"] for h in found[0]] == pytest.approx([h["score"] for h in found[1]], abs=1e-2)


def test_adding_again_encodes_nothing_and_a_copy_takes_the_known_vectors(index: Path, clips: Path, tmp_path: Path) -> None:
    assert update_index(index, add=[str(clips)])["encoded"] == 0
    copy = shutil.copy(clips / "clip0.mp4", tmp_path / "copy.mp4")
    made = update_index(index, add=[str(copy)])
    assert (made["encoded"], made["added"], made["videos"]) == (0, 1, 4)
    hits = search(index, video=str(clips / "clip0.mp4"), k=2)
    assert {Path(h["video"]).name for h in hits} == {"clip0.mp4", "copy.mp4"} and hits[0]["score"] == hits[1]["score"]


def test_changed_content_replaces_its_windows(index: Path, clips: Path, tmp_path: Path) -> None:
    for source, wanted in (("clip2.mp4", (0, 3, 8)), ("clip0.mp4", (3, 1, 6))):
        file = shutil.copy(clips / source, tmp_path / "video.mp4")
        made = update_index(index, add=[str(file)])
        assert (made["removed"], made["added"], made["windows"]) == wanted


def test_a_removed_video_is_found_no_more_and_an_unknown_one_changes_nothing(index: Path, clips: Path) -> None:
    with pytest.raises(SearchError, match="is not in the index, so nothing was removed"):
        update_index(index, remove=[str(clips / "clip0.mp4"), "nowhere.mp4"])
    assert len(search(index, text="x", k=99)) == 5
    made = update_index(index, remove=[str(clips / "clip2.mp4")])
    assert (made["removed"], made["videos"]) == (3, 2)
    assert update_index(index, remove=[str(clips)])["windows"] == 0
    assert search(index, text="x") == []


def test_a_broken_video_is_a_reject_and_the_others_are_added(index: Path, clips: Path, tmp_path: Path) -> None:
    (tmp_path / "more").mkdir()
    shutil.copy(clips / "clip0.mp4", tmp_path / "more" / "sound.mp4")
    (tmp_path / "more" / "broken.mp4").write_bytes((clips / "clip0.mp4").read_bytes()[:500])
    made = update_index(index, add=[str(tmp_path / "more")])
    assert made["videos"] == 4 and [Path(r["item"]).name for r in made["rejected"]] == ["broken.mp4"]


def test_another_model_is_refused(index: Path, clips: Path, tmp_path: Path) -> None:
    from uvrlab.models.build import build_nano
    from uvrlab.models.modeldir import save_backbone

    save_backbone(*build_nano(["another text"], seed=1), tmp_path / "other", "nano-omni")
    with pytest.raises(SearchError, match="build a new index for it"):
        update_index(index, model=str(tmp_path / "other"), add=[str(clips)])
    assert len(search(index, text="x", k=99)) == 5


@pytest.mark.parametrize(
    ("query", "words"),
    [({}, "an empty query"), ({"video": "/no/file.mp4"}, "--video: no file at /no/file.mp4")],
)
def test_a_faulty_query_is_explained(index: Path, query: dict[str, str], words: str) -> None:
    with pytest.raises(SearchError, match=words):
        search(index, **query)


def test_a_new_index_needs_a_model_and_a_folder_without_index_says_so(tmp_path: Path) -> None:
    with pytest.raises(SearchError, match="add --model DIR"):
        update_index(tmp_path / "new")
    with pytest.raises(SearchError, match="build one with `uvr index"):
        search(tmp_path, text="x")


def test_encode_writes_unit_vectors_with_ids_and_lists_rejects(model: str, clips: Path, tmp_path: Path) -> None:
    for name in ("clip0.mp4", "clip1.mp4"):
        shutil.copy(clips / name, tmp_path / name)
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    lines = [{"id": "t", "text": "a red star"}, {"id": "v", "video": "clip0.mp4"}, {"video": "broken.mp4"}, {"image": "clip1.mp4"}]
    (tmp_path / "items.jsonl").write_text("\n".join(map(json.dumps, lines)))
    made = encode_to_file(model, tmp_path / "items.jsonl", tmp_path / "out.safetensors")
    assert (made["vectors"], [r["item"] for r in made["rejected"]]) == (3, ["3"])
    with safe_open(tmp_path / "out.safetensors", "np") as file:
        vectors, metadata = file.get_tensor("vectors"), file.metadata()
    assert json.loads(metadata["ids"]) == ["t", "v", "4"] and metadata["model_digest"] == made["model_digest"]
    assert vectors.dtype == np.float32 and np.allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-5)


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ('{"text": "a"}\n{"txt": "b"}', "items.jsonl:2: unknown key 'txt'"),
        ("not json", "items.jsonl:1: "),
        ('{"id": "a"}', "items.jsonl:1: .*has no text, image, video or audio"),
        ('{"id": "a", "text": "x"}\n{"id": "a", "text": "y"}', "an id stands twice"),
        ("\n", "holds no item"),
    ],
)
def test_a_faulty_items_file_names_its_line(tmp_path: Path, lines: str, words: str) -> None:
    (tmp_path / "items.jsonl").write_text(lines)
    with pytest.raises(SearchError, match=words):
        read_items(tmp_path / "items.jsonl")


def test_an_index_with_thoughts_is_searched_in_every_mode(model: str, clips: Path, tmp_path: Path) -> None:
    """Fresh weights emit no <gen_emb>, so that every vector falls back to disc: both halves agree, and each reading says so."""
    folder, clip = tmp_path / "index", str(clips / "clip0.mp4")
    made = update_index(folder, model=model, add=[clip, str(clips / "clip1.mp4")], think=True)
    assert (made["windows"], made["encoded"]) == (2, 2)
    plain = search(folder, video=clip, k=2)
    for mode in ("best_of_k", "auto"):
        found = answer(folder, video=clip, k=2, mode=mode, thinking=Thinking(k=2, max_new_tokens=4))
        halves = 2 if mode == "auto" else 1  # of a candidate; the query has the first one only
        assert found.hits == [{**hit, "score": pytest.approx(hit["score"] / halves**0.5, abs=1e-4)} for hit in plain]
        assert [r.mode for r in found.readings] == ["speed"] and found.readings[0].fallbacks == len(found.readings[0].thoughts)
    assert update_index(folder, remove=[clip])["windows"] == 1
    assert [hit["video"] for hit in search(folder, text="x")] == [str(clips / "clip1.mp4")]


def test_an_index_of_a_clip_type_model_is_searched_by_all_that_it_takes(clips: Path, tmp_path: Path) -> None:
    other, folder, clip = str(save_dual(tmp_path / "clip", "CLIP")), tmp_path / "index", str(clips / "clip0.mp4")
    with pytest.raises(SearchError, match="has speed only; leave --think out"):
        update_index(folder, model=other, add=[clip], think=True)
    made = update_index(folder, model=other, add=[clip, str(clips / "clip1.mp4")])
    assert (made["videos"], made["encoded"], made["rejected"]) == (2, 2, [])
    (hit,) = search(folder, video=clip, k=1)
    assert (hit["video"], hit["end_s"], hit["score"]) == (clip, 4.0, pytest.approx(1.0, abs=1e-3))
    assert len(search(folder, text="a red ball", image=clip)) == 2
    with pytest.raises(SearchError, match="does not hear"):
        search(folder, audio=clip)


def test_an_index_without_thoughts_says_what_it_needs(index: Path, clips: Path) -> None:
    with pytest.raises(SearchError, match="build a new index with --think"):
        search(index, text="x", mode="think")
    with pytest.raises(SearchError, match="build a new index with --think"):
        update_index(index, add=[str(clips)], think=True)


def test_encode_writes_how_each_vector_was_read(model: str, tmp_path: Path) -> None:
    (tmp_path / "items.jsonl").write_text('{"text": "a star"}')
    made = encode_to_file(model, tmp_path / "items.jsonl", tmp_path / "out", mode="think", thinking=Thinking(max_new_tokens=4))
    with safe_open(tmp_path / "out", "np") as file:
        (told,) = json.loads(file.metadata()["readings"])
    assert told["mode"] == "speed" and told["fallbacks"] == 1 and told["n_tokens"] == made["tokens"] > 0
    assert told["thoughts"][0]["text"] and made["fallbacks"] == 1
    with pytest.raises(SearchError, match="choose another mode"):
        encode_to_file(model, tmp_path / "items.jsonl", tmp_path / "out", mode="auto")
