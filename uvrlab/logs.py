"""Where log lines go: plain ones for people, or with `UVR_LOG=json` one JSON object a line for a cluster's collector."""

from __future__ import annotations

import json
import logging
import os
import sys
from datetime import UTC, datetime

from uvrlab.runs import process

NOISY = ("httpx", "urllib3", "fsspec", "transformers", "libav")


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
    for noisy in NOISY:
        logging.getLogger(noisy).setLevel(logging.WARNING)
