"""Tables as flat data frames in which every rule across tables is one boolean column: a claim that must be true in each row.

Great Expectations then judges columns only, so a suite stays a literal list and no value set of 100,000 ids enters a report.
Everything is vectorised over columns; nothing here is written to disk.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from string import ascii_uppercase
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from uvrlab.data import schema

SLACK_S = 1e-3  # a container's clock counts in milliseconds
MODALITIES_OF = {"T2V": ("text",), "I2V": ("image",), "V2V": ("video", "video+audio")}


def read_frames(clips: Path, uvrd: Path, benchmark: Path) -> dict[str, pd.DataFrame]:
    """Every judged table by name. Raises TableError for a file that does not follow its schema."""
    known = clips_frame(schema.read_arrow("clips", clips / "clips"))
    judged = clips_frame(schema.read_arrow("clips", benchmark / "benchmark" / "clips"))
    pairs = pairs_frame(schema.read_arrow("pairs", uvrd / "pairs"), known)
    corpus = corpus_frame(schema.read_arrow("corpus", benchmark / "benchmark" / "corpus"), judged)
    return {
        "clips": known,
        "pairs": pairs,
        "traces": traces_frame(schema.read_arrow("traces", uvrd / "traces"), pairs),
        "questions": questions_frame(schema.read_arrow("questions", uvrd / "questions"), known),
        "benchmark_clips": judged,
        "corpus": corpus,
        "queries": queries_frame(schema.read_arrow("queries", benchmark / "benchmark" / "queries"), corpus, judged),
        "rejects": rejects_frame({"ingest": (clips, len(known)), "synthesize": (uvrd, len(pairs))}),
    }


def clips_frame(table: pa.Table) -> pd.DataFrame:
    frame = table.to_pandas()
    frame["span_is_forward"] = (frame.start_s >= -SLACK_S) & (frame.end_s > frame.start_s)
    frame["audible_has_sound"] = ~_true(frame.audible) | (_true(frame.has_audio) & frame.loudness_db.notna())
    frame["caption_is_not_blank"] = frame.caption.isna() | (frame.caption.fillna("").str.strip() != "")
    for name in ("parent_id", "media_sha256"):
        frame[f"{name}_in_one_split"] = frame.groupby(name).split.transform("nunique") <= 1
    return frame


def pairs_frame(table: pa.Table, clips: pd.DataFrame) -> pd.DataFrame:
    frame = table.select(["pair_id", "task", "ability", "style", "split", "provider"]).to_pandas()
    for side in ("query", "target"):
        frame = frame.join(item_columns(table[side], side, clips))
    frame["modalities_fit_task"] = [
        query in MODALITIES_OF.get(task, ()) for task, query in zip(frame.task, frame.query_modalities, strict=True)
    ]
    split_of = clips.drop_duplicates("clip_id").set_index("clip_id").split
    frame["split_is_the_clips"] = frame.split == frame.target_clip_id.map(split_of)
    frame["is_no_duplicate"] = ~frame.duplicated([c for c in frame if c.startswith(("query_", "target_")) and "is_" not in c])
    frame["words_in_range"] = words_in_range(table)
    return frame


def words_in_range(table: pa.Table) -> pd.Series:
    """Whether the query text has as many words as its style promises; true for styles that promise nothing."""
    words = word_count(pc.struct_field(table["query"], "text"))
    style = table["style"].to_pandas()
    low = style.map({name: ends[0] for name, ends in schema.WORD_RANGES.items()}).fillna(0)
    high = style.map({name: ends[1] for name, ends in schema.WORD_RANGES.items()}).fillna(np.inf)
    return (words >= low) & (words <= high)


def word_count(text: pa.ChunkedArray) -> pd.Series:
    return pc.list_value_length(pc.utf8_split_whitespace(pc.utf8_trim_whitespace(text))).to_pandas().fillna(0)


def item_columns(items: pa.ChunkedArray, side: str, clips: pd.DataFrame) -> pd.DataFrame:
    """An item as flat columns `<side>_text`, ... with the claims that it is whole, known and inside its clip."""
    fields = {name: pc.struct_field(items, name) for name in ("text", "image_uri", "clip_id", "start_s", "end_s")}
    frame = pd.DataFrame({f"{side}_{name}": column.to_pandas() for name, column in fields.items()})
    modalities = pc.struct_field(items, "modalities")
    frame[f"{side}_modalities"] = pc.binary_join(modalities, "+").to_pandas() if len(items) else pd.Series(dtype=object)
    spans = clips.drop_duplicates("clip_id").set_index("clip_id")[["start_s", "end_s"]]
    clip_id, start, end = (frame[f"{side}_{name}"] for name in ("clip_id", "start_s", "end_s"))
    frame[f"{side}_is_known"] = clip_id.isna() | clip_id.isin(spans.index)
    inside = (start >= clip_id.map(spans.start_s) - SLACK_S) & (end <= clip_id.map(spans.end_s) + SLACK_S)
    is_frame = frame[f"{side}_modalities"].fillna("").str.contains("image")
    frame[f"{side}_is_inside"] = start.isna() | clip_id.isna() | (inside & ((end > start) | (is_frame & (end == start))))
    has_text = frame[f"{side}_modalities"].fillna("").str.contains("text")
    frame[f"{side}_is_whole"] = frame[f"{side}_modalities"].fillna("").ne("") & (
        ~has_text | frame[f"{side}_text"].fillna("").str.strip().ne("")
    )
    return frame


def traces_frame(table: pa.Table, pairs: pd.DataFrame) -> pd.DataFrame:
    frame = table.select(["pair_id", "side", "think", "answer", "provider"]).to_pandas()
    frame["pair_is_known"] = frame.pair_id.isin(pairs.pair_id)
    frame["is_not_blank"] = (frame.think.fillna("").str.strip() != "") & (frame.answer.fillna("").str.strip() != "")
    return frame


def questions_frame(table: pa.Table, clips: pd.DataFrame) -> pd.DataFrame:
    frame = table.select(["question_id", "clip_id", "split", "question", "answer", "needs"]).to_pandas()
    known = clips.drop_duplicates("clip_id").set_index("clip_id")
    frame["clip_is_known"] = frame.clip_id.isin(known.index)
    frame["split_is_the_clips"] = frame.split == frame.clip_id.map(known.split)
    bounds = zip(frame.clip_id.map(known.start_s), frame.clip_id.map(known.end_s), strict=True)
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


def corpus_frame(table: pa.Table, clips: pd.DataFrame) -> pd.DataFrame:
    frame = table.select(["dataset", "candidate_id"]).to_pandas().join(item_columns(table["item"], "item", clips))
    frame["is_no_duplicate"] = ~frame.duplicated(["dataset", "candidate_id"])
    return frame


def queries_frame(table: pa.Table, corpus: pd.DataFrame, clips: pd.DataFrame) -> pd.DataFrame:
    frame = table.select(["dataset", "ability", "style", "task", "query_id"]).to_pandas()
    frame = frame.join(item_columns(table["item"], "item", clips))
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
    """One row a stage: how many items it rejected, of how many."""
    rows: list[dict[str, Any]] = []
    for stage, (folder, kept) in stages.items():
        file = folder / "rejects.parquet"
        rejected = schema.read_arrow("rejects", file).num_rows if file.exists() else 0
        rows.append({"stage": stage, "rejected": rejected, "share": rejected / max(rejected + kept, 1)})
    return pd.DataFrame(rows)


def _true(column: pd.Series) -> pd.Series:
    return column.fillna(False).astype(bool)
