"""The DVC pipeline: `python -m pipelines.dvc --config F` writes `params.yaml`, the resolved recipe, and `dvc.yaml`.

A stage depends on its upstream's manifest alone (a folder also holds costs, which differ between equal runs), on its sources, and
on the parameters that enter its digest; folders that the recipe points at, of media or of weights, are dependencies too.

No `dvc.lock` is committed here: it would name outputs that lie in no remote of this project, and be stale after each change of a
library file, so a clone would run every stage anyway. A project that has a remote commits its own.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import yaml

from uvrlab.config import Config, Operational, Section, load_config
from uvrlab.listing import model_folders
from uvrlab.stages import STAGES, graph

ROOT = "dvc-runs"
HEAD = "# Written by `make dvc CONFIG=...`; edit the recipe or uvrlab/stages.py instead.\n"


def dvc_yaml(config: Config) -> str:
    """The text of dvc.yaml for one recipe."""
    wiring = graph(config.profile)
    stages = {name: _stage(name, inputs, config) for name, inputs in wiring.items()}
    metrics = [f"{ROOT}/{name}/metrics.json" for name in wiring]
    tree = {"stages": stages, "metrics": metrics, "plots": _plots(wiring)}
    return HEAD + yaml.safe_dump(tree, sort_keys=False, width=132)


def params_yaml(config: Config) -> str:
    """The text of params.yaml: every value of the recipe, defaults included, so that `dvc exp run -S a.b=c` reaches all."""
    return HEAD + yaml.safe_dump(json.loads(config.model_dump_json(by_alias=True)), sort_keys=False, width=132)


def _stage(name: str, inputs: dict[str, str], config: Config) -> dict[str, Any]:
    folders = [f"--in {label}={ROOT}/{producer}" for label, producer in inputs.items()]
    return {
        "cmd": " ".join(["uvr run", name, "--config params.yaml", *folders, f"--out {ROOT}/{name}"]),
        "deps": [
            *(f"{ROOT}/{producer}/manifest.json" for producer in dict.fromkeys(inputs.values())),
            *(f"uvrlab/{source}" for source in _without_nested(STAGES[name].sources)),
            *(f"${{{key}}}" for key in _outside(name, config)),
        ],
        "params": ["run.seed", "backbone", *_keys(config.section(name), name)],
        "outs": [f"{ROOT}/{name}"],
    }


def _without_nested(sources: tuple[str, ...]) -> list[str]:
    """Each source once: a file inside a listed folder would be hashed twice."""
    return [s for s in dict.fromkeys(sources) if not any(s.startswith(f"{other}/") for other in sources)]


def _outside(name: str, config: Config) -> Iterator[str]:
    """The keys of params.yaml that name folders and files outside the project on which a stage depends."""
    yield from model_folders(config.for_stage(name))
    if name != "ingest":
        return
    sources = {f"ingest.benchmark_sources[{i}]": source for i, source in enumerate(config.ingest.benchmark_sources)}
    for key, source in {"ingest.source": config.ingest.source, **sources}.items():
        if source.kind != "world":
            yield f"{key}.path"
        if source.captions and Path(source.captions).exists():
            yield f"{key}.captions"


def _keys(section: Section, at: str) -> Iterator[str]:
    """The dotted names of the values that enter a digest; a dictionary counts as one value."""
    for name, field in type(section).model_fields.items():
        value, key = getattr(section, name), f"{at}.{field.alias or name}"
        if not any(mark is Operational for mark in field.metadata):
            yield from _keys(value, key) if isinstance(value, Section) else [key]


def _plots(stages: Iterable[str]) -> list[dict[str, Any]]:
    """The training curve of each stage that writes a model."""
    trained = [name for name in stages if "model" in STAGES[name].kinds]
    return [{f"{ROOT}/{name}/history.json": {"title": f"{name}: loss", "x": "step", "y": "loss"}} for name in trained]


def write(config: Config, folder: Path) -> None:
    """Write both files."""
    (folder / "params.yaml").write_text(params_yaml(config))
    (folder / "dvc.yaml").write_text(dvc_yaml(config))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m pipelines.dvc", description=__doc__)
    parser.add_argument("--config", type=Path, default=Path("configs/demo.yaml"))
    parser.add_argument("--set", action="append", default=[], metavar="A.B=C")
    args = parser.parse_args()
    write(load_config(args.config, args.set), Path())
