"""The stage `ingest` as a ZenML step: clips and benchmark tables from the sources that the recipe names."""

from typing import Annotated

from zenml import step
from zenml.types import HTMLString

from steps._stage import execute, sources
from uvrlab.runs import RunDir


@step(cache_policy=sources("ingest"))
def ingest(config: str, listing: str) -> tuple[Annotated[RunDir, "ingest"], Annotated[HTMLString, "ingest_report"]]:
    run, report = execute("ingest", config)
    return run, report
