"""What each run carries of the runs before it: their manifests and their small verdicts, so that a chain can be checked anywhere.

`lineage/<digest>/manifest.json` lies beside the payload, outside the digest: a manifest proves itself, because its digest
follows from its fields. `lineage/where.json` says where the runs lay, which is a hint and no evidence.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from uvrlab.runs import LINEAGE, MANIFEST, Manifest, RunDir, RunError, digest_json, write_json

WHERE = "where.json"
VERDICTS = ("verdict.json", "leakage.json", "drift.json")  # payload that later decisions read


@dataclass(frozen=True)
class Link:
    """One run of a chain: its manifest, and the folder that holds a copy of it."""

    manifest: Manifest
    folder: Path

    @property
    def digest(self) -> str:
        return self.manifest.digest


def carry(out: Path, inputs: Mapping[str, Path]) -> None:
    """Copy into `out` the lineage of its inputs: everything that they carry, and their own manifests."""
    folder, where = out / LINEAGE, dict[str, Path]()
    folder.mkdir(exist_ok=True)
    for path in sorted(set(inputs.values())):
        run = RunDir(path)
        for link in carried(path).values():
            _copy(link.folder, folder / link.digest)
        _copy(path, folder / run.digest)
        where |= {**hints(path), run.digest: path.resolve()}
    write_json(folder / WHERE, {digest: os.path.relpath(path, out.resolve()) for digest, path in where.items()})


def carried(run: Path) -> dict[str, Link]:
    """{digest: link} of every run before `run`. Raises RunError for a manifest that cannot be read."""
    found = {}
    for file in sorted((run / LINEAGE).glob(f"*/{MANIFEST}")):
        try:
            found[file.parent.name] = Link(Manifest.model_validate_json(file.read_text()), file.parent)
        except ValueError as error:
            raise RunError(f"{file} was altered: it cannot be read ({str(error).splitlines()[0]}); restore it") from error
    return found


def hints(run: Path) -> dict[str, Path]:
    """{digest: path} of where the runs before `run` lay when it was made; they are kept relative to it."""
    file = run / LINEAGE / WHERE
    return {digest: (run / path).resolve() for digest, path in json.loads(file.read_text()).items()} if file.is_file() else {}


def walk(digest: str, known: Mapping[str, Link], at: Path) -> Iterator[Link]:
    """The links before `digest` and itself, sources first, repeated where two runs share one. Raises RunError for a gap."""
    if digest not in known:
        raise RunError(f"{at} carries no manifest of run {digest[:12]}, from which it was made; run its stage again with --force")
    for name in sorted(known[digest].manifest.inputs):
        yield from walk(known[digest].manifest.inputs[name], known, at)
    yield known[digest]


def links(*ends: Path) -> dict[str, dict[str, str]]:
    """{digest: digests of a run's parts} for the runs at `ends` and all that they carry: which part of a manifest was altered."""
    known = {link.digest: link for end in ends for link in (*carried(end).values(), Link(RunDir(end).manifest, end))}
    return {digest: parts(known[digest].manifest) for digest in sorted(known)}


def parts(manifest: Manifest) -> dict[str, str]:
    """A digest of each part of a manifest, and of the whole."""
    told = manifest.model_dump(mode="json", by_alias=True)
    named = {"config": told["config"], "code": told["code_digest"], "inputs": told["inputs"], "files": told["files"]}
    return {"stage": manifest.stage} | {name: digest_json(value) for name, value in {**named, "manifest": told}.items()}


def find_runs(roots: Iterable[Path]) -> dict[str, Path]:
    """{digest: folder} of the finished runs under `roots`, however deep."""
    return dict(reversed(find_all(roots)))


def find_all(roots: Iterable[Path]) -> list[tuple[str, Path]]:
    """(digest, folder) of every finished run under `roots`; equal runs may lie in several folders."""
    found = list[tuple[str, Path]]()
    for root in roots:
        for file in sorted(root.rglob(MANIFEST)) if root.is_dir() else ():
            if LINEAGE in file.parts:
                continue
            try:
                found.append((Manifest.model_validate_json(file.read_text()).digest, file.parent))
            except ValueError:  # another program's manifest
                continue
    return found


def _copy(source: Path, target: Path) -> None:
    target.mkdir(exist_ok=True)
    for name in (*VERDICTS, MANIFEST):
        if (source / name).is_file():
            shutil.copyfile(source / name, target / name)
