"""Every mode on a fresh model: what a vector says about itself, equal seeds, and thoughts without a read-out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from tests.models.families import family  # noqa: E402
from uvrlab.data.items import DecodedItem  # noqa: E402
from uvrlab.models import modes  # noqa: E402
from uvrlab.models.backbones import backbone  # noqa: E402
from uvrlab.models.encode import Embedder  # noqa: E402
from uvrlab.models.generate import Thought, banned_ids  # noqa: E402
from uvrlab.models.modes import Reading, Spoken, Thinking, agree, has_vector  # noqa: E402
from uvrlab.models.preprocess import Preprocess  # noqa: E402
from uvrlab.models.router import Router  # noqa: E402

SHORT = Thinking(k=3, max_new_tokens=5)
TEXTS = [DecodedItem(f"t{i}", text) for i, text in enumerate(("a red ball", "a bell rings near the blue cube", "left", "a star"))]


@pytest.fixture(scope="module")
def embedder() -> Embedder:
    model, processor = family("nano-omni")
    return Embedder(backbone("nano-omni"), model, processor.tokenizer, Preprocess(), "test")


@pytest.fixture
def spoken(embedder: Embedder, monkeypatch: pytest.MonkeyPatch):
    """Let every thought have the given vectors, None where it has no read-out."""

    def script(*vectors: list[np.ndarray | None]) -> None:
        rows = [[Thought([7, 8], True, vector) for vector in row] for row in vectors]
        monkeypatch.setattr(modes, "_thoughts", lambda *_: [rows.pop(0) for _ in range(len(_[1].input_ids))])

    return script


def unit(*values: float) -> np.ndarray:
    found = np.zeros(family("nano-omni")[0].config.get_text_config().hidden_size, np.float32)
    found[: len(values)] = values
    return found


def test_the_default_reads_without_a_thought(embedder: Embedder):
    found = embedder.encode_or_reject(TEXTS, workers=0)
    assert [(r.mode, r.n_tokens, r.thoughts) for r in found.readings] == [("speed", 0, ())] * 4
    assert all(r.milliseconds > 0 for r in found.readings) and found.samples is None and found.fallbacks == 0


@pytest.mark.parametrize("mode", ["think", "best_of_k"])
def test_equal_seeds_give_equal_results_whatever_the_batch(embedder: Embedder, mode):
    options = {"mode": mode, "workers": 0, "thinking": SHORT}
    together = embedder.encode_or_reject(TEXTS, batch_size=32, **options)
    apart = embedder.encode_or_reject(TEXTS[::-1], batch_size=1, **options)
    assert [r.thoughts for r in together.readings] == [r.thoughts for r in apart.readings[::-1]]
    assert ((together.vectors * apart.vectors[::-1]).sum(1) >= 0.9999).all()
    other = embedder.encode_or_reject(TEXTS, mode=mode, workers=0, thinking=replace(SHORT, seed=1))
    assert ([r.thoughts for r in other.readings] == [r.thoughts for r in together.readings]) is (mode == "think")


def test_no_mode_ever_emits_a_banned_token(embedder: Embedder, monkeypatch):
    """Fresh weights emit anything: of 60 sampled tokens none is media, a delimiter, padding or <disc_emb>."""
    seen: list[int] = []
    real = modes.words
    monkeypatch.setattr(modes, "words", lambda text, thought: seen.extend(thought.ids) or real(text, thought))
    embedder.encode(TEXTS, mode="best_of_k", workers=0, thinking=replace(SHORT, temperature=5.0))
    assert len(seen) == 60 and not set(seen) & set(banned_ids(embedder.spec, embedder.collate.text))


def test_a_thought_without_a_vector_falls_back_to_disc_and_says_so(embedder: Embedder, spoken):
    disc, gen = embedder.encode(TEXTS[:2], workers=0), unit(1)
    spoken([None], [gen])
    found = embedder.encode_or_reject(TEXTS[:2], mode="think", workers=0)
    # items are batched by length: the shorter text is first in its batch and here in the list
    np.testing.assert_allclose(found.vectors, [disc[0], gen], atol=1e-5)
    assert [r.mode for r in found.readings] == ["speed", "think"] and [r.fallbacks for r in found.readings] == [1, 0]
    assert found.fallbacks == 1 and [r.n_tokens for r in found.readings] == [2, 2]


def test_a_consensus_leaves_out_samples_without_a_vector(embedder: Embedder, spoken):
    spoken([unit(1), None, unit(0.8, 0.6)], [None, None, None])
    found = embedder.encode_or_reject(TEXTS[:2], mode="best_of_k", workers=0, thinking=replace(SHORT, consensus="mean"))
    disc = embedder.encode(TEXTS[:2], workers=0)
    mean = unit(1.8, 0.6)
    np.testing.assert_allclose(found.vectors, [mean / np.linalg.norm(mean), disc[1]], atol=1e-5)
    assert found.samples.shape == (2, 3, embedder.width) and found.fallbacks == 4
    np.testing.assert_allclose(found.samples[0, 1], disc[0], atol=1e-5)
    assert [r.mode for r in found.readings] == ["best_of_k", "speed"]


def test_the_medoid_is_the_sample_nearest_to_all_by_brute_force():
    rng = np.random.default_rng(0)
    for k in range(1, 9):
        samples = rng.normal(size=(k, 6))
        samples /= np.linalg.norm(samples, axis=1, keepdims=True)
        nearest = max(range(k), key=lambda i: sum(float(samples[i] @ other) for other in samples))
        np.testing.assert_allclose(agree(samples, np.ones(k, bool), "medoid"), samples[nearest])


def test_a_sample_of_several_windows_has_a_vector_if_one_window_has():
    """Two windows of three samples each, window by window: the first sample has one in the second window, the third in none."""
    said = [Spoken("", 1, True, read) for read in (False, True, False, True, True, False)]
    assert has_vector(Reading("best_of_k", 0.0, tuple(said)), 3).tolist() == [True, True, False]


def test_auto_thinks_where_disc_is_unsure_and_adds_the_thought_to_the_disc_vector(embedder: Embedder, spoken):
    """The corpus holds the disc vector of the first text twice over, so that it is unsure; its thought has a vector, or not."""
    disc = embedder.encode(TEXTS[:2], workers=0)
    far = -disc[1]
    speed, think = np.stack([disc[0], disc[0], disc[1], far]), np.stack([unit(1), unit(0, 1), unit(0, 0, 1), unit(0, 0, 0, 1)])
    router, nothing = Router(speed, think, threshold=0.6, temperature=1e-4), np.zeros(embedder.width)
    for gen, mode in ((unit(0, 1), "think"), (None, "speed")):
        spoken([gen])
        found = embedder.encode_or_reject(TEXTS[:2], mode="auto", workers=0, router=router)
        assert [r.mode for r in found.readings] == [mode, "speed"]
        assert [len(r.thoughts) for r in found.readings] == [1, 0]
        first = np.concatenate([disc[0], nothing] if gen is None else [disc[0] / 2**0.5, gen / 2**0.5])
        np.testing.assert_allclose(found.vectors, [first, np.concatenate([disc[1], nothing])], atol=1e-5)
        best = (found.vectors @ router.candidates.T)[0]
        assert best.argmax() == (0 if gen is None else 1) and best[1] == pytest.approx(1.0 if gen is not None else 0.5**0.5)
    with pytest.raises(ValueError, match="pass router="):
        embedder.encode(TEXTS, mode="auto", workers=0)
    with pytest.raises(ValueError, match="k and max_new_tokens of at least 1"):
        Thinking(k=0)
