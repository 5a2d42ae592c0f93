"""The embedder on rendered media: vectors depend on their item alone, order is kept, faults become rejects."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from rendered import video  # noqa: E402

from tests.models.families import FAMILIES, collator, family, items  # noqa: E402
from uvrlab import runs  # noqa: E402
from uvrlab.data.items import ClipIndex, DecodedItem, Item, ItemError  # noqa: E402
from uvrlab.models.backbones import backbone  # noqa: E402
from uvrlab.models.encode import Embedder  # noqa: E402
from uvrlab.models.features import FeatureCache  # noqa: E402
from uvrlab.models.preprocess import Preprocess  # noqa: E402


def embedder(name: str, **options: Any) -> Embedder:
    model, processor = family(name)
    return Embedder(backbone(name), model, processor.tokenizer, Preprocess(**options), "test")


@pytest.fixture(scope="module")
def media(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """a: 4 s with a tone, b: 2 s without a track, c: 4 s with a track of digital silence, long: 20 s with a tone, bad: no video."""
    folder = tmp_path_factory.mktemp("media")
    tone = (0.3 * np.sin(np.arange(48_000 * 20) * 0.05)).astype(np.float32)
    (folder / "a.mp4").write_bytes(video(40, fps=10, sound=tone[: 48_000 * 4], height=96, width=160))
    (folder / "b.mp4").write_bytes(video(20, fps=10, height=96, width=160))
    (folder / "c.mp4").write_bytes(video(40, fps=10, sound=np.zeros(48_000 * 4, np.float32), height=96, width=160))
    (folder / "long.mp4").write_bytes(video(100, fps=5, sound=tone, height=96, width=160))
    (folder / "bad.mp4").write_bytes(b"not a video at all")
    return folder


def wanted(media: Path) -> list[Item]:
    base = str(media)
    return [
        Item("a", video_uri="a.mp4", sound=True, base=base, text="what happens?"),
        Item("text", text="a red ball"),
        Item("b", video_uri="b.mp4", sound=True, base=base),
        Item("frame", image_uri="a.mp4", image_time_s=1.0, base=base),
        Item("c", video_uri="c.mp4", sound=True, base=base),
        Item("part", video_uri="a.mp4", start_s=1.0, end_s=3.0, sound=True, base=base),
        Item("tone", audio_uri="a.mp4", end_s=2.0, base=base),
        Item("long", video_uri="long.mp4", sound=True, base=base),
    ]


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("template", ["embed", "last"])
def test_vectors_do_not_depend_on_batch_size_padding_or_neighbours(name: str, template: Any) -> None:
    every = items(name)
    one = embedder(name, template=template)
    alone = one.encode(every, batch_size=1)
    together = one.encode(every[::-1], batch_size=8)[::-1]
    one.collate.padding_side = "left"
    left = one.encode(every, batch_size=3)
    assert alone.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(alone, axis=1), 1.0, atol=1e-5)
    assert ((alone * together).sum(1) >= 0.9999).all()
    assert ((alone * left).sum(1) >= 0.9999).all()
    assert np.unique(alone.round(3), axis=0).shape[0] == len(every)  # and they do differ


def test_files_of_every_kind_in_one_call_keep_their_order(media: Path) -> None:
    one, every = embedder("nano-omni"), wanted(media)
    vectors = one.encode(every, batch_size=3, workers=2)
    for item, vector in zip(every, vectors, strict=True):
        assert one.encode([item], workers=0)[0] @ vector >= 0.9999


def test_a_silent_track_is_no_sound(media: Path) -> None:
    one, base = embedder("nano-omni"), str(media)
    asked = [Item("c", video_uri="c.mp4", sound=sound, base=base) for sound in (True, False)]
    vectors = one.encode(asked, workers=0)
    assert vectors[0] @ vectors[1] >= 0.9999
    heard = one.encode([Item("a", video_uri="a.mp4", sound=sound, base=base) for sound in (True, False)], workers=0)
    assert heard[0] @ heard[1] < 0.9999


def test_a_long_clip_with_sound_is_the_mean_of_its_windows(media: Path) -> None:
    """20 s make three windows of 6.67 s, each at most 8 s."""
    one, base = embedder("nano-omni"), str(media)
    whole = one.encode([Item("long", video_uri="long.mp4", sound=True, base=base, end_s=20.0)], workers=0)[0]
    edges = [0, 20 / 3, 40 / 3, 20.0]
    parts = [Item("w", video_uri="long.mp4", sound=True, base=base, start_s=edges[i], end_s=edges[i + 1]) for i in range(3)]
    mean = one.encode(parts, workers=0).mean(0)
    assert whole @ (mean / np.linalg.norm(mean)) >= 0.9999


def test_a_broken_item_is_a_reject_and_never_a_vector(media: Path) -> None:
    one = embedder("nano-omni")
    every = [
        Item("good", text="a"),
        Item("bad", video_uri="bad.mp4", base=str(media)),
        Item("gone", video_uri="no.mp4", base=str(media)),
    ]
    result = one.encode_or_reject(every)
    assert result.kept == [0]
    assert result.vectors.shape == (1, 128)
    assert [reject.item for reject in result.rejects] == ["bad", "gone"]
    with pytest.raises(ItemError, match="2 of 3 items cannot be encoded, first bad"):
        one.encode(every)


def test_a_backbone_that_cannot_hear_rejects_a_sound_by_name(media: Path) -> None:
    one = embedder("qwen2.5-vl-3b")
    result = one.encode_or_reject([Item("tone", audio_uri="a.mp4", end_s=2.0, base=str(media)), Item("t", text="a")], workers=0)
    assert result.kept == [1]
    assert "no audio tower" in result.rejects[0].detail


def test_broken_weights_are_an_error_not_a_vector() -> None:
    from copy import deepcopy

    one = embedder("nano-omni")
    one.model = deepcopy(one.model)
    with torch.no_grad():
        one.model.model.language_model.norm.weight.fill_(float("nan"))
    with pytest.raises(ItemError, match="not finite"):
        one.encode([DecodedItem("a", "b")])


def test_features_of_a_clip_are_computed_once_and_shared_by_every_text(media: Path, tmp_path: Path) -> None:
    model = family("nano-omni")[0]
    one = embedder("nano-omni")
    row = {"clip_id": "a", "uri": "a.mp4", "start_s": 0.0, "end_s": 4.0, "has_audio": True, "audible": True, "media_sha256": "aa"}
    index = ClipIndex().add_rows([row], media)
    asked = {"text": None, "image_uri": None, "clip_id": "a", "start_s": None, "end_s": None, "modalities": ["video", "audio"]}
    clip = index.item(asked, "a")
    cache = FeatureCache(tmp_path, model, one.collate, one.preprocess.sampling)
    assert cache.add([clip, replace(clip, text="what?"), Item("t", text="x")]) == []
    assert cache.computed == 1
    again = FeatureCache(tmp_path, model, one.collate, one.preprocess.sampling)
    assert clip in again
    batch = one.collate(again.get(clip) + again.get(replace(clip, text="what?")))
    vectors = one.embed(batch)
    expected = one.encode([clip, replace(clip, text="what?")], workers=0)
    assert ((vectors * expected).sum(1) >= 0.9999).all()
    assert again.add([replace(clip, media_sha256="bb", video_uri="gone.mp4")])[0].reason == "missing"


def test_other_towers_sampling_or_code_use_other_features(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = embedder("nano-omni")
    plain = FeatureCache(tmp_path, one.model, one.collate, one.preprocess.sampling)
    faster = FeatureCache(tmp_path, one.model, one.collate, replace(one.preprocess.sampling, n_frames=16))
    other = FeatureCache(tmp_path, family("nano-omni", False)[0], collator("nano-omni"), one.preprocess.sampling)
    assert plain.folder == other.folder != faster.folder
    with torch.no_grad():
        one.model.model.visual.merger.ln_q.weight.mul_(1.5)
        trained = FeatureCache(tmp_path, one.model, one.collate, one.preprocess.sampling)
        one.model.model.visual.merger.ln_q.weight.div_(1.5)
    assert trained.folder != plain.folder
    monkeypatch.setattr(runs, "code_digest", lambda sources: f"changed {sources}")
    assert FeatureCache(tmp_path, one.model, one.collate, one.preprocess.sampling).folder != plain.folder


def test_clip_rows_become_items_on_the_files_clock() -> None:
    row = {"clip_id": "w", "uri": "a.mp4", "start_s": 10.0, "end_s": 14.0, "has_audio": True, "audible": False, "media_sha256": "x"}
    index = ClipIndex().add_rows([row], "/media")
    asked = {"text": "t", "image_uri": None, "clip_id": "w", "start_s": None, "end_s": None}
    whole = index.item({**asked, "modalities": ["text", "video", "audio"]}, "q")
    assert (whole.start_s, whole.end_s, whole.sound, whole.text) == (10.0, 14.0, False, "t")
    frame = index.item({**asked, "start_s": 11.0, "end_s": 11.0, "modalities": ["image"]}, "q")
    assert (frame.image_uri, frame.image_time_s, frame.text) == ("a.mp4", 11.0, None)
    with pytest.raises(ItemError, match="no sound to be heard"):
        index.item({**asked, "modalities": ["audio"]}, "q")
    with pytest.raises(ItemError, match="not inside clip w"):
        index.item({**asked, "start_s": 2.0, "end_s": 3.0, "modalities": ["video"]}, "q")
    with pytest.raises(ItemError, match="no clip 'z'"):
        index.item({**asked, "clip_id": "z", "modalities": ["video"]}, "q")
