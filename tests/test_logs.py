"""What a run says while it lives and after it died: log lines for people or collectors, status, cause of death."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from uvrlab import runs
from uvrlab.cli import main

REPO = Path(__file__).resolve().parents[1]
SAY = """
import logging, sys
from uvrlab import logs
from uvrlab.progress import Progress
logs.setup()
Progress("sft", 2, "pairs", every_s=0.0).step(2, loss_nats=0.5)
try:
    1 / 0
except ZeroDivisionError:
    logging.getLogger("uvrlab.x").exception("broke")
"""
WORK = """
import sys, time
from pathlib import Path
from uvrlab import runs
runs.stop_with_cause()
with runs.Heartbeat(Path(sys.argv[1]), "sft", period_s=0.1):
    print("up", flush=True)
    {body}
"""


def _said(environment: dict[str, str]) -> list[str]:
    import os

    done = subprocess.run([sys.executable, "-c", SAY], cwd=REPO, env={**os.environ, **environment}, capture_output=True, text=True)
    return done.stderr.splitlines()


def test_json_lines_carry_the_numbers_of_a_progress_line_and_tracebacks():
    first, second = (json.loads(line) for line in _said({"UVR_LOG": "json", "RANK": "1"}))
    assert (first["work"], first["done"], first["total"], first["unit"], first["loss_nats"]) == ("sft", 2, 2, "pairs", 0.5)
    assert first["process"] == 1 and first["message"].startswith("sft")
    assert second["level"] == "ERROR" and "ZeroDivisionError" in second["traceback"]


def test_plain_lines_stay_lines_for_people():
    assert "2/2 pairs" in _said({})[0] and not _said({})[0].startswith("{")


def test_an_unknown_form_is_refused(monkeypatch, capsys):
    monkeypatch.setenv("UVR_LOG", "xml")
    assert main(["ls"]) == 1
    assert "expected plain or json" in capsys.readouterr().err


def _worker(folder: Path, body: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", WORK.format(body=body), str(folder)], cwd=REPO, stdout=-1, stderr=-3, text=True
    )
    assert process.stdout is not None and process.stdout.readline() == "up\n"
    return process


@pytest.mark.parametrize(
    ("number", "body", "state", "cause"),
    [
        (signal.SIGTERM, "time.sleep(60)", "failed", "SIGTERM: exit status 143; asked to stop"),
        (None, "raise OSError(28, 'No space left on device')", "failed", "OSError: [Errno 28] No space left on device"),
        (signal.SIGKILL, "time.sleep(60)", "running", None),
    ],
)
def test_the_cause_of_death_is_in_the_status(tmp_path, number, body, state, cause):
    process = _worker(tmp_path, body)
    if number:
        process.send_signal(number)
    status = process.wait()
    assert status == {signal.SIGTERM: 143, signal.SIGKILL: -9, None: 1}[number]
    told = runs.state_of(tmp_path)
    assert told["state"] == state and (cause is None or cause in told["cause"])


def test_a_process_killed_without_a_word_is_told_by_its_silence_and_by_its_parent(tmp_path, capsys):
    process = _worker(tmp_path, "time.sleep(60)")
    process.kill()
    process.wait()
    time.sleep(0.3)
    assert runs.state_of(tmp_path, patience_s=0.2)["state"] == "dead"
    runs.record_death(tmp_path, signal.SIGKILL)
    assert main(["status", str(tmp_path)]) == 1
    assert "sft killed" in (said := capsys.readouterr().out) and "137" in said and "memory" in said


def test_a_stage_that_runs_or_is_done_is_well(tmp_path, capsys):
    with runs.Heartbeat(tmp_path, "ingest"):
        assert main(["status", str(tmp_path)]) == 0
    assert main(["status", str(tmp_path)]) == 0
    assert "ingest done" in capsys.readouterr().out
    assert main(["status", str(tmp_path / "nowhere")]) == 1
