"""The findings from the paper's own tables: which hold, which do not, and our models beside them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.evaluation.written import write_run
from uvrlab.cli import main
from uvrlab.evaluation.findings import CLAIMS, departures, figure7_errors, findings
from uvrlab.evaluation.score_tables import load


def test_every_cell_of_figure_7_is_spearman_and_not_pearson() -> None:
    worst = figure7_errors()
    assert worst["spearman"] <= 0.006 < 0.4 < worst["pearson"]


def test_recomputed_figures_and_verdicts() -> None:
    """As recomputed by hand with scipy from the published tables."""
    found = {(f.claim.row, f.claim.column): f for f in findings()}
    expected = {
        ("MSRVTT", "AVG_D"): (-0.108, -0.036, 14, "departs"),
        ("PR", "mean(TXT, CMP, VIS)"): (0.968, 0.961, 16, "holds by Spearman"),
        ("S", "T"): (0.391, 0.587, 16, "departs"),
        ("T", "FG"): (0.979, 0.955, 10, "holds by Spearman"),
        ("S", "CG"): (0.986, 0.932, 6, "holds by Spearman"),
        ("T", "CG"): (0.464, 0.836, 6, "holds by Spearman"),
        ("VIS", "mean(TXT, CMP, VIS)"): (0.255, 0.210, 16, "holds by Spearman"),
    }
    assert {claim.finding for claim in CLAIMS} == {1, 2, 3, 4}
    for key, (spearman, pearson, n, verdict) in expected.items():
        f = found[key]
        assert (f.spearman.value, f.pearson.value) == pytest.approx((spearman, pearson), abs=5e-4), key
        assert (f.spearman.n, f.verdict, f.ours) == (n, verdict, None)


def test_departures_are_those_that_the_tables_show() -> None:
    said = departures(findings())
    assert [line.partition(":")[0] for line in said[1:]] == ["finding 1", "finding 2", "GME-2B", "VLM2Vec-V2", "Unite-7B"]
    assert "AVG_A 0.416 for 0.516" in said[3]


def test_ours_stand_beside_them(tmp_path: Path, capsys) -> None:
    """Four models of ours whose S and T rise against each other; the other claims need columns that they lack."""
    runs = [write_run(tmp_path / str(i), str(i) * 64, {"S": i / 10, "T": 1 - i / 10}) for i in range(4)]
    mine = [f.ours for f in findings(load(runs))]
    assert mine[2].value == -1 and mine[2].n == 4
    assert [m for at, m in enumerate(mine) if at != 2] == [None] * 6
    flags = [part for run in runs for part in ("--results", run)]
    assert main(["diagnose", "--findings", *flags]) == 0
    said = capsys.readouterr().out
    assert "ours: Spearman over 000000000000, 111111111111, 222222222222, 333333333333" in said
    assert main(["diagnose", "--findings", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert len(told["findings"]) == 7 and told["findings"][0]["ours"] is None and len(told["departures"]) == 6
