"""The workflows parse, and every command that they run exists."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
import yaml

from uvrlab.cli import _parser

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


def test_every_uvr_command_of_the_promotion_workflow_parses():
    script = "\n".join(_scripts(REPO / ".github" / "workflows" / "promotion.yml"))
    commands = [line.replace('"${incumbent[@]}"', "--incumbent incumbent") for line in re.findall(r"bin/uvr (.*)", script)]
    assert len(commands) == 3
    for command in commands:
        args = _parser().parse_args(re.split(r"\s+[|>]", command)[0].split())
        assert args.policy == Path("configs/gate.yaml") and (REPO / args.policy).is_file()
        assert args.incumbent == Path("incumbent")
