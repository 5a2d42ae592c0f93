"""The table of a study: UVRB's averages against nested means, their intervals against closed forms, and which rows stand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.evaluation.written import nested_means
from uvrlab.evaluation import results, uvrb
from uvrlab.study import Study
from uvrlab.study_table import MEAN, Outcome, StudyEffect, study_effects

SEEDS = (0, 1)
UVRB = {f"{uvrb.MIRROR}{name}": (known.ability, known.metric) for name, known in uvrb.DATASETS.items()}
OTHERS = {"world-rich": ("FG", "R@1"), "world-i2v": ("VIS", "R@1")}
Hits = dict[tuple[str, int, str], np.ndarray]  # variant, seed, dataset -> one value a query, by the dataset's own metric


def study(**changes: Any) -> Study:
    return Study(question="?", seeds=SEEDS, baseline="plain", variants={"plain": (), "new": ()}, bootstrap=4000, **changes)


def write(root: Path, datasets: dict[str, tuple[str, str]], main: dict[str, str] | None = None) -> tuple[dict[Any, Path], Hits]:
    """Evaluations of both variants and seeds: datasets of 20, 27, 34 ... queries, values of 0, 1/2 or 1; any other R@1 is 0."""
    folders, hits = dict[Any, Path](), Hits()
    for variant in ("plain", "new"):
        for seed in SEEDS:
            rows = []
            for number, (dataset, (ability, own)) in enumerate(datasets.items()):
                rng = np.random.default_rng([seed, number, variant == "new"])
                value = rng.binomial(2, 0.3 + 0.02 * number + 0.1 * (variant == "new"), 20 + 7 * number) / 2
                hits[variant, seed, dataset] = value
                for metric, values in {"R@1": 0 * value, own: value}.items():
                    rows += [
                        {"dataset": dataset, "ability": ability, "query_id": f"q{i}", "mode": "speed", "metric": metric}
                        | {"value": float(v), "model_digest": "m", "benchmark_digest": "b", "top_ids": [], "n_candidates": 10}
                        for i, v in enumerate(values)
                    ]
            folder = folders[variant, seed] = root / f"{variant}-{seed}"
            folder.mkdir()
            results.write(folder, results.summarise(rows, chances={}, seed=0, bootstrap=10, main=main))
    return folders, hits


def named(effects: list[StudyEffect]) -> dict[tuple[str, str], StudyEffect]:
    found = {(e.dataset, e.metric): e for e in effects}
    assert len(found) == len(effects)
    return found


def test_averages_are_nested_means_of_own_metrics_and_the_datasets_beside_uvrb_stay_out(tmp_path: Path) -> None:
    folders, hits = write(tmp_path, UVRB | OTHERS)
    effects, notes = study_effects(study(), folders)
    assert not notes
    found = named(effects)
    sides = {
        (variant, seed): nested_means({name: hits[variant, seed, f"{uvrb.MIRROR}{name}"].mean() for name in uvrb.DATASETS})
        for variant in ("plain", "new")
        for seed in SEEDS
    }
    assert [e.dataset for e in effects][:4] == ["AVG_D", "AVG_A", "TXT", "FG"]
    assert {name for name, metric in found if metric == "main"} == sides["new", 0].keys()
    for name in sides["new", 0]:
        e = found[name, "main"]
        plain, new = ([sides[variant, seed][name] for seed in SEEDS] for variant in ("plain", "new"))
        assert (e.value, e.against_value) == pytest.approx((np.mean(new), np.mean(plain)))
        assert e.difference == pytest.approx(e.value - e.against_value)
        assert e.by_seed == pytest.approx(np.subtract(new, plain))


@pytest.mark.parametrize("name", ["AVG_D", "AVG_A", "FG", "CMP"])
def test_the_interval_of_an_average_has_the_width_of_its_weights(tmp_path: Path, name: str) -> None:
    """Var of sum(w_d * mean of dataset d) over both seeds = sum(w_d^2 * (v_d0 / n_d + v_d1 / n_d)) / 4, v with n - 1 below.

    Weights: AVG_D 1/16; CMP 1/2; FG 1/3 of 1/2 (S, T) or of 1/3 (PR); AVG_A 1/6 for its part in each of the six averages. The
    minimum detectable effect is (1.960 + 0.842) of these standard errors; a percentile interval is 1.96 of them on either side,
    within 6 % at 4,000 resamples (whose variance has n below, not n - 1).
    """
    folders, hits = write(tmp_path, UVRB)
    variance = 0.0
    for dataset, (ability, _) in UVRB.items():
        alike = sum(other == ability for other, _ in UVRB.values())
        fine = 1 / 3 / alike if ability in ("S", "T", "PR") else 0.0
        coarse = 1 / alike if ability in ("CG", "LC") else 0.0
        leaf = 1 / alike if ability in ("CMP", "VIS") else 0.0
        weight = {
            "AVG_D": 1 / 16,
            "CMP": 1 / 2 if ability == "CMP" else 0.0,
            "FG": fine,
            "AVG_A": ((fine + coarse) / 3 + fine + coarse + leaf) / 6,
        }[name]
        for seed in SEEDS:
            change = hits["new", seed, dataset] - hits["plain", seed, dataset]
            variance += weight**2 * change.var(ddof=1) / change.size / 4
    error = variance**0.5
    effect = named(study_effects(study(), folders)[0])[name, "main"]
    assert effect.minimum_detectable == pytest.approx((1.95996 + 0.84162) * error, rel=1e-4)
    assert (effect.high - effect.low) / 2 == pytest.approx(1.96 * error, rel=0.06)
    assert effect.low < effect.difference < effect.high


def test_every_average_stands_before_every_dataset_and_main_shows_each_dataset_by_its_own_metric(tmp_path: Path) -> None:
    folders, _ = write(tmp_path, UVRB)
    chosen = study(metrics=("main",))
    effects, _ = study_effects(chosen, folders)
    assert [e.metric == "main" for e in effects] == [True] * 11 + [False] * 16, "no mean of all: three metrics judge them"
    assert {e.dataset: e.metric for e in effects[11:]} == {name: own for name, (_, own) in UVRB.items()}
    page = Outcome(chosen, effects, {}, {}, []).page().html()
    assert page.index("UVRB&#x27;s averages, speed") < page.index("R@10, speed")


def test_the_mean_of_all_stands_where_one_metric_judges_all_and_no_average_says_it(tmp_path: Path) -> None:
    answers = {"answers-sound": ("sound", "accuracy"), "answers-picture": ("picture", "accuracy")}
    (tmp_path / "answers").mkdir()
    folders, hits = write(tmp_path / "answers", answers, main=dict.fromkeys(answers, "accuracy"))
    found = named(study_effects(study(metrics=("accuracy",)), folders)[0])
    assert {name for name, _ in found} == {*answers, MEAN}
    means = [hits["new", s, d].mean() - hits["plain", s, d].mean() for s in SEEDS for d in answers]
    assert found[MEAN, "accuracy"].difference == pytest.approx(np.mean(means))
    (tmp_path / "others").mkdir()
    folders, _ = write(tmp_path / "others", OTHERS)
    assert {name for name, _ in named(study_effects(study(), folders)[0])} == {"AVG_D", "FG", "VIS", *OTHERS}


def test_a_study_of_some_datasets_averages_those_alone_and_an_unknown_metric_is_said(tmp_path: Path) -> None:
    folders, _ = write(tmp_path, UVRB)
    some = study(datasets=("world-MS-TI", "world-MS-TV"), metrics=("main",))
    assert {e.dataset for e in study_effects(some, folders)[0]} == {"AVG_D", "CMP", "world-MS-TI", "world-MS-TV"}
    effects, notes = study_effects(study(metrics=("R@2",)), folders)
    assert not effects and len(notes) == 2
    assert notes[0].startswith("new against plain, seed 0: no common dataset and mode with R@2; found P@1, R@1, R@10")
