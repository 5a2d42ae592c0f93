"""The stage `sft` as a ZenML step: contrastive and next-token fine-tuning."""

from typing import Annotated

from zenml import step
from zenml.types import HTMLString

from steps._stage import execute, sources
from uvrlab.runs import RunDir


@step(cache_policy=sources("sft"))
def sft(
    config: str, listing: str, clips: RunDir, uvrd: RunDir, checks: RunDir
) -> tuple[Annotated[RunDir, "sft"], Annotated[HTMLString, "sft_report"]]:
    run, report = execute("sft", config, clips=clips, uvrd=uvrd, checks=checks)
    return run, report
