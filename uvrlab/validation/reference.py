"""This run against a reference run: columns by Evidently, and what the pairs say and show by the permutation test.

Only one row of a family enters (siblings of the world, or clips of one source video), since its rows resemble each other. All tests
together give a false alarm at most `validate.drift_alpha` of the time.
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
from uvrlab.runs import RunError
from uvrlab.validation import columns
from uvrlab.validation.drift import MEASURED, MOST_ROWS, Drift, drift, measured, one_a_group
from uvrlab.validation.suites import Verdict
from uvrlab.validation.words import bags

MOST_COMPARED = 20_000  # rows a side for columns
CATEGORIES = ("task", "style", "provider", "asked", "given")


@dataclass(frozen=True)
class Side:
    """One run: a row of each family from its pairs, and one from its clips."""

    pairs: pd.DataFrame
    clips: pd.DataFrame
    base: Path

    @classmethod
    def read(cls, uvrd: Path, clips: Path, seed: int = 0) -> Side:
        """Pairs thinned shard by shard, so that memory does not grow with them. RunError where `clips` lacks a target's clip."""
        known = schema.read_arrow("clips", clips / "clips", ["clip_id", "parent_id", "split", "source", "tags", *MEASURED])
        rows = known.to_pandas()
        rows["family"] = families(known)
        family_of = rows.drop_duplicates("clip_id").set_index("clip_id").family
        rng, kept = np.random.default_rng([seed, 33]), pd.DataFrame()
        for file in schema.table_files(uvrd / "pairs"):
            found = _pair_rows(schema.read_arrow("pairs", file), rng)
            found["family"] = found.clip_id.map(family_of)
            if len(lost := found[found.clip_id.notna() & found.family.isna()]):
                raise RunError(f"{clips}: no clip {lost.clip_id.iloc[0]!r} of {uvrd}; give its clips by --in reference_clips=DIR")
            found["family"] = found.family.fillna(found.pair_id)
            kept = pd.concat([kept, found]).sort_values("draw").drop_duplicates("family").head(MOST_COMPARED)
        return cls(kept.reset_index(drop=True), rows.iloc[one_a_group(rows.family, seed, MOST_COMPARED)], clips)


def families(clips: pa.Table) -> pd.Series:
    """The family of each clip, named by its tag or else by its source video."""
    joined = pc.binary_join(pc.fill_null(clips["tags"], []), ",")
    tags = pc.struct_field(pc.extract_regex(joined, "(?P<tag>family:[^,]*)"), "tag")
    named = pc.coalesce(tags, clips["parent_id"], clips["clip_id"]).to_pandas()
    return clips["source"].to_pandas().fillna("") + "/" + clips["split"].to_pandas().fillna("") + "/" + named


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
    """Every drift test and its verdict for `inputs`: uvrd, clips, reference, and where given reference_clips and embedder.

    Without reference_clips the reference is of the same clips, and they are not compared.
    """
    current = Side.read(inputs["uvrd"], inputs["clips"])
    reference = Side.read(inputs["reference"], inputs.get("reference_clips", inputs["clips"]))
    verdicts = [_columns("pairs", current.pairs, reference.pairs, [*CATEGORIES, "text"], CATEGORIES, own, rendered)]
    words, words_before = (bags(pa.array(_texts(side), pa.string())) for side in (current, reference))
    tests = [drift("wording of queries", words, words_before)]
    if "reference_clips" in inputs:
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

    embedder = Embedder.load(model / "model")
    tests = []
    for name in ("query", "target"):
        now, before = (embedder.encode_or_reject(_items(side, name), workers=workers).vectors for side in (current, reference))
        tests.append(drift(f"vectors of {'queries' if name == 'query' else 'targets'}", now, before))
    embedder.close()
    return tests


def _items(side: Side, name: str) -> list[Any]:
    from uvrlab.data.items import ClipIndex

    index = ClipIndex().add_rows(schema.read_table("clips", side.base / "clips"), side.base)
    rows = side.pairs.head(MOST_ROWS)
    return [index.item(item, f"{pair}/{name}") for pair, item in zip(rows.pair_id, rows[name], strict=True)]
