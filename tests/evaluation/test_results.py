"""Results on disk and in comparison: round trips, averages, paired effects, refusals that say what differs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from uvrlab.evaluation import results
from uvrlab.evaluation.compare import compare
from uvrlab.evaluation.results import Evaluation, ResultsError

CHANCES = {("x", "R@1"): 0.1, ("y", "R@1"): 0.2}


def rows(
    p: float, seed: int = 0, n: int = 100, model: str = "m" * 64, benchmark: str = "b" * 64, mode: str = "disc"
) -> list[dict[str, Any]]:
    draws = np.random.default_rng(seed).random((2, n))
    return [
        {
            "dataset": dataset,
            "ability": ability,
            "query_id": f"{dataset}-{i}",
            "mode": mode,
            "metric": "R@1",
            "value": float(draws[d, i] < p),
            "first_relevant_rank": 1,
            "top_ids": ["a"],
            "n_candidates": 10,
            "n_tokens": None,
            "latency_ms": None,
            "model_digest": model,
            "benchmark_digest": benchmark,
        }
        for d, (dataset, ability) in enumerate((("x", "CG"), ("y", "S")))
        for i in range(n)
    ]


def evaluation(*args: Any, **kwargs: Any) -> Evaluation:
    return results.summarise(rows(*args, **kwargs), chances=CHANCES, seed=3, sampling={"frames": 8}, versions={"uvrlab": "0"})


def test_a_summary_round_trips_and_equal_input_gives_equal_bytes(tmp_path: Path) -> None:
    for folder in (tmp_path / "a", tmp_path / "b"):
        folder.mkdir()
        results.write(folder, evaluation(0.4))
    assert results.read(tmp_path / "a") == evaluation(0.4)
    for name in (results.RESULTS, results.PER_QUERY):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    assert sorted(p.name for p in (tmp_path / "a").iterdir()) == [results.PER_QUERY, results.RESULTS]


def test_values_and_averages_are_means_of_means() -> None:
    found = evaluation(0.4).results
    x, y, both = (found.score(name) for name in ("x", "y", "AVG_D"))
    assert both.value == pytest.approx((x.value + y.value) / 2)
    assert both.chance == pytest.approx(0.15)
    assert both.n == 200
    assert both.low < both.value < both.high
    assert both.high - both.low < x.high - x.low
    assert found.score("CG").value == x.value
    with pytest.raises(ResultsError, match="found AVG_D, CG, S, x, y"):
        found.score("z")


def test_ten_points_on_the_same_queries_move_and_a_model_against_itself_does_not() -> None:
    effects = {e.dataset: e for e in compare(evaluation(0.5, model="n" * 64), evaluation(0.4)).effects}
    assert set(effects) == {"x", "y", "CG", "S", "AVG_D"}
    assert effects["AVG_D"].difference == pytest.approx((effects["x"].difference + effects["y"].difference) / 2)
    assert effects["AVG_D"].verdict == "moved"
    assert effects["AVG_D"].low > 0
    assert {e.verdict for e in compare(evaluation(0.4), evaluation(0.4)).effects} == {"not shown"}


def test_two_modes_of_one_model_compare_only_when_asked() -> None:
    disc, gen = evaluation(0.4), evaluation(0.6, mode="gen")
    with pytest.raises(ResultsError, match=r"no shared mode: found \['gen'\] and \['disc'\]"):
        compare(gen, disc)
    assert compare(gen, disc, modes=("gen", "disc")).effects[-1].verdict == "moved"


def test_comparison_refuses_another_benchmark_and_other_queries() -> None:
    a = evaluation(0.4)
    with pytest.raises(ResultsError, match="benchmark bbbbbbbbbbbb, model mmmmmmmmmmmm on cccccccccccc; evaluate both on one"):
        compare(a, evaluation(0.4, benchmark="c" * 64))
    with pytest.raises(ResultsError, match="query sets of 'x' differ: 100 and 99 queries, 'x-99' stands in one only"):
        compare(a, evaluation(0.4, n=99))
    one = results.summarise([r for r in rows(0.4) if r["dataset"] == "x"], chances=CHANCES, seed=0)
    with pytest.raises(ResultsError, match=r"differ \(y\)"):
        compare(a, one)
    asked, bare = (Evaluation(a.results.model_copy(update={"sampling": {"prompts": told}}), a.rows) for told in (True, False))
    with pytest.raises(ResultsError, match=r"evaluate\.prompts is True of model"):
        compare(asked, bare)


def test_faulty_results_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ResultsError, match=r"has no results\.json"):
        results.read(tmp_path)
    results.write(tmp_path, evaluation(0.4))
    file = tmp_path / results.RESULTS
    file.write_text(json.dumps({**json.loads(file.read_text()), "model_digest": "z" * 64}))
    with pytest.raises(ResultsError, match="has model_digest mmmmmmmmmmmm"):
        results.read(tmp_path)
    with pytest.raises(ResultsError, match="query 'x-0' of 'x' stands twice"):
        results.summarise(rows(0.4) + rows(0.4), chances=CHANCES, seed=0)
    with pytest.raises(ResultsError, match="2 values of model_digest"):
        results.summarise(rows(0.4) + rows(0.4, model="n" * 64, mode="gen"), chances=CHANCES, seed=0)


def test_an_average_and_its_interval_weigh_datasets_not_queries() -> None:
    """x: 360 hits of 400, y: 2 of 20. AVG_D is 0.5; the share of all queries, 0.862, lies outside its interval."""
    kept = [r for r in rows(0.5, n=400) if r["dataset"] == "x"] + [r for r in rows(0.5, n=20) if r["dataset"] == "y"]
    hits = {"x": 360, "y": 2}
    uneven = [{**r, "value": float(int(r["query_id"].split("-")[1]) < hits[r["dataset"]])} for r in kept]
    average = results.summarise(uneven, chances=CHANCES, seed=0).results.score("AVG_D")
    assert average.value == pytest.approx(0.5)
    assert 0.4 < average.low < 0.5 < average.high < 0.6
