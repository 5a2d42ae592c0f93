"""Where vectors are kept follows from what they depend on, no more and no less."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("torch")

from tests.models.families import family
from uvrlab import runs
from uvrlab.data.items import ClipIndex
from uvrlab.evaluation.evaluate import Benchmark
from uvrlab.evaluation.vectors import Vectors
from uvrlab.models.backbones import backbone
from uvrlab.models.encode import Embedder
from uvrlab.models.modes import Mode, Thinking
from uvrlab.models.preprocess import Preprocess


@pytest.fixture(scope="module")
def embedder() -> Embedder:
    model, processor = family("nano-omni")
    return Embedder(backbone("nano-omni"), model, processor.tokenizer, Preprocess(), "test")


def kept(embedder: Embedder, mode: Mode = "speed", **thinking: object) -> Path:
    return Vectors(embedder, Benchmark([], ClipIndex(), "b", Path()), 4, 0, mode, replace(Thinking(), **thinking)).file


def test_a_greedy_thought_is_not_thought_again_for_another_way_of_sampling(embedder: Embedder) -> None:
    for change in ({"k": 2}, {"consensus": "mean"}, {"temperature": 0.5}, {"seed": 1}, {"max_new_tokens": 5}):
        depends = {mode: kept(embedder, mode) != kept(embedder, mode, **change) for mode in ("speed", "think", "best_of_k")}
        assert depends == {"speed": False, "think": "max_new_tokens" in change, "best_of_k": True}


def test_other_code_another_device_and_another_model_have_files_of_their_own(
    embedder: Embedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = [kept(embedder), kept(embedder, "think")]
    files += [kept(replace(embedder, **change)) for change in ({"device": "cuda"}, {"digest": "other"})]
    monkeypatch.setattr(runs, "code_digest", lambda sources: f"changed {sources}")
    files.append(kept(embedder))
    assert len(set(files)) == len(files)
