"""The stage `synthesize` as a ZenML step: universal training pairs from clips."""

from typing import Annotated

from zenml import step
from zenml.types import HTMLString

from steps._stage import execute, sources
from uvrlab.runs import RunDir


@step(cache_policy=sources("synthesize"))
def synthesize(
    config: str, listing: str, clips: RunDir
) -> tuple[Annotated[RunDir, "synthesize"], Annotated[HTMLString, "synthesize_report"]]:
    run, report = execute("synthesize", config, clips=clips)
    return run, report
