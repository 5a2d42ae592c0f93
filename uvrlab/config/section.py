"""What every section of a recipe is made of: frozen, strict, its values plain JSON, and some of them outside every digest."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field


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
