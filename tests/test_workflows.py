"""The workflows are valid shell with read-only permissions, and the promotion workflow's scripts do what they say."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.tools import chain

REPO = Path(__file__).resolve().parents[1]
WORKFLOWS = sorted((REPO / ".github" / "workflows").glob("*.yml"))


def _scripts(workflow: Path) -> list[str]:
    jobs = yaml.safe_load(workflow.read_text())["jobs"].values()
    return [step["run"] for job in jobs for step in job["steps"] if "run" in step]


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.stem)
def test_its_scripts_are_valid_shell_and_its_permissions_are_read_only(workflow):
    content = yaml.safe_load(workflow.read_text())
    assert set(content["permissions"].values()) == {"read"}
    for script in _scripts(workflow):
        assert "${{" not in script, "an expression inside a script is an injection; pass it by env"
        subprocess.run(["bash", "-n"], input=script, text=True, check=True)


@pytest.fixture
def runner(tmp_path) -> Path:
    """A checkout on a runner, with a `gh` that downloads from a folder."""
    work = tmp_path / "checkout"
    shutil.copytree(REPO / "configs", work / "configs")
    programs = {
        work / ".venv" / "bin" / "uvr": f'exec {sys.executable} -m uvrlab.cli "$@"',
        tmp_path / "bin" / "gh": f'[ "$1 $2" = "run download" ] && cp -r "{tmp_path}/stored/$3/$5" "$7"',
    }
    for file, line in programs.items():
        file.parent.mkdir(parents=True)
        file.write_text(f"#!/bin/bash\n{line}\n")
        file.chmod(0o755)
    return work


def _promotion(work: Path, incumbent_run: str) -> int:
    """The exit status of the promotion workflow's own scripts, in order, as a runner runs them: `bash -e`, to the first failure."""
    environment = {**os.environ, "PATH": f"{work.parent / 'bin'}:{os.environ['PATH']}", "PYTHONPATH": str(REPO)}
    environment |= {"CANDIDATE_RUN": "2", "INCUMBENT_RUN": incumbent_run, "GITHUB_STEP_SUMMARY": str(work / "summary.md")}
    for script in _scripts(REPO / ".github" / "workflows" / "promotion.yml"):
        if script == "make setup":
            continue
        done = subprocess.run(["bash", "-e", "-c", script], cwd=work, env=environment, capture_output=True, text=True)
        if done.returncode:
            break
    return done.returncode


@pytest.mark.parametrize(
    ("benchmark", "incumbent_run", "status", "word"),
    [("b", "1", 0, "promoted"), ("d", "1", 2, "cannot judge"), ("b", "none", 0, "first"), ("b", "", 1, None)],
)
def test_the_promotion_workflow_judges_stored_results(runner, benchmark, incumbent_run, status, word):
    """Also where the power cannot be told, and never without an incumbent because somebody forgot to name one."""
    store = runner.parent / "stored"
    base = chain.sources(runner.parent)
    made = {
        "1/production-results": chain.model(runner.parent, base, "old"),
        "2/candidate-results": chain.model(runner.parent, base, "new", wins=30, benchmark=benchmark),
    }
    for place, found in made.items():
        shutil.copytree(found["evaluate"], store / place)
    assert _promotion(runner, incumbent_run) == status
    if word is None:
        assert not (runner / "verdict.json").exists()
        return
    verdict = json.loads((runner / "verdict.json").read_text())
    assert (verdict["verdict"], verdict["exit_code"]) == (word, status)
    assert (runner / "summary.md").read_text().startswith(word)
