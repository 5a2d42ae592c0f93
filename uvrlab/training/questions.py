"""What the two stages on questions share: their data, the roller, and the body of a stage from input model to report.

A stage differs in its reward alone: `grounding` asks a judge about spans and captions, `fusion` takes sound or picture away.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from uvrlab import runs
from uvrlab.config import QuestionsConfig, StageConfig
from uvrlab.data.items import ClipIndex, FeaturedItem
from uvrlab.data.questions import Asked, read_questions, spread
from uvrlab.data.schema import item as item_row
from uvrlab.data.schema import read_table
from uvrlab.models.respond import Condition, under
from uvrlab.rewards.base import Array, Score
from uvrlab.rewards.grounding import answer_reward, first_answer, format_reward
from uvrlab.training.pairs import Pair
from uvrlab.training.rollouts import Group, Roller

Row = dict[str, Any]


@dataclass(frozen=True)
class Questions:
    """Questions of a stage by id, as samples of the loop (clip and question as one item; no target), and the rows of all clips."""

    asked: dict[str, Asked]
    samples: list[Pair]
    clips: dict[str, Row]

    def duration_s(self, question: Asked) -> float:
        """Length of the question's clip."""
        row = self.clips[question.clip_id]
        return float(row["end_s"] - row["start_s"])


@dataclass(frozen=True)
class Rewards:
    """Parts of the reward of R rollouts, NaN where one could not be scored, and what each rollout is counted under."""

    parts: dict[str, Array]
    flags: list[list[str]]


class Rewarder(Protocol):
    """The reward of a stage: `weights` name its parts."""

    weights: dict[str, float]

    def __call__(self, groups: Sequence[Group], texts: Sequence[str], key: str) -> Rewards:
        """Parts of every rollout, group by group; `key` names the generation."""


class QuestionRoller(Roller):
    """Asks with the chat template, so that a response is grounded instead of a thought for an embedding."""

    def prompts(self, items: Sequence[Any], collate: Any = None) -> Any:
        parts = [self.cache.get(item)[0] for item in items]
        return (collate or self.collate)(parts, template="chat", cut=False).to(self.cache.device)

    def faults(self, thought: Any) -> list[str]:
        return [] if thought.ended else ["truncated"]

    def under(self, condition: Condition) -> QuestionRoller:
        """The same policy and seeds, asked with a modality taken away."""
        other = object.__new__(type(self))
        other.__dict__ |= {**self.__dict__, "cache": _Conditioned(self.cache, condition)}
        return other

    def thinker(self) -> Roller:
        """The same policy, asked for thoughts about items, as an embedder is."""
        other = object.__new__(Roller)
        other.__dict__ |= self.__dict__
        return other


class _Conditioned:
    """A feature cache whose items come under a condition."""

    def __init__(self, cache: Any, condition: Condition) -> None:
        self.cache, self.condition, self.device = cache, condition, cache.device

    def get(self, item: Any) -> list[FeaturedItem]:
        return [under(part, self.condition) for part in self.cache.get(item)]


def load(clips: Path, uvrd: Path, splits: Sequence[str], needs: Sequence[str] = ()) -> Questions:
    """The questions of some splits, without their true spans."""
    rows = {row["clip_id"]: row for row in read_table("clips", clips / "clips")}
    index = ClipIndex().add_rows(rows.values(), clips)
    asked = {q.question_id: q for q in read_questions(uvrd, splits, needs)}
    samples = []
    for q in asked.values():
        row = item_row(text=q.prompt, clip_id=q.clip_id, modalities=["text", "video", "audio"])
        item = index.item(row, q.question_id)
        samples.append(Pair(q.question_id, q.needs, q.split, item, item, 0))
    return Questions(asked, samples, rows)


def whole_clips(questions: Questions, cache: Any) -> tuple[Questions, int]:
    """Without questions about clips that are shown in windows, whose first window alone would be seen; and how many left."""
    kept = [sample for sample in questions.samples if len(cache.get(sample.query)) == 1]
    asked = {sample.pair_id: questions.asked[sample.pair_id] for sample in kept}
    return Questions(asked, kept, questions.clips), len(questions.samples) - len(kept)


def plan_questions(samples: Sequence[Pair], steps: int, size: int, seed: int, reserve: int = 0) -> list[list[int]]:
    """`steps` lists of `size` + `reserve` indices, pass after shuffled pass over all questions. Depends on its arguments alone."""
    if not samples:
        raise ValueError("no questions to train on; raise ingest.world.rl or train, or widen `needs`")
    rng, queue, plan = np.random.default_rng([seed, 19]), list[int](), []
    for _ in range(steps):
        while len(queue) < size + reserve:
            queue += [int(i) for i in rng.permutation(len(samples))]
        plan.append(queue[: size + reserve])
        del queue[: size + reserve]
    return plan


def form_and_answer(
    own: QuestionsConfig, questions: Questions, groups: Sequence[Group], texts: Sequence[str]
) -> tuple[list[float], list[Score]]:
    """r_format and r_answer of every rollout. A response without an answer earns none; what its form is does not matter to it."""
    form: list[float] = []
    answers: list[Score] = []
    for text, question in zip(texts, asked_of(questions, groups), strict=True):
        form.append(format_reward(text, rules=own.rules, duration_s=questions.duration_s(question)))
        answer = first_answer(text)
        answers.append(0.0 if answer is None else answer_reward(answer, question.answer, question.options))
    return form, answers


def asked_of(questions: Questions, groups: Sequence[Group]) -> list[Asked]:
    """The question of every rollout."""
    return [questions.asked[group.pair.pair_id] for group in groups for _ in group.thoughts]


def run(
    config: StageConfig[Any],
    inputs: Mapping[str, Path],
    out: Path,
    make_rewarder: Callable[[QuestionRoller, Questions], Rewarder],
) -> runs.StageReport:
    """Train on questions of split `rl`, else `train`; write `model/`, `rollouts/` and the curves into `out`.

    Raises ValueError where there are no questions to train on.
    """
    import torch

    from uvrlab.data import schema
    from uvrlab.data.summary import DATA, data_summary
    from uvrlab.data.workers import MediaPool
    from uvrlab.models.features import FeatureCache
    from uvrlab.models.modeldir import save_model_dir
    from uvrlab.training import pairs, questions_report
    from uvrlab.training.grounding_films import Films
    from uvrlab.training.grpo import kept_rollouts
    from uvrlab.training.questions_heldout import measure
    from uvrlab.training.questions_loop import train

    own, seed = config.own, config.run.seed
    torch.manual_seed(seed)
    loaded = start(config, inputs)
    chosen, warnings = rl_questions(inputs, own.needs)
    held_out = head(load(inputs["clips"], inputs["uvrd"], ["val"]), own.validation_questions)
    kept = pairs.head(pairs.load(inputs["clips"], inputs["uvrd"], ["val"]), own.validation_pairs, seed)
    collate = loaded.preprocess.collator(loaded.spec, loaded.tokenizer, loaded.model.config)
    cache = FeatureCache(runs.work_dir() / "features", loaded.model, collate, loaded.preprocess.sampling, str(loaded.model.device))
    with MediaPool(config.run.workers) as pool:
        items = [s.query for part in (chosen, held_out) for s in part.samples]
        rejects = cache.add([*items, *(side for pair in kept for side in (pair.query, pair.target))], pool=pool)
    chosen, long = whole_clips(decoded(chosen, cache), cache)
    held_out, _ = whole_clips(decoded(held_out, cache), cache)
    kept = [pair for pair in kept if pair.query in cache and pair.target in cache]
    warnings += [f"{long} questions are about clips with sound longer than a window; they are left out"] if long else []
    roller = QuestionRoller(loaded.model, loaded.spec, loaded.tokenizer, loaded.preprocess, cache, own, seed)
    rewarder = make_rewarder(roller, chosen)
    checkpoints = runs.checkpoint_dir()
    before = measure(roller, held_out, kept)
    history = train(config.stage, roller, chosen, rewarder, own, config.run, checkpoints)
    after = measure(roller, held_out, kept)
    if "ref" in loaded.model.peft_config:
        loaded.model.delete_adapter("ref")
    save_model_dir(out / "model", loaded, loaded.model)
    table = [row for step in range(own.steps) for row in kept_rollouts(checkpoints, step + 1)]
    schema.write_table("rollouts", table, out / "rollouts")
    runs.write_json(out / "history.json", history)
    runs.write_json(out / DATA, data_summary(inputs["clips"], inputs["uvrd"]))
    films = Films(chosen, inputs["clips"])
    return questions_report.make(config, chosen, rewarder, (before, after), history, table, rejects, warnings, films, out)


def start(config: StageConfig[Any], inputs: Mapping[str, Path]) -> Any:
    """The model that the stage goes on from, with its adapter to be trained: the input, else the backbone under a new adapter."""
    from uvrlab.models.adapter import new_adapter
    from uvrlab.models.device import torch_device
    from uvrlab.models.modeldir import LoadedModel, install_readouts, load_backbone, load_model
    from uvrlab.models.preprocess import default_preprocess

    device = torch_device(config.run.device)
    if "model" in inputs:
        return load_model(inputs["model"] / "model", device=device, merge=False)
    bare, lora = load_backbone(config.backbone, device=device), config.own.lora
    rows = install_readouts(bare)
    model = new_adapter(bare.spec, bare.model, rank=lora.rank, alpha=lora.alpha, dropout=lora.dropout, trainable_rows=rows)
    return LoadedModel(bare.spec, model, bare.processor, default_preprocess(bare.spec), bare.digest, bare.source)


def rl_questions(inputs: Mapping[str, Path], needs: Sequence[str]) -> tuple[Questions, list[str]]:
    """The questions of split `rl`; without any those of `train`, with a warning that says so."""
    found = load(inputs["clips"], inputs["uvrd"], ["rl"], needs)
    if found.samples:
        return found, []
    why = "no questions of split rl: those of train are used; set ingest.world.rl or splits.rl"
    return load(inputs["clips"], inputs["uvrd"], ["train"], needs), [why]


def head(questions: Questions, count: int) -> Questions:
    """At most `count` questions, as even over what they need as there are."""
    asked = {q.question_id: q for q in spread(list(questions.asked.values()), count)}
    return Questions(asked, [s for s in questions.samples if s.pair_id in asked], questions.clips)


def decoded(questions: Questions, cache: Any) -> Questions:
    """Without questions about clips that could not be decoded."""
    samples = [sample for sample in questions.samples if sample.query in cache]
    return Questions({s.pair_id: questions.asked[s.pair_id] for s in samples}, samples, questions.clips)
