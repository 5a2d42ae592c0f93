"""`grounding`: responses that cite spans of the clip, rewarded by their answer and by a judge of spans and captions.

OmniVideo-R1 stage 1, query-intensive grounding (arXiv 2602.05847): R = format + answer + (consistency + completeness) / 2. No true
span enters: the judge compares what a span shows and sounds like with its caption, and the joined spans with question and answer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from uvrlab.config import GroundingConfig, StageConfig
from uvrlab.data.questions import read_questions
from uvrlab.data.schema import read_table
from uvrlab.rewards.base import WEIGHTS, to_array
from uvrlab.runs import StageReport, sha256_bytes
from uvrlab.training import questions as shared
from uvrlab.training.grounding_films import Films
from uvrlab.training.judges import Judge, judge_responses
from uvrlab.training.questions import Questions, Rewards
from uvrlab.training.rollouts import Group


def run(config: StageConfig[GroundingConfig], inputs: Mapping[str, Path], out: Path) -> StageReport:
    """See `questions.run`; with `weight_intent` 0 nothing is judged, and format and answer are all that pays."""
    own = config.own

    def rewarder(roller: Any, questions: Questions) -> GroundingReward:
        if not own.weight_intent:
            return GroundingReward(own, questions, None, Films(questions, inputs["clips"], blank=True))
        films = Films(questions, inputs["clips"], own.judge.fps, own.judge.max_frames, blank=own.judge.kind == "world")
        return GroundingReward(own, questions, make_judge(config, inputs, questions), films)

    return shared.run(config, inputs, out, rewarder)


class GroundingReward:
    """Format, answer, consistency and completeness of every rollout; the last two are NaN where the judge failed."""

    def __init__(self, own: GroundingConfig, questions: Questions, judge: Judge | None, films: Films) -> None:
        self.own, self.questions, self.judge, self.films = own, questions, judge, films
        published = WEIGHTS["grounding"]
        self.weights = {"format": own.weight_format, "answer": own.weight_answer}
        if judge is not None:
            self.weights |= {name: own.weight_intent * published[name] for name in ("consistency", "completeness")}

    def __call__(self, groups: Sequence[Group], texts: Sequence[str], key: str) -> Rewards:
        form, answers = shared.form_and_answer(self.own, self.questions, groups, texts)
        parts = {"format": to_array(form), "answer": to_array(answers)}
        flags = [[] if ok else ["no form"] for ok in form]
        if self.judge is None:
            return Rewards(parts, flags)
        asked = shared.asked_of(self.questions, groups)
        found = judge_responses(self.judge, texts, [self.films(q.clip_id) for q in asked], asked, self.own.rules)
        for row, pair in enumerate(zip(found.consistency, found.completeness, strict=True)):
            flags[row] += ["judge failed"] if None in pair else []
        parts |= {"consistency": to_array(found.consistency), "completeness": to_array(found.completeness)}
        return Rewards(parts, flags)


def make_judge(config: StageConfig[GroundingConfig], inputs: Mapping[str, Path], questions: Questions) -> Judge:
    """The configured judge. The embedder's is calibrated on captions and questions of the train split."""
    own = config.own.judge
    if own.kind == "world":
        from uvrlab.training.judges_world import WorldJudge

        wanted = {q.clip_id for q in questions.asked.values()}
        return WorldJudge.of([row for name, row in questions.clips.items() if name in wanted])
    if own.kind == "openai":
        from uvrlab.training.judges_openai import OpenAIJudge

        return OpenAIJudge(own.endpoint)
    from uvrlab.models.device import torch_device
    from uvrlab.models.encode import Embedder
    from uvrlab.training.judges_embedder import EmbedderJudge

    start = inputs["model"] / "model" if "model" in inputs else config.backbone
    embedder = Embedder.load(own.embedder or start, torch_device(config.run.device))
    names, captions, asked = references(inputs, own.references)
    films = Films(questions, inputs["clips"], own.fps, own.max_frames)
    return EmbedderJudge.calibrated(embedder, [films(name) for name in names], captions, asked)


def references(inputs: Mapping[str, Path], count: int) -> tuple[list[str], list[str], list[Any]]:
    """Train clips that have a text query and a question: their ids, one text and one question each; order hangs on ids alone."""
    texts: dict[str, str] = {}
    for row in read_table("pairs", inputs["uvrd"] / "pairs"):
        if row["split"] == "train" and row["task"] == "T2V":
            texts.setdefault(row["target"]["clip_id"], row["query"]["text"])
    asked: dict[str, Any] = {}
    for question in read_questions(inputs["uvrd"], ["train"]):
        asked.setdefault(question.clip_id, question)
    names = sorted(texts.keys() & asked.keys(), key=lambda name: sha256_bytes(name.encode()))[:count]
    if len(names) < 8:
        raise ValueError(f"{len(names)} train clips have a text and a question; the embedder judge needs at least 8: ingest more")
    return names, [texts[name] for name in names], [asked[name] for name in names]
