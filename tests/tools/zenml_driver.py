"""Runs the ZenML scenarios of tests/test_zenml.py in one process and prints what happened as JSON.

One process, because ZenML spends seconds on its first run and tenths of a second on each later one. It runs inside the copy that
tests/tools/house.py built.
"""

from __future__ import annotations

import json
import logging
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from zenml.client import Client

from uvrlab.runs import RunError

HERE = Path.cwd()
CALLS = HERE / "calls.txt"
FOLDER = ["ingest.source.kind=folder", "ingest.source.path=videos"]


def run(*overrides: str) -> dict[str, Any]:
    """One pipeline run: which steps were cached, which stage functions were called, and the digests."""
    from pipelines.training import training

    CALLS.write_text("")
    result = training(config="configs/tiny.yaml", overrides=list(overrides))
    return {
        "cached": [name for name, step in result.steps.items() if step.status == "cached"],
        "called": CALLS.read_text().split(),
        "digests": {name: str(step.outputs[name][0].content_hash) for name, step in result.steps.items()},
    }


def by_command() -> list[str]:
    """The command that a user types, on a store that does not exist yet; its code runs in this process to save ten seconds."""
    from zenml.cli import cli

    cli.main(["pipeline", "run", "pipelines.training.training", "-c", "configs/zenml/tiny.yaml"], standalone_mode=False)
    return CALLS.read_text().split()


def edited(file: str) -> dict[str, Any]:
    with (HERE / "uvrlab" / file).open("a") as source:
        source.write("# edited\n")
    return run()


def fails(*overrides: str) -> str:
    try:
        run(*overrides)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return ""


def folder_scenarios() -> dict[str, Any]:
    videos = HERE / "videos"
    videos.mkdir()
    (videos / "a.mp4").write_text("a")
    told = {"first": run(*FOLDER), "again": run(*FOLDER)}
    (videos / "a.mp4").touch()
    told["touched"] = run(*FOLDER)
    (videos / "b.mp4").write_text("b")
    told["grown"] = run(*FOLDER)
    return told


def backbone_scenarios() -> dict[str, Any]:
    weights = HERE / "weights"
    weights.mkdir()
    (weights / "model.safetensors").write_text("one")
    told = {"first": run("backbone=weights"), "again": run("backbone=weights")}
    (weights / "model.safetensors").write_text("two")
    return told | {"changed": run("backbone=weights")}


def tampered() -> str:
    """Flip one byte of a stored artifact, then ask a step that was not cached to read it."""
    artifact = Client().get_artifact_version("ingest")
    file = Path(artifact.uri) / "payload.txt"
    original = file.read_bytes()
    file.unlink()
    file.write_bytes(original[:-1] + b"#")
    message = fails(*FOLDER, "synthesize.pairs_per_clip=3")
    try:
        artifact.load()
    except RunError as error:
        message += f"; {error}"
    file.write_bytes(original)
    return message


def wiring(run_response: Any) -> dict[str, dict[str, str]]:
    """The graph that ZenML stored: step -> {input: producing step}."""
    found = {}
    for name, step in run_response.snapshot.step_configurations.items():
        found[name] = {label: spec.step_name for label, spec in step.spec.inputs.items()}
    return found


def registry_scenarios() -> dict[str, Any]:
    from zenml import log_metadata

    from steps.registry_sync import follow

    home = HERE / "registry"
    model = Client().get_model("uvr")

    def state() -> dict[str, str | None]:
        page = Client().list_model_versions(model=model.id, size=50, hydrate=True)
        return {version.name: version.stage for version in page}

    told: dict[str, Any] = {"in_step": state(), "right": follow(home, "uvr")}
    newest = Client().list_model_versions(model=model.id, stage="staging").items[0]
    Client().delete_model_version(newest.id)
    Client().create_model_version(model.id, name="stray")
    told["repaired"] = follow(home, "uvr")
    version = Client().get_model_version("uvr", newest.name)
    log_metadata(metadata={"model": "forged"}, model_version_id=version.id)
    told["described"] = follow(home, "uvr")
    (home / "uvr" / "production.json").write_text(json.dumps({"digest": newest.name}))
    told["promoted"] = [follow(home, "uvr"), state()[newest.name]]
    told["settled"] = follow(home, "uvr")
    told["digests"] = sorted(p.name for p in (home / "uvr" / "versions").iterdir())
    told["metadata"] = {k: str(v) for k, v in Client().get_model_version("uvr", newest.name).run_metadata.items()}
    (home / "uvr" / "production.json").unlink()
    return told


def artifact_facts() -> dict[str, Any]:
    from zenml.materializers.materializer_registry import materializer_registry

    from materializers.run_dir import RunDirMaterializer

    artifact, page = Client().get_artifact_version("sft"), Client().get_artifact_version("sft_report")
    step = Client().get_pipeline("training").last_successful_run.steps["sft"]
    stored = sorted(p.relative_to(artifact.uri).as_posix() for p in Path(artifact.uri).rglob("*") if p.is_file())
    return {
        "digest": artifact.content_hash,
        "metadata": {key: str(value) for key, value in artifact.run_metadata.items()},
        "step_metadata": {key: str(value) for key, value in step.run_metadata.items()},
        "visualizations": [v.uri.rpartition("/")[2] for v in artifact.visualizations or []],
        "report": page.load(),
        "stored": stored,
        "types": [t.__name__ for t, m in materializer_registry.materializer_types.items() if m is RunDirMaterializer],
    }


def main() -> None:
    logging.disable(logging.WARNING)
    told: dict[str, Any] = {}
    scenarios: dict[str, Callable[[], Any]] = {
        "first": by_command,
        "again": run,
        "artifact": artifact_facts,
        "registry_after_one": lambda: sorted(p.name for p in (HERE / "registry" / "uvr" / "versions").iterdir()),
        "losses": lambda: edited("losses/contrastive.py"),
        "schema": lambda: edited("data/schema.py"),
        "operational": lambda: run("evaluate.batch_size=3"),
        "backbone": backbone_scenarios,
        "folder": folder_scenarios,
        "tampered": tampered,
        "registry": registry_scenarios,
        "wiring": lambda: wiring(Client().get_pipeline("training").last_successful_run),
        "missing": lambda: fails("ingest.source.kind=folder", "ingest.source.path=nowhere"),
    }
    for name, scenario in scenarios.items():
        told[name] = scenario()
    shutil.rmtree(HERE / "videos")
    (HERE / "told.json").write_text(json.dumps(told))


if __name__ == "__main__":
    sys.exit(main())
