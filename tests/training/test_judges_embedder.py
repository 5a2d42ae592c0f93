"""The self-supervised judge: normalisation by hand, a calibrated curve on known distributions, and an embedder that hears."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from tests.training.judged import footage, sounding
from uvrlab.data.questions import Asked
from uvrlab.data.world.tables import SOUNDS
from uvrlab.training.judges import Claim, Evidence, auc
from uvrlab.training.judges_embedder import EmbedderJudge, Matcher, fit_curve, snorm
from uvrlab.training.spans import Footage


def test_snorm_by_hand():
    """0.9 among texts (0.1, 0.5): (0.9 - 0.3) / 0.2 = 3; among cuts (0.4, 0.8): (0.9 - 0.6) / 0.2 = 1.5; mean 2.25."""
    assert snorm(np.array([0.9]), np.array([[0.1, 0.5]]), np.array([[0.4, 0.8]])) == pytest.approx([2.25], abs=1e-3)
    nan = float("nan")
    assert snorm(np.array([0.9]), np.array([[0.1, nan, 0.5]]), np.array([[0.4, 0.8, nan]])) == pytest.approx([2.25], abs=1e-3)


def test_the_curve_is_the_posterior_of_two_gaussians():
    """N(2, 1) against N(0, 1) at even odds: log-odds 2 z - 2, whatever the sizes of the samples."""
    rng = np.random.default_rng(0)
    curve = fit_curve(rng.normal(2, 1, 4000), rng.normal(0, 1, 16000))
    assert curve.slope == pytest.approx(2, abs=0.15) and curve.shift == pytest.approx(-2, abs=0.15)
    assert curve.auc == pytest.approx(0.921, abs=0.01)  # Phi(2 / sqrt 2)
    assert curve(np.array([1.0])) == pytest.approx([0.5], abs=0.02)


def test_an_embedder_that_prefers_mismatch_is_not_followed():
    rng = np.random.default_rng(0)
    curve = fit_curve(rng.normal(-2, 1, 200), rng.normal(0, 1, 800))
    assert curve(np.array([-3.0, 0.0, 3.0])).tolist() == [0.5, 0.5, 0.5] and curve.auc < 0.1


def test_perfectly_separated_pairs_keep_a_finite_curve():
    curve = fit_curve(np.full(50, 3.0), np.full(200, -3.0))
    assert math.isfinite(curve.slope) and curve(np.array([3.0]))[0] > 0.9 > 0.1 > curve(np.array([-3.0]))[0]


def test_a_caption_near_everything_earns_less_than_one_that_is_near_its_cut():
    """Unit vectors; the hub has the higher cosine with the cut, but also with every other one."""
    rng = np.random.default_rng(1)
    base = rng.normal(size=(32, 64))
    base[:, 0] += 8.0  # what all share
    texts = base / np.linalg.norm(base, axis=1, keepdims=True)
    noisy = base + 0.6 * rng.normal(size=base.shape)
    cuts = noisy / np.linalg.norm(noisy, axis=1, keepdims=True)
    matcher = Matcher(texts, cuts)
    hub = base.mean(0) / np.linalg.norm(base.mean(0))
    new = rng.normal(size=64)
    new[0] += 8.0
    new /= np.linalg.norm(new)
    assert matcher.probability(new[None], new[None]) > 0.8
    assert matcher.probability(new[None], hub[None]) < 0.5


def test_too_few_references_are_refused():
    with pytest.raises(ValueError, match=r"found 3 texts and 3 cuts.*at least 8"):
        Matcher(np.eye(3), np.eye(3))


class Ear:
    """An ideal listener: a cut is the log-power spectrum of its sound, a text that of the sound it names."""

    def encode(self, items, *, batch_size=32, workers=0):
        return np.stack([self._vector(item) for item in items])

    def _vector(self, item):
        kind = next((k for k in SOUNDS if item.text and k in item.text), None)
        wave = item.wave if item.text is None else (_plain(kind) if kind else None)
        power = np.ones(64) if wave is None else np.log1p(np.abs(np.fft.rfft(wave, 8192)[:4096]).reshape(64, 64).mean(1))
        power = power - power.mean() + 1e-3
        return power / np.linalg.norm(power)


def _plain(kind):
    from uvrlab.data.world.scene import Sound
    from uvrlab.data.world.sound import synthesize_sound

    return synthesize_sound(Sound(kind, 0.0, 1.0), 16000, np.random.default_rng(0))


def _heard(scene):
    """The clip cut to its first sound, so that nothing else is in it, and a caption of it."""
    sound = scene.sounds[0]
    film = footage(scene, fps=1.0)
    wave = film.wave[round(sound.start_s * 16000) : round(sound.end_s * 16000)]
    return Footage(scene.clip_id, film.frames, 4.0, wave, 16000, sound.end_s - sound.start_s), sound.kind


@pytest.fixture(scope="module")
def judge():
    clips = [_heard(scene) for scene in sounding(24)]
    asked = [Asked(f"q{i}", film.clip_id, "train", "Which sound is it?", (), kind, "sound") for i, (film, kind) in enumerate(clips)]
    return EmbedderJudge.calibrated(Ear(), [film for film, _ in clips], [f"a {kind} is heard" for _, kind in clips], asked)


def test_a_judge_that_hears_lowers_the_caption_of_a_sound_that_was_swapped(judge):
    named, other = [], []
    clips = [_heard(scene) for scene in sounding(24, start=4000)]
    for (film, kind), (swap, new) in itertools.pairwise(clips):
        if kind != new:
            caption = f"a {kind} is heard"
            a, b = (Claim(f, (0.0, f.duration_s), caption) for f in (film, swap))
            named += judge.consistency([a])
            other += judge.consistency([b])
    assert len(named) >= 15 and auc(named, other) > 0.9
    assert all(0.0 <= score <= 1.0 for score in (*named, *other))


def test_spans_that_leave_nothing_out_show_no_precision(judge):
    """The bell fills the first half: that half is sufficient and leads over the rest; the whole clip is at most sufficient."""
    bell, hum = _plain("bell"), _plain("hum")
    film = Footage("both", np.zeros((8, 8, 8, 3), np.uint8), 4.0, np.concatenate([bell, hum]), 16000, 2.0)
    question = Asked("q", "both", "train", "Which sound is it?", (), "bell", "sound")
    spans = [((0.0, 1.0),), ((1.0, 2.0),), ((0.0, 2.0),)]
    right, wrong, whole = judge.completeness([Evidence(film, s, question) for s in spans])
    assert right > whole > wrong or (right > wrong and right > whole)
    assert whole <= 0.5


def test_the_shipped_backbone_serves_as_embedder_and_its_scores_change_with_the_sound():
    from uvrlab.models.encode import Embedder

    scenes = sounding(8)
    films = [footage(scene, fps=2.0) for scene in scenes]
    kinds = [scene.sounds[0].kind for scene in scenes]
    asked = [Asked(kind, "", "train", "Which sound is heard?", (), kind, "sound") for kind in kinds]
    judge = EmbedderJudge.calibrated(Embedder.load("nano-omni"), films, [f"a {kind}" for kind in kinds], asked)
    mute = Footage(films[0].clip_id, films[0].frames, films[0].fps, None, 16000, 4.0)
    caption = f"a {kinds[0]} is heard"
    with_sound, without = judge.captions.z(*judge._vectors([films[0], mute], [caption, caption]))
    assert with_sound != without
    assert 0.0 <= judge.captions.curve.auc <= 1.0
