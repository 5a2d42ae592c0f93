"""The configuration tree: frozen, strict, with the vetted recipe as its defaults.

One YAML file a recipe holds only what differs; `--set a.b=c` overrides it. A field marked `Operational` (a path, a device, a number
of workers) never enters a digest: it says where and how fast, not what. This package loads neither torch nor a pipeline engine.
"""

from uvrlab.config.data import (
    UVRD,
    CaptionerConfig,
    FiltersConfig,
    IngestConfig,
    LimitsConfig,
    PairTask,
    RunConfig,
    SourceConfig,
    SynthesizeConfig,
    ValidateConfig,
    WorldConfig,
)
from uvrlab.config.judgement import BaselineConfig, EvaluateConfig, RegisterConfig, RouterConfig, ThinkingConfig
from uvrlab.config.recipe import Config, StageConfig, load_config, parse_config, parse_stage_config
from uvrlab.config.section import ConfigError, Count, Operational, Positive, Section, Share
from uvrlab.config.training import (
    ContrastiveConfig,
    CurriculumConfig,
    FusionConfig,
    GroundingConfig,
    GrpoConfig,
    JudgeConfig,
    LoraConfig,
    MiningConfig,
    QuestionsConfig,
    ReplayConfig,
    RolloutConfig,
    Schedule,
    ScoreKind,
    SftConfig,
)

__all__ = [
    "UVRD",
    "BaselineConfig",
    "CaptionerConfig",
    "Config",
    "ConfigError",
    "ContrastiveConfig",
    "Count",
    "CurriculumConfig",
    "EvaluateConfig",
    "FiltersConfig",
    "FusionConfig",
    "GroundingConfig",
    "GrpoConfig",
    "IngestConfig",
    "JudgeConfig",
    "LimitsConfig",
    "LoraConfig",
    "MiningConfig",
    "Operational",
    "PairTask",
    "Positive",
    "QuestionsConfig",
    "RegisterConfig",
    "ReplayConfig",
    "RolloutConfig",
    "RouterConfig",
    "RunConfig",
    "Schedule",
    "ScoreKind",
    "Section",
    "SftConfig",
    "Share",
    "SourceConfig",
    "StageConfig",
    "SynthesizeConfig",
    "ThinkingConfig",
    "ValidateConfig",
    "WorldConfig",
    "load_config",
    "parse_config",
    "parse_stage_config",
]
