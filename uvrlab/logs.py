"""Where log lines go: plain ones for people, or with `UVR_LOG=json` one JSON object a line for a cluster's collector."""

from __future__ import annotations

import json
import logging
import os
import sys
import warnings
from datetime import UTC, datetime

from uvrlab.runs import process

NOISY = ("httpx", "urllib3", "fsspec", "transformers", "libav", "great_expectations", "faiss")
HARMLESS = {  # logger -> what libraries say of themselves, the first on standard output, between results
    "DeepSpeed": "Setting accelerator to CPU",
    "great_expectations.data_context.types.base": "Created temporary directory",
}


class JsonLines(logging.Formatter):
    """time, level, logger, process and message of a record, and the numbers that came with it under their own names."""

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        told = {"time": at, "level": record.levelname, "logger": record.name, "process": process(), "message": record.getMessage()}
        if record.exc_info:
            told["traceback"] = self.formatException(record.exc_info)
        return json.dumps(told | getattr(record, "numbers", {}), default=str)


def setup() -> None:
    """Send the log of this process to stderr. Raises ValueError for an unknown `UVR_LOG`."""
    wanted = os.environ.get("UVR_LOG", "plain")
    if wanted not in ("plain", "json"):
        raise ValueError(f"UVR_LOG={wanted!r}; expected plain or json")
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines() if wanted == "json" else logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    _quiet()


def _quiet() -> None:
    """Keep libraries' talk about themselves out of the command's lines; what they warn of about a run comes through."""
    warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing.*")  # peft asks transformers by the old name
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"google\.")  # when it will drop this Python
    for noisy in NOISY:
        logging.getLogger(noisy).setLevel(logging.WARNING)
    for name, start in HARMLESS.items():  # a filter stays where the library sets its own level on import
        logging.getLogger(name).addFilter(_Without(start))


class _Without(logging.Filter):
    """Drops the records whose message begins in one way."""

    def __init__(self, start: str) -> None:
        super().__init__()
        self.start = start

    def filter(self, record: logging.LogRecord) -> bool:
        return not record.getMessage().startswith(self.start)
