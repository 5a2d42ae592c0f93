"""The profile in the report, scored from random vectors on the datasets' real forms: own metrics, modes, models, the last run."""

from __future__ import annotations

import numpy as np
import pytest

from uvrlab.evaluation import known, modes_report, profile_report, results, tasks, uvrb
from uvrlab.evaluation.evaluate import Outcome
from uvrlab.evaluation.results import Evaluation
from uvrlab.evaluation.tasks import Query, Task
from uvrlab.report import Report
from uvrlab.runs import StageReport

N, WIDTH = 12, 8


def task(known_dataset: uvrb.Dataset) -> Task:
    """12 queries of one dataset's form: one positive each, or three of a pool of ten."""
    ids = [f"c{i:02d}" for i in range(N)]
    queries = [
        Query(f"q{i:02d}", (ids[i],)) if not known_dataset.pools else Query(f"q{i:02d}", (ids[0], ids[3], ids[5]), tuple(ids[:10]))
        for i in range(N)
    ]
    return tasks.check(Task(f"world-{known_dataset.name}", known_dataset.ability, tuple(queries), {key: {} for key in ids}))


def evaluation(seed: int, modes=("speed",), bench: str = "b" * 64, skill: float = 1.0) -> Evaluation:
    """Random candidates; a query is its first positive plus noise."""
    rng, rows, chances = np.random.default_rng(seed), [], {}
    for mode in modes:
        for dataset in uvrb.DATASETS.values():
            one, corpus = task(dataset), rng.normal(size=(N, WIDTH))
            queries = skill * np.stack([corpus[list(one.corpus).index(q.positives[0])] for q in one.queries])
            queries += rng.normal(size=(N, WIDTH))
            unit = [v / np.linalg.norm(v, axis=1, keepdims=True) for v in (queries, corpus)]
            found = tasks.score(one, *unit, list(dict.fromkeys(("R@1", "R@10", dataset.metric))))
            rows += tasks.per_query_rows(one, found, mode=mode, model_digest=str(seed) * 64, benchmark_digest=bench)
            chances |= {(one.dataset, name): level for name, level in tasks.mean_chances(found).items()}
    return results.summarise(rows, chances=chances, seed=0, bootstrap=50)


def test_each_dataset_is_judged_by_its_own_metric_and_the_averages_nest():
    found = evaluation(1).results
    assert found.main["world-CMRB"] == found.main["world-LoVR-TH"] == "R@10"
    assert found.main["world-MS-TI"] == found.main["world-MS-TV"] == "P@1"
    assert found.score("world-MS-TI").chance == pytest.approx(0.3)  # three of ten are right
    own = {d: found.score(d).value for d in found.main}
    expected = uvrb.averages(own, {f"world-{n}": d.ability for n, d in uvrb.DATASETS.items()})
    assert {a: found.score(a).value for a in expected} == pytest.approx(expected)
    assert found.score("AVG_D").value == pytest.approx(sum(own.values()) / 16)


def test_averages_are_uvrbs_alone_where_other_datasets_stand_beside():
    abilities = {f"world-{n}": d.ability for n, d in uvrb.DATASETS.items()}
    mixed = uvrb.weights(abilities | {"world-rich": "FG", "world-i2v": "VIS"})
    assert mixed == uvrb.weights(abilities)
    assert set(mixed["AVG_D"]) == set(abilities)


@pytest.fixture
def work(tmp_path, monkeypatch):
    monkeypatch.setenv("UVR_WORK", str(tmp_path))


def page(trained: Evaluation, base: Evaluation) -> str:
    made, digests = Report("Evaluation"), (trained.results.benchmark_digest, trained.results.model_digest)
    models = {"trained": trained, "before": base}
    profile_report.add(made, models, known.earlier(*digests), known.last(*digests), seed=0, bootstrap=50)
    return made.html()


def test_a_first_run_has_a_radar_of_nine_abilities_and_nothing_to_compare_with(work):
    html = page(evaluation(1), evaluation(2))
    assert all(f">{ability}</text>" in html for ability in ("TXT", "CMP", "VIS", "CG", "FG", "LC", "S", "T", "PR"))
    assert "world-LoVR-C2V (VIS, R@1)" in html and "world-MS-TI (CMP, P@1)" in html
    assert not any(words in html for words in ("Since the last run", "What moves together"))


def test_later_runs_show_what_changed_and_how_abilities_move_together(work):
    for seed in (3, 4):
        known.remember(evaluation(seed))
    html = page(evaluation(1, skill=9.0), evaluation(2))
    assert "Since the last run" in html and "Model 444444444444" in html and "queries gained" in html
    assert "Spearman over 4 models" in html
    assert [r.model_digest for r in known.earlier("b" * 64, "")] == [str(seed) * 64 for seed in (3, 4)]


def test_the_same_model_again_is_no_earlier_run_and_another_benchmark_is_none(work):
    known.remember(evaluation(3))
    assert known.last("b" * 64, "3" * 64) is None
    assert known.last("c" * 64, "5" * 64) is None


def test_modes_stand_beside_the_models_and_are_compared_dataset_by_dataset_in_one_section(work):
    found = evaluation(1, ("speed", "think"))
    assert "trained:think" in page(found, evaluation(2, ("speed", "think")))
    cost = {"n": N, "query_tokens": 1.0, "candidate_tokens": 0.0, "thinks": 1.0, "fallbacks": 0}
    costs = tuple(results.ModeCost(mode=mode, **cost) for mode in ("speed", "think"))
    both = Evaluation(found.results.model_copy(update={"modes": costs}), found.rows)
    report = StageReport(stage="evaluate", page=Report("Evaluation"))
    modes_report.add(report, Outcome(both, {"speed": 1.0, "think": 2.0}), found, 0)
    html = report.page.html()
    assert html.count("<h2>Modes") == 1 and html.count("think - speed") == 1 and "Mode by dataset" in html


def test_a_last_run_with_other_modes_is_told_and_not_compared(work):
    known.remember(evaluation(3, ("think",)))
    assert "no shared mode" in page(evaluation(1), evaluation(2))


def test_what_another_version_wrote_is_left_out_and_logged(work, tmp_path, caplog):
    for seed in (3, 4, 5):
        known.remember(evaluation(seed))
    kept = tmp_path / "evaluations" / ("b" * 64)
    (kept / ("4" * 64) / results.RESULTS).write_text('{"schema": 0, "model": "of an older version"}')
    (kept / ("5" * 64) / results.PER_QUERY).write_bytes(b"no table")
    with caplog.at_level("WARNING", "uvrlab.evaluation"):
        assert known.last("b" * 64, "").results.model_digest == "3" * 64
        assert [r.model_digest[0] for r in known.earlier("b" * 64, "")] == ["3", "5"]
    assert "model 444444444444 is left out" in caplog.text and "model 555555555555 is left out" in caplog.text


def test_models_that_were_asked_otherwise_are_not_shown_beside(work):
    found = evaluation(3)
    known.remember(Evaluation(found.results.model_copy(update={"sampling": {"prompts": True}}), found.rows))
    assert known.last("b" * 64, "", False) is None and known.earlier("b" * 64, "", False) == []
    assert known.last("b" * 64, "", True).results == known.earlier("b" * 64, "", True)[0]
