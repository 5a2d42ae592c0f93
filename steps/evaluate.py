"""The stage `evaluate` as a ZenML step: retrieval scores of a model on the benchmark."""

from typing import Annotated

from zenml import step
from zenml.types import HTMLString

from steps._stage import execute, sources
from uvrlab.runs import RunDir


@step(cache_policy=sources("evaluate"))
def evaluate(
    config: str, listing: str, benchmark: RunDir, model: RunDir
) -> tuple[Annotated[RunDir, "evaluate"], Annotated[HTMLString, "evaluate_report"]]:
    run, report = execute("evaluate", config, benchmark=benchmark, model=model)
    return run, report
