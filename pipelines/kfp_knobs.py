"""Which values of a stage's section a Kubeflow run can change, and how their text becomes an override of the recipe.

Knobs are the scalars of the section and of its small nested sections; everything else goes through the stage's `overrides`.
"""

from __future__ import annotations

import json
import types
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from uvrlab.config import Section

SMALL = 8  # fields; a form with every threshold of every filter would hide the values that matter
PLAIN = (bool, int, float)
Scalar = bool | int | float | str


@dataclass(frozen=True)
class Knob:
    """One scalar of a section: its dotted key below the stage's section, and its value in the compiled recipe."""

    stage: str
    key: str
    allowed: tuple[type, ...]  # what the field may hold; NoneType among them where it may be absent
    value: Any

    @property
    def name(self) -> str:
        """The parameter of the component; the pipeline's is `<stage>_<name>`."""
        return self.key.replace(".", "_")

    @property
    def type(self) -> type:
        """bool, int or float, or str for everything else and for numbers that may be absent."""
        return self.allowed[0] if len(self.allowed) == 1 and self.allowed[0] in PLAIN else str

    @property
    def default(self) -> Scalar:
        """The value as a parameter of that type; `null` stands for an absent one."""
        return self.type("null" if self.value is None else self.value)

    def override(self, value: Scalar) -> str:
        """`stage.key=value` as `uvr run --set` takes it."""
        if self.type is not str:
            text = json.dumps(self.type(value))  # every number comes as a double
        elif value == "null" and types.NoneType in self.allowed:
            text = "null"
        else:
            text = json.dumps(value) if str in self.allowed else str(value)
        return f"{self.stage}.{self.key}={text}"


def knobs(stage: str, section: Section, at: str = "") -> list[Knob]:
    """The knobs of one stage in the order of its fields."""
    return list(_knobs(stage, section, at))


def _knobs(stage: str, section: Section, at: str) -> Iterator[Knob]:
    for name, field in type(section).model_fields.items():
        value, key = getattr(section, name), f"{at}{field.alias or name}"
        if isinstance(value, Section):
            if len(type(value).model_fields) <= SMALL:
                yield from _knobs(stage, value, f"{key}.")
        elif allowed := _scalar(field.annotation):
            yield Knob(stage, key, allowed, value)


def _scalar(annotation: Any) -> tuple[type, ...]:
    """The scalar types that a field takes, a path counting as text; () where it takes a collection."""
    origin = typing.get_origin(annotation)
    if origin is typing.Annotated:
        return _scalar(typing.get_args(annotation)[0])
    if origin is typing.Literal:
        return tuple(dict.fromkeys(type(value) for value in typing.get_args(annotation)))
    if origin in (typing.Union, types.UnionType):
        parts = [_scalar(part) for part in typing.get_args(annotation)]
        return tuple(dict.fromkeys(t for part in parts for t in part)) if all(parts) else ()
    if annotation is types.NoneType or annotation in (*PLAIN, str):
        return (annotation,)
    return (str,) if annotation is Path else ()


def overrides(stage: str, section: Section, given: Mapping[str, Scalar]) -> list[str]:
    """What the parameters of a component change in the recipe that it was compiled from."""
    return [knob.override(given[knob.name]) for knob in knobs(stage, section) if given.get(knob.name, knob.default) != knob.default]
