"""Executes the compiled Kubeflow graph for tests/test_kubeflow.py and leaves what happened in told.json.

It runs inside the copy that tests/tools/house.py built, in a process of its own because kfp.local is configured once a process.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pipelines.kfp_local import run_compiled
from pipelines.kfp_pods import Cluster
from pipelines.kubeflow import compile_to
from uvrlab.config import load_config
from uvrlab.stages import run_graph

HERE = Path.cwd()
RECIPE = HERE / "configs" / "tiny.yaml"
CHANGES = {"sft_steps": 3, "sft_overrides": "lora.rank=8 lora.alpha=16"}


def shown(task: Path) -> dict[str, Any]:
    """What the UI would show of one task."""
    told = json.loads((task / "executor_output.json").read_text())["artifacts"]
    first = {name: found["artifacts"][0] for name, found in told.items()}
    facts = {name: {"type": a["type"]["schemaTitle"], "metadata": a["metadata"]} for name, a in first.items()}
    return {"artifacts": facts, "report": (task / "report").read_text(), "summary": (task / "summary").read_text()}


def main() -> None:
    compile_to(load_config(RECIPE), Cluster(), HERE / "pipeline.yaml")
    made = run_compiled(HERE / "pipeline.yaml", HERE / "pods", **CHANGES)
    plain = run_graph(load_config(RECIPE, ["sft.steps=3", "sft.lora.rank=8", "sft.lora.alpha=16"]), HERE / "runs")
    told = {"pods": {name: run.digest for name, run in made.items()}, "plain": {name: r.digest for name, r in plain.items()}}
    told["shown"] = shown(next(HERE.glob("pods/*/sft")))
    (HERE / "told.json").write_text(json.dumps(told))


if __name__ == "__main__":
    main()
