"""What must hold in each table, as literal lists, and Great Expectations 1.x as the judge.

Great Expectations takes seconds to import and asks the network for nothing once its analytics are off, so it is imported in the
function that runs it, with `GX_ANALYTICS_ENABLED=False`.
"""

from __future__ import annotations

import logging
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from uvrlab.config import ValidateConfig
from uvrlab.data.schema import NEEDS, SPLITS, WORD_RANGES
from uvrlab.validation.frames import TASKS

SAMPLE_ROWS = 10


@dataclass(frozen=True)
class Check:
    """One expectation: the claim in words, the Great Expectations class, its arguments."""

    name: str
    kind: str
    arguments: dict[str, Any]


@dataclass(frozen=True)
class Verdict:
    """How one check ended: rows looked at, rows that failed, the ids of the first of them, and how many may fail."""

    table: str
    name: str
    passed: bool
    checked: int
    failed: int
    sample: list[str] = field(default_factory=list)
    allowed: int = 0

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    def __str__(self) -> str:
        rows = f": {', '.join(self.sample)}" if self.sample else ""
        return f"{self.table}: {self.name} ({self.failed} of {self.checked} rows fail{rows})"


def unique(column: str) -> Check:
    return Check(f"{column} is unique", "ExpectColumnValuesToBeUnique", {"column": column})


def filled(column: str) -> Check:
    return Check(f"{column} is not null", "ExpectColumnValuesToNotBeNull", {"column": column})


def one_of(column: str, values: tuple[Any, ...]) -> Check:
    shown = ", ".join(map(str, values))
    return Check(f"{column} is one of {shown}", "ExpectColumnValuesToBeInSet", {"column": column, "value_set": list(values)})


def between(column: str, low: float, high: float, words: str = "") -> Check:
    bounds = {"column": column, "min_value": low, "max_value": high}
    return Check(words or f"{column} is within {low:g} and {high:g}", "ExpectColumnValuesToBeBetween", bounds)


def matches(column: str, regex: str) -> Check:
    return Check(f"{column} matches {regex}", "ExpectColumnValuesToMatchRegex", {"column": column, "regex": regex})


def claim(column: str, words: str) -> Check:
    """A boolean column of frames.py that must be true in every row."""
    return Check(words, "ExpectColumnValuesToBeInSet", {"column": column, "value_set": [True]})


def rows(low: int) -> Check:
    return Check(f"at least {low} rows", "ExpectTableRowCountToBeBetween", {"min_value": low})


IDS = {"traces": "pair_id", "questions": "question_id", "corpus": "candidate_id", "queries": "query_id", "rejects": "stage"}
IDS |= {"clips": "clip_id", "benchmark_clips": "clip_id", "pairs": "pair_id", "filters": "clip_id", "mix": "task"}

CLIPS = (
    unique("clip_id"),
    *(filled(c) for c in ("parent_id", "uri", "media_sha256", "start_s", "end_s", "fps", "split", "licence")),
    matches("media_sha256", "^[0-9a-f]{64}$"),
    one_of("split", SPLITS),
    one_of("rotation", (-270, -180, -90, 0, 90, 180, 270)),
    between("duration_s", 0.01, 6 * 3600),
    between("fps", 0.01, 1000),
    between("width", 1, 16384),
    between("height", 1, 16384),
    claim("span_is_forward", "0 <= start_s < end_s"),
    claim("audible_has_sound", "an audible clip has a track and a measured loudness"),
    claim("audible_is_loud", "audible agrees with the measured loudness"),
    claim("caption_is_not_blank", "a caption is not blank"),
)


def checks(own: ValidateConfig) -> dict[str, tuple[Check, ...]]:
    """Every table's expectations under this configuration."""
    items = lambda side: (  # noqa: E731
        claim(f"{side}_is_whole", f"the {side} has the modalities that it names"),
        claim(f"{side}_is_known", f"the {side}'s clip is in the clips table"),
        claim(f"{side}_is_inside", f"the {side}'s span is inside its clip"),
    )
    words = (claim("words_in_range", "a caption has the words that its style promises"),) if own.word_ranges else ()
    return {
        "clips": (
            *CLIPS,
            claim("parent_id_in_one_split", "a source video is in one split"),
            claim("media_sha256_in_one_split", "a file's content is in one split"),
        ),
        "pairs": (
            rows(own.min_pairs),
            unique("pair_id"),
            one_of("task", TASKS),
            one_of("style", (*WORD_RANGES, "given", "")),
            one_of("split", ("train", "val", "rl")),
            *items("query"),
            *items("target"),
            claim("query_fits_task", "the query has the modalities of its task"),
            claim("target_fits_task", "the target has the modalities of its task"),
            claim("split_is_the_clips", "a pair is in the split of its clips"),
            claim("is_no_duplicate", "no pair says the same twice"),
            *words,
        ),
        "traces": (
            one_of("side", ("query", "target")),
            claim("pair_is_known", "the trace's pair is in the pairs table"),
            claim("is_not_blank", "think and answer are not blank"),
            Check("one trace a pair and side", "ExpectCompoundColumnsToBeUnique", {"column_list": ["pair_id", "side"]}),
        ),
        "questions": (
            unique("question_id"),
            one_of("needs", NEEDS),
            filled("question"),
            filled("answer"),
            claim("clip_is_known", "the question's clip is in the clips table"),
            claim("split_is_the_clips", "a question is in its clip's split"),
            claim("answer_is_an_option", "the answer is one of the options"),
            claim("options_differ", "no option is given twice"),
            claim("spans_are_inside", "true spans are inside the clip"),
        ),
        "benchmark_clips": (rows(1), *CLIPS),
        "corpus": (rows(1), claim("is_no_duplicate", "candidate_id is unique in its dataset"), *items("item")),
        "queries": (
            rows(1),
            claim("is_no_duplicate", "query_id is unique in its dataset"),
            *items("item"),
            between("n_positives", 1, 1e9, "a query has a positive"),
            claim("positives_are_candidates", "positives are candidates of the dataset"),
            claim("pool_are_candidates", "the pool's ids are candidates of the dataset"),
        ),
        "rejects": (
            between(
                "share", 0, own.max_reject_fraction, f"at most {own.max_reject_fraction:.0%} of what a stage took in are rejects"
            ),
        ),
        "mix": (
            between("apart", 0, own.mix_tolerance, f"a task's share of the pairs is within {own.mix_tolerance:.0%} of the asked"),
        ),
        "filters": (
            filled("filter"),
            one_of("verdict", ("keep", "drop", "not judged")),
            claim("clip_is_known", "the judged clip is in the clips table"),
            claim("drop_has_its_reason", "what is dropped has a score and a threshold"),
            claim("drop_is_gone", "what is dropped is in no pair"),
        ),
    }


def judge(frames: dict[str, pd.DataFrame], wanted: dict[str, tuple[Check, ...]], rendered: Path | None = None) -> list[Verdict]:
    """Run the suite of every frame; with `rendered`, build the data docs there, offline. A check that cannot run is failed."""
    gx = _library()
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}
    source, verdicts = context.data_sources.add_pandas("tables"), []
    for table, expected in ((name, wanted[name]) for name in frames):
        batch = source.add_dataframe_asset(table).add_batch_definition_whole_dataframe("all")
        suite = context.suites.add(gx.ExpectationSuite(table, expectations=[_expectation(check) for check in expected]))
        definition = context.validation_definitions.add(gx.ValidationDefinition(name=table, data=batch, suite=suite))
        checkpoint = gx.Checkpoint(
            name=table,
            validation_definitions=[definition],
            result_format={
                "result_format": "SUMMARY",
                "unexpected_index_column_names": [IDS[table]],
                "partial_unexpected_count": SAMPLE_ROWS,
            },
        )
        result = next(iter(context.checkpoints.add(checkpoint).run({"dataframe": frames[table]}).run_results.values()))
        found = {r.expectation_config.meta["claim"]: r for r in result.results}
        verdicts += [_verdict(table, check, found[check.name], len(frames[table])) for check in expected]
    if rendered is not None:
        context.add_data_docs_site("local", _site(rendered))
        context.build_data_docs(site_names=["local"])
    return verdicts


def _library() -> Any:
    os.environ["GX_ANALYTICS_ENABLED"] = "False"
    np.set_printoptions(legacy="1.25")  # data docs cannot print numpy 2 scalars
    logging.getLogger("great_expectations").setLevel(logging.WARNING)
    import great_expectations as gx

    return gx


def _site(folder: Path) -> dict[str, Any]:
    store = {"class_name": "TupleFilesystemStoreBackend", "base_directory": str(folder.resolve())}
    return {"class_name": "SiteBuilder", "site_index_builder": {"class_name": "DefaultSiteIndexBuilder"}, "store_backend": store}


def _expectation(check: Check) -> Any:
    import great_expectations.expectations as gxe

    return getattr(gxe, check.kind)(**check.arguments, meta={"claim": check.name}, description=check.name)


def _verdict(table: str, check: Check, result: Any, n_rows: int) -> Verdict:
    found = result.result or {}
    failed = int(found.get("unexpected_count", 0 if result.success else n_rows))
    rows = found.get("partial_unexpected_index_list") or []
    sample = list(dict.fromkeys(str(row[IDS[table]]) for row in rows))[:SAMPLE_ROWS]
    if not result.success and not found:
        sample = [f"the check could not run: {result.exception_info}"[:300]]
    return Verdict(table, check.name, bool(result.success), n_rows, failed, sample)
