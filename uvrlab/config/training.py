"""The sections of the five training stages: contrastive ones, those that roll out, and the curriculum."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from uvrlab.config.data import CaptionerConfig, PairTask
from uvrlab.config.section import Count, Operational, Positive, Section, Share


class LoraConfig(Section):
    rank: Positive = 16
    alpha: Positive = 32
    dropout: Share = 0.0


class ContrastiveConfig(Section):
    """What the stages with a contrastive loss share: batches, the optimizer, the loss and how it is kept in memory."""

    batch_size: Positive = 64
    learning_rate: float = 1e-3
    warmup_share: Share = 0.05
    weight_decay: float = 0.01
    temperature: float = 0.05  # ours, for 64 pairs; UME-R1 0.02 with 256 in the pool, GVE 0.03 with 1,024
    false_negative_margin: float | None = None  # a key that scores this much above the positive leaves the row; GVE's code: 0.1
    duplicate_tolerance: float | None = None  # so does one whose cosine with the positive is 1 within this; GVE's code: 1e-5
    matryoshka: tuple[Positive, ...] = ()  # widths of cut vectors that train too; empty: the whole vector alone
    chunk_pairs: Positive | None = None  # gradient cache: pairs in memory at once, with the gradient of the whole batch
    chunk_tokens: Positive | None = None  # only steps with more tokens than this go through it; null: all
    weight_contrastive: float = 1.0
    weight_gen: float = 1.0
    weight_next_token: float = 1.0
    bf16: bool = True  # mixed precision; the adapter itself stays in float32
    deepspeed: Annotated[str | None, Operational] = None  # a DeepSpeed JSON file, such as configs/deepspeed/zero2.json
    save_steps: Positive = 50
    validation_pairs: Positive = 200

    @model_validator(mode="after")
    def _one_way_back(self) -> ContrastiveConfig:
        if self.deepspeed and self.chunk_pairs:
            raise ValueError("deepspeed runs its own backward pass and chunk_pairs another; set one of them to null")
        if self.chunk_tokens and not self.chunk_pairs:
            raise ValueError("chunk_tokens says which steps are cut into chunk_pairs, which is null; set both or neither")
        return self


class SftConfig(ContrastiveConfig):
    """Contrastive + next-token fine-tuning (UME-R1 stage 1): one template and one forward pass a side."""

    steps: Positive = 200
    lora: LoraConfig = LoraConfig()


class RolloutConfig(Section):
    """What every stage of reinforcement shares: the loop, the loss, and how completions are sampled."""

    steps: Positive = 60  # updates; ours
    group_size: Annotated[int, Field(ge=2)] = 8  # rollouts of a prompt
    iterations: Positive = 1  # updates from the same rollouts
    micro_batches: Positive = 1  # passes that a step's rollouts are scored in, for memory
    learning_rate: float = 1e-4  # ours, of an adapter; published 1e-6 of all weights
    warmup_share: Share = 0.05
    temperature: Annotated[float, Field(gt=0.0)] = 1.0
    max_completion_tokens: Positive = 96  # also the constant that a rollout's loss is divided by; published 2048 for both
    kl_weight: Annotated[float, Field(ge=0.0)] = 0.04  # to the model that the stage started from
    advantage: Literal["std", "none", "leave-one-out"] = "std"
    level: Literal["token", "sequence"] = "token"
    clip: tuple[float, float] | None = None  # None: 0.2 and 0.28 a token, 3e-4 and 4e-4 a sequence
    dynamic_sampling: Count = 0  # rounds in which prompts without any difference in reward are drawn anew
    bf16: bool = False  # ours: sampling and scoring in one precision
    gradient_checkpointing: Annotated[bool, Operational] = False
    deepspeed: Annotated[str | None, Operational] = None  # a DeepSpeed JSON file
    save_steps: Positive = 20
    validation_pairs: Positive = 200

    @property
    def prompts(self) -> int:
        """Pairs or questions of a step."""
        raise NotImplementedError

    @model_validator(mode="after")
    def _whole_generations(self) -> RolloutConfig:
        for name in ("steps", "save_steps"):
            if getattr(self, name) % self.iterations:
                raise ValueError(
                    f"{name} {getattr(self, name)} is no multiple of iterations {self.iterations}; a step of rollouts is kept whole"
                )
        if self.prompts % self.micro_batches:
            raise ValueError(f"{self.prompts} prompts cannot be cut into {self.micro_batches} micro batches; groups are kept whole")
        return self


class GrpoConfig(RolloutConfig):
    """UME-R1 stage 2: thoughts are rewarded by what their vectors retrieve. Defaults are published ones unless a comment says ours.

    Every other Literal or switch is an option beside the published form: Dr. GRPO and RLOO advantages, GSPO, DAPO's redrawing.
    """

    pairs: Annotated[int, Field(ge=2)] = 16  # of a step; one pair has no negatives
    negatives: Literal["random", "near"] = "random"  # near: a step's targets are alike by disc vector, so that few pairs are a task
    reward: Literal["embedding", "shuffled"] = "embedding"  # shuffled: a control, within each group
    weight_format: float = 1.0
    weight_embedding: float = 1.0
    length_cost: Annotated[float, Field(ge=0.0)] = 0.0
    length_free_tokens: Count = 48
    target_cache: bool = False  # targets keep the vectors of the start model's greedy thoughts; only queries are rolled out
    false_negatives: Literal["mask", "keep"] = "mask"  # pairs of a step with equal targets; published: kept
    validation_reward_pairs: Annotated[int, Field(ge=2)] = 64  # of them, rolled out as in training

    @property
    def prompts(self) -> int:
        return self.pairs

    @model_validator(mode="after")
    def _room_for_length(self) -> GrpoConfig:
        if self.length_cost and self.length_free_tokens >= self.max_completion_tokens:
            raise ValueError(
                f"length_free_tokens {self.length_free_tokens} must be below max_completion_tokens {self.max_completion_tokens}"
            )
        return self


class JudgeConfig(Section):
    """Who judges whether captions describe their spans and spans hold the answer; the published one is `openai`, without sound."""

    kind: Literal["embedder", "world", "openai"] = "embedder"
    embedder: str | None = None  # a model directory or backbone; None: the model that the stage starts from
    references: Annotated[int, Field(ge=8)] = 128  # clips that the embedder is calibrated on
    fps: Annotated[float, Field(gt=0.0)] = 4.0  # at which clips are decoded for the judge
    max_frames: Annotated[int, Field(ge=2)] = 64
    endpoint: CaptionerConfig = CaptionerConfig()  # of `openai`

    def digest_view(self) -> dict[str, Any]:
        """As any section's, the embedder by its name alone."""
        return super().digest_view() | {"embedder": Path(self.embedder).name if self.embedder else None}

    @model_validator(mode="after")
    def _has_an_endpoint(self) -> JudgeConfig:
        if self.kind == "openai" and not (self.endpoint.model and self.endpoint.base_url):
            raise ValueError("judge.kind openai needs judge.endpoint.model and judge.endpoint.base_url; set both")
        return self


class QuestionsConfig(RolloutConfig):
    """What OmniVideo-R1's two stages share; defaults are published ones unless a comment here or above says ours."""

    questions: Positive = 16  # of a step; ours, published 256
    max_completion_tokens: Positive = 160
    kl_weight: Annotated[float, Field(ge=0.0)] = 0.03
    level: Literal["token", "sequence"] = "sequence"
    rules: Literal["strict", "published"] = "strict"  # of the response format; ours
    needs: tuple[Literal["picture", "sound", "both"], ...] = ()  # of the questions; empty: all
    weight_format: float = 1.0
    weight_answer: float = 1.0
    validation_questions: Positive = 240  # asked before and after, each with sound and picture and with either alone

    @property
    def prompts(self) -> int:
        return self.questions


class GroundingConfig(QuestionsConfig):
    """OmniVideo-R1 stage 1, query-intensive grounding: format + answer + (consistency + completeness) / 2, no true span."""

    judge: JudgeConfig = JudgeConfig()
    lora: LoraConfig = LoraConfig()  # of a new adapter, where no stage before gives one
    weight_intent: Annotated[float, Field(ge=0.0)] = 1.0  # of the mean of both; 0: format and answer alone, a control


class FusionConfig(QuestionsConfig):
    """OmniVideo-R1 stage 2, modality-attentive fusion: format + answer + a bonus where sound and picture together do better."""

    needs: tuple[Literal["picture", "sound", "both"], ...] = ("both",)  # as published: questions chosen because both matter
    rule: Literal["ge", "gt", "group", "necessity"] = "ge"
    alpha: Annotated[float, Field(ge=0.0)] = 0.3


Schedule = Literal["pyramid", "proportional", "reversed", "static"]
ScoreKind = Literal["cosine", "rank"]


class MiningConfig(Section):
    """Hard negatives from a prober's ranking. Ranks count the candidates that are no positives, 1 is the best; both margins hold
    where both are set.

    GVE takes 0-3 negatives a pair from the top of the ranking, 1 in its UVRD, with no filter but its loss's mask of keys above
    positive + 0.1: the margin here spends no negative on what that mask would take. NV-Retriever's relative margin (arXiv
    2407.15831, 0.05) suits data in which most of what scores near the positive answers too. It takes near-duplicates that do not
    just as well: nearly every sibling of the world, and the reference of a composed query.
    """

    negatives: Positive = 1  # of a pair
    first_rank: Positive = 1
    last_rank: Positive = 30
    margin: float | None = -0.1  # a negative scores at most positive - margin
    relative_margin: float | None = None  # ... and at most positive - relative_margin * |positive|
    duplicate_tolerance: float = 1e-5  # a candidate whose cosine with a positive is 1 within this is the positive again
    corpus: Positive = 20_000  # candidates of a task, at most
    every_epoch: bool = True  # anew for the pairs that an epoch draws; False: once, for all, by the first prober

    @model_validator(mode="after")
    def _has_a_window(self) -> MiningConfig:
        if self.first_rank > self.last_rank:
            raise ValueError(f"found ranks {self.first_rank}-{self.last_rank}; expected 1 <= first_rank <= last_rank")
        return self

    def ceiling(self, positive: float) -> float:
        """The highest score that a negative may have beside this positive."""
        absolute = positive - self.margin if self.margin is not None else float("inf")
        relative = positive - self.relative_margin * abs(positive) if self.relative_margin is not None else float("inf")
        return min(absolute, relative)


class ReplayConfig(Section):
    """Steps among those of an epoch that keep what earlier stages taught; ours, GVE has no stage before it."""

    generative: Share = 0.25  # pairs with thoughts, under all losses of `sft`
    grounding: Share = 0.1  # the start model's own well-formed and right answers to train questions, next token
    questions: Count = 96  # that it is asked for them

    @model_validator(mode="after")
    def _leaves_room(self) -> ReplayConfig:
        if self.generative + self.grounding >= 1:
            raise ValueError(
                f"generative + grounding is {self.generative + self.grounding:g}, expected less than 1: no step is left"
            )
        return self


class CurriculumConfig(ContrastiveConfig):
    """GVE's hard negatives and Modality Pyramid; defaults are published ones unless a comment says ours."""

    learning_rate: float = 3e-4  # ours, of a model that has been trained; published 3e-5
    false_negative_margin: float | None = 0.1
    duplicate_tolerance: float | None = 1e-5
    epochs: Positive = 3
    epoch_steps: Positive = 60  # ours; published: a pass over 13 million pairs
    schedule: Schedule = "pyramid"
    score: ScoreKind = "cosine"
    sigma: tuple[float, float] = (0.1, 1.0)  # of the first and the last epoch
    probe_pairs: Annotated[int, Field(ge=2)] = 64  # of a task; ours, N_p is not published
    prober: str | None = None  # of the first epoch: a model directory or backbone; None: the model that the stage starts from
    mined_tasks: tuple[PairTask, ...] = ("T2V", "TI2V", "TV2V")
    mining: MiningConfig = MiningConfig()
    replay: ReplayConfig = ReplayConfig()
    validation_questions: Count = 60  # asked before and after
    max_completion_tokens: Positive = 160  # of a response or a thought, for replay and for what is kept

    @property
    def steps(self) -> int:
        """Of all epochs."""
        return self.epochs * self.epoch_steps

    def digest_view(self) -> dict[str, Any]:
        """As any section's, the prober by its name alone."""
        return super().digest_view() | {"prober": Path(self.prober).name if self.prober else None}

    @model_validator(mode="after")
    def _can_replay(self) -> CurriculumConfig:
        if self.replay.grounding and not self.weight_next_token:
            raise ValueError("replay.grounding trains on next tokens, but weight_next_token is 0; set replay.grounding=0 as well")
        if min(self.sigma) <= 0:
            raise ValueError(f"sigma {list(self.sigma)}: expected two numbers above 0")
        return self
