"""Where the media of a run lie that it refers to and does not carry: folders and URLs by name, in a file outside its digest.

A table says `root:source/sub/a.mp4`; `media_roots.json` beside it says where `source` is on this machine. So tables, and with
them digests, are equal wherever a folder lies, and a run that was copied needs one line changed to find its media again.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path

from uvrlab.runs import MEDIA_ROOTS, write_json

_ROOTED = re.compile(r"^root:(?P<name>[a-z0-9-]+)/(?P<path>.+)$", re.DOTALL)


def write_roots(out: Path, roots: Mapping[str, str]) -> None:
    """Note in the run directory `out` where its roots are; nothing without any."""
    if roots:
        write_json(out / MEDIA_ROOTS, dict(roots))


def rooted(uri: str, root: str, name: str) -> str:
    """The URI, under `root`, as it stands in a table."""
    return f"root:{name}/{uri.removeprefix(root).lstrip('/')}"


def is_rooted(uri: str) -> bool:
    return _ROOTED.match(uri) is not None


def place(uri: str, base: Path | str) -> str:
    """The path or URL behind a rooted URI of the run directory `base`. Raises FileNotFoundError with the remedy."""
    found = _ROOTED.match(uri)
    assert found is not None, uri
    file = Path(base) / MEDIA_ROOTS
    roots = json.loads(file.read_text()) if file.is_file() else {}
    root = roots.get(found["name"])
    if root is None:
        raise FileNotFoundError(f"{uri}: {file} names no such folder; run ingest again with ingest.source.path=DIR")
    if "://" not in root and not Path(root).is_dir():
        raise FileNotFoundError(
            f"{uri}: found no folder at {root}; put it back, write its new place into {file}, "
            "or run ingest again with ingest.source.path=DIR"
        )
    return f"{root.rstrip('/')}/{found['path']}"
