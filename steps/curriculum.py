"""The stage `curriculum` as a ZenML step: hard negatives and the Modality Pyramid, with replay."""

from typing import Annotated

from zenml import step
from zenml.types import HTMLString

from steps._stage import execute, sources
from uvrlab.runs import RunDir


@step(cache_policy=sources("curriculum"))
def curriculum(
    config: str, listing: str, clips: RunDir, uvrd: RunDir, checks: RunDir, model: RunDir
) -> tuple[Annotated[RunDir, "curriculum"], Annotated[HTMLString, "curriculum_report"]]:
    run, report = execute("curriculum", config, clips=clips, uvrd=uvrd, checks=checks, model=model)
    return run, report
