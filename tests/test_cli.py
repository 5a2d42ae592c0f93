"""The command `uvr`: exit codes, messages a user can act on, and nothing slow before it is needed."""

from __future__ import annotations

import json
import subprocess
import sys
import time

import pytest

from uvrlab.cli import main
from uvrlab.config import load_config
from uvrlab.runs import RunDir
from uvrlab.stages import STAGES


def test_ls_names_every_stage_and_is_instant(capsys):
    assert main(["ls"]) == 0
    said = capsys.readouterr().out
    assert all(f"\n{name} " in f"\n{said}" for name in STAGES) and "full: ingest -> " in said
    code = "import time; start = time.process_time(); from uvrlab.cli import main; main(['ls']); print(time.process_time() - start)"
    done = [subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True) for _ in range(2)]
    assert min(float(d.stdout.split()[-1]) for d in done) < 1.0


def test_check_lists_every_problem_with_status_2_for_a_config_that_cannot_be_read(capsys):
    assert main(["check", "--set", "sft.steps=0", "--set", "foo=1"]) == 2
    said = capsys.readouterr().err
    assert "sft.steps" in said and "foo: unknown key" in said


def test_a_dry_run_prints_a_recipe_that_loads_and_runs_nothing(capsys, tmp_path):
    out = tmp_path / "out"
    assert main(["demo", "--set", "run.seed=9", "--out", str(out), "--dry-run"]) == 0
    (tmp_path / "resolved.yaml").write_text(capsys.readouterr().out)
    assert load_config(tmp_path / "resolved.yaml").run.seed == 9
    assert main(["run", "sft", "--out", str(out), "--dry-run"]) == 0
    assert json.loads(capsys.readouterr().out)["stage"] == "sft"
    assert not out.exists()


@pytest.mark.parametrize(
    ("command", "status", "said"),
    [
        (["run", "sfft", "--out", "x"], 1, "unknown stage 'sfft'"),
        (["run", "synthesize", "--out", "x"], 1, "lacks its input 'clips'"),
        (["verify", "nowhere"], 1, "no manifest.json"),
        (["demo", "--config", "nowhere.yaml"], 2, "no recipe at nowhere.yaml"),
    ],
)
def test_a_wrong_command_ends_with_a_message_and_no_traceback(capsys, tmp_path, monkeypatch, command, status, said):
    monkeypatch.chdir(tmp_path)
    assert main(command) == status
    assert said in capsys.readouterr().err


def test_arguments_that_do_not_parse_end_with_status_2(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["run", "sft", "--in", "clips", "--out", "x"])
    assert ended.value.code == 2 and "expected NAME=DIR" in capsys.readouterr().err


def test_run_prints_the_digest_and_verify_finds_what_was_altered(planted, capsys, tmp_path):
    planted.put("ingest")
    started = time.monotonic()
    assert main(["run", "ingest", "--out", str(tmp_path / "a")]) == 0
    assert main(["run", "ingest", "--out", str(tmp_path / "a")]) == 0
    assert planted.calls == ["ingest"] and time.monotonic() - started < 10
    assert RunDir(tmp_path / "a").digest[:12] in capsys.readouterr().out
    assert main(["verify", str(tmp_path / "a")]) == 0
    (tmp_path / "a" / "payload.txt").write_text("x")
    assert main(["verify", str(tmp_path / "a")]) == 1
    assert "payload.txt was altered" in capsys.readouterr().err
