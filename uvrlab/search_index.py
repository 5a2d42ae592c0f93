"""An index of videos: created, added to and removed from while searches see the old one whole.

An index is a folder: `uvrlab.evaluation.index.Index` of disc vectors, `search.json` (which model, which windows) and, where it was
made with thoughts, `think/` with the gen vectors of the same entries. Long videos are indexed as windows. Only new content is
decoded and encoded; a copy of a known file takes the known vectors.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from uvrlab import runs
from uvrlab.config import IngestConfig
from uvrlab.data.items import Item
from uvrlab.data.measure import measure_all
from uvrlab.data.sampling import MAX_WINDOW_S, windows
from uvrlab.data.sources.common import is_video, list_files
from uvrlab.data.workers import MediaPool, Reject
from uvrlab.evaluation.index import Index

if TYPE_CHECKING:
    from uvrlab.models.embedder import EmbedderProtocol

SETTINGS = "search.json"
THOUGHTS = "think"  # folder of an index that holds gen vectors too: the same entries, read behind thoughts
Key = tuple[str, float, float]  # media_sha256, start_s, end_s
Side = Literal["speed", "think"]
Held = dict[Side, Index]


class SearchError(ValueError):
    """A query, an items file or an index that cannot be used: found, expected, remedy."""


@dataclass(frozen=True)
class Window:
    """One entry of an index."""

    video: str
    media_sha256: str
    start_s: float
    end_s: float
    audible: bool

    @property
    def entry(self) -> str:
        return f"{self.video}#{self.start_s:.3f}-{self.end_s:.3f}"

    @property
    def key(self) -> Key:
        return self.media_sha256, self.start_s, self.end_s

    def item(self) -> Item:
        span: dict[str, Any] = {"start_s": self.start_s, "end_s": self.end_s, "sound": self.audible}
        return Item(self.entry, video_uri=self.video, media_sha256=self.media_sha256, **span)

    def row(self) -> dict[str, Any]:
        return {"video": self.video, "media_sha256": self.media_sha256, "start_s": self.start_s, "end_s": self.end_s}


def update_index(
    folder: Path,
    model: str | None = None,
    add: Sequence[str] = (),
    remove: Sequence[str] = (),
    *,
    device: str = "cpu",
    workers: int = 2,
    window_s: float = MAX_WINDOW_S,
    think: bool = False,
) -> dict[str, Any]:
    """Add videos or folders of videos to an index and remove others; the old index stays whole until the new one is written.

    Content that the index knows is not encoded again; a file whose content changed replaces its windows. `model` is needed for a
    new index; for a known one it may only be the same model (its digest decides) at another path. `think` makes a new index hold
    gen vectors too, which every mode but speed searches. Raises SearchError, IndexFault.
    """
    files = list(dict.fromkeys(file for name in add for file in _videos(name)))
    with runs.lock(folder):
        settings = _settings(folder, model, window_s, think)
        held, embedder = _open(folder, settings, device, needs_model=bool(files) or model is not None)
        index = held["speed"]
        removed = _remove(held, _entries_of(index, remove))
        with MediaPool(workers) as pool:
            windows_, rejects = _measured(files, pool, settings["window_s"])
            known = {mode: _vectors(one, {w.key for w in windows_}) for mode, one in held.items()}
            removed += _remove(held, _outdated(index, files, windows_))
            fresh = [w for w in windows_ if w.entry not in index.rows]
            unseen = list({w.key: w for w in fresh if w.key not in known["speed"]}.values())
            if embedder is not None and unseen:
                rejects += _encode(embedder, unseen, known, pool)
        made = [w for w in fresh if w.key in known["speed"]]
        for mode, one in held.items():
            _add(one, made, known[mode])
        runs.write_json(folder / SETTINGS, settings)
        if "think" in held:
            held["think"].save(folder / THOUGHTS)
        index.save(folder)
    videos = len({row["video"] for row in index.rows.values()})
    counts = {"videos": videos, "windows": len(index), "added": len(made), "encoded": len(unseen), "removed": removed}
    return {**counts, "rejected": [reject.row() for reject in rejects]}


def _settings(folder: Path, model: str | None, window_s: float, think: bool) -> dict[str, Any]:
    """The index's own settings; a given model replaces the recorded path (its digest is checked on opening)."""
    known = json.loads((folder / SETTINGS).read_text()) if (folder / SETTINGS).is_file() else {}
    if model is None and not known:
        raise SearchError(f"{folder} is a new index, so it needs a model; add --model DIR")
    path = known.get("model") if model is None else (str(Path(model).resolve()) if Path(model).exists() else model)
    if known and think and not known.get("think"):
        raise SearchError(f"{folder} holds no gen vectors, so it cannot take some now; build a new index with --think")
    return {"model": path, "window_s": known.get("window_s", window_s), "think": known.get("think", think)}


def _open(folder: Path, settings: dict[str, Any], device: str, needs_model: bool) -> tuple[Held, EmbedderProtocol | None]:
    is_new = not (folder / "index.json").is_file()
    embedder = load_embedder(settings["model"], device) if needs_model or is_new else None
    if is_new and embedder is not None:
        if settings["think"] and "think" not in embedder.modes:
            raise SearchError(f"{settings['model']} has {', '.join(embedder.modes)} only; leave --think out")
        modes: tuple[Side, ...] = ("speed", "think") if settings["think"] else ("speed",)
        return {mode: Index(embedder.width, embedder.digest) for mode in modes}, embedder
    held = open_index(folder, settings)
    if embedder is not None:
        check_model(held["speed"], embedder, settings["model"], folder)
    return held, embedder


def open_index(folder: Path, settings: dict[str, Any]) -> Held:
    """The vectors of a saved index by mode. Raises IndexFault, and SearchError where both modes do not hold the same entries."""
    held: Held = {"speed": Index.load(folder)}
    if settings.get("think"):
        held["think"] = Index.load(folder / THOUGHTS)
        if held["think"].ids != held["speed"].ids:
            raise SearchError(f"{folder}: its disc and gen vectors are not of the same windows, as after a kill; build it again")
    return held


def load_embedder(model: str, device: str) -> EmbedderProtocol:
    """The model of an index, or of an items file: ours, or whatever else `models.embedder.load` recognises by its files."""
    from uvrlab.models.embedder import load

    return load(model, device)


def check_model(index: Index, embedder: EmbedderProtocol, model: str, folder: Path) -> None:
    """Raise SearchError where the index is another model's."""
    if embedder.digest != index.model_digest:
        raise SearchError(
            f"{folder} holds vectors of model {index.model_digest[:12]}, {model} is model {embedder.digest[:12]}; "
            f"build a new index for it, or give the old model's folder with --model"
        )


def _videos(name: str) -> list[str]:
    """A video file or URL, or every video of a folder."""
    if Path(name).is_dir():
        return [path for relative, path in list_files(name).items() if is_video(relative)]
    if "://" not in name and not Path(name).is_file():
        raise SearchError(f"no video or folder at {name}; correct the path")
    return [name if "://" in name else str(Path(name).resolve())]


def _remove(held: Held, entries: Sequence[str]) -> int:
    for one in held.values():
        one.remove(entries)
    return len(entries)


def _entries_of(index: Index, names: Sequence[str]) -> list[str]:
    """The windows of videos, or of all videos under a folder. Raises SearchError for a name that is not in the index."""
    gone: list[str] = []
    for name in names:
        path = name if "://" in name else str(Path(name).resolve())
        found = [e for e, row in index.rows.items() if row["video"] == path or row["video"].startswith(f"{path.rstrip('/')}/")]
        if not found:
            raise SearchError(f"{name} is not in the index, so nothing was removed; paths are as `uvr search` shows them")
        gone += found
    return list(dict.fromkeys(gone))


def _measured(files: Sequence[str], pool: MediaPool, window_s: float) -> tuple[list[Window], list[Reject]]:
    made: list[Window] = []
    rejects: list[Reject] = []
    for file, found in zip(files, measure_all(pool, files, IngestConfig()), strict=True):
        if isinstance(found, Reject):
            rejects.append(found)
            continue
        for start_s, end_s in windows(0.0, found.probe.duration_s, window_s):
            columns = found.probe.columns(start_s, end_s)
            made.append(Window(file, found.sha256, columns["start_s"], columns["end_s"], columns["audible"]))
    return made, rejects


def _vectors(index: Index, wanted: set[Key]) -> dict[Key, np.ndarray]:
    """Vectors that the index has for these contents, under whatever name."""
    rows = (index.rows[entry] for entry in index.ids)
    keys = [(row["media_sha256"], row["start_s"], row["end_s"]) for row in rows]
    if not wanted & set(keys):
        return {}
    return {key: vector for key, vector in zip(keys, index.vectors(), strict=True) if key in wanted}


def _outdated(index: Index, files: Sequence[str], made: Sequence[Window]) -> list[str]:
    """Windows of given files whose content is no longer that."""
    current = {(w.entry, w.media_sha256) for w in made}
    given = set(files)
    return [e for e, row in index.rows.items() if row["video"] in given and (e, row["media_sha256"]) not in current]


def _encode(
    embedder: EmbedderProtocol, made: Sequence[Window], known: dict[Side, dict[Key, np.ndarray]], pool: MediaPool
) -> list[Reject]:
    """Put the vectors of new windows into `known`, mode by mode; the rejects are the same in each."""
    rejects: list[Reject] = []
    for mode, vectors in known.items():
        found = embedder.encode_or_reject([w.item() for w in made], pool=pool, mode=mode)
        vectors |= {made[i].key: vector for i, vector in zip(found.kept, found.vectors, strict=True)}
        rejects = found.rejects
    return rejects


def _add(index: Index, made: Sequence[Window], vectors: dict[Key, np.ndarray]) -> None:
    if made:
        stacked = np.stack([vectors[w.key] for w in made])  # (N, D)
        index.add([w.entry for w in made], stacked, model_digest=index.model_digest, rows={w.entry: w.row() for w in made})
