"""The sections of the stages that judge a model: evaluate and register."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from uvrlab.config.section import Count, Operational, Positive, Section, Share


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
