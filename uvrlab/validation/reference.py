"""This run against a reference run: columns by Evidently, and what the pairs say and show by the permutation test.

Only one row of a source video enters, since rows of one video resemble each other. All tests together give a false alarm at most
`validate.drift_alpha` of the time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from uvrlab.config import ValidateConfig
from uvrlab.data import schema
from uvrlab.validation import columns
from uvrlab.validation.drift import MEASURED, MOST_ROWS, Drift, drift, measured, one_a_group
from uvrlab.validation.suites import Verdict
from uvrlab.validation.words import bags

MOST_COMPARED = 20_000  # rows a side for columns
CATEGORIES = ("task", "style", "provider", "asked", "given")


@dataclass(frozen=True)
class Side:
    """One run: a row of each source video from its pairs, and from its clips where they are given."""

    pairs: pd.DataFrame
    clips: pd.DataFrame | None
    base: Path | None

    @classmethod
    def read(cls, uvrd: Path, clips: Path | None, seed: int = 0) -> Side:
        """Pairs thinned shard by shard, so that memory does not grow with them."""
        known = schema.read_arrow("clips", clips / "clips").to_pandas() if clips else None
        parents = known.drop_duplicates("clip_id").set_index("clip_id").parent_id if known is not None else pd.Series(dtype=object)
        rng, kept = np.random.default_rng([seed, 33]), pd.DataFrame()
        for file in schema.table_files(uvrd / "pairs"):
            rows = _pair_rows(schema.read_arrow("pairs", file), rng)
            rows["group"] = rows.clip_id.map(parents).fillna(rows.clip_id).fillna(rows.pair_id)
            kept = pd.concat([kept, rows]).sort_values("draw").drop_duplicates("group").head(MOST_COMPARED)
        if known is not None:
            known = known.iloc[one_a_group(known.parent_id.fillna(known.clip_id), seed, MOST_COMPARED)]
        return cls(kept.reset_index(drop=True), known, clips)


def _pair_rows(table: pa.Table, rng: np.random.Generator) -> pd.DataFrame:
    frame = table.select(["pair_id", "task", "style", "provider"]).to_pandas()
    for side, name in (("query", "asked"), ("target", "given")):
        frame[name] = pc.binary_join(pc.struct_field(table[side], "modalities"), "+").to_pandas()
    frame["text"] = pc.struct_field(table["query"], "text").to_pandas()
    frame["clip_id"] = pc.struct_field(table["target"], "clip_id").to_pandas()
    frame["query"], frame["target"] = table["query"].to_pandas(), table["target"].to_pandas()
    frame["draw"] = rng.random(len(frame))
    return frame


def compare(inputs: Mapping[str, Path], own: ValidateConfig, rendered: Path, workers: int = 2) -> tuple[list[Drift], list[Verdict]]:
    """Every drift test and its verdict for `inputs`: uvrd and clips, reference, and where given reference_clips and embedder."""
    current = Side.read(inputs["uvrd"], inputs["clips"])
    reference = Side.read(inputs["reference"], inputs.get("reference_clips"))
    verdicts = [_columns("pairs", current.pairs, reference.pairs, [*CATEGORIES, "text"], CATEGORIES, own, rendered)]
    words, words_before = (bags(pa.array(_texts(side), pa.string())) for side in (current, reference))
    tests = [drift("wording of queries", words, words_before)]
    if current.clips is not None and reference.clips is not None:
        kinds = ("has_audio", "audible")
        verdicts.append(_columns("clips", current.clips, reference.clips, MEASURED, kinds, own, rendered))
        tests.append(drift("measurements of clips", *measured(current.clips, reference.clips)))
        if "embedder" in inputs:
            tests += _vector_tests(inputs["embedder"], current, reference, workers)
    return tests, verdicts + judge(tests, own.drift_alpha)


def judge(tests: list[Drift], alpha: float) -> list[Verdict]:
    """A verdict each test that could be made, at `alpha` divided by their number (Bonferroni)."""
    made = [t for t in tests if t.p_value is not None]
    return [
        Verdict(
            "drift",
            f"the {t.what} are as in the reference run",
            t.p_value > alpha / len(made),
            t.n_current,
            0 if t.p_value > alpha / len(made) else t.n_current,
            [f"p = {t.p_value:.4f}, squared MMD {t.mmd2:.4f}"],
        )
        for t in made
        if t.p_value is not None
    ]


def _columns(
    table: str,
    current: pd.DataFrame,
    reference: pd.DataFrame,
    names: Sequence[str],
    kinds: tuple[str, ...],
    own: ValidateConfig,
    rendered: Path,
) -> Verdict:
    now, before = (frame[list(names)].astype(dict.fromkeys(kinds, str)) for frame in (current, reference))
    return columns.compare(table, now, before, kinds, own.max_column_drift, rendered / "evidently")


def _texts(side: Side) -> list[str]:
    return [text for text in side.pairs.text if text][:MOST_ROWS]


def _vector_tests(model: Path, current: Side, reference: Side, workers: int) -> list[Drift]:
    """The queries and the targets as a model sees them."""
    from uvrlab.models.encode import Embedder

    embedder = Embedder.load(model)
    tests = []
    for name in ("query", "target"):
        now, before = (embedder.encode_or_reject(_items(side, name), workers=workers).vectors for side in (current, reference))
        tests.append(drift(f"vectors of {'queries' if name == 'query' else 'targets'}", now, before))
    embedder.close()
    return tests


def _items(side: Side, name: str) -> list[Any]:
    from uvrlab.data.items import ClipIndex

    assert side.base is not None
    index = ClipIndex().add_rows(schema.read_table("clips", side.base / "clips"), side.base)
    rows = side.pairs.head(MOST_ROWS)
    return [index.item(item, f"{pair}/{name}") for pair, item in zip(rows.pair_id, rows[name], strict=True)]
