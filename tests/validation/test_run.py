"""Each planted fault is caught by the check that is named for it, and by nothing that it should not touch."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from uvrlab.config import Config, ValidateConfig
from uvrlab.data.schema import read_table, write_file, write_table
from uvrlab.validation import leakage
from uvrlab.validation.frames import read_frames
from uvrlab.validation.run import Findings, ValidationFailed, find_leaks, run
from uvrlab.validation.suites import checks, judge

from .conftest import clip_row

Row = dict[str, Any]
Rows = list[Row]
TRAIN_SHA256 = hashlib.sha256(b"world-train-000000").hexdigest()


def _run(tables: Path, **own: Any) -> Any:
    out = tables / "checks"
    out.mkdir()
    config = Config(validate=ValidateConfig(**{"near_duplicate_bits": None, **own})).for_stage("validate")
    return run(config, {"clips": tables / "in", "uvrd": tables / "uvrd", "benchmark": tables / "in"}, out)


def _first(rows: Rows, **wanted: Any) -> Row:
    return next(row for row in rows if all(row[k] == v for k, v in wanted.items()))


def _put(table: str, values: dict[str, Any], **where: Any) -> tuple[str, Callable[[Rows], None]]:
    return table, lambda rows: _first(rows, **where).update(values)


def _in_query(rows: Rows, task: str, **values: Any) -> None:
    _first(rows, task=task)["query"].update(values)


FAULTS: dict[str, tuple[tuple[str, Callable[[Rows], Any]], tuple[str, str]]] = {
    "an id given twice": (("pairs", lambda r: r[1].update(pair_id=r[0]["pair_id"])), ("pairs", "pair_id is unique")),
    "a pair said twice": (("pairs", lambda r: r.append({**r[0], "pair_id": "copy"})), ("pairs", "no pair says the same twice")),
    "a span past the end": (
        ("pairs", lambda r: _in_query(r, "V2V", end_s=4.5)),
        ("pairs", "the query's span is inside its clip"),
    ),
    "an empty caption": (
        ("pairs", lambda r: _in_query(r, "T2V", text=" ")),
        ("pairs", "the query has the modalities that it names"),
    ),
    "a caption of three words": (
        ("pairs", lambda r: _in_query(r, "T2V", text="a red star")),
        ("pairs", "a caption has the words that its style promises"),
    ),
    "a pair in another split": (_put("pairs", {"split": "val"}, split="train"), ("pairs", "a pair is in the split of its clips")),
    "a pair of a test clip": (
        ("pairs", lambda r: r[0]["target"].update(clip_id="world-test-000000")),
        ("pairs", "a pair is in the split of its clips"),
    ),
    "a sound too faint to be heard": (
        _put("clips", {"loudness_db": -95.0}, audible=True),
        ("clips", "audible agrees with the measured loudness"),
    ),
    "a caption asked word for word": (
        ("pairs", lambda r: _in_query(r, "T2V", text=clip_row("test", 0)["caption"])),
        ("leakage", "judged texts are not said on the training side"),
    ),
    "a target without its task's modality": (
        ("pairs", lambda r: _first(r, task="V2V")["target"].update(modalities=["image"])),
        ("pairs", "the target has the modalities of its task"),
    ),
    "a text query that is a video": (
        ("pairs", lambda r: _in_query(r, "V2V", modalities=["image"])),
        ("pairs", "the query has the modalities of its task"),
    ),
    "a target nobody knows": (
        ("pairs", lambda r: r[0]["target"].update(clip_id="gone")),
        ("pairs", "the target's clip is in the clips table"),
    ),
    "a trace without its pair": (
        ("traces", lambda r: r[0].update(pair_id="gone")),
        ("traces", "the trace's pair is in the pairs table"),
    ),
    "a blank trace": (("traces", lambda r: r[0].update(think="")), ("traces", "think and answer are not blank")),
    "two traces of one side": (("traces", lambda r: r.append(r[0])), ("traces", "one trace a pair and side")),
    "an answer off the list": (
        ("questions", lambda r: next(q for q in r if q["options"]).update(answer="E. a cat")),
        ("questions", "the answer is one of the options"),
    ),
    "a true span outside": (
        ("questions", lambda r: r[0].update(true_spans=[{"start_s": 3.0, "end_s": 9.0}])),
        ("questions", "true spans are inside the clip"),
    ),
    "an unknown need": (("questions", lambda r: r[0].update(needs="smell")), ("questions", "needs is one of picture, sound, both")),
    "a clip without address": (
        ("clips", lambda r: r[0].update(media_sha256="abc")),
        ("clips", "media_sha256 matches ^[0-9a-f]{64}$"),
    ),
    "a clip that ends before it starts": (("clips", lambda r: r[-1].update(start_s=5.0)), ("clips", "0 <= start_s < end_s")),
    "a silent audible clip": (
        _put("clips", {"loudness_db": None}, audible=True),
        ("clips", "an audible clip has a track and a measured loudness"),
    ),
    "a video in two splits": (
        ("clips", lambda r: r[0].update(parent_id=_first(r, split="val")["parent_id"])),
        ("clips", "a source video is in one split"),
    ),
    "a positive off the corpus": (
        ("queries", lambda r: r[0].update(positives=["gone"])),
        ("queries", "positives are candidates of the dataset"),
    ),
    "a query without positive": (
        ("queries", lambda r: r[0].update(positives=[])),
        ("queries", "a query has a positive"),
    ),
    "a candidate twice": (("corpus", lambda r: r.append(r[0])), ("corpus", "candidate_id is unique in its dataset")),
    "a candidate nobody knows": (
        ("corpus", lambda r: r[0]["item"].update(clip_id="gone")),
        ("corpus", "the item's clip is in the clips table"),
    ),
    "a leaked file": (
        ("benchmark_clips", lambda r: r[0].update(media_sha256=TRAIN_SHA256)),
        ("leakage", "no judged clip shares its media content with the training side"),
    ),
    "a leaked source video": (
        ("benchmark_clips", lambda r: r[0].update(parent_id="world-train-000000")),
        ("leakage", "no judged clip shares its source video with the training side"),
    ),
}


def test_sound_tables_pass_and_leave_verdict_and_data_docs(tables: Path) -> None:
    report = _run(tables)
    verdict = json.loads((tables / "checks" / "verdict.json").read_text())
    assert verdict["passed"] and len(verdict["checks"]) == report.counts["checks"] > 80
    assert json.loads((tables / "checks" / "leakage.json").read_text()) == []
    assert (tables / "checks" / "rendered" / "index.html").is_file()
    assert not list((tables / "checks").rglob("*.parquet")), "no table is copied"
    assert "passed" in report.page.html()


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_caught_by_its_check(fault: str, tables: Path, edit: Callable[..., None]) -> None:
    (table, change), (judged, name) = FAULTS[fault]
    edit(table, change)
    if judged == "leakage":
        found = Findings([])
        own = ValidateConfig(near_duplicate_bits=None)
        find_leaks(found, own, {"clips": tables / "in", "uvrd": tables / "uvrd", "benchmark": tables / "in"}, 1)
        verdicts = found.verdicts
    else:
        frames = read_frames(tables / "in", tables / "uvrd", tables / "in")
        verdicts = judge({judged: frames[judged]}, {judged: checks(ValidateConfig())[judged]})
    caught = next(v for v in verdicts if v.name == name)
    assert not caught.passed and caught.failed >= 1 and caught.sample


def test_a_shut_gate_lists_every_failure_with_rows_and_leaves_the_verdict(tables: Path, edit: Callable[..., None]) -> None:
    for fault in ("a caption of three words", "a blank trace", "a leaked file"):
        edit(*FAULTS[fault][0])
    with pytest.raises(ValidationFailed) as caught:
        _run(tables)
    assert {(v.table, v.name) for v in caught.value.failed} == {
        FAULTS[f][1] for f in ("a caption of three words", "a blank trace", "a leaked file")
    }
    assert "world-test-000000" in str(caught.value) and "verdict.json" in str(caught.value)
    verdict = json.loads((tables / "checks" / "verdict.json").read_text())
    assert not verdict["passed"] and sum(not c["passed"] for c in verdict["checks"]) == 3
    assert json.loads((tables / "checks" / "leakage.json").read_text())[0]["train"] == "world-train-000000"


def test_thresholds_come_from_the_config(tables: Path, edit: Callable[..., None]) -> None:
    edit(*FAULTS["a caption of three words"][0])
    edit(*FAULTS["a leaked file"][0])
    _run(tables, word_ranges=False, allow_leakage=1)


def test_a_shared_world_combination_is_a_leak(tables: Path, edit: Callable[..., None]) -> None:
    scene = next(r["scene"] for r in read_table("clips", tables / "in" / "clips") if r["split"] == "train")
    edit("benchmark_clips", lambda rows: rows[0].update(scene=scene))
    leaks = leakage.find_leaks(leakage.train_side(tables / "in", tables / "uvrd"), leakage.judged_side(tables / "in"))
    assert {leak.kind for leak in leaks} == {"attribute combination"}


def test_a_distractor_that_was_trained_on_judges_nobody(tables: Path, edit: Callable[..., None]) -> None:
    edit("queries", lambda rows: rows.pop(0))
    edit("benchmark_clips", lambda rows: rows[0].update(media_sha256=TRAIN_SHA256))
    assert not leakage.find_leaks(leakage.train_side(tables / "in", tables / "uvrd"), leakage.judged_side(tables / "in"))


def test_too_many_rejects_fail_the_gate(tables: Path) -> None:
    rejects = [{"item": str(i), "reason": "corrupt", "detail": "?"} for i in range(20)]
    write_file("rejects", rejects, tables / "in" / "rejects.parquet")
    frame = read_frames(tables / "in", tables / "uvrd", tables / "in")["rejects"]
    failed = judge({"rejects": frame}, {"rejects": checks(ValidateConfig())["rejects"]})[0]
    assert not failed.passed and failed.sample == ["ingest"]


def test_a_table_of_another_version_is_one_failed_verdict(tables: Path) -> None:
    write_table("traces", [], tables / "uvrd" / "pairs")
    with pytest.raises(ValidationFailed, match="every table follows its schema"):
        _run(tables)


def test_tables_without_traces_and_questions_pass(tables: Path) -> None:
    for table in ("traces", "questions"):
        write_table(table, [], tables / "uvrd" / table)
    _run(tables)
