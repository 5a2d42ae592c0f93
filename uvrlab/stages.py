"""The one table of stages, and the one way to run a stage.

`dvc.yaml`, the ZenML pipeline and every other engine are tested to equal `STAGES`. A stage's code is imported only when it runs.
"""

from __future__ import annotations

import importlib
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from uvrlab import runs, upstream
from uvrlab.config import Config, StageConfig
from uvrlab.listing import source_listing
from uvrlab.runs import Manifest, Metric, RunDir, RunError, StageReport


@dataclass(frozen=True)
class Input:
    """A named input: the kind of run directory that it takes, and whether a stage can do without it.

    `chained`: though optional, it is wired to the newest earlier stage that writes the kind, if there is one.
    """

    kind: str
    optional: bool = False
    chained: bool = False


@dataclass(frozen=True)
class Resources:
    """What a cluster should give the stage; laptops ignore it."""

    cpu: int = 2
    memory_gib: int = 8
    gpus: int = 0
    hours: int = 6  # after which a pod counts as hung


@dataclass(frozen=True)
class Stage:
    """One stage: where its code is, what it reads, what its output is, and which sources its result depends on."""

    name: str
    target: str  # "module:function"
    inputs: Mapping[str, Input]
    kinds: tuple[str, ...]  # what its run directory is
    sources: tuple[str, ...]  # files and folders under uvrlab/ that can change its result
    resources: Resources = field(default_factory=Resources)
    cached: bool = True


_CORE = ("data/schema.py",)
_MEDIA = ("data",)
_MODEL = (*_CORE, "data", "models", "assets")
_TRAINED = (*_MODEL, "losses", "rewards", "training", "evaluation/metrics.py")
CLIPS, UVRD, CHECKS, MODEL, RESULTS = Input("clips"), Input("uvrd"), Input("checks"), Input("model"), Input("results")
_DATA = {"clips": CLIPS, "uvrd": UVRD, "checks": CHECKS}  # what every training stage reads
_TRAINER = Resources(cpu=8, memory_gib=64, gpus=8, hours=24)

STAGES: dict[str, Stage] = {
    stage.name: stage
    for stage in (
        Stage(
            "ingest",
            "uvrlab.data.ingest:run",
            {},
            ("clips", "benchmark"),
            (*_CORE, *_MEDIA),
            Resources(cpu=8, memory_gib=16),
        ),
        Stage(
            "synthesize",
            "uvrlab.synthesis.run:run",
            {"clips": CLIPS},
            ("uvrd",),
            (*_MODEL, "synthesis"),
            Resources(cpu=8),
        ),
        Stage(
            "validate",
            "uvrlab.validation.run:run",
            {
                "clips": CLIPS,
                "uvrd": UVRD,
                "benchmark": Input("benchmark"),
                "reference": Input("uvrd", optional=True),
                "reference_clips": Input("clips", optional=True),
                "embedder": Input("model", optional=True),
            },
            ("checks",),
            (*_MODEL, "validation"),
        ),
        Stage(
            "sft",
            "uvrlab.training.sft:run",
            _DATA,
            ("model",),
            (*_MODEL, "losses", "training", "evaluation/metrics.py"),
            _TRAINER,
        ),
        Stage(
            "grpo",
            "uvrlab.training.grpo:run",
            {**_DATA, "model": MODEL},
            ("model",),
            _TRAINED,
            _TRAINER,
        ),
        Stage(
            "grounding",
            "uvrlab.training.grounding:run",
            {**_DATA, "model": Input("model", optional=True, chained=True)},
            ("model",),
            (*_TRAINED, "synthesis"),
            _TRAINER,
        ),
        Stage(
            "fusion",
            "uvrlab.training.fusion:run",
            {**_DATA, "model": MODEL},
            ("model",),
            _TRAINED,
            _TRAINER,
        ),
        Stage(
            "curriculum",
            "uvrlab.training.curriculum_stage:run",
            {**_DATA, "model": MODEL},
            ("model",),
            _TRAINED,
            _TRAINER,
        ),
        Stage(
            "evaluate",
            "uvrlab.evaluation.evaluate:run",
            {
                "benchmark": Input("benchmark"),
                "model": MODEL,
                "base": Input("model", optional=True),
                "incumbent": Input("results", optional=True),
            },
            ("results",),
            (*_MODEL, "rewards", "evaluation"),
            Resources(cpu=8, memory_gib=32, gpus=1),
        ),
        Stage(
            "register",
            "uvrlab.registry:run",
            {"model": MODEL, "results": RESULTS, "incumbent_results": Input("results", optional=True)},
            ("entry",),
            ("registry.py", "release.py", "promotions.py", "signing.py", "gate", "card.py", "data", "evaluation"),
            cached=False,
        ),
    )
}

PROFILES: dict[str, tuple[str, ...]] = {
    "full": tuple(STAGES),
    "sft": ("ingest", "synthesize", "validate", "sft", "evaluate", "register"),
    "gve": ("ingest", "synthesize", "validate", "sft", "curriculum", "evaluate", "register"),
    "ume-r1": ("ingest", "synthesize", "validate", "sft", "grpo", "evaluate", "register"),
    "omnivideo-r1": ("ingest", "synthesize", "validate", "grounding", "fusion", "evaluate", "register"),  # from the backbone
    "omnivideo-r1-qi": ("ingest", "synthesize", "validate", "grounding", "evaluate", "register"),  # its stage 1 alone
}


def graph(profile: str = "full") -> dict[str, dict[str, str]]:
    """The wiring of a profile: stage -> {input name: producing stage}. A model input takes the newest model before the stage.

    Optional inputs (a reference run, an incumbent) come from outside a run and are not wired.
    """
    newest: dict[str, str] = {}
    wiring: dict[str, dict[str, str]] = {}
    for name in PROFILES[profile]:
        stage = STAGES[name]
        wiring[name] = {}
        for label, wanted in stage.inputs.items():
            if wanted.kind in newest and (wanted.chained or not wanted.optional):
                wiring[name][label] = newest[wanted.kind]
            elif not wanted.optional:
                raise RunError(f"profile {profile!r}: stage {name!r} needs a {wanted.kind!r}, but no earlier stage writes one")
        newest.update(dict.fromkeys(stage.kinds, name))
    return wiring


def load(target: str) -> Any:
    """Resolve `"module:object"`."""
    module, _, name = target.partition(":")
    return getattr(importlib.import_module(module), name)


def _open_inputs(stage: Stage, inputs: Mapping[str, Path]) -> dict[str, RunDir]:
    if unknown := sorted(set(inputs) - set(stage.inputs)):
        raise RunError(f"stage {stage.name!r} has no input {unknown[0]!r}; expected {', '.join(stage.inputs) or 'none'}")
    if missing := sorted(n for n, i in stage.inputs.items() if not i.optional and n not in inputs):
        raise RunError(f"stage {stage.name!r} lacks its input {missing[0]!r}; add --in {missing[0]}=DIR")
    opened = {}
    for name, path in inputs.items():
        run = RunDir(path)
        kinds = STAGES[run.manifest.stage].kinds if run.manifest.stage in STAGES else ()
        if stage.inputs[name].kind not in kinds:
            raise RunError(
                f"stage {stage.name!r}, input {name!r}: {path} is a {'/'.join(kinds) or run.manifest.stage} run, "
                f"expected {stage.inputs[name].kind}"
            )
        opened[name] = run
    return opened


def run_stage(config: StageConfig[Any], inputs: Mapping[str, Path], out: Path, *, force: bool = False) -> StageReport:
    """Run one stage to a finished run directory, or return at once when `out` already holds this very run.

    Raises RunError on wrong inputs; whatever the stage raises leaves `out` without a manifest and its cause in status.json.
    """
    stage = STAGES[config.stage]
    digests = {name: run.digest for name, run in sorted(_open_inputs(stage, inputs).items())}
    view, code = config.digest_view(), runs.code_digest(stage.sources)
    key, listing = runs.run_key(view, digests, code), source_listing(config)
    if runs.processes() > 1 and stage.resources.gpus < 2:
        raise RunError(f"stage {stage.name!r} is one process, found {runs.processes()}; start it without torchrun")
    if runs.process() > 0:
        kept = None if force else _finished(out, key, listing)
        return kept or _accompany(stage, config, inputs, _work_key(key, listing))
    with runs.lock(runs.work_dir() / "out" / runs.digest_json(str(out.resolve()))), runs.lock(runs.work_dir() / key):
        if stage.cached and not force and (report := _finished(out, key, listing)):
            return report
        runs.clear(out)
        started = time.monotonic()
        with runs.Heartbeat(out, stage.name), runs.working(_work_key(key, listing)):
            report = load(stage.target)(config, {n: Path(p) for n, p in inputs.items()}, out)
            runs.write_json(out / "metrics.json", {name: metric.value for name, metric in sorted(report.metrics.items())})
            manifest = runs.seal(out, stage=stage.name, config=view, inputs=digests, code=code)
            report.digest, report.source_listing = manifest.digest, listing
            report.cost |= {
                "seconds": round(time.monotonic() - started, 2),
                "peak_memory_bytes": float(runs.peak_memory_bytes()),
            }
            _write_report(out, report, manifest)
            upstream.carry(out, inputs)
        runs.finish(out, manifest)
    return report


def _work_key(key: str, listing: str) -> str:
    return runs.digest_json([key, listing]) if listing else key


def _accompany(stage: Stage, config: StageConfig[Any], inputs: Mapping[str, Path], key: str) -> StageReport:
    """What a process of torchrun other than the first does: it takes part in the work, and what it writes is thrown away."""
    with tempfile.TemporaryDirectory() as scratch, runs.working(key):
        return load(stage.target)(config, {n: Path(p) for n, p in inputs.items()}, Path(scratch))


def _finished(out: Path, key: str, listing: str) -> StageReport | None:
    try:
        run = RunDir(out)
        run.verify()
        report = StageReport.model_validate_json((out / "stage_report.json").read_text())
    except (RunError, OSError, ValueError):
        return None
    m = run.manifest
    current = runs.run_key(m.config, m.inputs, m.code_digest) == key and report.source_listing == listing
    return report if current else None


def _write_report(out: Path, report: StageReport, manifest: Manifest) -> None:
    runs.write_json(out / "cost.json", report.cost)
    runs.write_json(out / "stage_report.json", report.model_dump(mode="json"))
    if report.page is not None:
        report.page.provenance(manifest.model_dump(mode="json", by_alias=True))
        report.page.write(out / "report.html")


def current_run_key(config: StageConfig[Any], inputs: Mapping[str, Path]) -> str:
    """The run key that `run_stage` would work under; the stage itself asks `runs.checkpoint_dir()`."""
    stage = STAGES[config.stage]
    digests = {name: RunDir(path).digest for name, path in sorted(inputs.items())}
    return runs.run_key(config.digest_view(), digests, runs.code_digest(stage.sources))


def run_graph(config: Config, root: Path, on_stage: Callable[[StageReport], None] | None = None) -> dict[str, StageReport]:
    """Run a whole profile in order into `root/<stage>`; finished stages are kept. `on_stage` sees each report as it comes."""
    reports: dict[str, StageReport] = {}
    for name, wiring in graph(config.profile).items():
        inputs = {label: root / producer for label, producer in wiring.items()}
        reports[name] = run_stage(config.for_stage(name), inputs, root / name)
        if on_stage:
            on_stage(reports[name])
    return reports


__all__ = ["PROFILES", "STAGES", "Input", "Metric", "Resources", "Stage", "current_run_key", "graph", "run_graph", "run_stage"]
