"""The stage `grounding` as a ZenML step: responses with spans, rewarded by a judge."""

from typing import Annotated

from zenml import step
from zenml.types import HTMLString

from steps._stage import execute, sources
from uvrlab.runs import RunDir


@step(cache_policy=sources("grounding"))
def grounding(
    config: str, listing: str, clips: RunDir, uvrd: RunDir, checks: RunDir, model: RunDir
) -> tuple[Annotated[RunDir, "grounding"], Annotated[HTMLString, "grounding_report"]]:
    run, report = execute("grounding", config, clips=clips, uvrd=uvrd, checks=checks, model=model)
    return run, report
