"""What a user does with a model: embed items into a file, and search an index with any mix of modalities, in any mode."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from uvrlab.data.items import Item
from uvrlab.evaluation.index import Index
from uvrlab.search_index import SETTINGS, Held, SearchError, check_model, load_embedder, open_index

if TYPE_CHECKING:
    from uvrlab.models.modes import Mode, Reading, Thinking
    from uvrlab.models.router import Router

ITEM_KEYS = ("id", "text", "image", "image_time_s", "video", "audio", "start_s", "end_s")


def encode_to_file(
    model: str,
    items: Path,
    out: Path,
    *,
    device: str = "cpu",
    workers: int = 2,
    mode: Mode = "speed",
    thinking: Thinking | None = None,
) -> dict[str, Any]:
    """Embed a JSONL of items {id?, text, image, image_time_s, video, audio, start_s, end_s} into a safetensors file.

    `out` gets "vectors" (N, D) float32 and, as metadata, "ids" and "readings" (JSON lists: the mode, the cost and the thoughts of
    each vector) and "model_digest". Paths are relative to the JSONL. Items that cannot be encoded are left out and listed in the
    returned summary. Raises SearchError naming a faulty line, and for mode auto, which needs an index to decide by.
    """
    from safetensors.numpy import save_file

    if mode == "auto":
        raise SearchError("mode auto decides by what is searched, and a file of items has nothing; choose another mode")
    wanted = read_items(items)
    embedder = load_embedder(model, device)
    found = embedder.encode_or_reject(wanted, workers=workers, mode=mode, thinking=thinking)
    ids = [wanted[i].item_id for i in found.kept]
    partial = out.with_name(f"{out.name}.tmp")
    told = {"ids": json.dumps(ids), "readings": json.dumps([shown(r) for r in found.readings]), "model_digest": embedder.digest}
    save_file({"vectors": np.ascontiguousarray(found.vectors)}, partial, metadata=told)
    partial.replace(out)
    counts: dict[str, Any] = {"vectors": len(ids), "width": int(found.vectors.shape[1]), "truncated_texts": found.truncated}
    counts |= {"mode": mode, "tokens": sum(r.n_tokens for r in found.readings), "fallbacks": found.fallbacks}
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


@dataclass(frozen=True)
class Answer:
    """The best windows [{video, start_s, end_s, score}], best first, and how the query was read, part by part."""

    hits: list[dict[str, Any]]
    readings: list[Reading]


def search(folder: Path, **query: Any) -> list[dict[str, Any]]:
    """The hits of `answer`, which says what may be asked."""
    return answer(folder, **query).hits


def answer(
    folder: Path,
    *,
    text: str | None = None,
    image: str | None = None,
    video: str | None = None,
    audio: str | None = None,
    k: int = 10,
    device: str = "cpu",
    mode: Mode = "speed",
    thinking: Thinking | None = None,
) -> Answer:
    """The k best windows for any mix of modalities; score is a cosine.

    A text, an image and a video (with its sound) are one query. A sound from another file than the video is embedded apart, and the
    query is the mean of both directions. Gen vectors are compared with gen vectors: every mode but speed needs an index that was
    made with thoughts. Mode auto compares both vectors side by side. Raises SearchError.
    """
    if not any((text, image, video, audio)):
        raise SearchError("an empty query; give at least one of --text, --image, --video, --audio")
    if not (folder / SETTINGS).is_file():
        raise SearchError(f"{folder} is no index; build one with `uvr index {folder} --model DIR --add VIDEO_OR_DIR`")
    settings = json.loads((folder / SETTINGS).read_text())
    if mode != "speed" and not settings.get("think"):
        raise SearchError(f"{folder} holds no gen vectors to search in mode {mode}; build a new index with --think")
    held, embedder = open_index(folder, settings), load_embedder(settings["model"], device)
    check_model(held["speed"], embedder, settings["model"], folder)
    if not len(held["speed"]):
        return Answer([], [])
    parts = _parts(text, image, video, audio)
    router = _router(held) if mode == "auto" else None
    routed: dict[str, Any] = {"router": router} if router else {}  # only a model that thinks knows routers
    found = embedder.encode_or_reject(parts, mode=mode, thinking=thinking, **routed)
    if found.rejects:
        raise SearchError(f"{found.rejects[0].item}: {found.rejects[0].reason}, {found.rejects[0].detail}")
    index = held["speed"]
    if router:
        index = Index.build(index.ids, router.candidates, model_digest=index.model_digest, rows=index.rows)
    elif mode != "speed":
        # Of two parts read in different modes the disc vectors alone have something to be compared with.
        spoke = {reading.mode != "speed" for reading in found.readings}
        index = held["think"] if spoke == {True} else held["speed"]
        found = embedder.encode_or_reject(parts) if len(spoke) > 1 else found
    mean = found.vectors.mean(axis=0)
    hits = index.search((mean / np.linalg.norm(mean))[None], k)[0]
    spans = [{key: index.rows[entry][key] for key in ("video", "start_s", "end_s")} | {"score": score} for entry, score in hits]
    return Answer(spans, found.readings)


def shown(reading: Reading) -> dict[str, Any]:
    """A reading as JSON."""
    return {**asdict(reading), "n_tokens": reading.n_tokens, "fallbacks": reading.fallbacks}


def _router(held: Held) -> Router:
    from uvrlab.models.router import Router

    return Router(held["speed"].vectors(), held["think"].vectors())


def _parts(text: str | None, image: str | None, video: str | None, audio: str | None) -> list[Item]:
    """What is embedded for one query: one item, and a sound that is not the video's own as a second one."""
    paths = {name: _media(name, path) for name, path in (("image", image), ("video", video), ("audio", audio)) if path}
    apart = "video" in paths and "audio" in paths and paths["audio"] != paths["video"]
    together: dict[str, Any] = {"image_uri": paths.get("image"), "video_uri": paths.get("video")}
    if not apart:
        together["audio_uri"] = None if video else paths.get("audio")
    parts = [Item("query", text=text, sound=bool(video) and not apart, **together)]
    return parts + ([Item("sound of the query", audio_uri=paths["audio"])] if apart else [])


def _media(name: str, path: str) -> str:
    if "://" not in path and not Path(path).is_file():
        raise SearchError(f"--{name}: no file at {path}; correct the path")
    return path if "://" in path else str(Path(path).resolve())
