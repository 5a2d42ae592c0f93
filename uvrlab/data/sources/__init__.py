"""Where clips come from: one small file a source, each a function `read(source) -> Material`.

A source only reads names and annotations; measuring and cutting media is the business of `uvrlab.data.ingest`. To add one, write a
file like `msrvtt.py`, and add it to `SOURCES` and to `SourceConfig.kind`. The procedural world renders its media and so has its own
path, `world.py`.
"""

from __future__ import annotations

import importlib

from uvrlab.config import SourceConfig
from uvrlab.data.sources.common import Material

SOURCES = {
    "folder": "uvrlab.data.sources.folder",
    "msrvtt": "uvrlab.data.sources.msrvtt",
    "activitynet": "uvrlab.data.sources.activitynet",
    "qvhighlights": "uvrlab.data.sources.qvhighlights",
    "uvrb": "uvrlab.data.sources.uvrb",
}


def read_source(source: SourceConfig) -> Material:
    """What one configured source names. Raises SourceError where its files cannot be understood."""
    return importlib.import_module(SOURCES[source.kind]).read(source)
