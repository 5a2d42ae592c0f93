"""What lies in a folder that a recipe points at, as one digest: how an engine notices that the folder changed.

It never enters a run digest (paths and times say nothing about content): it only decides whether a finished run is still current.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from uvrlab.config import CurriculumConfig, EvaluateConfig, GroundingConfig, IngestConfig, StageConfig, SynthesizeConfig
from uvrlab.runs import digest_json

STAMPS = ("mtime", "LastModified", "updated", "ETag", "etag")  # what file systems call a file's version


def source_listing(config: StageConfig[Any]) -> str:
    """sha256 over names, sizes and times of everything outside that a stage reads: its sources, and models given as folders.

    A source's place counts too, because a run notes where the media are that it refers to: after a move it runs again, with the
    same digest. "" where there is nothing of the kind. Raises FileNotFoundError when a source is absent.
    """
    own = config.own
    sources = [own.source, *own.benchmark_sources] if isinstance(own, IngestConfig) else []
    wanted = [(path, s.path or "") for s in sources if s.kind != "world" for path in (s.path, s.captions) if path]
    wanted += [(folder, folder) for folder in model_folders(config).values()]
    places = [path if "://" in path else str(Path(path).resolve()) for s in sources if (path := s.path)]
    return digest_json([places, *(entry for path, inside in wanted for entry in _entries(path, inside))]) if wanted else ""


def model_folders(config: StageConfig[Any]) -> dict[str, str]:
    """{dotted name in the recipe: folder} of the models that a stage reads from folders; shipped names are not among them."""
    own = config.own
    named = {"backbone": config.backbone} if "backbone" in own.reads else {}
    if isinstance(own, SynthesizeConfig) and own.filters.embedder:
        named["synthesize.filters.embedder"] = own.filters.embedder
    if isinstance(own, GroundingConfig) and own.judge.embedder:
        named["grounding.judge.embedder"] = own.judge.embedder
    if isinstance(own, CurriculumConfig) and own.prober:
        named["curriculum.prober"] = own.prober
    if isinstance(own, EvaluateConfig):
        named |= {f"evaluate.baselines[{i}].path": str(baseline.path) for i, baseline in enumerate(own.baselines)}
    return {key: folder for key, folder in named.items() if Path(folder).is_dir()}


def _entries(path: str, inside: str) -> Iterator[list[Any]]:
    if "://" in path:
        yield from _remote(path)
        return
    here = Path(path)
    if not here.exists() and path != inside and (Path(inside) / path).exists():
        return  # a captions file inside the folder: listed with it
    if not here.exists():
        raise FileNotFoundError(f"no source at {path}; expected a folder or file, set ingest.source.path=DIR")
    files = [here] if here.is_file() else sorted(f for f in here.rglob("*") if f.is_file())
    for file in files:
        stat = file.stat()
        yield [file.relative_to(here).as_posix(), stat.st_size, stat.st_mtime_ns]


def _remote(url: str) -> Iterator[list[Any]]:
    import fsspec

    system, root = fsspec.core.url_to_fs(url)
    found = system.find(root, detail=True)
    for name, info in sorted(found.items()):
        yield [name.removeprefix(root), info.get("size"), [str(info[key]) for key in STAMPS if key in info]]
