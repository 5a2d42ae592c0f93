"""Promotion: what the gate lets through is in production, every decision is in the log, and a kill leaves old or new."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.tools import chain
from uvrlab import promotions, registry, release, runs
from uvrlab.cli import main
from uvrlab.config import load_config
from uvrlab.gate import GatePolicy, judge
from uvrlab.runs import RunError
from uvrlab.stages import run_stage

REPO = Path(__file__).resolve().parents[1]
POLICY = GatePolicy()
home, lab = chain.home, chain.lab  # fixtures


def _said(home: Path) -> list[tuple[str, str, str]]:
    return [(e["action"], e["verdict"], e["who"]) for e in promotions.events(home)]


def test_the_first_is_promoted_the_better_replaces_it_and_an_equal_one_is_blocked(lab, home):
    first = lab("first")
    assert promotions.production(home) == first
    better = lab("better", wins=30)
    assert promotions.production(home) == better
    lab("equal", wins=30)
    assert promotions.production(home) == better
    assert _said(home) == [("promote", "first", "ada"), ("promote", "promoted", "ada"), ("block", "blocked", "ada")]
    listing = json.loads((home / "versions.json").read_text())
    assert [v["verdict"] for v in listing["versions"]] == ["first", "promoted", "blocked"]
    assert listing["production"] == better != listing["latest"]


def test_red_checks_keep_the_best_model_out(tmp_path, lab, home):
    lab("first")
    red = chain.model(tmp_path, chain.sources(tmp_path / "leaky", green=False), "leaky", wins=60)
    config = load_config(None, [f"register.registry_dir={tmp_path / 'registry'}"]).for_stage("register")
    report = run_stage(config, {"model": red["sft"], "results": red["evaluate"]}, tmp_path / "out")
    assert "checks are red: leakage: no judged clip leaks" in report.warnings[0]
    assert _said(home)[-1][0] == "block"


def test_registering_again_adds_no_line_and_changes_no_digest(lab, home, tmp_path):
    lab("first")
    lab("equal")
    log, digest = (home / promotions.LOG).read_bytes(), runs.RunDir(tmp_path / "equal" / "register").digest
    lab("equal")
    lab("first")
    assert (home / promotions.LOG).read_bytes() == log
    assert runs.RunDir(tmp_path / "equal" / "register").digest == digest


def test_an_override_needs_a_reason_and_stands_in_the_card(lab, home, capsys):
    lab("first")
    equal = lab("equal", losses=3)
    promote = ["promote", equal[:12], "--registry", str(home)]
    assert main(promote) == 1
    assert main([*promote, "--override", "faster | and good enough"]) == 0
    assert "promoted against the gate: faster | and good enough" in capsys.readouterr().out
    assert promotions.production(home) == equal
    event = promotions.events(home)[-1]
    assert (event["action"], event["verdict"], event["reason"]) == ("override", "blocked", "faster | and good enough")
    card = (home / "versions" / equal / "README.md").read_text()
    assert "**promoted against the gate**" in card and "faster \\| and good enough" in card
    registry.verify_version(home / "versions" / equal)


def test_a_rollback_restores_the_previous_one_and_no_pipeline_run_undoes_it(lab, home, capsys):
    first, better = lab("first"), lab("better", wins=30)
    assert main(["rollback", "--registry", str(home), "--reason", "slow in the field"]) == 0
    assert promotions.production(home) == first
    assert [v["verdict"] for v in registry.versions(home)] == ["restored", "rolled back"]
    assert lab("better", wins=30) == better and promotions.production(home) == first
    assert "slow in the field" in promotions.events(home)[-1]["reason"]
    assert main(["rollback", "--registry", str(home)]) == 1
    assert "nothing to roll back to" in capsys.readouterr().err
    assert main(["promote", better, "--registry", str(home), "--override", "fixed"]) == 0
    assert promotions.production(home) == better


def test_fresh_results_of_production_are_taken_and_those_of_another_model_refused(tmp_path, lab, home):
    lab("first")
    better = lab("better")
    assert promotions.production(home) != better
    with pytest.raises(RunError, match="expected production's"):
        release.propose(home, better, POLICY, incumbent_results=tmp_path / "better" / "evaluate")


def test_results_of_another_benchmark_cannot_judge_and_the_remedy_names_folders_that_exist(tmp_path, lab, home):
    first = lab("first")
    other = chain.model(tmp_path, chain.sources(tmp_path / "moved"), "other", benchmark="d")
    verdict = judge(other["evaluate"], home, POLICY)
    assert verdict.exit_code == 2 and "benchmark digests differ" in verdict.reasons[0]
    model = home / "versions" / first / "model"
    assert f"--in benchmark={other['ingest']} --in model={model} --out" in verdict.reasons[-1]


@pytest.mark.parametrize("line", [0, 1, 2])
def test_an_altered_line_breaks_the_chain(lab, home, line):
    for name, wins in (("first", 0), ("better", 30), ("equal", 30)):
        lab(name, wins=wins)
    log = home / promotions.LOG
    lines = log.read_text().splitlines(keepends=True)
    log.write_text("".join([*lines[:line], lines[line].replace("ada", "eve"), *lines[line + 1 :]]))
    with pytest.raises(RunError, match=f"line {line + 1}: the hash chain breaks"):
        promotions.events(home)
    log.write_text("".join(lines[:line] + lines[line + 1 :]))
    if line < 2:
        with pytest.raises(RunError, match=f"line {line + 1}: the hash chain breaks"):
            promotions.events(home)


def test_a_torn_last_line_was_never_committed(lab, home):
    first = lab("first")
    log = home / promotions.LOG
    whole = log.read_bytes()
    log.write_bytes(whole + whole[:40])
    assert len(promotions.events(home)) == 1
    better = lab("better", wins=30)
    assert [e["version"] for e in promotions.events(home)] == [first, better]


KILL = """
import os, signal, sys
from pathlib import Path
from uvrlab import promotions, registry, release, runs

point, home, digest = sys.argv[1], Path(sys.argv[2]), sys.argv[3]

def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)

def half(log, line):
    with log.open("ab") as file:
        file.write(line[: len(line) // 2])
        file.flush()
    die()

def after(function):
    def wrapped(*args, **kwargs):
        function(*args, **kwargs)
        die()
    return wrapped

points = {
    "before the verdict is kept": (promotions, "_keep", die),
    "before the line": (promotions, "_append", die),
    "in the line": (promotions, "_append", half),
    "after the line": (promotions, "_append", after(promotions._append)),
    "in the pointer": (Path, "replace", lambda self, to: die() if to.name == "production.json" else os.replace(self, to)),
    "before the listing": (registry, "write_listing", die),
    "in a card": (Path, "replace", lambda self, to: die() if to.name == "README.md" else os.replace(self, to)),
}
setattr(*points[point])
with promotions.locked(home):
    verdict = {"verdict": "blocked", "policy_digest": "p"}
    promotions.record(home, "override", digest, expected=promotions.production(home), verdict=verdict, reason="test")
    release.refresh(home)
"""


@pytest.mark.parametrize(
    ("point", "now", "then"),
    [
        ("before the verdict is kept", "old", "old"),
        ("before the line", "old", "old"),
        ("in the line", "old", "old"),
        ("after the line", "old", "new"),
        ("in the pointer", "old", "new"),
        ("before the listing", "new", "new"),
        ("in a card", "new", "new"),
    ],
)
def test_killed_anywhere_production_is_old_or_new_and_the_next_command_settles_it(lab, home, point, now, then):
    old, new = lab("first"), lab("equal")
    ended = subprocess.run(
        [sys.executable, "-c", KILL, point, str(home), new], env={**os.environ, "PYTHONPATH": str(REPO)}, capture_output=True
    )
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    reached = {"old": old, "new": new}
    assert promotions.production(home) == reached[now]
    registry.verify_version(home / "versions" / promotions.production(home))
    with promotions.locked(home):
        promotions.settle(home)
        release.refresh(home)
    assert promotions.production(home) == reached[then]
    assert promotions.pointer_of(promotions.events(home)) == json.loads((home / "production.json").read_text())
    assert json.loads((home / "versions.json").read_text())["production"] == promotions.production(home)


def test_of_two_promotions_at_once_one_wins_and_the_other_says_why(lab, home):
    lab("first")
    contenders = [lab("one"), lab("two", losses=1)]
    command = [sys.executable, "-m", "uvrlab.cli", "promote", "--registry", str(home), "--override"]
    started = [
        subprocess.Popen(
            [*command, f"by {d[:6]}", d], env={**os.environ, "PYTHONPATH": str(REPO)}, stdout=-1, stderr=subprocess.PIPE, text=True
        )
        for d in contenders
    ]
    ended = [(p.communicate()[1], p.returncode) for p in started]
    winners = [d for d, (_, code) in zip(contenders, ended, strict=True) if code == 0]
    told = [e["version"] for e in promotions.events(home) if e["action"] == "override"]
    assert told == sorted(told, key=winners.index) and promotions.production(home) == told[-1]
    for error, code in ended:
        assert code == 0 or ("production is now" in error and "gate it again" in error)


def test_a_promotion_judged_against_another_production_changes_nothing(lab, home):
    first, one, two = lab("first"), lab("one"), lab("two", losses=1)
    with promotions.locked(home):
        promotions.record(home, "override", one, expected=first, reason="first in time")
        before = (home / promotions.LOG).read_bytes()
        with pytest.raises(RunError, match=rf"production is now {one[:12]} \(override by ada at .*\), but {two[:12]} was judged"):
            promotions.record(home, "override", two, expected=first, reason="too late")
    assert (home / promotions.LOG).read_bytes() == before and promotions.production(home) == one


def test_a_held_lock_is_waited_for_and_then_named(lab, home, monkeypatch):
    lab("first")
    monkeypatch.setattr(promotions, "PATIENCE_S", 0.3)
    holder = """import sys, time; from pathlib import Path; from uvrlab import runs
with runs.lock(Path(sys.argv[1])): print(1, flush=True); time.sleep(60)"""
    with subprocess.Popen([sys.executable, "-c", holder, str(home)], stdout=subprocess.PIPE) as process:
        assert process.stdout and process.stdout.readline()
        with pytest.raises(RunError, match="another process is working"), promotions.locked(home):
            pass
        process.kill()
