"""What every source speaks: rows, queries, and the two chores of reading annotations and finding media files by name."""

from __future__ import annotations

import ast
import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from uvrlab.config import SourceConfig
from uvrlab.data.workers import Reject

VIDEO_SUFFIXES = frozenset(
    ".mp4 .m4v .mov .mkv .webm .avi .mpg .mpeg .gif .ts .m2ts .mts .vob .ogv .flv .wmv .asf .3gp".split()  # noqa: SIM905
)
MOMENT_WINDOW_S = 10.0  # candidates of moment queries


class SourceError(ValueError):
    """A source whose files cannot be understood: found, expected, remedy."""


@dataclass(frozen=True)
class Moment:
    """A span of a video and the words for it."""

    start_s: float
    end_s: float
    text: str


@dataclass(frozen=True)
class SourceRow:
    """One video of a source. `family` groups near-duplicates; `whole` videos are never cut into windows."""

    clip_id: str
    uri: str
    parent_id: str
    source: str
    captions: tuple[str, ...] = ()
    family: str | None = None
    licence: str | None = None
    split: str | None = None
    tags: tuple[str, ...] = ()
    moments: tuple[Moment, ...] = ()
    whole: bool = False


@dataclass(frozen=True)
class Candidate:
    """One entry of a dataset's corpus: a video or a span of it."""

    dataset: str
    candidate_id: str
    clip_id: str
    start_s: float | None = None
    end_s: float | None = None


@dataclass(frozen=True)
class QueryRow:
    """One query of a benchmark: text, an image, a span of a clip, or several of them."""

    dataset: str
    ability: str
    task: str
    query_id: str
    positives: tuple[str, ...]
    text: str | None = None
    image_uri: str | None = None
    clip_id: str | None = None
    start_s: float | None = None
    end_s: float | None = None
    style: str = "given"
    pool: tuple[str, ...] = ()
    instruction: str | None = None  # the dataset's prompt


@dataclass
class Material:
    """What a source names. `evaluation_only` clips belong to the test split, whatever the configuration says."""

    rows: list[SourceRow] = field(default_factory=list)
    rejects: list[Reject] = field(default_factory=list)
    queries: list[QueryRow] = field(default_factory=list)
    corpus: list[Candidate] = field(default_factory=list)
    evaluation_only: bool = False


def root_of(path: str) -> str:
    """The absolute path or URL of a source's folder, as the addresses of its files begin."""
    if "://" not in path or path.startswith("file://"):
        return str(Path(path.removeprefix("file://")).resolve())
    import fsspec

    filesystem, root_path = fsspec.core.url_to_fs(path)
    return str(filesystem.unstrip_protocol(root_path))


def list_files(path: str) -> dict[str, str]:
    """{path relative to the folder: absolute path or URL} of every file under a local folder or an fsspec URL, sorted."""
    if "://" not in path or path.startswith("file://"):
        root = Path(path.removeprefix("file://")).resolve()
        if not root.is_dir():
            raise SourceError(f"found no folder at {root}, expected one with videos; set ingest.source.path=DIR")
        files = (f for f in root.rglob("*") if f.is_file() and not any(p.startswith(".") for p in f.relative_to(root).parts))
        return {f.relative_to(root).as_posix(): str(f) for f in sorted(files)}
    import fsspec

    filesystem, root_path = fsspec.core.url_to_fs(path)
    found = sorted(filesystem.find(root_path))
    if not found:
        raise SourceError(f"found no file under {path}, expected videos; set ingest.source.path=URL")
    return {name.removeprefix(root_path).lstrip("/"): filesystem.unstrip_protocol(name) for name in found}


def is_video(name: str) -> bool:
    return PurePosixPath(name).suffix.lower() in VIDEO_SUFFIXES


def stem(name: str) -> str:
    """The name without its folder and its last suffix only: ids such as `NUsG9BgSes0_210.0_360.0` hold dots."""
    return PurePosixPath(name).name[: -len(PurePosixPath(name).suffix)] if is_video(name) else PurePosixPath(name).name


class MediaIndex:
    """Finds a video by relative path, or by its name without suffix, in any sub-folder."""

    def __init__(self, files: Mapping[str, str]) -> None:
        self._paths = {name: uri for name, uri in files.items() if is_video(name)}
        self._stems: dict[str, list[str]] = {}
        for name in sorted(self._paths, key=lambda n: (n.count("/"), n)):
            self._stems.setdefault(stem(name), []).append(name)

    def __iter__(self) -> Any:
        return iter(self._paths)

    def uri(self, name: str) -> str:
        return self._paths[name]

    def find(self, *names: str) -> str | None:
        """The relative path of the first name that is there; in several folders, the least deep one."""
        for name in names:
            if name in self._paths:
                return name
            if found := self._stems.get(name) or self._stems.get(stem(name)):
                return found[0]
        return None


def missing(clip_id: str, names: Iterable[str]) -> Reject:
    """The reject of an annotation whose video is absent."""
    return Reject(
        clip_id, "missing", f"media not found: expected a file named {' or '.join(dict.fromkeys(names))}.<suffix> in the source"
    )


def annotation_file(source: SourceConfig, suffixes: Sequence[str]) -> str:
    """The configured captions file (absolute, or inside the source folder), else the only fitting file at its top."""
    assert source.path is not None
    files = list_files(source.path)
    if source.captions:
        found = files.get(source.captions, source.captions)
        if "://" not in found and not Path(found).is_file():
            raise SourceError(
                f"found no captions file at {source.captions}, expected it in {source.path}; set ingest.source.captions"
            )
        return found
    fitting = [name for name in files if "/" not in name and PurePosixPath(name).suffix in suffixes]
    if len(fitting) != 1:
        raise SourceError(
            f"found {fitting or 'no file'} in {source.path}, expected one {'/'.join(suffixes)}; set ingest.source.captions"
        )
    return files[fitting[0]]


def read_text(uri: str) -> str:
    if "://" not in uri:
        return Path(uri).read_text("utf-8-sig")
    import fsspec

    with fsspec.open(uri, "rb") as file:
        return file.read().decode("utf-8-sig")


def read_rows(uri: str) -> list[dict[str, Any]]:
    """Rows of a CSV (any of `, ; tab` as separator), JSONL or JSON list file."""
    text = read_text(uri)
    if uri.endswith((".jsonl", ".ndjson")):
        return [_object(line, f"{uri}, line {i}") for i, line in enumerate(text.splitlines(), 1) if line.strip()]
    if uri.endswith(".json"):
        rows = json.loads(text)
        if not isinstance(rows, list):
            raise SourceError(f"{uri}: found a JSON {type(rows).__name__}, expected a list of rows")
        return rows
    header = text.split("\n", 1)[0]
    csv.field_size_limit(1 << 24)
    return [dict(row) for row in csv.DictReader(io.StringIO(text), delimiter=max(",;\t", key=header.count))]


def _object(line: str, where: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        raise SourceError(f"{where}: found no JSON ({error.msg}), expected one object a line") from error
    if not isinstance(row, dict):
        raise SourceError(f"{where}: found a {type(row).__name__}, expected an object")
    return row


def words(value: Any) -> str | None:
    """A text cell with its spaces put in order; None where nothing is left."""
    text = " ".join(str(value).split()) if value is not None else ""
    return text or None


def strings(value: Any) -> tuple[str, ...]:
    """A list cell: a real list, a JSON or Python list literal, or one string."""
    if isinstance(value, str) and value.lstrip().startswith("["):
        try:
            value = ast.literal_eval(value)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            return (value,)
    if isinstance(value, (list, tuple)):
        return tuple(str(v) for v in value)
    return (str(value),) if value not in (None, "") else ()


def moment_queries(dataset: str, clip_id: str, duration_s: float, queries: Sequence[tuple[str, str, Any]]) -> Material:
    """Moment retrieval inside one video: candidates are its windows, positives those that a relevant span covers best.

    `queries` are (query id, text, [[start, end], ...] or null). A window is positive when at least half of it is relevant; where
    none is, the one with the largest overlap.
    """
    from uvrlab.data.sampling import windows

    made, cut = Material(), windows(0.0, duration_s, MOMENT_WINDOW_S)
    ids = [f"{clip_id}@{start:g}-{end:g}" for start, end in ((round(s, 2), round(e, 2)) for s, e in cut)]
    made.corpus = [Candidate(dataset, i, clip_id, s, e) for i, (s, e) in zip(ids, cut, strict=True)]
    for query_id, text, spans in queries:
        covered = [sum(max(0.0, min(e, float(b)) - max(s, float(a))) for a, b in spans or ()) / (e - s) for s, e in cut]
        if not words(text) or max(covered) <= 0.0:
            made.rejects.append(Reject(query_id, "annotation", f"found windows {spans!r} of {duration_s:g} s, expected one inside"))
            continue
        positives = tuple(i for i, c in zip(ids, covered, strict=True) if c >= min(0.5, max(covered)))
        made.queries.append(QueryRow(dataset, "T", "T2V", query_id, positives, text=words(text), pool=tuple(ids)))
    return made
