"""A stage as the command `uvr run` in a child process, or in several under torchrun: for engines that must outlive it."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from uvrlab import runs

log = logging.getLogger("uvrlab.launch")


def launch(
    stage: str, recipe: Mapping[str, Any], overrides: Sequence[str], inputs: Mapping[str, Path], out: Path, processes: int = 1
) -> int:
    """Run a stage by its recipe; the exit status, 128 + n where signal n ended it. A child's violent death is noted in `out`."""
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        json.dump(recipe, file)
        file.flush()
        command = ["uvrlab.cli", "run", stage, "--config", file.name, "--out", str(out), *(f"--set={pair}" for pair in overrides)]
        command += [f"--in={name}={path}" for name, path in inputs.items()]
        status = subprocess.run([*_python(processes), *command]).returncode
    if status >= 0:
        return status
    log.error("%s: %s", out, runs.record_death(out, -status))
    return 128 - status


def _python(processes: int) -> list[str]:
    if processes == 1:
        return [sys.executable, "-m"]
    return [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}", "-m"]
