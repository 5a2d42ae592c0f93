"""What a user does with a model: embed items into a file, keep an index of videos, and search it with any mix of modalities.

An index is a folder: `uvrlab.evaluation.index.Index` and `search.json` (which model, which windows). Long videos are indexed as
windows, so a hit has a start and an end. Only new content is decoded and encoded; a copy of a known file takes the known vectors.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
    from uvrlab.models.encode import Embedder

SETTINGS = "search.json"
ITEM_KEYS = ("id", "text", "image", "image_time_s", "video", "audio", "start_s", "end_s")
Key = tuple[str, float, float]  # media_sha256, start_s, end_s


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


def encode_to_file(model: str, items: Path, out: Path, *, device: str = "cpu", workers: int = 2) -> dict[str, Any]:
    """Embed a JSONL of items {id?, text, image, image_time_s, video, audio, start_s, end_s} into a safetensors file.

    `out` gets "vectors" (N, D) float32 and, as metadata, "ids" (JSON list) and "model_digest". Paths are relative to the JSONL.
    Items that cannot be encoded are left out and listed in the returned summary. Raises SearchError naming a faulty line.
    """
    from safetensors.numpy import save_file

    wanted = read_items(items)
    embedder = _embedder(model, device)
    found = embedder.encode_or_reject(wanted, workers=workers)
    ids = [wanted[i].item_id for i in found.kept]
    partial = out.with_name(f"{out.name}.tmp")
    save_file({"vectors": found.vectors}, partial, metadata={"ids": json.dumps(ids), "model_digest": embedder.digest})
    partial.replace(out)
    counts = {"vectors": len(ids), "width": int(found.vectors.shape[1]), "truncated_texts": found.truncated}
    return {"out": str(out), **counts, "model_digest": embedder.digest, "rejected": [r.row() for r in found.rejects]}


def read_items(path: Path) -> list[Item]:
    """The items of a JSONL file; ids default to line numbers. Raises SearchError naming file and line."""
    made: list[Item] = []
    for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
        if line.strip():
            try:
                made.append(_item(json.loads(line), str(number), path.parent))
            except (ValueError, TypeError, AttributeError) as error:
                raise SearchError(
                    f"{path}:{number}: {error}; expected a JSON object with some of {', '.join(ITEM_KEYS)}"
                ) from error
    if not made:
        raise SearchError(f"{path} holds no item; expected one JSON object a line")
    if len({item.item_id for item in made}) < len(made):
        raise SearchError(f"{path}: an id stands twice; ids must be unique")
    return made


def _item(row: dict[str, Any], default_id: str, base: Path) -> Item:
    if unknown := sorted(set(row) - set(ITEM_KEYS)):
        raise SearchError(f"unknown key {unknown[0]!r}")
    return Item(
        str(row.get("id", default_id)),
        text=row.get("text"),
        image_uri=row.get("image"),
        image_time_s=row.get("image_time_s"),
        video_uri=row.get("video"),
        audio_uri=row.get("audio"),
        start_s=float(row.get("start_s") or 0.0),
        end_s=row.get("end_s"),
        sound=row.get("audio") is None or row.get("audio") == row.get("video"),
        base=str(base.resolve()),
    )


def update_index(
    folder: Path,
    model: str | None = None,
    add: Sequence[str] = (),
    remove: Sequence[str] = (),
    *,
    device: str = "cpu",
    workers: int = 2,
    window_s: float = MAX_WINDOW_S,
) -> dict[str, Any]:
    """Add videos or folders of videos to an index and remove others; the old index stays whole until the new one is written.

    Content that the index knows is not encoded again; a file whose content changed replaces its windows. `model` is needed for a
    new index; for a known one it may only be the same model (its digest decides) at another path. Raises SearchError, IndexFault.
    """
    files = list(dict.fromkeys(file for name in add for file in _videos(name)))
    with runs.lock(folder):
        settings = _settings(folder, model, window_s)
        index, embedder = _open(folder, settings["model"], device, needs_model=bool(files) or model is not None)
        removed = _remove(index, remove)
        with MediaPool(workers) as pool:
            windows_, rejects = _measured(files, pool, settings["window_s"])
            known = _vectors(index, {w.key for w in windows_})
            removed += _remove_outdated(index, files, windows_)
            fresh = [w for w in windows_ if w.entry not in index.rows]
            unseen = list({w.key: w for w in fresh if w.key not in known}.values())
            if embedder is not None and unseen:
                found = embedder.encode_or_reject([w.item() for w in unseen], pool=pool)
                known |= {unseen[i].key: vector for i, vector in zip(found.kept, found.vectors, strict=True)}
                rejects += found.rejects
        added = _add(index, [w for w in fresh if w.key in known], known)
        runs.write_json(folder / SETTINGS, settings)
        index.save(folder)
    videos = len({row["video"] for row in index.rows.values()})
    counts = {"videos": videos, "windows": len(index), "added": added, "encoded": len(unseen), "removed": removed}
    return {**counts, "rejected": [reject.row() for reject in rejects]}


def _settings(folder: Path, model: str | None, window_s: float) -> dict[str, Any]:
    """The index's own settings; a given model replaces the recorded path (its digest is checked on opening)."""
    known = json.loads((folder / SETTINGS).read_text()) if (folder / SETTINGS).is_file() else {}
    if model is None and not known:
        raise SearchError(f"{folder} is a new index, so it needs a model; add --model DIR")
    path = known.get("model") if model is None else (str(Path(model).resolve()) if Path(model).exists() else model)
    return {"model": path, "window_s": known.get("window_s", window_s)}


def _open(folder: Path, model: str, device: str, needs_model: bool) -> tuple[Index, Embedder | None]:
    is_new = not (folder / "index.json").is_file()
    embedder = _embedder(model, device) if needs_model or is_new else None
    if is_new and embedder is not None:
        return Index(embedder.width, embedder.digest), embedder
    index = Index.load(folder)
    if embedder is not None:
        _check_model(index, embedder, model, folder)
    return index, embedder


def _embedder(model: str, device: str) -> Embedder:
    from uvrlab.models.encode import Embedder

    return Embedder.load(model, device=device)


def _check_model(index: Index, embedder: Embedder, model: str, folder: Path) -> None:
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


def _remove(index: Index, names: Sequence[str]) -> int:
    """Remove the windows of videos, or of all videos under a folder. Raises SearchError before anything is removed."""
    gone: list[str] = []
    for name in names:
        path = name if "://" in name else str(Path(name).resolve())
        found = [e for e, row in index.rows.items() if row["video"] == path or row["video"].startswith(f"{path.rstrip('/')}/")]
        if not found:
            raise SearchError(f"{name} is not in the index, so nothing was removed; paths are as `uvr search` shows them")
        gone += found
    gone = list(dict.fromkeys(gone))
    index.remove(gone)
    return len(gone)


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


def _remove_outdated(index: Index, files: Sequence[str], made: Sequence[Window]) -> int:
    """Remove windows of given files whose content is no longer that."""
    current = {(w.entry, w.media_sha256) for w in made}
    given = set(files)
    old = [e for e, row in index.rows.items() if row["video"] in given and (e, row["media_sha256"]) not in current]
    index.remove(old)
    return len(old)


def _add(index: Index, made: Sequence[Window], vectors: dict[Key, np.ndarray]) -> int:
    if made:
        stacked = np.stack([vectors[w.key] for w in made])  # (N, D)
        index.add([w.entry for w in made], stacked, model_digest=index.model_digest, rows={w.entry: w.row() for w in made})
    return len(made)


def search(
    folder: Path,
    *,
    text: str | None = None,
    image: str | None = None,
    video: str | None = None,
    audio: str | None = None,
    k: int = 10,
    device: str = "cpu",
) -> list[dict[str, Any]]:
    """The k best windows for any mix of modalities: [{video, start_s, end_s, score}], best first; score is a cosine.

    A text, an image and a video (with its sound) are one query. A sound from another file than the video is embedded apart, and the
    query is the mean of both directions. Raises SearchError.
    """
    if not any((text, image, video, audio)):
        raise SearchError("an empty query; give at least one of --text, --image, --video, --audio")
    if not (folder / SETTINGS).is_file():
        raise SearchError(f"{folder} is no index; build one with `uvr index {folder} --model DIR --add VIDEO_OR_DIR`")
    model = json.loads((folder / SETTINGS).read_text())["model"]
    index, embedder = Index.load(folder), _embedder(model, device)
    _check_model(index, embedder, model, folder)
    vector = _query_vector(embedder, text, image, video, audio)
    hits = index.search(vector[None], k)[0]
    return [{key: index.rows[e][key] for key in ("video", "start_s", "end_s")} | {"score": score} for e, score in hits]


def _query_vector(embedder: Embedder, text: str | None, image: str | None, video: str | None, audio: str | None) -> np.ndarray:
    """(D,) unit vector of one query."""
    paths = {name: _media(name, path) for name, path in (("image", image), ("video", video), ("audio", audio)) if path}
    apart = "video" in paths and "audio" in paths and paths["audio"] != paths["video"]
    together: dict[str, Any] = {"image_uri": paths.get("image"), "video_uri": paths.get("video")}
    if not apart:
        together["audio_uri"] = None if video else paths.get("audio")
    parts = [Item("query", text=text, sound=bool(video) and not apart, **together)]
    parts += [Item("sound of the query", audio_uri=paths["audio"])] if apart else []
    mean = embedder.encode(parts).mean(axis=0)
    return mean / np.linalg.norm(mean)


def _media(name: str, path: str) -> str:
    if "://" not in path and not Path(path).is_file():
        raise SearchError(f"--{name}: no file at {path}; correct the path")
    return path if "://" in path else str(Path(path).resolve())
