"""A whole recipe, read from YAML with overrides, and the part of it that one stage sees."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar, cast

import yaml
from pydantic import BaseModel, Field, ValidationError

from uvrlab.config.data import IngestConfig, RunConfig, SynthesizeConfig, ValidateConfig
from uvrlab.config.judgement import EvaluateConfig, RegisterConfig
from uvrlab.config.section import ConfigError, Section
from uvrlab.config.training import CurriculumConfig, FusionConfig, GroundingConfig, GrpoConfig, SftConfig


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
