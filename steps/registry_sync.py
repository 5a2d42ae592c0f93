"""ZenML's Model Control Plane follows the registry directory, which is the truth: what differs is repaired here.

A version there is a model version here, named by its digest. The promoted version is in stage `production`, the newest other one in
`staging`, the rest are `archived`; what is not in the directory is removed. The step `register` ends with it; after a promotion
or a rollback by hand: `python -m steps.registry_sync REGISTRY/NAME`.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from zenml import log_metadata
from zenml.client import Client
from zenml.models import ModelResponse, ModelVersionResponse
from zenml.utils.pagination_utils import depaginate

from uvrlab import promotions, registry

TAG = "uvrlab"


def follow(registry_dir: Path, name: str) -> list[str]:
    """Make ZenML's model `name` equal `registry_dir/name`; returns what was changed, nothing when all was right."""
    home = registry_dir / name
    entries = {entry["digest"]: entry for entry in registry.versions(home)}
    model, changes = _model(name), list[str]()
    known = _known(model)
    for digest in sorted(set(known) - set(entries)):
        Client().delete_model_version(known.pop(digest).id)
        changes.append(f"removed {digest[:12]}")
    for digest, entry in entries.items():
        if digest not in known:
            known[digest] = Client().create_model_version(model.id, name=digest, description=entry["verdict"], tags=[TAG])
            changes.append(f"added {digest[:12]}")
        changes += _describe(known[digest], _facts(entry))
    return changes + _stages(known, _wanted(home, list(entries)))


def _model(name: str) -> ModelResponse:
    try:
        return Client().get_model(name)
    except KeyError:
        return Client().create_model(name, license="apache-2.0", tags=[TAG], description="Follows a uvrlab registry directory")


def _known(model: ModelResponse) -> dict[str, ModelVersionResponse]:
    found = depaginate(Client().list_model_versions, model=model.id, hydrate=True)
    return {str(version.name): version for version in found}


def _facts(entry: dict[str, Any]) -> dict[str, Any]:
    return {key: entry[key] for key in ("digest", "model", "results", "benchmark", "verdict", "stage", "seed")} | entry["headline"]


def _describe(version: ModelVersionResponse, facts: dict[str, Any]) -> list[str]:
    if all(version.run_metadata.get(key) == value for key, value in facts.items()):
        return []
    log_metadata(metadata=facts, model_version_id=version.id)
    return [f"described {str(version.name)[:12]}"]


def _wanted(home: Path, digests: list[str]) -> dict[str, str]:
    """The stage of each version, archived ones first: ZenML lets only one version hold production or staging."""
    promoted = promotions.production(home)
    others = [digest for digest in digests if digest != promoted]
    wanted = dict.fromkeys(others[:-1], "archived") | dict.fromkeys(others[-1:], "staging")
    return wanted | ({promoted: "production"} if promoted in digests else {})


def _stages(known: dict[str, ModelVersionResponse], wanted: dict[str, str]) -> list[str]:
    changes = []
    for digest, stage in wanted.items():
        if known[digest].stage != stage:
            known[digest].set_stage(stage, force=True)
            changes.append(f"{digest[:12]} is now {stage}")
    return changes


if __name__ == "__main__":
    sys.stdout.write("\n".join(follow(Path(sys.argv[1]).parent, Path(sys.argv[1]).name) or ["ZenML follows already"]) + "\n")
