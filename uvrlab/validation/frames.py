"""Tables as flat data frames in which every rule across tables is one boolean column: a claim that must be true in each row.

Great Expectations then judges columns only, so a suite stays a literal list and no value set of 100,000 ids enters a report.
Big tables are read shard by shard and leave ids, a few words and claims behind, so that millions of rows fit; nothing here is
written to disk.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from string import ascii_uppercase
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from uvrlab.data import schema
from uvrlab.data.probe import AUDIBLE_DB
from uvrlab.validation.words import FACTOR

SLACK_S = 1e-3  # a container's clock counts in milliseconds
COLUMNS = ("start_s", "end_s", "split")
SLACK_DB = 0.02  # loudness is written with two decimals
TASKS = ("T2T", "T2I", "T2V", "TI2V", "TV2V", "I2V", "V2V", "TI2I", "I2I", "TI2T", "TI2TI", "I2T", "T2TI")
LETTERS = {"text": "T", "image": "I", "video": "V", "audio": "A"}  # sound that comes with a video has no letter of its own


def read_frames(clips: Path, uvrd: Path, benchmark: Path) -> dict[str, pd.DataFrame]:
    """Every judged table by name. Raises TableError for a file that does not follow its schema."""
    clip_rows = clips_frame(schema.read_arrow("clips", clips / "clips"))
    judged_rows = clips_frame(schema.read_arrow("clips", benchmark / "benchmark" / "clips"))
    known, judged = Clips(clip_rows), Clips(judged_rows)
    pairs = _by_shard("pairs", uvrd, lambda table: pairs_frame(table, known))
    pairs["is_no_duplicate"] = ~pairs.pop("content").duplicated()
    rows = np.unique(np.concatenate([pairs.pop("query_clip"), pairs.pop("target_clip")]))
    used = pa.array(known.ids[rows[rows >= 0]], pa.string())
    ids = pa.array(pairs.pair_id, pa.string())
    corpus = corpus_frame(schema.read_arrow("corpus", benchmark / "benchmark" / "corpus"), judged)
    frames = {
        "clips": clip_rows,
        "pairs": pairs,
        "traces": _by_shard("traces", uvrd, lambda table: traces_frame(table, ids)),
        "questions": _by_shard("questions", uvrd, lambda table: questions_frame(table, known)),
        "benchmark_clips": judged_rows,
        "corpus": corpus,
        "queries": queries_frame(schema.read_arrow("queries", benchmark / "benchmark" / "queries"), corpus, judged),
        "rejects": rejects_frame({"ingest": (clips, len(clip_rows)), "synthesize": (uvrd, len(pairs))}),
    }
    if (uvrd / "filters").exists():
        frames["filters"] = _by_shard("filters", uvrd, lambda table: filters_frame(table, known, ids, used))
    return frames


class Clips:
    """A clips table to look ids up in: `rows(ids)` gives positions, -1 for a null or unknown id."""

    def __init__(self, frame: pd.DataFrame) -> None:
        first = frame.drop_duplicates("clip_id")
        self.ids = pd.Index(first.clip_id)
        self._columns = {name: np.append(first[name].to_numpy(), [None if name == "split" else np.nan]) for name in COLUMNS}

    def rows(self, ids: pd.Series) -> np.ndarray:
        return np.where(ids.isna(), -1, self.ids.get_indexer(ids)).astype(np.int32)

    def column(self, name: str, rows: np.ndarray) -> pd.Series:
        """A column's values at these rows; null for -1."""
        return pd.Series(self._columns[name][rows])


def _by_shard(table: str, folder: Path, frame_of: Callable[[pa.Table], pd.DataFrame]) -> pd.DataFrame:
    files = schema.table_files(folder / table)
    return pd.concat([frame_of(schema.read_arrow(table, file)) for file in files], ignore_index=True)


def clips_frame(table: pa.Table) -> pd.DataFrame:
    frame = table.drop_columns(["scene", "tags"]).to_pandas()
    frame["span_is_forward"] = (frame.start_s >= -SLACK_S) & (frame.end_s > frame.start_s)
    frame["audible_has_sound"] = ~_true(frame.audible) | (_true(frame.has_audio) & frame.loudness_db.notna())
    frame["audible_is_loud"] = audible_is_loud(frame)
    frame["caption_is_not_blank"] = frame.caption.isna() | (frame.pop("caption").fillna("").str.strip() != "")
    for name in ("parent_id", "media_sha256"):
        frame[f"{name}_in_one_split"] = frame.groupby(name).split.transform("nunique") <= 1
    return frame


def audible_is_loud(clips: pd.DataFrame) -> pd.Series:
    """Whether the mean loudness can be that of a clip of which some second is, or none is, louder than `AUDIBLE_DB`.

    One second of n that is just audible leaves a mean of AUDIBLE_DB - 10 log10(n); a span may touch two seconds more than it lasts.
    """
    seconds = np.ceil(clips.duration_s.fillna(0).clip(lower=0)) + 2
    least = AUDIBLE_DB - 10 * np.log10(seconds) - SLACK_DB
    loud = clips.loudness_db.isna() | np.where(
        _true(clips.audible), clips.loudness_db >= least, clips.loudness_db <= AUDIBLE_DB + SLACK_DB
    )
    return loud.astype(bool)


def pairs_frame(table: pa.Table, clips: Clips) -> pd.DataFrame:
    """Claims of one shard; `content` is a 64-bit hash of what both sides say, equal for pairs that say the same."""
    frame = table.select(["pair_id", "task", "style", "split"]).to_pandas(strings_to_categorical=True)
    frame["pair_id"] = table["pair_id"].to_pandas()
    contents = []
    for side in ("query", "target"):
        columns = item_columns(table[side], side, clips)
        contents.append(columns.pop(f"{side}_content").to_numpy())
        frame = frame.join(columns)
    asked, given = (frame.pop(f"{side}_letters").astype(str) for side in ("query", "target"))
    task = frame.task.astype(str)
    frame["query_fits_task"], frame["target_fits_task"] = asked == task.str.split("2").str[0], given == task.str.split("2").str[-1]
    frame["split_is_the_clips"] = _split_is_right(frame, clips)
    frame["words_in_range"] = words_in_range(table)
    frame["content"] = contents[0] * FACTOR + contents[1]
    return frame


def _split_is_right(pairs: pd.DataFrame, clips: Clips) -> pd.Series:
    """Whether a pair is in the split of each known clip that it uses."""
    own = pairs.split.astype(str)
    asked, given = (pairs[f"{side}_clip"] for side in ("query", "target"))
    right = [(rows < 0) | (clips.column("split", rows.to_numpy()) == own) for rows in (asked, given)]
    return right[0] & right[1]


def words_in_range(table: pa.Table) -> pd.Series:
    """Whether the query text has as many words as its style promises; true for styles that promise nothing."""
    words = word_count(pc.struct_field(table["query"], "text"))
    style = table["style"].to_pandas()
    low = style.map({name: ends[0] for name, ends in schema.WORD_RANGES.items()}).fillna(0)
    high = style.map({name: ends[1] for name, ends in schema.WORD_RANGES.items()}).fillna(np.inf)
    return (words >= low) & (words <= high)


def word_count(text: pa.ChunkedArray) -> pd.Series:
    return pc.list_value_length(pc.utf8_split_whitespace(pc.utf8_trim_whitespace(text))).to_pandas().fillna(0)


def item_columns(items: pa.ChunkedArray, side: str, clips: Clips) -> pd.DataFrame:
    """An item as `<side>_clip` (row of its clip), its letters ("TI"), a hash of its content, and the claims about it."""
    fields = {name: pc.struct_field(items, name).to_pandas() for name in ("text", "image_uri", "clip_id", "start_s", "end_s")}
    modalities = pc.struct_field(items, "modalities")
    named = pc.binary_join(modalities, "+").to_pandas().fillna("") if len(items) else pd.Series(dtype=object)
    clip_id, start, end = (fields[name] for name in ("clip_id", "start_s", "end_s"))
    rows = clips.rows(clip_id)
    inside = (start >= clips.column("start_s", rows) - SLACK_S) & (end <= clips.column("end_s", rows) + SLACK_S)
    is_frame = named.str.contains("image")
    needs_clip = named.str.contains("video") | named.str.contains("audio") | (is_frame & fields["image_uri"].isna())
    said = ~named.str.contains("text") | fields["text"].fillna("").str.strip().ne("")
    frame = pd.DataFrame({f"{side}_clip": rows})
    frame[f"{side}_letters"] = named.map({name: letters(name) for name in named.unique()})
    frame[f"{side}_is_whole"] = named.ne("") & said & (clip_id.notna() | ~needs_clip)
    frame[f"{side}_is_known"] = clip_id.isna() | (rows >= 0)
    frame[f"{side}_is_inside"] = start.isna() | clip_id.isna() | (inside & ((end > start) | (is_frame & (end == start))))
    frame[f"{side}_content"] = _content([*fields.values(), named])
    return frame


def letters(modalities: str) -> str:
    """The letters of a task's side: "text+video+audio" is "TV", "audio" alone is "A"."""
    names = [name for name in modalities.split("+") if name]
    return "".join(LETTERS.get(name, "?") for name in names if not (name == "audio" and "video" in names))


def _content(columns: list[pd.Series]) -> np.ndarray:
    """A 64-bit hash of each row (N,) uint64; equal rows in every process, and two of a million others meet in 10^7 tries once."""
    hashes = np.zeros(len(columns[0]), np.uint64)
    for column in columns:
        values = column.to_numpy()
        plain = column.fillna("\0").to_numpy(object) if values.dtype == object else np.nan_to_num(values, nan=-1.0)
        hashes = hashes * FACTOR + pd.util.hash_array(plain, categorize=False)
    return hashes


def traces_frame(table: pa.Table, pair_ids: pa.Array) -> pd.DataFrame:
    frame = table.select(["pair_id", "side"]).to_pandas()
    frame["pair_is_known"] = pc.is_in(table["pair_id"], pair_ids).to_numpy()
    filled = [pc.not_equal(pc.utf8_trim_whitespace(pc.fill_null(table[name], "")), "") for name in ("think", "answer")]
    frame["is_not_blank"] = pc.and_(*filled).to_numpy()
    return frame


def filters_frame(table: pa.Table, clips: Clips, pair_ids: pa.Array, used_clips: pa.Array) -> pd.DataFrame:
    """Scores of the quality control; what it dropped must not be in the pairs."""
    frame = table.drop_columns(["detail"]).to_pandas()
    drops, whole = frame.verdict == "drop", frame.pair_id.isna()
    frame["clip_is_known"] = frame.clip_id.isna() | (clips.rows(frame.clip_id) >= 0)
    frame["drop_has_its_reason"] = ~drops | (frame.score.notna() & frame.threshold.notna())
    kept = np.where(whole, pc.is_in(table["clip_id"], used_clips).to_numpy(), pc.is_in(table["pair_id"], pair_ids).to_numpy())
    frame["drop_is_gone"] = ~(drops & kept)
    return frame


def questions_frame(table: pa.Table, clips: Clips) -> pd.DataFrame:
    frame = table.select(["question_id", "clip_id", "split", "question", "answer", "needs"]).to_pandas()
    rows = clips.rows(frame.clip_id)
    frame["clip_is_known"] = rows >= 0
    frame["split_is_the_clips"] = frame.split == clips.column("split", rows)
    bounds = zip(clips.column("start_s", rows), clips.column("end_s", rows), strict=True)
    options, spans = table["options"].to_pylist(), table["true_spans"].to_pylist()
    frame["answer_is_an_option"] = [
        not o or a in (f"{letter}. {text}" for letter, text in zip(ascii_uppercase, o, strict=False))
        for o, a in zip(options, frame.answer, strict=True)
    ]
    frame["options_differ"] = [len(set(o or ())) == len(o or ()) for o in options]
    frame["spans_are_inside"] = [
        all(low - SLACK_S <= s["start_s"] < s["end_s"] <= high + SLACK_S for s in span or ())
        for span, (low, high) in zip(spans, bounds, strict=True)
    ]
    return frame


def corpus_frame(table: pa.Table, clips: Clips) -> pd.DataFrame:
    frame = table.select(["dataset", "candidate_id"]).to_pandas().join(item_columns(table["item"], "item", clips))
    frame["is_no_duplicate"] = ~frame.duplicated(["dataset", "candidate_id"])
    return frame.drop(columns=["item_clip", "item_letters", "item_content"])


def queries_frame(table: pa.Table, corpus: pd.DataFrame, clips: Clips) -> pd.DataFrame:
    frame = table.select(["dataset", "ability", "style", "task", "query_id"]).to_pandas()
    frame = frame.join(item_columns(table["item"], "item", clips)).drop(columns=["item_clip", "item_letters", "item_content"])
    frame["is_no_duplicate"] = ~frame.duplicated(["dataset", "query_id"])
    candidates = set(zip(corpus.dataset, corpus.candidate_id, strict=True))
    for name in ("positives", "pool"):
        lists = table[name].to_pylist()
        frame[f"{name}_are_candidates"] = [
            all((data, one) in candidates for one in ids or ()) for data, ids in zip(frame.dataset, lists, strict=True)
        ]
        frame[f"n_{name}"] = [len(ids or ()) for ids in lists]
    return frame


def rejects_frame(stages: Mapping[str, tuple[Path, int]]) -> pd.DataFrame:
    """One row a stage: how many items were faulty, of how many; what a filter of clips, pairs or traces dropped is no fault."""
    rows: list[dict[str, Any]] = []
    for stage, (folder, kept) in stages.items():
        file = folder / "rejects.parquet"
        reasons = schema.read_arrow("rejects", file)["reason"].to_pylist() if file.exists() else []
        rejected = sum(not str(reason).startswith(schema.DECISIONS) for reason in reasons)
        rows.append({"stage": stage, "rejected": rejected, "share": rejected / max(rejected + kept, 1)})
    return pd.DataFrame(rows)


def mix_frame(pairs: pd.DataFrame, configured: Mapping[str, float]) -> pd.DataFrame:
    """One row a task: its share of the pairs, the share that synthesis was asked for, and how far they lie apart."""
    found = pairs.task.astype(str).value_counts(normalize=True).to_dict()
    tasks = dict.fromkeys([*configured, *found])
    rows = [{"task": t, "share": found.get(t, 0.0), "configured": configured.get(t, 0.0)} for t in tasks]
    frame = pd.DataFrame(rows, columns=["task", "share", "configured"])
    frame["apart"] = (frame.share - frame.configured).abs()
    return frame


def _true(column: pd.Series) -> pd.Series:
    return column.fillna(False).astype(bool)
