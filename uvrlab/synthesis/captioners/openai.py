"""Captions by a model behind an OpenAI-compatible endpoint: frames and sound in, JSON by a schema out.

Every reply is cached under the digest of what was asked, so an interrupted run goes on where it stopped and nothing is asked twice.
An answer that fails its schema or its word range is sent back once with its faults; what fails again is a ProviderError.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from uvrlab.config import CaptionerConfig
from uvrlab.data.sampling import sample_times
from uvrlab.data.schema import WORD_RANGES
from uvrlab.runs import digest_json, work_dir
from uvrlab.synthesis.captioners import prompts
from uvrlab.synthesis.captioners.answers import SCHEMAS, TRACE_RANGE, parsed, problems
from uvrlab.synthesis.captioners.base import STRATEGIES, Fluent, ProviderError, Row, Thought, draw_profile, follows, task_of
from uvrlab.synthesis.captioners.cache import AnswerCache
from uvrlab.synthesis.captioners.endpoint import Endpoint
from uvrlab.synthesis.captioners.media_parts import MAX_SOUND_S, Shown
from uvrlab.synthesis.captioners.prompts import Prompt, prompt
from uvrlab.synthesis.needs import CONDITIONS, needs
from uvrlab.synthesis.plan import Cell
from uvrlab.synthesis.view import ClipView

LETTERS = "ABCDEF"
Message = dict[str, Any]


@dataclass(frozen=True)
class Ask:
    """One thing asked of the model: instructions, what it is shown, and the kind of answer expected."""

    kind: str  # of `answers.SCHEMAS`
    prompt: Prompt
    text: str  # the prompt, filled
    shown: tuple[Shown, ...]
    seed: int
    query: str = ""  # a text that is itself part of what is shown


class OpenAI(Fluent):
    """The provider `openai`. Many threads may share one."""

    name = "openai"

    def __init__(self, own: CaptionerConfig) -> None:
        self.own = own
        self.version = f"openai-1 {own.model} {prompts.tags()}"
        self.concurrency = own.concurrency
        self._cache = AnswerCache(work_dir() / "captions")

    @cached_property
    def _endpoint(self) -> Endpoint:
        return Endpoint(self.own)

    def strategies(self, reference: ClipView, item: Row, target: ClipView) -> tuple[str, ...]:
        later = follows(reference, item, target)
        return tuple(name for name in STRATEGIES[task_of(item)] if later or name != "continuation")

    def caption(self, view: ClipView, style: str, rng: np.random.Generator) -> str:
        asked = prompt("caption")
        said = {"style": asked.parts["styles"][style], "profile": asked.parts["profiles"][draw_profile(rng)]}
        return self._text(style, asked, said, (self._clip("The clip:", view),), rng)

    def frame_caption(self, view: ClipView, at_s: float, rng: np.random.Generator, rich: bool = False) -> str:
        asked = prompt("frame")
        said = {"richness": asked.parts["richness"]["rich" if rich else "plain"]}
        return self._text("frame_rich" if rich else "frame", asked, said, (self._frame("The picture:", view, at_s),), rng)

    def change(self, reference: ClipView, item: Row, target: ClipView, strategy: str, rng: np.random.Generator) -> str:
        asked, task = prompt("change"), task_of(item)
        if strategy not in self.strategies(reference, item, target):
            raise ProviderError(f"{strategy} does not lead from {reference.row['clip_id']} to {target.row['clip_id']}")
        parts = asked.parts
        said = {"reference": parts["references"][task], "strategy": parts["strategies"][strategy], "rule": parts["rules"][task]}
        shown = (self._item("The reference:", reference, item), self._clip("The target:", target))
        return self._text(strategy, asked, said, shown, rng)

    def query_trace(self, view: ClipView, cell: Cell, query: Row, rng: np.random.Generator, error_rate: float) -> Thought | None:
        if query["modalities"] == ["text"]:
            return self._thought("query", (), rng, query["text"])
        return self._thought("query", (self._item("The query:", view, query),), rng)

    def target_trace(self, view: ClipView, rng: np.random.Generator, error_rate: float) -> Thought | None:
        return self._thought("target", (self._clip("The clip:", view),), rng)

    def questions(self, view: ClipView, rng: np.random.Generator) -> list[Row]:
        """Questions whose need is shown by taking sound or picture away and asking again; without sound they need the picture."""
        if not self.own.questions:
            return []
        asked, sound = prompt("questions"), self._hears(view)
        count = "one question" if self.own.questions == 1 else f"{self.own.questions} questions"
        text = asked.fill(count=count, need=asked.parts["needs"]["both" if sound else "picture"])
        found = self._answer(Ask("questions", asked, text, (self._clip("The clip:", view),), _seed(rng)))["questions"]
        rows = []
        for number, question in enumerate(found[: self.own.questions]):
            options = [question["options"][int(i)] for i in rng.permutation(len(question["options"]))]
            need = self._need(view, question["question"], options, question["answer"], rng) if sound else "picture"
            if need is not None:
                answer = f"{LETTERS[options.index(question['answer'])]}. {question['answer']}"
                named = {"question_id": f"{view.row['clip_id']}-q{number}", "question": question["question"], "options": options}
                rows.append({**named, "answer": answer, "needs": need, "true_spans": []})
        return rows

    def usage(self) -> dict[str, float]:
        """What the calling thread used since it last asked: requests, cached, retries, repairs, failed, tokens, seconds, cost."""
        return self._endpoint.meter.drain()

    def _need(self, view: ClipView, question: str, options: Sequence[str], answer: str, rng: np.random.Generator) -> str | None:
        asked, right = prompt("answer"), {}
        for condition in CONDITIONS:
            shown = self._clip("The clip:", view, picture=condition != "sound", sound=condition != "picture")
            lines = "\n".join(f"- {option}" for option in options)
            text = asked.fill(given=asked.parts["given"][condition], question=question, options=lines)
            right[condition] = self._answer(Ask("answer", asked, text, (shown,), _seed(rng)))["answer"] == answer
        return needs(right)

    def _hears(self, view: ClipView) -> bool:
        return self.own.audio and bool(view.row["audible"])

    def _clip(self, label: str, view: ClipView, picture: bool = True, sound: bool = True) -> Shown:
        start, end = view.row["start_s"], view.row["end_s"]
        times = tuple(sample_times(end, self.own.frames, start, end)) if picture else ()
        heard = (start, min(end, start + MAX_SOUND_S)) if sound and self._hears(view) else None
        return Shown(label, view, times, heard, self.own.frame_height)

    def _frame(self, label: str, view: ClipView, at_s: float) -> Shown:
        return Shown(label, view, (at_s,), None, self.own.frame_height)

    def _item(self, label: str, view: ClipView, item: Row) -> Shown:
        """The part of the clip that an item names: a frame, or a span with sound where the item has sound."""
        if "image" in item["modalities"]:
            return self._frame(label, view, item["start_s"])
        part = ClipView({**view.row, "start_s": item["start_s"], "end_s": item["end_s"]}, view.base)
        return self._clip(label, part, sound="audio" in item["modalities"])

    def _text(self, kind: str, asked: Prompt, said: Mapping[str, str], shown: tuple[Shown, ...], rng: np.random.Generator) -> str:
        low, high = WORD_RANGES[kind]
        return str(self._answer(Ask(kind, asked, asked.fill(low=low, high=high, **said), shown, _seed(rng)))["text"]).strip()

    def _thought(self, side: str, shown: tuple[Shown, ...], rng: np.random.Generator, query: str = "") -> Thought | None:
        if not self.own.traces:
            return None
        asked, (low, high) = prompt("trace"), TRACE_RANGE
        text = asked.fill(side=asked.parts["sides"][side], low=low, high=high)
        found = self._answer(Ask("trace", asked, text, shown, _seed(rng), query))
        return found["think"].strip(), found["answer"].strip(), []

    def _answer(self, ask: Ask) -> dict[str, Any]:
        """A valid answer, after one repair at most. Raises ProviderError with what was still wrong."""
        content, faults, answer = self._asked(ask, ())
        if not faults:
            return answer
        self._endpoint.meter.usage.repairs += 1
        repair = prompt("repair")
        again = (content, repair.fill(problems="\n".join(f"- {fault}" for fault in faults)))
        _, faults, answer = self._asked(ask, again)
        if faults:
            raise ProviderError(f"{ask.kind} is invalid after one repair: {'; '.join(faults)[:300]}")
        return answer

    def _asked(self, ask: Ask, again: tuple[str, ...]) -> tuple[str, list[str], dict[str, Any]]:
        """(content, faults, parsed answer) of one reply, from the cache or from the server."""
        reply = self._reply(ask, again)
        try:
            answer = parsed(reply["content"])
        except ValueError as error:
            cut = f"cut off after {self.own.max_tokens} tokens; be shorter" if reply["finish_reason"] == "length" else str(error)
            return reply["content"], [cut], {}
        return reply["content"], problems(ask.kind, answer), answer

    def _reply(self, ask: Ask, again: tuple[str, ...]) -> dict[str, Any]:
        key = self.key(ask, again)
        if (found := self._cache.get(key)) is None:
            with self._cache.asking(key):
                if (found := self._cache.get(key)) is None:  # someone else may have asked meanwhile
                    found = self._endpoint.complete(self._body(ask, again))
                    self._cache.put(key, {**found, "kind": ask.kind, "prompt": ask.prompt.tag, "model": self.own.model})
                    return found
        self._endpoint.meter.usage.cached += 1
        return found

    def key(self, ask: Ask, again: Sequence[str] = ()) -> str:
        """The digest of all that decides a reply: prompt and its version, model, media and spans, parameters, an earlier answer."""
        return digest_json(
            {
                "prompt": [ask.prompt.tag, ask.text, ask.query],
                "model": self.own.model,
                "media": [shown.named() for shown in ask.shown],
                "parameters": self._parameters(ask),
                "again": list(again),
            }
        )

    def _parameters(self, ask: Ask) -> dict[str, Any]:
        found: dict[str, Any] = {
            "temperature": self.own.temperature,
            "seed": ask.seed,
            "max_completion_tokens": self.own.max_tokens,
        }
        if self.own.response_format == "json_schema":
            schema = {"name": ask.kind.replace("+", "_"), "schema": SCHEMAS[ask.kind], "strict": True}
            found["response_format"] = {"type": "json_schema", "json_schema": schema}
        return found

    def _body(self, ask: Ask, again: Sequence[str]) -> dict[str, Any]:
        parts = [part for shown in ask.shown for part in shown.parts()]
        parts += [{"type": "text", "text": ask.query}] if ask.query else []
        messages: list[Message] = [{"role": "system", "content": ask.text}, {"role": "user", "content": parts}]
        for number, text in enumerate(again):
            messages.append({"role": "user" if number % 2 else "assistant", "content": text})
        return {"model": self.own.model, "messages": messages, **self._parameters(ask)}


def _seed(rng: np.random.Generator) -> int:
    return int(rng.integers(2**31))
