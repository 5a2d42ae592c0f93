"""Tables of scores: joined by model, and every fault named by file, model and column."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.evaluation.written import write_run
from uvrlab.evaluation.score_tables import TableFault, load, read_csv


def write(path: Path, *lines: str) -> str:
    path.write_text("\n".join(lines) + "\n")
    return str(path)


def test_tables_join_by_model_and_keep_only_what_every_model_has(tmp_path: Path) -> None:
    one = write(tmp_path / "one.csv", "model,CG,T", "a,0.1,0.2", "b,0.3,0.4")
    two = write(tmp_path / "two.csv", "T,model,PR,CG", "0.2,a,0.9,", "0.6,c,-,0.5")
    table = load([one, two])
    assert table.scores == {"a": {"CG": 0.1, "T": 0.2, "PR": 0.9}, "b": {"CG": 0.3, "T": 0.4}, "c": {"T": 0.6, "CG": 0.5}}
    everyone = table.select()
    assert everyone.columns == ["CG", "T"]
    assert everyone.notes == ["left out, as not every model has them (b lacks some): PR"]
    assert table.select(["c", "a"]).column("T") == [0.6, 0.2]


def test_tables_that_disagree_are_refused(tmp_path: Path) -> None:
    one = write(tmp_path / "one.csv", "model,CG,T", "a,0.1,0.2")
    two = write(tmp_path / "two.csv", "model,T", "a,0.25")
    with pytest.raises(TableFault, match=r"two\.csv: model 'a', column 'T' is 0\.25, but .*one\.csv says 0\.2"):
        load([one, two])


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (("name,CG", "a,0.1"), "found columns name, CG; expected model"),
        (("model,CG,CG", "a,0.1,0.2"), "no name twice"),
        (("model,CG", "a,0.1,0.2"), "line 2: found 3 cells, expected 2"),
        (("model,CG", "a,0.1", "a,0.1"), "line 3: model 'a' stands twice"),
        (("model,CG", ",0.1"), "line 2: model '' is empty"),
        (("model,CG", "a,0.1", "b,n/a"), "line 3, model 'b', column 'CG': 'n/a' is no finite number"),
        (("model,CG", "a,nan"), "line 2, model 'a', column 'CG': 'nan'"),
        ((), "found columns ; expected model"),
    ],
)
def test_faulty_tables_name_file_line_model_and_column(tmp_path: Path, lines: tuple[str, ...], said: str) -> None:
    with pytest.raises(TableFault, match=r"table\.csv") as raised:
        read_csv(Path(write(tmp_path / "table.csv", *lines)))
    assert said in str(raised.value)


def test_unknown_models_and_tables_without_common_columns_are_refused(tmp_path: Path) -> None:
    one = write(tmp_path / "one.csv", "model,CG,T", "alpha,0.1,0.2")
    two = write(tmp_path / "two.csv", "model,PR,S", "beta,0.1,0.2")
    table = load([one, two])
    with pytest.raises(TableFault, match="no model 'alhpa' in the tables; did you mean 'alpha'"):
        table.select(["alhpa"])
    with pytest.raises(TableFault, match="2 models share 0 columns"):
        table.select()
    with pytest.raises(TableFault, match="expected a CSV file or an evaluate run directory"):
        load([str(tmp_path / "nowhere.csv")])


def test_a_run_is_a_row_with_its_datasets_and_averages(tmp_path: Path) -> None:
    values = {"S": 0.2, "T": 0.4, "PR": 0.6}
    run = write_run(tmp_path / "run", "c" * 64, values, ("speed", "think"))
    table = load([run])
    assert list(table.scores) == table.own == ["cccccccccccc:speed", "cccccccccccc:think"]
    assert table.scores["cccccccccccc:speed"] == pytest.approx({**values, "FG": 0.4, "AVG_D": 0.4})
    assert list(load([f"mine={run}"]).scores) == ["mine:speed", "mine:think"]


def test_runs_on_two_benchmarks_are_refused_and_a_mix_with_published_tables_is_said(tmp_path: Path) -> None:
    one = write_run(tmp_path / "one", "1" * 64, {"S": 0.2, "T": 0.4})
    two = write_run(tmp_path / "two", "2" * 64, {"S": 0.3, "T": 0.1}, bench="d" * 64)
    with pytest.raises(TableFault, match=r"not comparable: .*one on bbbbbbbbbbbb, .*two on dddddddddddd"):
        load([one, two])
    table = load([one, write(tmp_path / "table.csv", "model,S,T", "a,0.1,0.2")])
    assert table.own == ["111111111111"]
    assert "come from different benchmarks" in table.notes[0]
