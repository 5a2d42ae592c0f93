"""The stage `validate` as a ZenML step: checks of the tables before anything trains on them."""

from typing import Annotated

from zenml import step
from zenml.types import HTMLString

from steps._stage import execute, sources
from uvrlab.runs import RunDir


@step(cache_policy=sources("validate"))
def validate(
    config: str, listing: str, clips: RunDir, uvrd: RunDir, benchmark: RunDir
) -> tuple[Annotated[RunDir, "validate"], Annotated[HTMLString, "validate_report"]]:
    run, report = execute("validate", config, clips=clips, uvrd=uvrd, benchmark=benchmark)
    return run, report
