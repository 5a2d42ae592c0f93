"""The diagnosis on small tables by hand, and on the published ones against the printed figure."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from uvrlab.cli import main
from uvrlab.evaluation import published
from uvrlab.evaluation.diagnose import PAIRS_FOR, diagnose, leaf_abilities, synthesis_mix
from uvrlab.evaluation.diagnose_text import diagnosis_text, recipe_shares
from uvrlab.evaluation.score_tables import ScoreTable


def table(**rows: dict[str, float]) -> ScoreTable:
    found = ScoreTable()
    found.add("test", rows)
    return found


@pytest.fixture
def tables(shared: Path) -> list[str]:
    """The published tables, as arguments."""
    names = ("abilities", "ablation", "results")
    return [part for name in names for part in ("--results", str(shared / "data" / "published" / f"uvrb_{name}.csv"))]


def test_the_package_holds_the_published_tables_cell_by_cell(shared: Path) -> None:
    for name, ours in (("abilities", published.ABILITIES), ("ablation", published.ABILITIES), ("results", published.DATASETS)):
        with (shared / "data" / "published" / f"uvrb_{name}.csv").open() as file:
            for row in csv.DictReader(file):
                held = {**published.ABILITIES[row["model"]], **ours[row["model"]]}
                assert {c: float(v) for c, v in row.items() if c != "model"}.items() <= held.items()
    with (shared / "data" / "published" / "uvrd_counts.csv").open() as file:
        assert {r["subset"].removeprefix("UVRD-"): int(r["size_K"]) for r in csv.DictReader(file)} == published.UVRD_K


def test_the_printed_cells_of_figure_7_come_out_of_the_published_csv(tables: list[str], capsys) -> None:
    """Issue and facts: within 0.006, Spearman, six CLIP-type models."""
    assert main(["diagnose", *tables, "--models", ",".join(published.CLIP), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert set(said) == {"method", "models", "n", "cells"}
    assert (said["method"], said["models"], said["n"]) == ("spearman", list(published.CLIP), 6)
    cells = {(c["row"], c["column"]): c for c in said["cells"]}
    for row, printed in published.FIG7_CLIP.items():
        for column, value in zip(published.FIG7_COLUMNS, printed, strict=False):
            assert cells[row, column]["value"] == pytest.approx(value, abs=0.006), (row, column)
            assert cells[row, column]["low"] <= cells[column, row]["value"] <= cells[row, column]["high"]


def test_published_tables_name_a_poor_predictor_and_a_good_one(tables: list[str], capsys) -> None:
    assert main(["diagnose", *tables[-2:], "--models", ",".join((*published.CLIP, *published.MLLM))]) == 0
    said = capsys.readouterr().out
    predictors = said[said.index("Which dataset") :].splitlines()[2:18]
    places = {line.split()[0]: at for at, line in enumerate(predictors)}
    assert places["LoVR-TH"] == 0 and places["MSRVTT"] >= 12
    assert "Which ability is weak: CMP (mean of all models, n = 14)" in said


def test_ours_are_in_focus_and_the_weakest_ability_gets_pairs() -> None:
    """Ours is perfect but for PR: the whole mix is PR's three kinds, a third each."""
    perfect = dict.fromkeys(("CG", "S", "T", "PR", "LC", "CMP", "VIS"), 1.0)
    scores = table(mine={**perfect, "PR": 0.1}, other={**perfect, "CMP": 0.0}, third=perfect)
    scores.own = ["mine"]
    found = diagnose(scores)
    assert (found.focus, found.weak[0].ability, found.weak[0].best_model) == (("mine",), "PR", "other")
    assert found.mix == pytest.approx(PAIRS_FOR["PR"])
    assert "Which ability is weak: PR (mean of our own models, n = 1)" in diagnosis_text(found)


def test_the_mix_weighs_headroom_by_what_the_average_gains() -> None:
    """AVG_A weighs CMP, VIS 1/6 each; CG, LC 2/9; S, T, PR 2/27. At equal headroom these are the shares."""
    mix = synthesis_mix(dict.fromkeys(("CG", "S", "T", "PR", "LC", "CMP", "VIS"), 0.5))
    assert mix["TI2V", ""] == mix["V2V", ""] == pytest.approx(1 / 12)
    assert mix["T2V", "concise"] == pytest.approx(2 / 9)
    assert mix["T2V", "rich"] == pytest.approx(2 / 27 + 2 / 27 + 2 / 9)
    assert sum(mix.values()) == pytest.approx(1)
    tasks, styles = recipe_shares(mix)
    assert sum(tasks.values()) == pytest.approx(1, abs=1e-9) and sum(styles.values()) == pytest.approx(1, abs=1e-9)


def test_the_mix_of_a_benchmark_without_all_abilities_weighs_them_alike() -> None:
    assert synthesis_mix({"CG": 0.5, "VIS": 0.5})["T2V", "concise"] == pytest.approx(0.5)
    assert synthesis_mix({"CG": 1.0, "VIS": 1.0}) == {}


def test_abilities_come_from_the_datasets_where_a_table_has_only_these() -> None:
    row = published.DATASETS["GVE-7B"]
    found = leaf_abilities(row)
    assert found == pytest.approx({a: published.ABILITIES["GVE-7B"][a] for a in found}, abs=0.0015) and len(found) == 7
    assert leaf_abilities({"FG": 0.3, "PR": 0.2}) == {"FG": 0.3, "PR": 0.2}


def test_leaving_a_dataset_out_of_the_whole_takes_away_its_own_share() -> None:
    """Datasets a, b, c over four models; b and c rise together, a against them: with itself in the whole a looks less opposed."""
    rows = {f"m{i}": {"a": -i / 2, "b": i + 0.0, "c": 2.0 * i} for i in range(4)}
    found = {p.column: p for p in diagnose(table(**rows), "pearson").datasets}
    assert found["a"].rest.value == pytest.approx(-1) and found["b"].rest.value == pytest.approx(1)


def test_a_constant_column_has_no_coefficient() -> None:
    found = diagnose(table(x={"CG": 0.5, "T": 0.1}, y={"CG": 0.5, "T": 0.2}, z={"CG": 0.5, "T": 0.3}))
    assert [cell.value for cell in found.cells] == [None, None]
    assert "CG" in diagnosis_text(found)


def test_faults_end_the_command_with_a_message(tmp_path: Path, capsys) -> None:
    (tmp_path / "t.csv").write_text("model,CG,T\na,0.1,0.2\n")
    (tmp_path / "u.csv").write_text("model,CG\na,0.3\n")
    assert main(["diagnose", "--results", str(tmp_path / "t.csv"), "--results", str(tmp_path / "u.csv")]) == 1
    assert "model 'a', column 'CG'" in capsys.readouterr().err
    assert main(["diagnose"]) == 2
    assert "--results" in capsys.readouterr().err
