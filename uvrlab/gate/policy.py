"""What a candidate must show before it is promoted. The defaults are the vetted policy; `configs/gate.yaml` spells them out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import Field, ValidationError

from uvrlab.config import ConfigError, Positive, Section
from uvrlab.runs import digest_json

Open01 = Annotated[float, Field(gt=0.0, lt=1.0)]


class GatePolicy(Section):
    """Shares, not points: a margin of 0.03 is 3 points. One-sided tests at `confidence`."""

    headline: str = "AVG_D"  # an average, an ability or a dataset: the candidate must be better here
    mode: str | None = None  # null: `speed`, or the only mode that there is
    margin: Open01 = 0.03  # no slice may be worse by this much
    confidence: Annotated[float, Field(ge=0.5, lt=1.0)] = 0.95
    false_block: Open01 = 0.10  # chance that an equal candidate fails on any slice; decides what is under-powered
    missed_gain: Open01 = 0.10  # chance that a true gain of `margin` on the headline is not shown
    slices: tuple[Literal["ability", "dataset"], ...] = ("ability", "dataset")
    tags: dict[str, tuple[str, ...]] = Field(default_factory=dict)  # own slice -> patterns of `dataset/query_id`
    floors: dict[str, float | Literal["chance"]] = {"AVG_D": "chance"}
    bootstrap: Positive = 2000
    seed: int = 0

    @property
    def digest(self) -> str:
        return digest_json(self.digest_view())


def load_policy(path: Path | None) -> GatePolicy:
    """Read a policy file; None is the vetted policy. Raises ConfigError with every problem."""
    if path is None:
        return GatePolicy()
    if not path.is_file():
        raise ConfigError([f"no policy at {path}; expected a YAML file such as configs/gate.yaml"])
    try:
        tree = yaml.safe_load(path.read_text()) or {}
        return GatePolicy.model_validate_json(json.dumps(tree))
    except yaml.YAMLError as error:
        raise ConfigError([f"{path}: not valid YAML: {' '.join(str(error).split())}"]) from error
    except ValidationError as error:
        known = ", ".join(GatePolicy.model_fields)
        raise ConfigError(
            [
                f"{path}: {'.'.join(map(str, e['loc'])) or 'the policy'}: {e['msg']} (found {e['input']!r}); known keys: {known}"
                for e in error.errors()
            ]
        ) from error
