"""Where things lie that a run refers to and does not carry, by name, in a file outside its digest: `places.json`.

A table says `root:source/sub/a.mp4`, and `places.json` beside it where `source` is on this machine; a model directory names its
backbone, and `places.json` in it the folder. So digests are equal wherever a folder lies, and a run that was copied needs one
line changed to find its media again.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path

from uvrlab.runs import PLACES, write_json

_ROOTED = re.compile(r"^root:(?P<name>[a-z0-9-]+)/(?P<path>.+)$", re.DOTALL)


def write_places(folder: Path, places: Mapping[str, str]) -> None:
    """Note in `folder` where things are; nothing without any."""
    if places:
        write_json(folder / PLACES, dict(places))


def places(folder: Path) -> dict[str, str]:
    """What `folder` notes; empty where it carries all that it needs."""
    file = folder / PLACES
    return json.loads(file.read_text()) if file.is_file() else {}


def rooted(uri: str, root: str, name: str) -> str:
    """The URI, under `root`, as it stands in a table."""
    return f"root:{name}/{uri.removeprefix(root).lstrip('/')}"


def is_rooted(uri: str) -> bool:
    return _ROOTED.match(uri) is not None


def locate(uri: str, base: Path | str) -> str:
    """The path or URL behind a rooted URI of the run directory `base`. Raises FileNotFoundError with the remedy."""
    found = _ROOTED.match(uri)
    assert found is not None, uri
    root, file = places(Path(base)).get(found["name"]), Path(base) / PLACES
    if root is None:
        raise FileNotFoundError(f"{uri}: {file} names no such folder; run ingest again with ingest.source.path=DIR")
    if "://" not in root and not Path(root).is_dir():
        raise FileNotFoundError(
            f"{uri}: found no folder at {root}; put it back, write its new place into {file}, "
            "or run ingest again with ingest.source.path=DIR"
        )
    return f"{root.rstrip('/')}/{found['path']}"
