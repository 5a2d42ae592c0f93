"""Answers of a model by the digest of what was asked: written once, read for ever, never asked twice at a time.

An answer is a file, put in place atomically; a lock file beside it is held by whoever is asking, in any thread or process.
"""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from uvrlab.runs import write_json


class AnswerCache:
    """A folder of answers, `ab/abcd....json`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def _file(self, key: str) -> Path:
        return self.folder / key[:2] / f"{key}.json"

    def get(self, key: str) -> dict[str, Any] | None:
        """The answer, or None where nobody has had it."""
        try:
            found: dict[str, Any] = json.loads(self._file(key).read_text())
        except FileNotFoundError:
            return None
        return found

    @contextmanager
    def asking(self, key: str) -> Iterator[None]:
        """One asker at a time for a key; whoever comes second should `get` again before it asks."""
        file = self._file(key).with_suffix(".lock")
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("w") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)  # of the open file, so it holds between threads too; a dead asker leaves none behind
            yield

    def put(self, key: str, answer: dict[str, Any]) -> None:
        """Store an answer; the caller is the one asking. Its lock file goes: who still waits for it finds the answer."""
        write_json(self._file(key), answer)
        self._file(key).with_suffix(".lock").unlink(missing_ok=True)
