"""Decode away from the run: worker processes with a wall clock, a CPU, a memory and a file-size limit.

A function that hangs, crashes or raises costs exactly its item, which becomes a `Reject`; a dead worker is replaced. What comes
back over the pipe is JSON with raw arrays, never a pickle: a worker that a hostile file took over cannot run code in the parent.
`_serve` is the whole of the other side.
"""

from __future__ import annotations

import importlib
import itertools
import json
import math
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.connection import Pipe as _pipe
from typing import Any

import numpy as np

from uvrlab.config import LimitsConfig
from uvrlab.data.media import MediaError, Reason

START_S = 60.0  # a worker must be up by then
WALL = 2.0  # an item may take this many times its CPU seconds on the clock: a busy machine is no fault of the file
AHEAD = 4  # items handed out or waiting for their turn, per worker
MAX_MESSAGE = 2**31 - 1


@dataclass(frozen=True)
class Reject:
    """A row of the rejects table: this item is left out, and why."""

    item: str
    reason: Reason
    detail: str

    def row(self) -> dict[str, str]:
        return {"item": self.item, "reason": self.reason, "detail": self.detail[:500]}


def map_media(
    function: Callable[[Any], Any],
    items: Iterable[Any],
    *,
    workers: int = 2,
    limits: LimitsConfig | None = None,
    name: Callable[[Any], str] = str,
    progress: Callable[[int], None] | None = None,
) -> Iterator[Any]:
    """`function(item)` for every item, in input order, each a result or a `Reject` named `name(item)`.

    `function` is a module-level function; items and results are JSON values, bytes and numpy arrays, nested. At most
    `AHEAD * workers` items are held at once. `progress` gets the number of finished items.
    """
    with MediaPool(workers, limits) as pool:
        yield from pool.map(function, items, name=name, progress=progress)


class MediaPool:
    """Workers kept across several maps; a context manager."""

    def __init__(self, workers: int = 2, limits: LimitsConfig | None = None) -> None:
        self.limits = limits or LimitsConfig()
        self.restarts = 0
        self._seconds = self.limits.timeout_s
        self._taken = 0  # items of the present map that were handed out
        self._workers = [_Worker(self.limits) for _ in range(max(1, workers))]

    def __enter__(self) -> MediaPool:
        return self

    def __exit__(self, *error: Any) -> None:
        for worker in self._workers:
            worker.stop()

    def map(
        self,
        function: Callable[[Any], Any],
        items: Iterable[Any],
        *,
        name: Callable[[Any], str] = str,
        progress: Callable[[int], None] | None = None,
        patience: float = 1.0,
    ) -> Iterator[Any]:
        """See `map_media`; an item may take `patience` times the configured time."""
        self._seconds, self._taken = self.limits.timeout_s * patience, 0
        target, source = _target(function), enumerate(items)
        names: dict[int, str] = {}
        ready: dict[int, Any] = {}
        for given in itertools.count():  # `given` results were handed on
            while given not in ready:
                self._feed(target, source, name, names, given)
                if not names:
                    return
                for index, result in self._collect(names):
                    ready[index] = result
                    if progress is not None:
                        progress(given + len(ready))
            yield ready.pop(given)

    def _feed(
        self, target: str, source: Iterator[tuple[int, Any]], name: Callable[[Any], str], names: dict[int, str], given: int
    ) -> None:
        for worker in self._workers:
            if worker.index is not None or self._taken - given >= AHEAD * len(self._workers):
                continue
            if (entry := next(source, None)) is None:
                return
            index, item = entry
            names[index] = name(item)
            self._taken = index + 1
            worker.give(index, target, item, self._seconds)

    def _collect(self, names: dict[int, str]) -> Iterator[tuple[int, Any]]:
        """Wait for the next answer or deadline; every finished item leaves `names`."""
        busy = [w for w in self._workers if w.index is not None]
        until = min(w.deadline for w in busy) - time.monotonic()
        answered = set(wait([w.pipe for w in busy], timeout=max(0.0, until)))
        for worker in busy:
            if worker.pipe not in answered and time.monotonic() < worker.deadline:
                continue
            index = worker.index
            assert index is not None
            outcome = worker.answer() if worker.pipe in answered else worker.late()
            if worker.dead:
                self._replace(worker)
            item = names.pop(index)
            yield index, Reject(item, *outcome) if isinstance(outcome, tuple) else outcome.value

    def _replace(self, worker: _Worker) -> None:
        worker.stop()
        self.restarts += 1
        self._workers[self._workers.index(worker)] = _Worker(self.limits)


@dataclass(frozen=True)
class _Value:
    value: Any


class _Worker:
    """One worker process, seen from the parent."""

    def __init__(self, limits: LimitsConfig) -> None:
        self.index: int | None = None
        self.deadline = self._seconds = 0.0
        self.dead = False
        self.pipe, theirs = _pipe()
        setup = json.dumps({"path": sys.path, "memory": limits.max_memory_bytes})
        command = [sys.executable, "-c", "from uvrlab.data.workers import _serve; _serve()", str(theirs.fileno()), setup]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
        self._process = subprocess.Popen(
            command,
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=environment,
        )
        theirs.close()
        self._started = False

    def give(self, index: int, target: str, item: Any, seconds: float) -> None:
        self.index, self._seconds = index, seconds
        self.deadline = time.monotonic() + WALL * seconds + (0.0 if self._started else START_S)
        with suppress(OSError):  # a worker that died idle is found when its answer is missing
            self.pipe.send_bytes(pack([target, item, seconds]))

    def answer(self) -> _Value | tuple[Reason, str]:
        """The result, or (reason, detail). After a crash `dead` is set."""
        self.index, self._started = None, True
        try:
            ok, value = unpack(self.pipe.recv_bytes(MAX_MESSAGE))
        except (EOFError, OSError, ValueError, KeyError, TypeError):
            self.dead = True
            return self._cause()
        return _Value(value) if ok else (value[0], value[1])

    def late(self) -> tuple[Reason, str]:
        self.dead = True
        return "timeout", f"no answer after {WALL * self._seconds:g} s; raise ingest.limits.timeout_s"

    def _cause(self) -> tuple[Reason, str]:
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(2.0)
        code = self._process.poll()
        if code == -24:  # SIGXCPU
            return "timeout", f"used more than {self._seconds:g} s of CPU; raise ingest.limits.timeout_s"
        return "crash", f"worker died with exit status {code}"

    def stop(self) -> None:
        self.pipe.close()
        self._process.kill()
        self._process.wait()


# The worker's side.


def _serve() -> None:
    """Answer requests until the parent goes away."""
    pipe, setup = Connection(int(sys.argv[1])), json.loads(sys.argv[2])
    _confine(setup["memory"])
    while True:
        try:
            target, item, seconds = unpack(pipe.recv_bytes())
        except (EOFError, OSError):
            return
        used = resource.getrusage(resource.RUSAGE_SELF)
        cpu_s = math.ceil(used.ru_utime + used.ru_stime + seconds) + 1
        resource.setrlimit(resource.RLIMIT_CPU, (cpu_s, resource.RLIM_INFINITY))
        pipe.send_bytes(pack(_call(target, item)))


def _confine(memory_bytes: int) -> None:
    import av

    av.logging.set_level(av.logging.PANIC)
    for limit, value in ((resource.RLIMIT_AS, memory_bytes), (resource.RLIMIT_FSIZE, 0), (resource.RLIMIT_CORE, 0)):
        hard = resource.getrlimit(limit)[1]
        resource.setrlimit(limit, (value if hard == resource.RLIM_INFINITY else min(value, hard), hard))


def _call(target: str, item: Any) -> tuple[bool, Any]:
    try:
        module, _, qualified = target.partition(":")
        return True, getattr(importlib.import_module(module), qualified)(item)
    except MediaError as error:
        return False, (error.reason, error.detail)
    except MemoryError:
        return False, ("memory", "the item needs more memory than ingest.limits.max_memory_bytes")
    except FileNotFoundError as error:
        return False, ("missing", str(error))
    except Exception as error:
        return False, ("error", f"{type(error).__name__}: {error}")


def _target(function: Callable[..., Any]) -> str:
    module = function.__module__
    if module == "__main__" and (spec := getattr(sys.modules["__main__"], "__spec__", None)) is not None:
        module = spec.name  # python -m package.module
    name = f"{module}:{function.__qualname__}"
    if "<" in name or "." in function.__qualname__ or module == "__main__":
        raise ValueError(f"found {name}, expected a module-level function of an importable module; workers import it by name")
    return name


# Messages: JSON, then raw bytes and arrays.


def pack(value: Any) -> bytes:
    """JSON values, bytes and numeric arrays, nested in lists, tuples and string-keyed dicts, as one message."""
    blobs: list[bytes] = []

    def plain(v: Any) -> Any:
        if isinstance(v, np.ndarray):
            if v.dtype.kind not in "biuf":
                raise TypeError(f"found an array of {v.dtype}, expected numbers")
            blobs.append(np.ascontiguousarray(v).tobytes())
            return {"\0array": [len(blobs) - 1, v.dtype.str, list(v.shape)]}
        if isinstance(v, bytes):
            blobs.append(v)
            return {"\0bytes": len(blobs) - 1}
        if isinstance(v, dict):
            return {str(k): plain(x) for k, x in v.items()}
        if isinstance(v, (list, tuple)):
            return [plain(x) for x in v]
        return v.item() if isinstance(v, np.generic) else v

    tree = plain(value)
    head = json.dumps([tree, [len(b) for b in blobs]]).encode()
    return b"".join([len(head).to_bytes(8, "little"), head, *blobs])


def unpack(message: bytes) -> Any:
    """The inverse of `pack` (tuples come back as lists)."""
    size = int.from_bytes(message[:8], "little")
    tree, lengths = json.loads(message[8 : 8 + size])
    ends = list(itertools.accumulate(lengths, initial=8 + size))

    def rich(v: Any) -> Any:
        if isinstance(v, dict):
            if "\0array" in v:
                i, dtype, shape = v["\0array"]
                return np.frombuffer(message, np.dtype(dtype), int(np.prod(shape)), ends[i]).reshape(shape)
            if "\0bytes" in v:
                return message[ends[v["\0bytes"]] : ends[v["\0bytes"] + 1]]
            return {k: rich(x) for k, x in v.items()}
        return [rich(x) for x in v] if isinstance(v, list) else v

    return rich(tree)
