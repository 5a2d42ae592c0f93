"""Errors before scores, then floors, then evidence; the three exit codes, each with its reason."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.tools import chain
from uvrlab import gate
from uvrlab.cli import main
from uvrlab.data import schema
from uvrlab.gate import GatePolicy, Verdict
from uvrlab.gate.evidence import differences, open_results
from uvrlab.gate.policy import load_policy
from uvrlab.runs import RunDir

POLICY = GatePolicy()


def _checks(folder: Path, passed: bool = True, table: str = "leakage") -> Path:
    folder.mkdir(exist_ok=True)
    check = {"table": table, "name": "no judged clip shares its media content", "passed": passed, "checked": 9, "failed": 1}
    (folder / "verdict.json").write_text(json.dumps({"passed": passed, "checks": [check]}))
    return folder


def judge(candidate: Path, incumbent: Path | None, policy: GatePolicy) -> Verdict:
    """The gate with green checks, for tests that are about something else."""
    return gate.judge(candidate, incumbent, policy, _checks(candidate.parent / "checks"))


def test_a_gain_without_a_drop_is_promoted(planted):
    verdict = judge(*planted(x=(200, 36, 6), y=(200, 6, 6)), POLICY)
    assert (verdict.verdict, verdict.exit_code, verdict.reasons) == ("promoted", 0, ())
    assert verdict.headline and verdict.headline["difference"] == pytest.approx(0.025) and verdict.headline["low"] > 0
    decisions = {"CG": "better", "x": "better", "S": "not inferior", "y": "not inferior"}
    assert {s["slice"]: s["decision"] for s in verdict.slices} == decisions
    assert verdict.policy_digest == POLICY.digest and verdict.distinct_slices == 2


def test_equal_models_are_blocked_for_want_of_superiority_only(planted):
    verdict = judge(*planted(x=(200, 6, 6), y=(200, 6, 6)), POLICY)
    assert verdict.exit_code == 1
    assert [r.split(":")[0] for r in verdict.reasons] == ["headline AVG_D"]


def test_a_gain_on_the_headline_does_not_buy_a_drop_in_a_slice(planted):
    verdict = judge(*planted(x=(200, 60, 0), y=(200, 0, 18)), POLICY)
    assert verdict.headline and verdict.headline["decision"] == "better"
    assert verdict.exit_code == 1
    assert any(r.startswith("dataset y: -3.00 points") for r in verdict.reasons)


def test_an_own_tag_is_a_slice_over_data_sets(planted):
    pair = planted(x=(200, 36, 6), y=(200, 6, 6))
    verdict = judge(*pair, POLICY.model_copy(update={"tags": {"odd": ("*/odd-*",)}, "slices": (), "margin": 0.05}))
    assert [(s["slice"], s["kind"], s["n"]) for s in verdict.slices] == [("odd", "tag", 600)]
    assert judge(*pair, POLICY.model_copy(update={"tags": {"none": ("z/*",)}})).exit_code == 2


def test_no_incumbent_asks_for_floors_alone(planted):
    candidate, _ = planted(x=(200, 0, 0), y=(150, 0, 0))
    assert judge(candidate, None, POLICY).verdict == "first"
    verdict = judge(candidate, None, POLICY.model_copy(update={"floors": {"y": 0.3}}))
    assert verdict.exit_code == 1 and verdict.reasons == ("floor of y: found +25.00 points, expected at least +30.00 points",)


def test_an_empty_registry_is_no_incumbent_and_a_wrong_path_is_no_registry(planted, tmp_path):
    candidate, _ = planted(x=(200, 0, 0), y=(200, 0, 0))
    (tmp_path / "registry" / "versions").mkdir(parents=True)
    assert judge(candidate, tmp_path / "registry", POLICY).verdict == "first"
    assert judge(candidate, tmp_path / "regsitry", POLICY).exit_code == 2


def test_a_model_at_chance_does_not_pass_the_floor(planted):
    candidate, _ = planted(x=(4, 0, 0), y=(4, 0, 0))
    (reason,) = judge(candidate, None, POLICY).reasons
    assert reason.startswith("floor of AVG_D: lower bound") and "is not above chance, +1.00 points" in reason


def _rewrite(folder: Path, change) -> None:
    file = folder / "per_query.parquet"
    table = schema.read_table("per_query", file)
    schema.write_file("per_query", change(table), file)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda t: [{**t[0], "value": math.nan}, *t[1:]], "no share in [0, 1]: x/even-0 R@1 speed is nan"),
        (lambda t: [{**t[0], "value": None}, *t[1:]], "speed is None"),
        (lambda t: [{**t[0], "value": 1.5}, *t[1:]], "speed is 1.5"),
        (lambda t: t[1:], "rows are missing or added: x R@1 speed has 599, results.json says 600"),
        (lambda t: [*t, t[0]], "stands twice"),
        (lambda t: [{**t[0], "value": 1 - t[0]["value"]}, *t[1:]], "the mean of the rows is"),
        (lambda t: [r for r in t if r["dataset"] == "x"], "y R@1 speed has 0"),
        (lambda t: [{**r, "benchmark_digest": "z"} for r in t], "benchmark_digest"),
    ],
    ids=["nan", "null", "beyond 1", "missing", "twice", "altered", "dataset gone", "digest"],
)
def test_faults_of_the_candidate_are_errors_before_any_score(planted, change, said):
    candidate, incumbent = planted(x=(200, 40, 0), y=(200, 40, 0))
    _rewrite(candidate, change)
    verdict = judge(candidate, incumbent, POLICY)
    assert verdict.exit_code == 1 and verdict.headline is None
    assert verdict.reasons[0].startswith("error: ") and said in verdict.reasons[0]


def test_a_faulty_incumbent_cannot_judge(planted):
    candidate, incumbent = planted(x=(200, 40, 0), y=(200, 40, 0))
    (incumbent / "results.json").unlink()
    verdict = judge(candidate, incumbent, POLICY)
    assert verdict.exit_code == 2 and "has no results.json" in verdict.reasons[0]


@pytest.mark.parametrize("pointer", ["x", "{}", "[]", '{"digest": 3}', '{"digest": "../../candidate"}'])
def test_a_registry_whose_pointer_names_none_of_its_versions_cannot_judge(planted, tmp_path, pointer):
    candidate, _ = planted(x=(200, 40, 0), y=(200, 40, 0))
    (tmp_path / "registry" / "versions").mkdir(parents=True)
    (tmp_path / "registry" / "production.json").write_text(pointer)
    verdict = judge(candidate, tmp_path / "registry", POLICY)
    assert verdict.exit_code == 2 and "production.json names no version of this registry" in verdict.reasons[0]


def test_queries_that_the_candidate_leaves_out_block_it(write, evaluation_rows):
    incumbent, short = write("incumbent", evaluation_rows(model="i")), write("short", evaluation_rows(n=599))
    assert "rows are missing: x lacks 'odd-599' (1 such)" in judge(short, incumbent, POLICY).reasons[0]
    assert judge(short, incumbent, POLICY).exit_code == 1
    back = judge(incumbent, short, POLICY)
    assert back.exit_code == 2 and "query sets of x differ" in back.reasons[0]


def test_how_thoughts_are_made_does_not_matter_to_a_disc_vector(write, evaluation_rows):
    sampling = {"frames": 8, "thinking": {"k": 2}, "router": {"budget": 0.5}}
    pair = [open_results(write("plain", evaluation_rows())), open_results(write("thinks", evaluation_rows(model="i"), sampling))]
    assert differences(*pair, "speed") == []
    assert "sampling differ: thinking is None (candidate)" in differences(*pair, "think")[0]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"benchmark": "z"}, "benchmark digests differ: bbbbbbbbbbbb (candidate), zzzzzzzzzzzz (incumbent)"),
        ({"sampling": {"frames": 4}}, "sampling differ: frames is 8 (candidate), 4 (incumbent)"),
        ({"sampling": {"frames": 8, "template": "last"}}, "prompts differ: template is None (candidate), 'last' (incumbent)"),
        ({"sampling": {"frames": 8, "prompts": True}}, "prompts differ: prompts is None (candidate), True (incumbent)"),
        ({"mode": "think"}, "the incumbent was not evaluated in mode 'speed', only in think"),
    ],
    ids=["benchmark", "sampling", "template", "prompts", "mode"],
)
def test_incomparable_results_name_the_difference_and_the_command(write, evaluation_rows, changed, said):
    sampling = changed.pop("sampling", None)
    candidate = write("candidate", evaluation_rows())
    incumbent = write("incumbent", evaluation_rows(model="i", **changed), sampling)
    verdict = judge(candidate, incumbent, POLICY)
    assert verdict.exit_code == 2 and said in verdict.reasons[0]
    assert "uvr run evaluate --config RECIPE --in benchmark=" in verdict.reasons[-1]


def test_an_under_powered_slice_cannot_be_judged_but_a_clear_drop_still_blocks(planted, tmp_path):
    few = judge(*planted(n=60, x=(30, 6, 0), y=(30, 1, 1)), POLICY)
    assert few.exit_code == 2 and any("dataset y" in r and "is under-powered" in r for r in few.reasons)
    for name in ("candidate", "incumbent"):
        shutil.rmtree(tmp_path / name)
    assert judge(*planted(n=60, x=(30, 6, 0), y=(30, 0, 20)), POLICY).exit_code == 1


def test_queries_that_happen_not_to_differ_are_no_proof(planted):
    """Ten queries without one difference have a bootstrap interval of zero width and decide nothing."""
    verdict = judge(*planted(n=10, x=(5, 0, 0), y=(5, 0, 0)), POLICY)
    assert verdict.exit_code == 2


def test_a_red_leakage_report_blocks_the_best_candidate(planted, tmp_path):
    pair = planted(x=(200, 40, 0), y=(200, 40, 0))
    assert gate.judge(*pair, POLICY, _checks(tmp_path / "green")).checks["state"] == "green"
    verdict = gate.judge(*pair, POLICY, _checks(tmp_path / "red", False))
    assert verdict.exit_code == 1 and verdict.reasons[0].startswith("checks are red: leakage: no judged clip")


def test_no_report_or_one_without_leakage_proves_nothing(planted, tmp_path):
    """A candidate stripped of its manifest must not pass by that."""
    pair = planted(x=(200, 40, 0), y=(200, 40, 0))
    stripped = gate.judge(*pair, POLICY)
    assert stripped.exit_code == 2 and "bare results: no manifest leads to the leakage and drift reports" in stripped.reasons[0]
    without = gate.judge(*pair, POLICY, _checks(tmp_path / "without", table="clips"))
    assert without.exit_code == 2 and "holds no check of leakage" in without.reasons[0]
    (tmp_path / "without" / "verdict.json").write_text('{"passed": true}')
    torn = gate.judge(*pair, POLICY, tmp_path / "without")
    assert torn.exit_code == 1 and "is no report of the validate stage" in torn.reasons[0]


def test_leakage_must_be_checked_against_the_benchmark_that_judges(tmp_path):
    base, other = chain.sources(tmp_path), chain.sources(tmp_path / "other", name="other")
    moved = chain.model(tmp_path, {**base, "benchmark": other["ingest"]}, "moved")
    verdict = gate.judge(moved["evaluate"], None, POLICY)
    assert verdict.exit_code == 2 and "leakage was checked against benchmark run" in verdict.reasons[0]
    again = chain.validate(tmp_path / "again", {**base, "benchmark": other["ingest"]})
    assert gate.judge(moved["evaluate"], None, POLICY, again).exit_code == 0
    foreign = gate.judge(moved["evaluate"], None, POLICY, other["validate"])
    assert foreign.exit_code == 1 and "pass that one, or one on the same clips and UVRD" in foreign.reasons[0]


def test_a_red_report_behind_an_earlier_training_stage_blocks_too(tmp_path):
    green, red = chain.sources(tmp_path), chain.sources(tmp_path / "red", green=False, name="red")
    first = chain.model(tmp_path, red, "first")
    second = chain.model(tmp_path, green, "second", start=first["sft"])
    verdict = gate.judge(second["evaluate"], None, POLICY)
    assert verdict.checks == {"state": "red", "digest": RunDir(green["validate"]).digest} and verdict.exit_code == 1


def test_a_green_report_says_what_it_leaves_open(planted, tmp_path):
    candidate, _ = planted(x=(200, 40, 0), y=(200, 40, 0))
    warnings = gate.judge(candidate, None, POLICY, _checks(tmp_path / "green")).warnings
    assert any("without a reference run" in w for w in warnings)
    assert any("1 of 9 do, which the recipe allows" in w for w in warnings)


def test_equal_evidence_gives_an_equal_verdict_and_another_policy_another_digest(planted):
    pair = planted(x=(200, 36, 6), y=(200, 6, 6))
    assert judge(*pair, POLICY).digest == judge(*pair, POLICY).digest
    assert judge(*pair, POLICY.model_copy(update={"margin": 0.04})).policy_digest != POLICY.digest


def test_the_command_prints_json_and_ends_with_the_exit_code(planted, capsys):
    candidate, incumbent = planted(x=(200, 36, 6), y=(200, 6, 6))
    command = ["gate", "--policy", "configs/gate.yaml", "--checks", str(_checks(candidate.parent / "checks"))]
    assert main([*command, "--candidate", str(candidate / "results.json"), "--incumbent", str(incumbent), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["verdict"], told["exit_code"]) == ("promoted", 0)
    assert {"slice", "n", "difference", "low", "margin", "decision"} <= told["slices"][0].keys()
    assert main([*command, "--candidate", str(incumbent), "--incumbent", str(candidate)]) == 1
    assert "headline AVG_D: -2.50 points" in capsys.readouterr().out
    assert main([*command, "--candidate", str(candidate), "--incumbent", str(incumbent), "--power"]) == 0
    assert "decidable margin" in capsys.readouterr().out
    assert main([*command, "--candidate", str(candidate), "--power"]) == 2
    assert "pass --incumbent RESULTS" in capsys.readouterr().out
    assert pq.read_metadata(candidate / "per_query.parquet").num_rows == 1200


def test_the_shipped_policy_is_the_built_in_one():
    assert load_policy(Path(__file__).parents[2] / "configs" / "gate.yaml") == GatePolicy()
