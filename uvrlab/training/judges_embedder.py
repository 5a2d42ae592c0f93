"""The self-supervised judge: the frozen embedder compares what a span shows and sounds like with the words about it.

A bare cosine says little: some captions lie near everything. Each is therefore compared with the same caption on other cuts and the
same cut under other captions (symmetric score normalisation, as in speaker verification), and the result becomes the probability
of a match at even odds, by a logistic curve fitted on matched against shuffled pairs. No label enters but which caption came with
which clip.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from uvrlab.data.items import DecodedItem
from uvrlab.data.questions import Asked
from uvrlab.rewards.base import Score
from uvrlab.training.judges import Claim, Evidence, auc
from uvrlab.training.spans import Footage, as_item, cut, rest

Array = np.ndarray[Any, Any]
MIN_REFERENCES = 8
SHUFFLES = 4  # shuffled pairs for each matched one


def snorm(own: Array, with_texts: Array, with_cuts: Array) -> Array:
    """(N,) similarities `own` in standard deviations above chance, the mean of two views.

    with_texts (N, K): each cut with K foreign texts; with_cuts (N, K): each text with K foreign cuts. NaN entries are left out.
    """
    views = [(own - np.nanmean(x, axis=1)) / (np.nanstd(x, axis=1) + 1e-6) for x in (with_texts, with_cuts)]
    return np.mean(views, axis=0)


@dataclass(frozen=True)
class Curve:
    """P(match | z) = 1 / (1 + exp(-(slope * z + shift))) at even odds, and the AUC of matched over shuffled pairs."""

    slope: float
    shift: float
    auc: float
    n: int  # matched pairs

    def __call__(self, z: Array) -> Array:
        return np.asarray(1.0 / (1.0 + np.exp(-np.clip(self.slope * z + self.shift, -60, 60))))


def fit_curve(matched: Array, shuffled: Array) -> Curve:
    """Logistic regression of match on z, both classes with equal weight, a little ridge; Newton's method.

    A slope below 0 would pay for mismatch: it becomes 0, and every score is 1/2.
    """
    z = np.concatenate([matched, shuffled])
    y = np.concatenate([np.ones(len(matched)), np.zeros(len(shuffled))])
    w = np.where(y == 1, 0.5 / len(matched), 0.5 / len(shuffled))
    x, theta = np.stack([z, np.ones_like(z)], axis=1), np.zeros(2)
    ridge = np.diag([1e-3, 1e-6])
    for _ in range(50):
        p = 1.0 / (1.0 + np.exp(-np.clip(x @ theta, -60, 60)))
        gradient = x.T @ (w * (p - y)) + ridge @ theta
        hessian = (x * (w * p * (1 - p))[:, None]).T @ x + ridge
        theta = theta - np.linalg.solve(hessian, gradient)
    slope, shift = (float(v) for v in theta) if theta[0] > 0 else (0.0, 0.0)
    return Curve(slope, shift, auc(matched, shuffled), len(matched))


@dataclass
class Matcher:
    """Texts against cuts: reference vectors (K, D) of each, and the curve that makes a probability of a normalised similarity."""

    texts: Array
    cuts: Array
    curve: Curve = field(init=False)

    def __post_init__(self) -> None:
        if len(self.texts) != len(self.cuts) or len(self.texts) < MIN_REFERENCES:
            raise ValueError(
                f"found {len(self.texts)} texts and {len(self.cuts)} cuts; expected as many of each, at least {MIN_REFERENCES}"
            )
        own = np.arange(len(self.texts))
        wrong = np.concatenate([np.roll(own, shift) for shift in range(1, SHUFFLES + 1)])
        again = np.tile(own, SHUFFLES)
        self.curve = fit_curve(self._of_references(own, own), self._of_references(again, wrong))

    def _of_references(self, cut_rows: Array, text_rows: Array) -> Array:
        """z of reference cuts with reference texts; neither partner serves as a reference for the pair."""
        table = self.cuts @ self.texts.T  # (K cuts, K texts)
        pick = np.arange(len(cut_rows))
        with_texts, with_cuts = table[cut_rows].copy(), table.T[text_rows].copy()
        for mine in (cut_rows, text_rows):
            with_texts[pick, mine] = np.nan
            with_cuts[pick, mine] = np.nan
        return snorm(table[cut_rows, text_rows], with_texts, with_cuts)

    def z(self, cuts: Array, texts: Array) -> Array:
        """(N,) normalised similarity of cuts (N, D) with texts (N, D), row by row."""
        return snorm((cuts * texts).sum(1), cuts @ self.texts.T, texts @ self.cuts.T)

    def probability(self, cuts: Array, texts: Array) -> Array:
        """(N,) P(match)."""
        return self.curve(self.z(cuts, texts))


@dataclass(frozen=True)
class EmbedderJudge:
    """`captions` judges a span with its caption, `answers` joined spans with a question and its answer."""

    embedder: Any  # uvrlab.models.encode.Embedder
    captions: Matcher
    answers: Matcher
    n_frames: int = 8
    batch_size: int = 64
    name: str = "embedder"

    @classmethod
    def calibrated(
        cls, embedder: Any, clips: Sequence[Footage], captions: Sequence[str], questions: Sequence[Asked], n_frames: int = 8
    ) -> EmbedderJudge:
        """Calibrate on clips with a caption and a question each, row by row. Raises ValueError for fewer than 8."""
        cuts = [cut(clip, [(0.0, clip.duration_s)], n_frames) for clip in clips]
        items = [as_item(one, f"reference {i}") for i, one in enumerate(cuts) if one is not None]
        texts = [DecodedItem(f"text {i}", text=text) for i, text in enumerate([*captions, *map(said, questions)])]
        vectors = embedder.encode([*items, *texts], batch_size=64, workers=0)
        seen, words = vectors[: len(items)], vectors[len(items) :]
        return cls(embedder, Matcher(words[: len(captions)], seen), Matcher(words[len(captions) :], seen), n_frames)

    def consistency(self, claims: Sequence[Claim]) -> list[Score]:
        """P(the caption belongs to the span)."""
        cuts = [cut(claim.footage, [claim.span], self.n_frames) for claim in claims]
        seen, words = self._vectors(cuts, [claim.caption for claim in claims])
        return _scores(self.captions.probability(seen, words))

    def completeness(self, evidence: Sequence[Evidence]) -> list[Score]:
        """The mean of sufficiency, P(question and answer belong to the joined spans), and precision.

        Precision is P(match) for the lead of the spans over what they leave out: spans that cover the whole clip leave nothing
        out, so it is not shown that they are the right ones, and it is 0.
        """
        inside = [cut(one.footage, one.spans, self.n_frames) for one in evidence]
        left = [cut(one.footage, rest(sorted(one.spans), one.footage.duration_s), self.n_frames) for one in evidence]
        texts = [said(one.question) for one in evidence]
        seen, words = self._vectors(inside, texts)
        others, _ = self._vectors([b or a for a, b in zip(inside, left, strict=True)], [])
        z = self.answers.z(seen, words)
        lead = z - self.answers.z(others, words)
        bare = np.array([one is None for one in left])
        return _scores((self.answers.curve(z) + np.where(bare, 0.0, self.answers.curve(lead))) / 2)

    def _vectors(self, cuts: Sequence[Footage | None], texts: Sequence[str]) -> tuple[Array, Array]:
        items = [as_item(one, f"cut {i}") for i, one in enumerate(cuts) if one is not None]
        words = [DecodedItem(f"text {i}", text=text) for i, text in enumerate(texts)]
        if len(items) != len(cuts):
            raise ValueError(
                f"{len(cuts) - len(items)} of {len(cuts)} cuts are empty; a judge is given spans inside the clip alone"
            )
        found = self.embedder.encode([*items, *words], batch_size=self.batch_size, workers=0)
        return found[: len(items)], found[len(items) :]


def said(question: Asked) -> str:
    """Question and reference answer as one text."""
    return f"{question.question} {question.answer_text}"


def _scores(values: Array) -> list[Score]:
    return [float(v) for v in values]
