"""`uvr study`: seeds x variants of one recipe, every common stage run once, one table of effects against the baseline.

A cell is a whole run of the recipe's graph under one variant and one seed, without stages that have effects outside (`register`).
All cells keep their stages in one store, named by run key, so variants that differ in `sft` alone share ingest, synthesize and
validate. A cell that is done has its JSON in `cells/`; the next call goes on with the missing ones. Statistics: `study_table.py`.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from uvrlab.config import Config, ConfigError, load_config
from uvrlab.runs import RunDir, RunError, code_digest, digest_json, write_json
from uvrlab.stages import STAGES, current_run_key, graph, run_stage, source_listing
from uvrlab.study_table import Outcome, read_cell, study_effects

log = logging.getLogger("uvrlab.study")
CELL_SECONDS = 8 * 60.0  # on 2 cores; a longer cell is named in the table


class Study(BaseModel):
    """A study file. `recipe` is relative to the file; `datasets` and `modes` empty: all that were evaluated."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    question: str
    recipe: Path | None = None
    overrides: tuple[str, ...] = ()  # for every cell
    seeds: tuple[int, ...] = Field(default=(0, 1, 2), min_length=1)
    baseline: str
    variants: dict[str, tuple[str, ...]]
    controls: dict[str, tuple[str, ...]] = {}  # variants that a variant is held against too, beside the baseline
    datasets: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ("R@1",)  # of single datasets; main: each one's own
    modes: tuple[str, ...] = ()
    part: str = ""  # of what `evaluate` writes: "answers" for its questions, "hearing" for its queries about sound, else retrieval
    bootstrap: int = Field(default=2000, ge=100)

    @property
    def comparisons(self) -> list[tuple[str, str]]:
        """(variant, what it is held against): each against the baseline, then against its controls."""
        plain = [(name, self.baseline) for name in self.variants if name != self.baseline]
        return list(dict.fromkeys([*plain, *((name, other) for name, own in self.controls.items() for other in own)]))

    @model_validator(mode="after")
    def _baseline_is_a_variant(self) -> Study:
        if self.baseline not in self.variants:
            raise ValueError(f"baseline {self.baseline!r} is no variant; expected one of {', '.join(self.variants)}")
        if unknown := sorted({name for own in self.controls.items() for name in (own[0], *own[1])} - self.variants.keys()):
            raise ValueError(f"controls name {unknown[0]!r}, which is no variant; expected some of {', '.join(self.variants)}")
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"a seed stands twice in {list(self.seeds)}; each seed is one stratum")
        if bad := [name for name in self.variants if not name.replace("-", "").replace("_", "").isalnum()]:
            raise ValueError(f"variant {bad[0]!r}: a name is letters, digits, - and _, as it names a file")
        return self


@dataclass(frozen=True)
class Cell:
    """One variant under one seed. `key` is what its result depends on, so a changed recipe or code makes it missing again."""

    variant: str
    seed: int
    config: Config
    key: str

    @property
    def name(self) -> str:
        return f"{self.variant}-seed{self.seed}"


def load_study(path: Path) -> Study:
    """Read a study file. Raises ConfigError with every problem."""
    if not path.is_file():
        raise ConfigError([f"no study at {path}; expected a YAML file such as configs/studies/sft.yaml"])
    try:
        return Study.model_validate(yaml.safe_load(path.read_text()) or {})
    except ValidationError as error:
        raise ConfigError([f"{path}: {'.'.join(map(str, e['loc'])) or 'study'}: {e['msg']}" for e in error.errors()]) from error


def cells(study: Study, folder: Path) -> Iterator[Cell]:
    """Every cell, seed by seed, so that an unfinished study already has whole pairs. `folder` holds the study file."""
    recipe = folder / study.recipe if study.recipe else None
    for seed in study.seeds:
        for variant, overrides in study.variants.items():
            config = load_config(recipe, [*study.overrides, *overrides, f"run.seed={seed}"])
            yield Cell(variant, seed, config, _cell_key(config))


def _cell_key(config: Config) -> str:
    parts: dict[str, Any] = {}
    for name in _stages(config):
        staged = config.for_stage(name)
        parts[name] = [staged.digest_view(), code_digest(STAGES[name].sources), source_listing(staged)]
    return digest_json(parts)


def _stages(config: Config) -> list[str]:
    return [name for name in graph(config.profile) if STAGES[name].cached]


def run_study(config_path: Path, out: Path, max_minutes: float | None = None) -> str:
    """Run missing cells, at least one, until the next would pass `max_minutes`; write `study.{json,md,html}`; return the text.

    A cell that fails stays missing and the others still run; RunError then names each with its cause.
    """
    study, started, longest = load_study(config_path), time.monotonic(), 0.0
    planned, failed = list(cells(study, config_path.parent)), dict[str, str]()
    for number, cell in enumerate(planned):
        if _is_done(cell, out):
            continue
        begun = time.monotonic()
        if max_minutes is not None and longest and begun - started + longest > 60 * max_minutes:
            break
        log.info("study      cell %d/%d %s", number + 1, len(planned), cell.name)
        try:
            _run_cell(cell, out)
        except Exception as error:  # whatever a variant breaks, the other cells are worth their hours
            failed[cell.name] = f"{type(error).__name__}: {error}"
            log.error("study      cell %s failed: %s", cell.name, error)
        longest = max(longest, time.monotonic() - begun)
    text = _conclude(study, planned, failed, out)
    if failed:
        causes = "\n".join(f"  {name}: {cause}" for name, cause in failed.items())
        raise RunError(f"{len(failed)} cells failed; correct them and run again (the others: {out / 'study.md'})\n{causes}")
    return text


def _is_done(cell: Cell, out: Path) -> bool:
    record = read_cell(out, cell.name)
    return record is not None and record["key"] == cell.key and (out / record["results"] / "manifest.json").is_file()


def _run_cell(cell: Cell, out: Path) -> None:
    """Run the graph of one cell out of the store, then write its JSON."""
    done, seconds, reused = dict[str, Path](), 0.0, []
    wiring = graph(cell.config.profile)
    for name in _stages(cell.config):
        staged = cell.config.for_stage(name)
        inputs = {label: done[producer] for label, producer in wiring[name].items()}
        folder = out / "store" / f"{name}-{current_run_key(staged, inputs)[:16]}"
        known = (folder / "manifest.json").is_file()
        report = run_stage(staged, inputs, folder)
        reused += [name] if known else []
        seconds += 0.0 if known else report.cost["seconds"]
        done[name] = folder
    (out / "cells").mkdir(exist_ok=True)
    write_json(
        out / "cells" / f"{cell.name}.json",
        {
            "variant": cell.variant,
            "seed": cell.seed,
            "key": cell.key,
            "results": done["evaluate"].relative_to(out).as_posix(),
            "stages": {name: RunDir(folder).digest for name, folder in done.items()},
            "reused": reused,
            "seconds": round(seconds, 1),
        },
    )


def _conclude(study: Study, planned: list[Cell], failed: dict[str, str], out: Path) -> str:
    finished = [cell for cell in planned if _is_done(cell, out)]
    records = {(cell.variant, cell.seed): read_cell(out, cell.name) or {} for cell in finished}
    effects, notes = study_effects(study, {at: out / record["results"] / study.part for at, record in records.items()})
    for (variant, seed), record in records.items():
        if record["seconds"] > CELL_SECONDS:
            notes.append(f"{variant}, seed {seed}: {record['seconds']:.0f} s, more than the {CELL_SECONDS:.0f} s of a cell")
    names = {cell.name for cell in finished}
    missing = {cell.name: failed.get(cell.name, "not run yet") for cell in planned if cell.name not in names}
    return Outcome(study, effects, records, missing, notes).write(out)
