"""Prompts: Markdown files with a version in their front matter, and `$name` where a value goes."""

from __future__ import annotations

import string
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

FOLDER = Path(__file__).resolve().parents[1] / "prompts"


@dataclass(frozen=True)
class Prompt:
    """One prompt file. `parts` holds its tables of wordings, by what is asked."""

    name: str
    version: int
    parts: dict[str, dict[str, str]]
    text: str

    @property
    def tag(self) -> str:
        """ "caption@1": part of a request's cache key and of `prompt_version`."""
        return f"{self.name}@{self.version}"

    def fill(self, **values: object) -> str:
        """The text with its values. Raises KeyError for one that is missing."""
        return string.Template(self.text).substitute({name: str(value) for name, value in values.items()})


@cache
def prompt(name: str) -> Prompt:
    """A prompt by its file's name. Raises ValueError where its front matter has no version."""
    head, text = (FOLDER / f"{name}.md").read_text().removeprefix("---\n").split("\n---\n", 1)
    parts: dict[str, Any] = yaml.safe_load(head)
    if not isinstance(version := parts.pop("version", None), int):
        raise ValueError(f"prompt {name} has version {version!r}; expected a whole number in its front matter")
    return Prompt(name, version, parts, text.strip())


def tags() -> str:
    """All prompts with their versions, in order of name."""
    return ",".join(prompt(file.stem).tag for file in sorted(FOLDER.glob("*.md")))
