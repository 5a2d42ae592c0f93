"""The command's lines are its own: libraries' talk about themselves stays out, on standard output above all."""

from __future__ import annotations

import subprocess
import sys

SCRIPT = """
import logging, sys
from uvrlab import logs
logs.setup()
from deepspeed.accelerator import get_accelerator
get_accelerator()
import google.api_core
docs = logging.getLogger("great_expectations.data_context.types.base")
docs.setLevel(logging.INFO)  # as the library does on import
docs.info("Created temporary directory 'x' for ephemeral docs site")
logging.getLogger("DeepSpeed").warning("a fault of this run")
"""


def test_libraries_say_nothing_about_themselves_and_their_warnings_about_a_run_come_through():
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert [line.partition("] ")[2][-19:] for line in done.stdout.splitlines()] == ["a fault of this run"]
