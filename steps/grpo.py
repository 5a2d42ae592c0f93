"""The stage `grpo` as a ZenML step: reasoning by reinforcement."""

from typing import Annotated

from zenml import step
from zenml.types import HTMLString

from steps._stage import execute, sources
from uvrlab.runs import RunDir


@step(cache_policy=sources("grpo"))
def grpo(
    config: str, listing: str, clips: RunDir, uvrd: RunDir, checks: RunDir, model: RunDir
) -> tuple[Annotated[RunDir, "grpo"], Annotated[HTMLString, "grpo_report"]]:
    run, report = execute("grpo", config, clips=clips, uvrd=uvrd, checks=checks, model=model)
    return run, report
