"""The configuration tree: frozen, strict, with the vetted recipe as its defaults.

One YAML file a recipe holds only what differs; `--set a.b=c` overrides it. A field marked `Operational` (a path, a device, a number
of workers) never enters a digest: it says where and how fast, not what. This module loads neither torch nor a pipeline engine.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Generic, Literal, TypeVar, cast

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator


class _Operational:
    """Marks a field that says where or how fast, and so stays out of every digest."""


Operational = _Operational()
Share = Annotated[float, Field(ge=0.0, le=1.0)]
Count = Annotated[int, Field(ge=0)]
Positive = Annotated[int, Field(ge=1)]


class ConfigError(ValueError):
    """A configuration that cannot run; `problems` lists every fault with its remedy."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = list(problems)
        super().__init__("\n".join(self.problems))


class Section(BaseModel):
    """Base of every section: frozen, no unknown keys, no silent conversions."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, populate_by_name=True, allow_inf_nan=False)
    reads: ClassVar[tuple[str, ...]] = ("seed", "backbone")  # the shared values that a stage's result depends on

    def digest_view(self) -> dict[str, Any]:
        """The section as plain JSON values without its operational fields."""
        view: dict[str, Any] = {}
        for name, field in type(self).model_fields.items():
            if any(mark is Operational for mark in field.metadata):
                continue
            value = getattr(self, name)
            view[name] = value.digest_view() if isinstance(value, Section) else _plain(value)
        return view


def _plain(value: Any) -> Any:
    if isinstance(value, Section):
        return value.digest_view()
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    return str(value) if isinstance(value, Path) else value


class RunConfig(Section):
    """What every stage shares: the seed, and where and how fast to run."""

    seed: int = 0
    device: Annotated[Literal["cpu", "cuda", "auto"], Operational] = "cpu"
    workers: Annotated[Positive, Operational] = 2
    executor: Annotated[Literal["local", "ray"], Operational] = "local"  # where `synthesize` maps over clips


class LimitsConfig(Section):
    """Caps on one media file; beyond them it becomes a reject row."""

    max_bytes: Positive = 4 * 2**30
    max_pixels: Positive = 8192 * 4320
    max_frames: Positive = 2_000_000
    max_duration_s: float = 6 * 3600.0
    max_streams: Positive = 16
    timeout_s: float = 60.0  # of CPU; twice that on the clock
    max_memory_bytes: Positive = 4 * 2**30


class WorldConfig(Section):
    """How many procedural clips of each split to render, and how alike siblings are."""

    seed: int = 0
    pretrain: Count = 0
    train: Count = 1600
    rl: Count = 0
    val: Count = 200
    test: Count = 500
    uvrb: Count = 0  # queries a dataset of the procedural UVRB; 0: no such datasets
    duration_s: float = 4.0
    family_size: Positive = 2


class SourceConfig(Section):
    """Where clips come from. `path` is a folder or an fsspec URL; `captions` is a CSV or JSONL beside or inside it."""

    kind: Literal["world", "folder", "msrvtt", "activitynet", "qvhighlights", "uvrb"] = "world"
    path: Annotated[str | None, Operational] = None
    captions: Annotated[str | None, Operational] = None
    columns: dict[str, str] = Field(default_factory=dict)  # our name -> the manifest's name
    unlisted: bool = True  # take videos that the captions file does not name

    @model_validator(mode="after")
    def _needs_a_path(self) -> SourceConfig:
        if self.kind != "world" and not self.path:
            raise ValueError(f"source kind {self.kind!r} needs a folder; set ingest.source.path=DIR")
        return self


class IngestConfig(Section):
    """Clips and the benchmark. It has its own seed: a yardstick must not move with the seed of a run."""

    reads = ()
    seed: int = 0
    source: SourceConfig = SourceConfig()
    benchmark_sources: tuple[SourceConfig, ...] = ()  # read-only evaluation data: all of it is in the test split
    world: WorldConfig = WorldConfig()
    splits: dict[str, Share] = Field(default_factory=lambda: {"train": 0.7, "val": 0.1, "test": 0.2})
    media: Literal["reference", "proxy", "copy"] = "reference"
    proxy_height: Positive = 256
    max_clip_s: float = 60.0
    window: Literal["fixed", "shots"] = "fixed"
    min_clip_s: float = 0.2
    benchmark: Literal["test", "captioned"] = "test"  # which clips of a captioned folder are benchmark candidates
    limits: LimitsConfig = LimitsConfig()
    max_reject_fraction: Share = 0.2


class FiltersConfig(Section):
    """V-SynFlow stage 1. A threshold bears its filter's name; None writes the score and drops nothing.

    The paper publishes no threshold: these are ours, set so that ordinary clips of the world and nearly all of 74 real ones stay.
    """

    enabled: bool = True
    fps: float = 4.0
    max_frames: Positive = 240  # of one clip
    height: Positive = 128  # lines; the picture's thresholds hold for this size
    black: float | None = 8.0
    blurred: float | None = 10.0
    frozen: float | None = 0.9
    static_difference: float | None = 0.25
    static_flow: float | None = 0.0005
    cuts: float | None = 40.0
    silence: float | None = None
    duplicate: float | None = 20.0
    duplicate_vector: float | None = None
    text_words: float | None = 3.0
    text_variety: float | None = 0.4
    text_function: float | None = 0.8
    text_boilerplate: float | None = 0.3
    text_generic: float | None = 0.7
    similarity: float | None = 0.2
    unaided: float | None = 0.0
    embedder: str | None = None  # a backbone's name or a folder; without one similarity is not measured

    def digest_view(self) -> dict[str, Any]:
        """As any section's, the embedder by its name alone."""
        return super().digest_view() | {"embedder": Path(self.embedder).name if self.embedder else None}


PairTask = Literal["T2T", "T2I", "T2V", "TI2V", "TV2V", "I2V", "V2V"]
# Thousands of pairs, as published.
UVRD: dict[PairTask, int] = {"T2T": 100, "T2I": 210, "T2V": 879, "TI2V": 89, "TV2V": 35, "I2V": 200, "V2V": 36}


class CaptionerConfig(Section):
    """The model behind provider `openai`, at any OpenAI-compatible endpoint. The key comes from an environment variable."""

    model: str | None = None
    base_url: Annotated[str | None, Operational] = None  # as in http://127.0.0.1:8000/v1
    api_key_env: Annotated[str, Operational] = "OPENAI_API_KEY"
    frames: Positive = 8
    frame_height: Positive = 384
    audio: bool = True  # send the sound of audible clips; the model must take it
    questions: Annotated[int, Field(ge=0, le=4)] = 1  # of a clip; each costs up to four requests
    traces: bool = True
    temperature: Annotated[float, Field(ge=0.0, le=2.0)] = 0.7
    max_tokens: Positive = 1024
    response_format: Literal["json_schema", "none"] = "json_schema"  # none: for servers that do not constrain their output
    concurrency: Annotated[int, Field(ge=2), Operational] = 8
    timeout_s: Annotated[float, Field(gt=0.0), Operational] = 120.0
    retries: Annotated[Count, Operational] = 5
    backoff_s: Annotated[float, Field(ge=0.0), Operational] = 0.5
    price_in: Annotated[float, Operational] = 0.0  # of a million tokens, for the cost in reports
    price_out: Annotated[float, Operational] = 0.0


class SynthesizeConfig(Section):
    """Shares of the UVRD mix; the caption styles and the pair tasks each sum to 1. `given` knows just the clip's own caption."""

    reads = ("seed",)
    provider: Literal["world", "given", "rules", "openai"] = "world"
    captioner: CaptionerConfig = CaptionerConfig()
    pairs_per_clip: Positive = 4
    tasks: dict[PairTask, Share] = Field(default_factory=lambda: {task: n / sum(UVRD.values()) for task, n in UVRD.items()})
    styles: dict[Literal["concise", "rich", "abstract", "keywords", "partial"], Share] = {
        "concise": 0.3,
        "rich": 0.2,
        "abstract": 0.15,
        "keywords": 0.15,
        "partial": 0.2,
    }
    filters: FiltersConfig = FiltersConfig()
    trace_error_rate: Share = 0.0  # share of a trace's attributes that are wrong, as an annotator's would be
    clips_per_shard: Positive = 256  # rows are written and resumed by shard
    max_reject_fraction: Share = 0.05  # of faults; what a filter drops is none

    @model_validator(mode="after")
    def _has_a_model(self) -> SynthesizeConfig:
        if self.provider == "openai" and not (self.captioner.model and self.captioner.base_url):
            raise ValueError("provider openai needs synthesize.captioner.model and synthesize.captioner.base_url; set both")
        return self

    @model_validator(mode="after")
    def _sums(self) -> SynthesizeConfig:
        for name in ("tasks", "styles"):
            total = sum(getattr(self, name).values())
            if abs(total - 1.0) > 1e-6:
                raise ValueError(f"{name} must sum to 1, found {total:g}; scale the shares")
        return self


class ValidateConfig(Section):
    """What shuts the gate. The thresholds are ours, set from what the world and 74 real clips show without a fault."""

    reads = ()
    max_reject_fraction: Share = 0.2
    min_pairs: Positive = 1
    word_ranges: bool = True
    mix_tolerance: Share = 0.1  # of each task's share
    allow_leakage: Count = 0  # judged clips, of each kind
    near_duplicate_bits: float | None = 6.0  # of 64 a frame; None decodes nothing
    max_caption_overlap: Share = 0.02  # of the judged texts
    drift_alpha: Share = 0.01  # false alarms of all drift tests together; 0 never fires
    max_column_drift: float = 0.1  # in pooled spreads, or as Jensen-Shannon distance


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

    GVE takes 0-3 negatives a pair from the top of the ranking, 1 in its UVRD, and publishes no filter: the relative margin is that
    of NV-Retriever (arXiv 2407.15831).
    """

    negatives: Positive = 1  # of a pair
    first_rank: Positive = 1
    last_rank: Positive = 30
    margin: float | None = None  # a negative scores at most positive - margin
    relative_margin: float | None = 0.05  # ... and at most positive - relative_margin * |positive|
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


class ThinkingConfig(Section):
    """How queries are read behind sampled thoughts. All values ours: the published protocol of pass@k is not known."""

    k: Positive = 8
    consensus: Literal["medoid", "mean"] = "medoid"
    temperature: Annotated[float, Field(gt=0.0)] = 1.0
    max_new_tokens: Positive = 96


class RouterConfig(Section):
    """Mode auto: a query thinks where its best candidate stands out too little. Both values ours."""

    budget: Share = 0.5  # of the queries, that think
    temperature: Annotated[float, Field(gt=0.0)] = 0.05  # of the softmax over candidates: that of `sft`


class BaselineConfig(Section):
    """A model of somebody else, evaluated beside ours; `kind` says how its folder is read, auto: as its own files tell."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]  # of its row, and of its folder in the output
    path: Annotated[Path, Operational]
    kind: Literal["auto", "uvrlab", "gve", "ume-r1", "dual", "sentence-transformers"] = "auto"


class EvaluateConfig(Section):
    batch_size: Annotated[Positive, Operational] = 64
    bootstrap: Positive = 1000
    datasets: tuple[str, ...] = ()  # empty: every dataset of the benchmark
    prompts: bool = False  # UVRB's published prompts as instructions; for models that were trained with them, such as GVE
    # speed: the disc vector; think: the gen vector behind a thought; the others combine the two or sample, see evaluation/modes.py
    modes: tuple[Literal["speed", "think", "mixed", "oracle", "best_of_k", "pass_at_k", "auto"], ...] = ("speed",)
    thinking: ThinkingConfig = ThinkingConfig()
    router: RouterConfig = RouterConfig()
    questions: Count = 0  # of the benchmark, each asked under four conditions; apart from retrieval
    baselines: tuple[BaselineConfig, ...] = ()

    @model_validator(mode="after")
    def _first_mode_is_a_vector(self) -> EvaluateConfig:
        if not self.modes:
            raise ValueError("modes are empty; expected at least one, such as [speed]")
        if self.modes[0] not in ("speed", "think"):
            raise ValueError(f"modes begin with {self.modes[0]!r}, but tables show the first one; put speed or think first")
        if len(set(self.modes)) < len(self.modes):
            raise ValueError(f"a mode stands twice in {list(self.modes)}; name each once")
        return self

    @model_validator(mode="after")
    def _baselines_have_folders_of_their_own(self) -> EvaluateConfig:
        names = [baseline.name for baseline in self.baselines]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"baseline {twice[0]!r} stands twice; every baseline needs a name of its own")
        return self


class RegisterConfig(Section):
    """What is promoted follows the policy, whose digest stands in the verdict; None is the built-in one (configs/gate.yaml)."""

    reads = ()
    registry_dir: Annotated[Path, Operational] = Path("registry")
    name: str = "uvr"
    policy: Annotated[Path | None, Operational] = None
    public_key: Annotated[Path | None, Operational] = None  # models must be signed by it; None: signed here, by a local key


class Config(Section):
    """A whole recipe."""

    run: RunConfig = RunConfig()
    profile: Literal["full", "sft", "gve", "ume-r1", "omnivideo-r1", "omnivideo-r1-qi"] = "full"
    backbone: str = "nano-omni"
    ingest: IngestConfig = IngestConfig()
    synthesize: SynthesizeConfig = SynthesizeConfig()
    validate_: ValidateConfig = Field(default=ValidateConfig(), alias="validate")
    sft: SftConfig = SftConfig()
    grpo: GrpoConfig = GrpoConfig()
    grounding: GroundingConfig = GroundingConfig()
    fusion: FusionConfig = FusionConfig()
    curriculum: CurriculumConfig = CurriculumConfig()
    evaluate: EvaluateConfig = EvaluateConfig()
    register_: RegisterConfig = Field(default=RegisterConfig(), alias="register")

    def section(self, stage: str) -> Section:
        """The section of one stage by its name in `STAGES`."""
        for name, field in type(self).model_fields.items():
            if stage in (name, field.alias) and isinstance(section := getattr(self, name), Section):
                return section
        raise KeyError(stage)

    def for_stage(self, stage: str) -> StageConfig[Any]:
        """What one stage may read: the shared parts and its own section."""
        section = self.section(stage)
        return _typed(section)(stage=stage, run=self.run, backbone=self.backbone, own=section)


S = TypeVar("S", bound=Section)


class StageConfig(Section, Generic[S]):
    """The resolved configuration of one stage; the only configuration that the stage sees."""

    stage: str
    run: RunConfig
    backbone: str
    own: S

    def digest_view(self) -> dict[str, Any]:
        """Path-free JSON values: the shared ones that the stage reads, and its own section."""
        shared = {"seed": self.run.seed, "backbone": Path(self.backbone).name}
        return {name: shared[name] for name in self.own.reads} | {self.stage: self.own.digest_view()}


def parse_stage_config(text: str, stage: str) -> StageConfig[Any]:
    """The inverse of `StageConfig.model_dump_json()`, for engines that pass a stage its configuration as text."""
    return _typed(Config().section(stage)).model_validate_json(text)


def _typed(section: Section) -> type[StageConfig[Any]]:
    return cast(type[StageConfig[Any]], StageConfig.__class_getitem__(type(section)))


def load_config(path: Path | None = None, overrides: Sequence[str] = ()) -> Config:
    """Read a recipe, apply `a.b=c` overrides and validate. Raises ConfigError with every problem at once."""
    tree: dict[str, Any] = {}
    if path is not None:
        if not path.is_file():
            raise ConfigError([f"no recipe at {path}; expected a YAML file such as configs/demo.yaml"])
        tree = _read_yaml(path.read_text(), str(path)) or {}
        if not isinstance(tree, dict):
            raise ConfigError([f"{path}: expected a mapping at the top, found {type(tree).__name__}"])
    for override in overrides:
        _apply(tree, override)
    return parse_config(tree)


def parse_config(tree: dict[str, Any]) -> Config:
    """Validate a plain tree. Raises ConfigError with every problem at once, each with its remedy."""
    try:
        return Config.model_validate_json(json.dumps(tree, default=str))
    except ValidationError as error:
        raise ConfigError([_explain(e) for e in error.errors()]) from error


class _Loader(yaml.SafeLoader):
    """YAML 1.1 reads `1e-3` as text; here it is the number that everyone means."""


_Loader.add_implicit_resolver("tag:yaml.org,2002:float", re.compile(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+$"), list("-+0123456789"))


def _read_yaml(text: str, where: str) -> Any:
    try:
        return yaml.load(text, Loader=_Loader)  # a subclass of SafeLoader
    except yaml.YAMLError as error:
        raise ConfigError([f"{where}: not valid YAML: {' '.join(str(error).split())}"]) from error


def _apply(tree: dict[str, Any], override: str) -> None:
    key, sign, value = override.partition("=")
    if not sign or not key.strip():
        raise ConfigError([f"override {override!r}: expected a.b=value"])
    *parents, leaf = key.strip().split(".")
    for parent in parents:
        if tree.get(parent) is None:
            tree[parent] = {}
        tree = tree[parent]
        if not isinstance(tree, dict):
            raise ConfigError([f"override {override!r}: {parent} is not a section"])
    tree[leaf] = _read_yaml(value, f"override {override!r}")


def _explain(error: Any) -> str:
    where = ".".join(str(p) for p in error["loc"]) or "the recipe"
    if error["type"] == "extra_forbidden":
        near = difflib.get_close_matches(str(error["loc"][-1]), _keys_at(error["loc"][:-1]), n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"known keys: {', '.join(_keys_at(error['loc'][:-1]))}"
        return f"{where}: unknown key; {hint}"
    return f"{where}: {error['msg']} (found {error.get('input')!r})"


def _keys_at(path: Sequence[Any]) -> list[str]:
    model: type[BaseModel] = Config
    for part in path:
        fields = {f.alias or n: f for n, f in model.model_fields.items()}
        kind = fields[part].annotation if part in fields else None
        if not (isinstance(kind, type) and issubclass(kind, BaseModel)):
            return []
        model = kind
    return [f.alias or n for n, f in model.model_fields.items()]
