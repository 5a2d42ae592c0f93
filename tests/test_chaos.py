"""The short form of `make chaos`: two kills of the real `ingest`, then its end. The counts for every stage are committed."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from tests.tools import chaos

REPO = Path(__file__).resolve().parents[1]


@pytest.mark.slow
def test_killed_twice_ingest_ends_with_the_digest_of_an_uninterrupted_run(tmp_path):
    command = [sys.executable, "-m", "uvrlab.cli", "run", "ingest", "--config", str(REPO / "configs" / "tiny.yaml")]
    command += ["--set", "ingest.world={train: 12, val: 4, test: 4}", "--out", "runs/ingest"]
    (tmp_path / "plain").mkdir()
    expected = chaos.finish(command, tmp_path / "plain")
    tally = chaos.Tally()
    assert chaos.one_run(command, tmp_path / "killed", window_s=2.5, kills=2, seed=1, tally=tally) == expected
    assert tally.kills == 2 and tally.false_runs == 0 and tally.orphans == 0


def test_the_committed_counts_show_no_difference():
    record = REPO / "bench" / "results" / "chaos.json"
    if not record.exists():
        pytest.skip("no bench/results/chaos.json yet; make it with `make chaos N=100`")
    counts = json.loads(record.read_text())
    assert counts["runs_with_equal_digests"] == counts["runs"] > 0 and counts["false_runs"] == 0
