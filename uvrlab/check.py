"""`uvr check`: every semantic problem of a recipe at once, each with its remedy, before anything runs.

What a single field may hold is the business of `uvrlab.config`; here are the rules between fields, and between a recipe and this
machine. A rule is a function of the configuration that yields problems. Media are not opened: what can only be known from them
(how many clips a folder gives) is judged by the stages.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from uvrlab.config import Config, SourceConfig
from uvrlab.data import hearing
from uvrlab.data.schema import STYLES
from uvrlab.data.uvrb import datasets
from uvrlab.runs import PACKAGE_ROOT
from uvrlab.stages import PROFILES

Rule = Callable[[Config], Iterator[str]]
# Datasets that a source's benchmark can hold; None: its own folders name them.
DATASETS: dict[str, tuple[str, ...] | None] = {
    "world": (*(f"world-{style}" for style in STYLES), "world-i2v", "world-v2v"),
    "folder": ("folder-captions", "folder-i2v", "folder-v2v", "folder-moments"),
    "msrvtt": ("MSRVTT",),
    "activitynet": ("ActivityNet",),
    "qvhighlights": ("QVHighlights-moment",),
    "uvrb": None,
}
READERS = (("train", "sft", "pairs"), ("val", "sft", "held-out pairs"), ("test", "evaluate", "queries"))
EVALUATION_ONLY = ("msrvtt", "activitynet", "qvhighlights", "uvrb")


def problems(config: Config) -> list[str]:
    """Every problem of a recipe; empty: nothing speaks against running it."""
    return [problem for rule in RULES for problem in rule(config)]


def _backbone(config: Config) -> Iterator[str]:
    from uvrlab.models.backbones import BACKBONES

    name = config.backbone
    if (Path(name) / "config.json").is_file() or (PACKAGE_ROOT / "assets" / name / "config.json").is_file():
        return
    if name in BACKBONES:
        yield f"backbone: the weights of {name!r} are not on this machine; set backbone=DIR, the folder that holds them"
    elif "/" in name and not Path(name).is_dir():
        yield f"backbone: no folder at {name}; put the weights and the processor's files there, or set backbone=DIR"
    elif Path(name).is_dir():
        yield f"backbone: {name} holds no config.json; expected a folder with weights (*.safetensors) and processor"
    else:
        near = difflib.get_close_matches(name, BACKBONES, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"expected a folder or one of {', '.join(BACKBONES)}"
        yield f"backbone: unknown {name!r}; {hint}"


def _sources(config: Config) -> Iterator[str]:
    named = [("ingest.source", config.ingest.source)]
    named += [(f"ingest.benchmark_sources[{i}]", s) for i, s in enumerate(config.ingest.benchmark_sources)]
    for where, source in named:
        yield from _paths(where, source)
    for where, source in named[1:]:
        if source.kind == "world":
            yield f"{where}: the world writes its own benchmark; leave this source out"


def _paths(where: str, source: SourceConfig) -> Iterator[str]:
    if source.path is None or "://" in source.path:
        return
    folder = Path(source.path)
    if not folder.is_dir():
        yield f"{where}.path: no folder at {folder}; correct it, or --set {where}.path=DIR"
    elif not any(path.is_file() for path in folder.rglob("*")):
        yield f"{where}.path: {folder} is empty; expected video files"
    elif source.captions and not any((base / source.captions).is_file() for base in (Path(), folder)):
        yield f"{where}.captions: no file {source.captions}, in {folder} or from here; correct the name, or leave captions out"


def _words(config: Config) -> Iterator[str]:
    source, provider = config.ingest.source, config.synthesize.provider
    if source.kind != "world" and provider == "world":
        remedy = "set synthesize.provider=given or rules"
        yield f"synthesize.provider: 'world' reads scene graphs, source {source.kind!r} has none; {remedy}"
    if source.kind == "folder" and not source.captions and provider == "given" and config.synthesize.tasks.get("T2V"):
        yield (
            "ingest.source.captions: none, so no text query can be made or asked; "
            "name a CSV or JSONL of captions, or set synthesize.provider=rules, or synthesize.tasks={I2V: 0.5, V2V: 0.5}"
        )


def _questions(config: Config) -> Iterator[str]:
    asking = [stage for stage in ("grounding", "fusion") if stage in PROFILES[config.profile]]
    if asking and (provider := config.synthesize.provider) in ("given", "rules"):
        yield (
            f"synthesize.provider: {provider!r} writes no questions, which {' and '.join(asking)} train on; "
            "set profile=sft or gve, or synthesize.provider=openai"
        )


def _rows(config: Config) -> Iterator[str]:
    """Stages that would lack input rows."""
    ingest, needed = config.ingest, PROFILES[config.profile]
    if ingest.source.kind in EVALUATION_ONLY:
        yield (
            f"ingest.source.kind: {ingest.source.kind!r} is evaluation data, so no clip is left to train on; "
            f"name it in ingest.benchmark_sources and a folder or the world in ingest.source"
        )
        return
    world = ingest.source.kind == "world"
    knob, amounts = ("ingest.world", ingest.world.model_dump()) if world else ("ingest.splits", ingest.splits)
    for split, stage, purpose in READERS:
        if stage in needed and not amounts.get(split) and not (split == "test" and ingest.benchmark_sources):
            yield f"{knob}.{split}: 0, so stage {stage!r} has no {purpose}; raise {knob}.{split}"
    total = sum(ingest.splits.values())
    if ingest.source.kind == "folder" and abs(total - 1.0) > 1e-6:
        yield f"ingest.splits: the shares sum to {total:g}, expected 1; scale them"


def _batches(config: Config) -> Iterator[str]:
    """A batch that no dataset can fill, counted from the configuration where the world is the source."""
    if config.ingest.source.kind != "world" or not config.ingest.world.train:
        return
    pairs = config.ingest.world.train * config.synthesize.pairs_per_clip
    sizes = {"sft": config.sft.batch_size, "curriculum": config.curriculum.batch_size}
    for name, size in sizes.items():
        if name not in PROFILES[config.profile]:
            continue
        if size < 2:
            yield f"{name}.batch_size: {size}, but a contrastive batch needs other pairs as negatives; set at least 2"
        elif pairs < size:
            yield (
                f"{name}.batch_size: {size}, but {config.ingest.world.train} train clips x {config.synthesize.pairs_per_clip} "
                f"pairs give {pairs}; lower {name}.batch_size or raise ingest.world.train"
            )


def _evaluation(config: Config) -> Iterator[str]:
    sources = [config.ingest.source, *config.ingest.benchmark_sources]
    known = [DATASETS[source.kind] for source in sources]
    if config.ingest.source.kind == "world" and config.ingest.world.uvrb:
        known.append(tuple(f"{datasets.MIRROR}{name}" for name in datasets.DATASETS))
    if config.ingest.source.kind == "world" and config.ingest.world.hearing:
        known.append(tuple(hearing.DATASETS))
    if config.evaluate.datasets and set(config.evaluate.datasets) <= set(hearing.DATASETS):
        yield "evaluate.datasets: all about hearing, which is scored beside retrieval, not in its place; name another dataset too"
    if None not in known:
        names = sorted({name for found in known if found for name in found})
        for name in sorted(set(config.evaluate.datasets) - set(names)):
            near = difflib.get_close_matches(name, names, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"expected some of {', '.join(names)}"
            yield f"evaluate.datasets: unknown {name!r}; {hint}"


def _baselines(config: Config) -> Iterator[str]:
    for i, baseline in enumerate(config.evaluate.baselines):
        if not baseline.path.is_dir():
            told = f"no folder at {baseline.path}; put the weights of {baseline.name} there, or leave it out"
            yield f"evaluate.baselines[{i}].path: {told}"


def _device(config: Config) -> Iterator[str]:
    if config.run.device != "cuda":
        return
    import torch

    if not torch.cuda.is_available():
        yield "run.device: 'cuda', but torch finds no GPU on this machine; set run.device=cpu (or auto)"


def _registry(config: Config) -> Iterator[str]:
    if "register" not in PROFILES[config.profile]:
        return
    wanted = config.register_.registry_dir.absolute()
    there = next(path for path in (wanted, *wanted.parents) if path.exists())
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        yield f"register.registry_dir: {wanted} cannot be written ({there} is in the way); set register.registry_dir=DIR"


RULES: tuple[Rule, ...] = (_backbone, _sources, _words, _questions, _rows, _batches, _evaluation, _baselines, _device, _registry)
