"""The stage `fusion` as a ZenML step: sound and picture together, rewarded where they do better than either."""

from typing import Annotated

from zenml import step
from zenml.types import HTMLString

from steps._stage import execute, sources
from uvrlab.runs import RunDir


@step(cache_policy=sources("fusion"))
def fusion(
    config: str, listing: str, clips: RunDir, uvrd: RunDir, checks: RunDir, model: RunDir
) -> tuple[Annotated[RunDir, "fusion"], Annotated[HTMLString, "fusion_report"]]:
    run, report = execute("fusion", config, clips=clips, uvrd=uvrd, checks=checks, model=model)
    return run, report
