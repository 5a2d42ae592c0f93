"""The stage `register` as a ZenML step: an immutable version in the registry directory; ZenML's Model Control Plane follows it."""

from typing import Annotated

from zenml import step
from zenml.types import HTMLString

from steps._stage import execute
from steps.registry_sync import follow
from uvrlab.config import parse_stage_config
from uvrlab.runs import RunDir


@step(enable_cache=False)
def register(
    config: str, model: RunDir, results: RunDir
) -> tuple[Annotated[RunDir, "register"], Annotated[HTMLString, "register_report"]]:
    run, report = execute("register", config, model=model, results=results)
    own = parse_stage_config(config, "register").own
    follow(own.registry_dir, own.name)
    return run, report
