"""A recipe as an engine needs it: with absolute paths, because steps and pods run elsewhere than the command that started them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

from uvrlab.config import Config, Section, SourceConfig, load_config
from uvrlab.models.backbones import BACKBONES

S = TypeVar("S", bound=Section)


def absolute_recipe(path: Path, overrides: Sequence[str] = ()) -> Config:
    """Load a recipe and make its paths absolute; URLs stay, and so does a captions file named relative to its source folder."""
    config = load_config(path, overrides)
    judged = tuple(_moved(source) for source in config.ingest.benchmark_sources)
    ingest = _with(config.ingest, source=_moved(config.ingest.source), benchmark_sources=judged)
    backbone = config.backbone if config.backbone in BACKBONES or not Path(config.backbone).is_dir() else _absolute(config.backbone)
    files = {name: getattr(config.register_, name) for name in ("registry_dir", "policy", "public_key")}
    registry = _with(config.register_, **{name: Path(_absolute(str(path))) for name, path in files.items() if path})
    return _with(config, ingest=ingest, backbone=backbone, register_=registry)


def _moved(source: SourceConfig) -> SourceConfig:
    at = {name: value for name in ("path", "captions") if (value := getattr(source, name))}
    return _with(source, **{name: _absolute(value) for name, value in at.items() if name == "path" or Path(value).exists()})


def _absolute(path: str) -> str:
    return path if "://" in path else str(Path(path).expanduser().resolve())


def _with(section: S, **changes: Any) -> S:
    return section.model_copy(update=changes)
