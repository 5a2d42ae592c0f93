"""The ZenML pipeline: `zenml pipeline run pipelines.training.training -c configs/zenml/demo.yaml`.

It is cut from `stages.graph(profile)`; a step never holds a decision of its own.
"""

from pathlib import Path
from typing import Any

from zenml import pipeline

from pipelines.recipe import absolute_recipe
from steps.curriculum import curriculum
from steps.evaluate import evaluate
from steps.fusion import fusion
from steps.grounding import grounding
from steps.grpo import grpo
from steps.ingest import ingest
from steps.register import register
from steps.sft import sft
from steps.synthesize import synthesize
from steps.validate import validate
from uvrlab.listing import source_listing
from uvrlab.stages import STAGES, graph

ALL = (ingest, synthesize, validate, sft, grpo, grounding, fusion, curriculum, evaluate, register)
STEPS = {step.name: step for step in ALL}


@pipeline
def training(config: str = "configs/demo.yaml", overrides: list[str] | None = None) -> None:
    """Run a recipe's profile. `config` is a path, `overrides` are `a.b=c`; relative paths count from the current directory."""
    recipe = absolute_recipe(Path(config), overrides or ())
    made: dict[str, Any] = {}
    for name, wiring in graph(recipe.profile).items():
        inputs = {label: made[producer] for label, producer in wiring.items()}
        if STAGES[name].cached:
            inputs["listing"] = source_listing(recipe.for_stage(name))
        made[name], _ = STEPS[name](config=recipe.for_stage(name).model_dump_json(), **inputs)
