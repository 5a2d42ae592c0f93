"""The sections of the stages that make data: ingest, synthesize, validate; and what every stage shares."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from uvrlab.config.section import Count, Operational, Positive, Section, Share


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
    hearing: Count = 0  # queries a dataset of the benchmark of hearing, over 28 clips each; 0: no such datasets
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
