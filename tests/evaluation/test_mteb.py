"""Against mteb, where it is installed (the extra `bench`): its metrics, its evaluator over our model, and its own reader of GVE."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

mteb = pytest.importorskip("mteb", reason="mteb is in the extra `bench` alone")

from uvrlab.config import load_config  # noqa: E402
from uvrlab.data.items import Item  # noqa: E402
from uvrlab.data.world import render_clip, sample_scene  # noqa: E402
from uvrlab.evaluation import evaluate, metrics  # noqa: E402
from uvrlab.models import embedder  # noqa: E402
from uvrlab.stages import run_stage  # noqa: E402

CUTS = (1, 3, 5, 10)


@pytest.mark.parametrize("seed", range(5))
def test_metrics_equal_those_of_mteb_on_random_rankings(seed: int) -> None:
    """Several positives a query, no two scores alike: mteb breaks ties by id, we take the mean over all orders."""
    from mteb._evaluators.retrieval_metrics import calculate_retrieval_scores

    rng = np.random.default_rng(seed)
    names = [f"d{i}" for i in range(40)]
    scores = {f"q{i}": dict(zip(names, rng.permutation(40) / 40.0, strict=True)) for i in range(12)}
    positives = {query: set(rng.choice(names, rng.integers(1, 8), replace=False)) for query in scores}
    qrels = {query: {name: int(name in found) for name in names} for query, found in positives.items()}
    theirs = calculate_retrieval_scores(scores, qrels, list(CUTS))
    rankings = [
        metrics.rank(np.array(list(scores[q].values())), np.array([name in positives[q] for name in names]), q) for q in scores
    ]
    pairs = {"R": theirs.recall, "P": theirs.precision, "nDCG": theirs.ndcg}
    named = {"R": "Recall", "P": "P", "nDCG": "NDCG"}
    for short, told in pairs.items():
        for k in CUTS:
            ours = np.mean([metrics.score(f"{short}@{k}", ranking) for ranking in rankings])
            assert ours == pytest.approx(told[f"{named[short]}@{k}"], abs=1e-5), (short, k)
    for k in CUTS:
        ours = np.mean([metrics.score(f"MRR@{k}", ranking) for ranking in rankings])
        assert ours == pytest.approx(theirs.mrr[f"MRR@{k}"])


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mteb")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("UVR_WORK", str(folder / "work"))
        config = load_config(None, ["ingest.world={train: 4, val: 0, test: 16}"])
        run_stage(config.for_stage("ingest"), {}, folder / "ingest")
    return folder / "ingest"


def retrieval_task(name: str, category: str, queries: Any, corpus: Any, positives: dict[str, tuple[str, ...]]) -> Any:
    """An mteb retrieval task over data sets in memory."""
    from mteb.abstasks.retrieval import AbsTaskRetrieval
    from mteb.abstasks.task_metadata import TaskMetadata
    from mteb.mocks.mock_tasks.retrieval import general_args

    words = {"t": "text", "i": "image", "v": "video", "a": "audio"}
    told = general_args | {"category": category, "modalities": sorted({words[c] for c in category if c != "2"})}

    class World(AbsTaskRetrieval):
        metadata = TaskMetadata(name=name, type="Any2AnyRetrieval", main_score="recall_at_1", **told)

        def load_data(self, **_: Any) -> None:
            relevant = {query: dict.fromkeys(found, 1) for query, found in positives.items()}
            split = {"queries": queries, "corpus": corpus, "relevant_docs": relevant, "top_ranked": None}
            self.dataset, self.data_loaded = {"default": {"test": split}}, True

    return World()


def columns(bench: Any, rows: dict[str, Any], folder: Path) -> Any:
    """Benchmark items as an mteb data set: texts, pictures, whole video files and their sound as a file of its own."""
    from datasets import Audio, Dataset, Image, Video
    from PIL import Image as Pictures

    from uvrlab.data.decoding import Sampling, decode_items

    found: list[dict[str, Any]] = []
    for name, row in rows.items():
        item = bench.item(row, name)
        line: dict[str, Any] = {"id": name}
        if item.text:
            line["text"] = item.text
        if item.image_uri:
            (parts,) = decode_items([item], Sampling())
            file = folder / f"{name.replace('/', '-')}.png"
            Pictures.fromarray(parts[0].image).save(file)  # type: ignore[index]
            line["image"] = str(file)
        if item.video_uri:
            line["video"] = str(Path(item.base) / item.video_uri)
            line["audio"] = line["video"] if item.sound else None
        found.append(line)
    data = Dataset.from_list(found)
    for kind, feature in (("video", Video(decode=False)), ("audio", Audio(decode=False)), ("image", Image())):
        if kind in data.column_names:
            data = data.cast_column(kind, feature)
    return data


@pytest.mark.slow
@pytest.mark.parametrize(("dataset", "category"), [("world-rich", "t2va"), ("world-i2v", "i2va")])
def test_our_model_in_mteb_gets_the_scores_of_our_own_evaluation(
    world: Path, dataset: str, category: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from uvrlab.evaluation.mteb_model import MtebModel

    bench, config = evaluate.Benchmark.load(world, [dataset]), load_config(None, ["evaluate.bootstrap=10"])
    one = embedder.load("nano-omni")
    ours = evaluate.score(one, bench, config.for_stage("evaluate").own, 1, 0).results
    (task,) = bench.tasks
    queries = columns(bench, {q.query_id: q.item for q in task.queries}, tmp_path)
    corpus = columns(bench, dict(task.corpus), tmp_path)
    asked = retrieval_task(dataset, category, queries, corpus, {q.query_id: q.positives for q in task.queries})
    model = MtebModel(one, "nano", workers=1)
    result = mteb.evaluate(model, asked, cache=None, show_progress_bar=False, encode_kwargs={"batch_size": 8})
    (told,) = result.task_results[0].scores["test"]
    for k in (1, 5, 10):
        assert told[f"recall_at_{k}"] == pytest.approx(ours.score(dataset, f"R@{k}").value, abs=1e-5)
    assert 0 < told["recall_at_10"] < 1
    assert (result.model_name, result.model_revision) == ("uvrlab/nano", one.digest[:12])


def test_sound_that_comes_apart_from_its_video_is_joined_with_it_in_time(tmp_path: Path) -> None:
    """Frames are equal to the pixel; the sound lacks only its encoder's priming, and no sample is shifted."""
    from uvrlab.data.decoding import Sampling, decode_items
    from uvrlab.evaluation.mteb_model import _item

    scene = next(scene for scene in (sample_scene("test", i) for i in range(20)) if scene.sounds)
    content = {"bytes": render_clip(scene)}
    (tmp_path / "a.mp4").write_bytes(content["bytes"])
    apart = _item("v", {"video": content, "audio": content}, tmp_path, None)
    whole = Item("a", video_uri=str(tmp_path / "a.mp4"), sound=True)
    (first,), (second,) = decode_items([whole, apart], Sampling())  # type: ignore[misc]
    np.testing.assert_array_equal(first.frames, second.frames)
    assert len(first.wave) == len(second.wave)
    assert np.corrcoef(first.wave, second.wave)[0, 1] > 0.99


def test_gve_equals_the_reader_that_mteb_has_of_it(tmp_path: Path) -> None:
    import torch
    from mteb.models.model_implementations.gve_models import GVEWrapper
    from PIL import Image

    from tests.models.checkpoints import save_gve
    from tests.models.families import FRAMES
    from uvrlab.data.items import DecodedItem

    folder = save_gve(tmp_path / "gve")
    theirs = GVEWrapper(str(folder), None, device="cpu")  # type: ignore[arg-type]
    theirs.model.float()
    batch = {
        "text": ["what is this?", "a red ball rolls left"],
        "image": [Image.fromarray(FRAMES[0]), Image.fromarray(FRAMES[5])],
        "video": [torch.from_numpy(FRAMES).permute(0, 3, 1, 2), torch.from_numpy(FRAMES[:4]).permute(0, 3, 1, 2)],
    }
    for parts in (["text"], ["video"], ["text", "image"]):
        loader = Batches({part: batch[part] for part in parts})
        expected = theirs.encode(
            loader,
            task_metadata=None,
            hf_split="",
            hf_subset="",
            prompt_type=mteb.types.PromptType.document,
            show_progress_bar=False,
        )
        films = (FRAMES, FRAMES[:4])
        ours = [
            DecodedItem(
                str(i),
                batch["text"][i] if "text" in parts else None,
                image=np.asarray(batch["image"][i]) if "image" in parts else None,
                **({"frames": films[i], "fps": 2.0} if "video" in parts else {}),
            )
            for i in range(2)
        ]
        assert ((embedder.load(folder).encode(ours) * expected).sum(1) >= 0.9999).all(), parts


class Batches(list):
    """One batch as mteb's loader gives it, frames already drawn."""

    def __init__(self, batch: dict[str, Any]) -> None:
        super().__init__([batch])
        self.dataset = SimpleNamespace(features={name: None for name in batch if name != "video"})
