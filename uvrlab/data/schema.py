"""The tables of uvrlab: one explicit Arrow schema each, and the only reader and writer of them.

Times are seconds. Every file carries `uvrlab.table` and `uvrlab.version` in its metadata. The writer has fixed names, fixed row
order and fixed encodings, so equal rows give equal bytes. It is not a query layer: callers get plain dicts or Arrow tables.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq

SCHEMA_VERSION = 1
ROWS_PER_SHARD = 50_000

Modality = Literal["text", "image", "video", "audio"]
Split = Literal["pretrain", "train", "rl", "val", "test"]
MODALITIES: tuple[Modality, ...] = ("text", "image", "video", "audio")
SPLITS: tuple[Split, ...] = ("pretrain", "train", "rl", "val", "test")
STYLES = ("concise", "rich", "abstract", "keywords", "partial")
WORD_RANGES = {"concise": (10, 25), "rich": (80, 200), "abstract": (30, 100), "keywords": (5, 30), "partial": (10, 70)}
WORD_RANGES |= {"frame": (10, 25), "frame_rich": (50, 200)}
WORD_RANGES |= dict.fromkeys(("identity+action", "identity+scene", "identity+negative", "relation"), (5, 50))  # of TI2V
WORD_RANGES |= dict.fromkeys(("continuation", "viewpoint", "condition", "action"), (5, 15))  # of TV2V
# What a caption style asks of a model, in UVRB's words; the paper's partially relevant queries are PR.
STYLE_ABILITIES = {"concise": "CG", "rich": "FG", "abstract": "CG", "keywords": "CG", "partial": "PR"}
NEEDS = ("picture", "sound", "both")
DECISIONS = ("filter:", "trace:")  # reasons of rejects that are decisions of the quality control, and no faults

_STR, _F32, _F64, _I32, _I64, _BOOL = pa.string(), pa.float32(), pa.float64(), pa.int32(), pa.int64(), pa.bool_()
_STRS = pa.list_(_STR)
_SPANS = pa.list_(pa.struct([("start_s", _F64), ("end_s", _F64)]))

# One side of a pair: any non-empty set of text, image, video and audio. An image is `image_uri`, or one frame of a clip:
# then `modalities` holds "image", `clip_id` is set and start_s == end_s is the frame's time. Times are on the file's clock, as
# the clip's own start and end are: a window of a long video starts at clip.start_s, not at 0.
ITEM = pa.struct(
    [
        ("text", _STR),
        ("image_uri", _STR),
        ("clip_id", _STR),
        ("start_s", _F64),
        ("end_s", _F64),
        ("modalities", _STRS),
    ]
)

TABLES: dict[str, pa.Schema] = {
    "clips": pa.schema(
        [
            ("clip_id", _STR),
            ("parent_id", _STR),  # the source video; splits never cut through a parent
            ("uri", _STR),
            ("media_sha256", _STR),
            ("start_s", _F64),
            ("end_s", _F64),
            ("duration_s", _F64),
            ("fps", _F64),
            ("width", _I32),
            ("height", _I32),
            ("rotation", _I32),
            ("n_frames", _I64),
            ("keyframe_interval_s", _F64),
            ("video_codec", _STR),
            ("has_audio", _BOOL),
            ("audible", _BOOL),
            ("loudness_db", _F64),
            ("caption", _STR),
            ("source", _STR),
            ("licence", _STR),
            ("split", _STR),
            ("tags", _STRS),
            ("scene", _STR),  # JSON of the scene graph, world only
        ]
    ),
    "pairs": pa.schema(
        [
            ("pair_id", _STR),
            ("task", _STR),  # "T2V", "I2V", ...
            ("ability", _STR),
            ("style", _STR),
            ("split", _STR),
            ("query", ITEM),
            ("target", ITEM),
            ("negatives", pa.list_(ITEM)),
            ("provider", _STR),
            ("prompt_version", _STR),
            ("scores", _STR),  # JSON {filter: score}
        ]
    ),
    "traces": pa.schema(
        [
            ("pair_id", _STR),
            ("side", _STR),
            ("think", _STR),
            ("answer", _STR),
            ("provider", _STR),
            ("flags", _STRS),
        ]
    ),
    "questions": pa.schema(
        [
            ("question_id", _STR),
            ("clip_id", _STR),
            ("split", _STR),
            ("question", _STR),
            ("options", _STRS),  # empty: an open question
            ("answer", _STR),
            ("needs", _STR),
            ("true_spans", _SPANS),  # for evaluation only
        ]
    ),
    "filters": pa.schema(
        [
            ("clip_id", _STR),
            ("pair_id", _STR),  # null: the clip itself was judged
            ("filter", _STR),
            ("score", _F64),
            ("threshold", _F64),
            ("verdict", _STR),  # "keep", "drop" or "not judged"
            ("detail", _STR),
        ]
    ),
    "rollouts": pa.schema(
        [
            ("step", _I64),
            ("prompt_id", _STR),
            ("side", _STR),
            ("sample", _I32),
            ("completion", _STR),
            ("n_tokens", _I32),
            ("rewards", _STR),  # JSON {part: value}
            ("advantage", _F32),
            ("flags", _STRS),
        ]
    ),
    "rejects": pa.schema([("item", _STR), ("reason", _STR), ("detail", _STR)]),
    "negatives": pa.schema(  # mined; candidates that a filter took out are rows too
        [
            ("epoch", _I32),  # of the curriculum, from 1
            ("query_id", _STR),  # the pair
            ("corpus_id", _STR),  # the pair whose target is the candidate
            ("rank", _I32),  # among the prober's candidates that are no positives, 1 is best
            ("score", _F32),
            ("positive_score", _F32),
            ("verdict", _STR),  # kept, too close, duplicate
        ]
    ),
    "queries": pa.schema(
        [
            ("dataset", _STR),
            ("ability", _STR),
            ("style", _STR),
            ("task", _STR),
            ("query_id", _STR),
            ("item", ITEM),
            ("positives", _STRS),  # candidate ids
            ("pool", _STRS),  # empty: the whole corpus of the dataset
            ("instruction", _STR),  # the dataset's prompt, null where it has none
        ]
    ),
    "corpus": pa.schema([("dataset", _STR), ("candidate_id", _STR), ("item", ITEM)]),
    "per_query": pa.schema(
        [
            ("dataset", _STR),
            ("ability", _STR),
            ("query_id", _STR),
            ("mode", _STR),
            ("metric", _STR),
            ("value", _F64),
            ("first_relevant_rank", _I32),  # 1 is best; expected rank under ties rounds up
            ("top_ids", _STRS),
            ("n_candidates", _I32),
            ("n_tokens", _I32),
            ("latency_ms", _F64),
            ("model_digest", _STR),
            ("benchmark_digest", _STR),
        ]
    ),
}


class TableError(ValueError):
    """A table on disk or a row in memory does not match its schema."""


def _schema(table: str) -> pa.Schema:
    if table not in TABLES:
        raise TableError(f"unknown table {table!r}; expected one of {', '.join(TABLES)}")
    return TABLES[table].with_metadata({"uvrlab.table": table, "uvrlab.version": str(SCHEMA_VERSION)})


def to_arrow(table: str, rows: Iterable[dict[str, Any]]) -> pa.Table:
    """Rows (plain dicts) as an Arrow table; a missing column is null, an unknown one is an error."""
    schema, rows = _schema(table), list(rows)
    known = set(schema.names)
    for row in rows:
        if extra := set(row) - known:
            raise TableError(f"table {table}: unknown columns {sorted(extra)}; expected {sorted(known)}")
    try:
        return pa.Table.from_pylist(rows, schema=schema)
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise TableError(f"table {table}: {error}") from error


def write_table(table: str, rows: Iterable[dict[str, Any]] | pa.Table, folder: Path, shard_rows: int = ROWS_PER_SHARD) -> int:
    """Write `folder/part-00000.parquet`, ... in the given row order; returns the number of rows. Equal rows, equal bytes."""
    data = rows if isinstance(rows, pa.Table) else to_arrow(table, rows)
    folder.mkdir(parents=True, exist_ok=True)
    for shard, start in enumerate(range(0, max(data.num_rows, 1), shard_rows)):
        write_file(table, data.slice(start, shard_rows), folder / f"part-{shard:05d}.parquet")
    return data.num_rows


def write_file(table: str, rows: Iterable[dict[str, Any]] | pa.Table, path: Path) -> int:
    """Write a table that is one file, such as `rejects.parquet`; returns the number of rows."""
    data = rows if isinstance(rows, pa.Table) else to_arrow(table, rows)
    partial = path.with_suffix(".tmp")
    pq.write_table(data, partial, compression="zstd", store_schema=True)
    partial.replace(path)
    return data.num_rows


def table_files(path: Path) -> list[Path]:
    """The Parquet files of a table: `path` itself, or its shards in order."""
    files = [path] if path.is_file() else sorted(path.glob("*.parquet"))
    if not files:
        raise TableError(f"no Parquet files at {path}; expected part-*.parquet")
    return files


def read_arrow(table: str, path: Path, columns: Sequence[str] | None = None) -> pa.Table:
    """One table from a file or a folder of shards, checked against its schema and version."""
    parts = []
    for file in table_files(path):
        _check(table, file)
        parts.append(pq.read_table(file, columns=list(columns) if columns else None))
    return pa.concat_tables(parts)


def _check(table: str, file: Path) -> None:
    schema, found = _schema(table), pq.read_schema(file)
    version = (found.metadata or {}).get(b"uvrlab.version", b"?").decode()
    if version != str(SCHEMA_VERSION) or found.names != schema.names:
        raise TableError(
            f"{file}: found version {version} with columns {found.names}, expected {table} version {SCHEMA_VERSION} "
            f"with {schema.names}; run the stage that wrote it again"
        )


def read_table(table: str, path: Path, columns: Sequence[str] | None = None) -> list[dict[str, Any]]:
    """`read_arrow` as plain dicts."""
    return read_arrow(table, path, columns).to_pylist()


def iter_rows(table: str, path: Path, batch_rows: int = 1024) -> Iterator[dict[str, Any]]:
    """The rows of `read_table` one after the other, with a batch in memory at a time."""
    for file in table_files(path):
        _check(table, file)
        with pq.ParquetFile(file) as parquet:
            for batch in parquet.iter_batches(batch_rows):
                yield from batch.to_pylist()


def item(
    *,
    text: str | None = None,
    image_uri: str | None = None,
    clip_id: str | None = None,
    start_s: float | None = None,
    end_s: float | None = None,
    modalities: Sequence[Modality],
) -> dict[str, Any]:
    """An item row: `modalities` must be non-empty, in canonical order, and each must have what it needs."""
    wanted = [m for m in MODALITIES if m in modalities]
    if not wanted or len(wanted) != len(modalities):
        raise TableError(f"modalities {list(modalities)} must be a non-empty subset of {MODALITIES}")
    if "text" in wanted and not (text and text.strip()):
        raise TableError("an item with modality text needs a non-empty text")
    if {"video", "audio"} & set(wanted) and not clip_id:
        raise TableError(f"an item with modalities {wanted} needs a clip_id")
    if "image" in wanted and not (image_uri or clip_id):
        raise TableError("an item with modality image needs an image_uri or a clip_id and a time")
    return {
        "text": text,
        "image_uri": image_uri,
        "clip_id": clip_id,
        "start_s": start_s,
        "end_s": end_s,
        "modalities": wanted,
    }
