"""Which versions and runs may go: `uvr gc` removes what no kept version needs, and never what one needs."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from uvrlab import promotions, registry, upstream
from uvrlab.runs import RunDir, RunError


def kept(home: Path, keep: str) -> set[str]:
    """Digests that `keep` names, such as `production,last=3`. Production includes the version that a rollback would put back."""
    entries = [entry["digest"] for entry in registry.versions(home)]
    found = set[str]()
    for rule in keep.split(","):
        name, _, count = rule.strip().partition("=")
        if name == "production" and not count:
            found |= set(promotions.stack(promotions.events(home))[-2:])
        elif name == "last" and count.isdecimal():
            found |= set(entries[-int(count) :] if int(count) else ())
        else:
            raise RunError(f"--keep {keep!r}: unknown rule {rule!r}; expected production and last=N, joined by commas")
    return found & set(entries)


def collect(home: Path, keep: str, roots: Sequence[Path] = (), *, dry_run: bool = False) -> list[Path]:
    """Remove the versions of `home` that `keep` does not name, and the finished runs under `roots` that no kept version was made
    from; returns their folders. Unfinished runs and folders that no stage wrote stay, and so do the log and its verdicts.
    """
    from uvrlab.release import refresh

    with promotions.locked(home):
        promotions.settle(home)
        staying = kept(home, keep)
        versions = [home / "versions" / entry["digest"] for entry in registry.versions(home)]
        going = [version for version in versions if version.name not in staying]
        needed = {digest for version in versions if version.name in staying for digest in upstream.carried(version)}
        spare = [path for path in _spare(roots, needed) if home.resolve() not in path.resolve().parents]
        if not dry_run:
            for folder in (*going, *spare):
                _remove(folder)
            refresh(home)
    return [*going, *spare]


def _spare(roots: Sequence[Path], needed: set[str]) -> Iterator[Path]:
    """Runs that are no part of a kept chain, nor the record of its registration."""
    for digest, path in upstream.find_all(roots):
        m = RunDir(path).manifest
        if digest not in needed and not (m.stage == "register" and set(m.inputs.values()) <= needed):
            yield path


def _remove(folder: Path) -> None:
    """By a rename first, so that a kill leaves no half version under its name."""
    hidden = folder.with_name(f".{folder.name}.removed")
    folder.rename(hidden)
    shutil.rmtree(hidden)
