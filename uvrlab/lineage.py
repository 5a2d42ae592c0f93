"""One hash chain from source media to promotion, checked offline: clips -> UVRD -> checks -> models -> results -> verdict -> log.

A registered version holds the manifests of every run before it, and its entry a digest of each part of them; the data itself is
checked wherever the runs still lie. What it cannot find it says; it never counts it as proven.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from uvrlab import promotions, registry, runs, signing, upstream
from uvrlab.card import fixed_part, standing
from uvrlab.runs import LINEAGE, MANIFEST, Manifest, RunError
from uvrlab.upstream import Link

PARTS = ("config", "code", "inputs", "files", "manifest")
# What a payload file is, by stage and the start of its path; other files of a stage are its last word.
NAMES = {
    "ingest": (("media/", "media"), ("clips/", "clips table"), ("benchmark/", "benchmark table"), ("", "clips")),
    "synthesize": (("", "UVRD table"),),
    "validate": (("", "checks"),),
    "evaluate": (("", "results"),),
}


class BrokenLink(RunError):
    """The first link of a chain that does not hold; `link` names it."""

    def __init__(self, link: str, problem: str) -> None:
        self.link = link
        super().__init__(f"broken link: {link}: {problem}")


def resolve_entry(path: Path) -> Path:
    """The version behind a path: its own folder, or REGISTRY/NAME, which stands for what is in production."""
    if (path := path.resolve()).parent.name == "versions":
        return path
    if not (path / "versions").is_dir():
        raise RunError(f"{path} is no registry entry; expected REGISTRY/NAME/versions/DIGEST, or REGISTRY/NAME for production")
    if (digest := promotions.production(path)) is None:
        raise RunError(f"{path}: nothing is in production; name a version: {path}/versions/DIGEST")
    return path / "versions" / digest


def verify_entry(version: Path, roots: Sequence[Path] = (), public_key: Path | None = None) -> Iterator[str]:
    """Yield one line a link that holds. Raises BrokenLink at the first that does not.

    `roots` are folders to search for the runs of the chain, beside the places where they lay when the version was registered.
    """
    try:
        entry = registry.read_entry(version)
    except RunError as error:
        raise BrokenLink("entry", str(error)) from error
    where, stored = at_hand([version], roots), {entry[name]: name for name in ("model", "results")}
    where |= {digest: version / name for digest, name in stored.items()}
    for link in _ordered(version, entry):
        _check_manifests(version, link, entry["links"][link.digest], stored.get(link.digest, ""))
        yield _check_payload(link, where.get(link.digest))
    _check_signature(version, public_key)
    yield f"signature by key {signing.fingerprint(version / registry.SIGNER)}"
    yield from _check_promotion(version, entry)


def at_hand(versions: Sequence[Path], roots: Sequence[Path] = ()) -> dict[str, Path]:
    """{digest: folder} of runs whose data can be read here. Raises BrokenLink for a folder whose manifest was altered."""
    hinted = {digest: path for version in versions for digest, path in upstream.hints(version).items()}
    found = upstream.find_runs(roots)
    for digest, path in hinted.items():
        if digest not in found and (manifest := _manifest(path)) and manifest.digest == digest:
            found[digest] = path
    for version in versions:
        found |= {_digest_of(version / name): version / name for name in ("model", "results")}
    return found


def _manifest(run: Path) -> Manifest | None:
    """The manifest of a run that is still there; None where it is gone or was run again since."""
    file = run / MANIFEST
    if not file.is_file():
        return None
    try:
        manifest = Manifest.model_validate(runs.read_exact(file))
    except ValueError as error:
        raise BrokenLink(f"manifest of {run.name}", f"{file} was altered: it cannot be read") from error
    if not manifest.follows():
        raise BrokenLink(f"manifest of {manifest.stage}", f"{file} was altered: its digest does not follow from its fields")
    return manifest


def _digest_of(run: Path) -> str:
    try:
        return str(json.loads((run / MANIFEST).read_text())["digest"])
    except (OSError, ValueError, KeyError):
        return ""  # the check of the manifests names it


def _ordered(version: Path, entry: dict[str, Any]) -> list[Link]:
    """The runs of the chain, sources first, as the entry knows them."""
    found = dict[str, Link]()
    for digest in entry["links"]:
        file = version / LINEAGE / digest / MANIFEST
        stage = entry["links"][digest]["stage"]
        try:
            found[digest] = Link(Manifest.model_validate(runs.read_exact(file)), file.parent)
        except (OSError, ValueError) as error:
            raise BrokenLink(f"manifest of {stage}", f"{file} is missing or cannot be read; register the runs again") from error
        _compare(found[digest].manifest, entry["links"][digest], file)
    ordered = dict[str, Link]()
    for end in (entry["model"], entry["results"]):
        try:
            ordered |= {link.digest: link for link in upstream.walk(end, found, version) if link.digest not in ordered}
        except RunError as error:
            raise BrokenLink("lineage", str(error)) from error
    return list(ordered.values())


def _compare(manifest: Manifest, expected: dict[str, str], file: Path) -> None:
    told = upstream.parts(manifest)
    for part in PARTS:
        if told[part] != expected[part]:
            raise BrokenLink(f"{part} of {expected['stage']}", f"{file} was altered; restore it")
    if not manifest.follows():
        raise BrokenLink(f"manifest of {manifest.stage}", f"{file}: its digest does not follow from its fields")


def _check_manifests(version: Path, link: Link, expected: dict[str, str], stored: str) -> None:
    """Every other copy of a run's manifest in the version, and the small verdicts that lie beside it.

    `stored` is where the version holds the run itself: `model`, `results`, or nowhere.
    """
    copies = [*version.glob(f"*/{LINEAGE}/{link.digest}"), version / LINEAGE / link.digest, *([version / stored] if stored else [])]
    for folder in sorted(copies):
        try:
            manifest = Manifest.model_validate(runs.read_exact(folder / MANIFEST))
        except (OSError, ValueError) as error:
            raise BrokenLink(f"manifest of {expected['stage']}", f"{folder / MANIFEST} cannot be read; restore it") from error
        _compare(manifest, expected, folder / MANIFEST)
        listed = {entry.path: entry.sha256 for entry in manifest.files}
        for name in upstream.VERDICTS:
            if (folder / name).is_file() and name in listed and runs.sha256_file(folder / name) != listed[name]:
                raise BrokenLink(link_name(manifest.stage, name), f"{folder / name} was altered; restore it")


def link_name(stage: str, path: str) -> str:
    """What a payload file of a stage is in the chain."""
    return next((name for start, name in NAMES.get(stage, (("", "weights"),)) if path.startswith(start)), stage)


def _check_payload(link: Link, folder: Path | None) -> str:
    m = link.manifest
    said = f"{m.stage} {m.digest[:12]}"
    if folder is None:
        return f"{said}: manifest holds; its {len(m.files)} files are not at hand (--runs DIR searches for them)"
    for entry in m.files:
        file = folder / entry.path
        if not file.is_file():
            raise BrokenLink(link_name(m.stage, entry.path), f"{file} is missing; restore it")
        if runs.sha256_file(file) != entry.sha256:
            raise BrokenLink(link_name(m.stage, entry.path), f"{file} was altered; restore it")
    outside = _check_media(folder) if m.stage == "ingest" else 0
    return f"{said}: {len(m.files)} files hold" + (f", and {outside} media files outside it" if outside else "")


def _check_media(ingest: Path) -> int:
    """Re-hash the media that an ingest run refers to and does not hold; returns how many."""
    from uvrlab.data.media import MediaError, media_sha256

    listed = {row["uri"]: row["media_sha256"] for _, rows in clip_tables(ingest) for row in rows}
    outside = {uri: sha for uri, sha in listed.items() if not (ingest / uri.partition("?")[0]).is_file() or uri.startswith("/")}
    for uri, expected in sorted(outside.items()):
        try:
            found = media_sha256(uri, ingest)
        except MediaError as error:
            raise BrokenLink("media", str(error)) from error
        if found != expected:
            raise BrokenLink("media", f"{uri} was altered; restore it")
    return len(outside)


def clip_tables(ingest: Path) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """(name, rows) of the clips tables of an ingest run."""
    from uvrlab.data import schema

    for name in ("clips", "benchmark/clips"):
        if (ingest / name).is_dir():
            yield name, schema.read_table("clips", ingest / name, ["clip_id", "uri", "media_sha256"])


def _check_signature(version: Path, public_key: Path | None) -> None:
    try:
        signing.verify(version / "model", public_key or version / registry.SIGNER)
    except RunError as error:
        raise BrokenLink("signature", str(error)) from error


def _check_promotion(version: Path, entry: dict[str, Any]) -> Iterator[str]:
    home = version.parent.parent
    try:
        log = promotions.events(home)
    except RunError as error:
        raise BrokenLink("promotion log", str(error)) from error
    if (lost := promotions.lost_line(home, log) or 0) > len(log):
        raise BrokenLink(
            "promotion log", f"{home / promotions.LOG} has {len(log)} lines, {promotions.POINTER} knows {lost}; restore it"
        )
    if promotions.torn(home / promotions.LOG):
        raise BrokenLink(
            "promotion log", f"{home / promotions.LOG} ends in half a line: altered, or torn by a kill: promote settles that"
        )
    told = promotions.about(log, version.name)
    for event in told:
        if event["verdict_digest"]:
            _check_verdict(home, event, entry)
        if event["signer"] not in (None, signing.fingerprint(version / registry.SIGNER)):
            raise BrokenLink("signature", f"{version / registry.SIGNER} is not the key under which the version was promoted")
    yield f"{len({e['verdict_digest'] for e in told if e['verdict_digest']})} verdicts"
    _check_card(version, entry, told)
    yield "model card"
    _check_pointer(home, log)
    yield f"promotion log, {len(log)} lines: this version is {promotions.standing(log, version.name)}"


def _check_verdict(home: Path, event: promotions.Event, entry: dict[str, Any]) -> None:
    try:
        verdict = promotions.read_verdict(home, event["verdict_digest"])
    except RunError as error:
        raise BrokenLink("verdict", str(error)) from error
    judged = verdict["candidate"].get("results", entry["results"])
    if judged != entry["results"] or runs.digest_json(verdict["policy"]) != event["policy_digest"]:
        raise BrokenLink("verdict", f"{event['verdict_digest'][:12]} judges other results, or by another policy, than the log says")


def _check_card(version: Path, entry: dict[str, Any], told: list[promotions.Event]) -> None:
    card = (version / registry.CARD).read_text(errors="replace")
    fixed = fixed_part(card)
    if runs.sha256_bytes(fixed.encode()) != entry["card_sha256"] or card != fixed + standing(told):
        raise BrokenLink(
            "model card", f"{version / registry.CARD} was altered, or a kill left it behind the log: promote settles it"
        )


def _check_pointer(home: Path, log: list[promotions.Event]) -> None:
    try:
        pointer = runs.read_exact(home / promotions.POINTER) if (home / promotions.POINTER).is_file() else None
    except ValueError:
        pointer = "unreadable"
    if pointer != promotions.pointer_of(log):
        raise BrokenLink(
            "production pointer",
            f"{home / promotions.POINTER} was altered, or a kill left it behind the log: promote settles it",
        )
