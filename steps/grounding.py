"""The stage `grounding` as a ZenML step: responses with spans, rewarded by a judge."""

from typing import Annotated

from zenml import step
from zenml.types import HTMLString

from steps._stage import execute, sources
from uvrlab.runs import RunDir


@step(cache_policy=sources("grounding"))
def grounding(
    config: str, listing: str, clips: RunDir, uvrd: RunDir, checks: RunDir, model: RunDir | None = None
) -> tuple[Annotated[RunDir, "grounding"], Annotated[HTMLString, "grounding_report"]]:
    start = {"model": model} if model else {}  # without a model before it, the stage starts from the backbone
    run, report = execute("grounding", config, clips=clips, uvrd=uvrd, checks=checks, **start)
    return run, report
