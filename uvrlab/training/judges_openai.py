"""The judge of the paper's kind: a model behind an OpenAI-compatible endpoint, with the two rubrics, and it gets the sound too.

Requests run in parallel and every verdict is cached under the digest of what was judged. A request that fails, or a reply without a
score, is None and counted; an endpoint that nobody can reach stops the run.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import Any

from uvrlab.config import CaptionerConfig
from uvrlab.rewards.base import Score
from uvrlab.runs import digest_json, work_dir
from uvrlab.synthesis.captioners.answers import parsed
from uvrlab.synthesis.captioners.base import ProviderError
from uvrlab.synthesis.captioners.cache import AnswerCache
from uvrlab.synthesis.captioners.endpoint import Endpoint
from uvrlab.synthesis.captioners.media_parts import jpeg, wav
from uvrlab.training.judges import Claim, Evidence
from uvrlab.training.spans import Footage, cut

VERSION = 1
_REPLY = 'Reply with JSON alone: {"score": a number from 0 to 1, "reason": at most 20 words}.'
CONSISTENCY = f"""You judge whether a caption describes a short video clip, which you see as frames in order and hear as sound.
Check every statement of the caption against the clip: are the things there, are colours, shapes and other attributes right, do the
actions happen, is each sound that it names really heard? Take off for each statement that is wrong, and most for what is invented.
A caption that says nothing that can be checked gets 0. Do not reward length. {_REPLY}"""
COMPLETENESS = f"""You judge whether the parts that were cut from a video hold what is needed to answer a question about it. You see
the joined parts as frames in order and hear their sound; question and right answer are given. Judge three things: sufficiency (can
the answer be found from these parts alone?), precision (do they hold little that has nothing to do with it?), completeness (is no
moment missing that the answer needs?). {_REPLY}"""
_SCHEMA = {
    "type": "object",
    "properties": {"score": {"type": "number"}, "reason": {"type": "string"}},
    "required": ["score", "reason"],
    "additionalProperties": False,
}


class OpenAIJudge:
    """`failures` counts what could not be judged. Sampling of `own` does not enter: frames of a cut, temperature 0."""

    name = "openai"

    def __init__(self, own: CaptionerConfig) -> None:
        if not (own.model and own.base_url):
            raise ValueError("judge.kind=openai needs judge.endpoint.model and judge.endpoint.base_url; set both")
        self.own, self.failures = own, 0
        self._cache = AnswerCache(work_dir() / "judgements")

    @cached_property
    def _endpoint(self) -> Endpoint:
        return Endpoint(self.own)

    def consistency(self, claims: Sequence[Claim]) -> list[Score]:
        """The model's score of each caption for its span."""
        return self._all([(CONSISTENCY, c.footage, (c.span,), f"The caption: {c.caption}") for c in claims])

    def completeness(self, evidence: Sequence[Evidence]) -> list[Score]:
        """The model's score of each response's joined spans."""
        asked = [(one, f"The question: {one.question.question}\nThe right answer: {one.question.answer_text}") for one in evidence]
        return self._all([(COMPLETENESS, one.footage, one.spans, text) for one, text in asked])

    def _all(self, asked: Sequence[tuple[str, Footage, tuple[Any, ...], str]]) -> list[Score]:
        with ThreadPoolExecutor(self.own.concurrency) as pool:
            scores = list(pool.map(lambda one: self._one(*one), asked))
        self.failures += scores.count(None)
        return scores

    def _one(self, rubric: str, footage: Footage, spans: tuple[Any, ...], text: str) -> Score:
        """One verdict, from the cache or the model."""
        shown = cut(footage, spans, self.own.frames)
        if shown is None:
            return None
        key = digest_json([VERSION, rubric, self.own.model, shown.digest(), self.own.audio, text])
        if (known := self._cache.get(key)) is not None:
            return float(known["score"])
        try:
            with self._cache.asking(key):
                if (known := self._cache.get(key)) is None:
                    known = {"score": _score(self._endpoint.complete(self._body(rubric, shown, text))["content"])}
                    self._cache.put(key, known)
        except ProviderError:
            return None
        return float(known["score"])

    def _body(self, rubric: str, shown: Footage, text: str) -> dict[str, Any]:
        sound = shown.wave if self.own.audio else None
        pictures = [f"data:image/jpeg;base64,{_base64(jpeg(frame))}" for frame in shown.frames]
        parts: list[dict[str, Any]] = [{"type": "image_url", "image_url": {"url": url}} for url in pictures]
        if sound is not None:
            parts.append({"type": "input_audio", "input_audio": {"data": _base64(wav(sound)), "format": "wav"}})
        content = [{"role": "system", "content": rubric}, {"role": "user", "content": [*parts, {"type": "text", "text": text}]}]
        body: dict[str, Any] = {"model": self.own.model, "messages": content, "temperature": 0.0}
        body["max_completion_tokens"] = self.own.max_tokens
        if self.own.response_format == "json_schema":
            named = {"name": "verdict", "schema": _SCHEMA, "strict": True}
            body["response_format"] = {"type": "json_schema", "json_schema": named}
        return body


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _score(content: str) -> float:
    """The score of a reply. Raises ProviderError where it holds none in [0, 1]."""
    try:
        score = parsed(content)["score"]
    except (ValueError, KeyError, TypeError) as error:
        raise ProviderError(f"no verdict in {content[:80]!r}: {error!r}") from error
    if isinstance(score, bool) or not isinstance(score, int | float) or not 0 <= score <= 1:
        raise ProviderError(f"found score {score!r}, expected a number from 0 to 1")
    return float(score)
