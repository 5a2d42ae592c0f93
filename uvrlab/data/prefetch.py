"""Run an iterator ahead of its consumer in one background thread: collation and waiting for decode overlap with the model."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from typing import Any, TypeVar

T = TypeVar("T")


def prefetch(source: Iterator[T], depth: int = 2) -> Iterator[T]:
    """The items of `source` in order, up to `depth` of them made ahead. Its exceptions are raised here; leaving early stops it."""
    ready: queue.Queue[tuple[str, Any]] = queue.Queue(depth)
    stop = threading.Event()

    def give(kind: str, value: Any) -> None:
        while not stop.is_set():
            try:
                return ready.put((kind, value), timeout=0.1)
            except queue.Full:
                continue

    def work() -> None:
        try:
            for item in source:
                give("item", item)
                if stop.is_set():
                    return
            give("end", None)
        except BaseException as error:  # handed over, and raised where the items are used
            give("error", error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        while True:
            kind, value = ready.get()
            if kind == "error":
                raise value
            if kind == "end":
                return
            yield value
    finally:
        stop.set()
        thread.join()
