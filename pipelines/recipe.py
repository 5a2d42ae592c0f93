"""A recipe as an engine needs it: with absolute paths, because steps and pods run elsewhere than the command that started them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

from uvrlab.config import Config, Section, load_config

S = TypeVar("S", bound=Section)


def absolute_recipe(path: Path, overrides: Sequence[str] = ()) -> Config:
    """Load a recipe and make its paths absolute; URLs stay, and so does a captions file named relative to its source folder."""
    config = load_config(path, overrides)
    source = config.ingest.source
    at = {name: value for name in ("path", "captions") if (value := getattr(source, name))}
    moved = _with(source, **{name: _absolute(value) for name, value in at.items() if name == "path" or Path(value).exists()})
    files = {name: getattr(config.register_, name) for name in ("registry_dir", "policy", "public_key")}
    registry = _with(config.register_, **{name: Path(_absolute(str(path))) for name, path in files.items() if path})
    return _with(config, ingest=_with(config.ingest, source=moved), register_=registry)


def _absolute(path: str) -> str:
    return path if "://" in path else str(Path(path).expanduser().resolve())


def _with(section: S, **changes: Any) -> S:
    return section.model_copy(update=changes)
