"""One function over many jobs, in order and with few of them in memory: in local processes, in threads, or on Ray Data.

All three give the same results. A job that fails costs itself: its result is a `Reject`. Captioners that wait for a server say how
many threads may call them at once; all other work runs in the confined worker processes of `data/workers.py`, under Ray too.
"""

from __future__ import annotations

import json
import logging
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from itertools import islice
from typing import Any

from uvrlab.config import RunConfig
from uvrlab.data.media import MediaError
from uvrlab.data.workers import MediaPool, Reject

Job = dict[str, Any]
Function = Callable[[Job], dict[str, Any]]
Name = Callable[[Job], str]
Result = dict[str, Any] | Reject
Map = Callable[[Function, Iterable[Job], Name], Iterator[Result]]
RAY_WINDOW = 2048  # jobs handed to Ray at once
RAY_BATCH = 16
RAY_STORE_BYTES = 512 * 2**20


@contextmanager
def executor(run: RunConfig, threads: int = 1) -> Iterator[Map]:
    """`map(function, jobs, name)`: `function(job)` for every job, in order. Functions are module-level; values are JSON values."""
    if run.executor == "ray":
        yield partial(_on_ray, workers=run.workers, threads=threads)
    elif threads > 1:
        yield partial(in_threads, threads=threads)
    else:
        with MediaPool(run.workers) as pool:
            yield lambda function, jobs, name: pool.map(function, jobs, name=name)


def in_threads(function: Function, jobs: Iterable[Job], name: Name, threads: int) -> Iterator[Result]:
    """As `Map`, in threads of this process."""
    source, waiting = iter(jobs), deque[Future[Result]]()
    with ThreadPoolExecutor(threads) as pool:
        try:
            for job in islice(source, 2 * threads):
                waiting.append(pool.submit(one, function, job, name))
            while waiting:
                yield waiting.popleft().result()
                for job in islice(source, 1):
                    waiting.append(pool.submit(one, function, job, name))
        finally:
            pool.shutdown(cancel_futures=True)


def one(function: Function, job: Job, name: Name) -> Result:
    """One job in this process."""
    try:
        return function(job)
    except MediaError as error:
        return Reject(name(job), error.reason, error.detail)


def _on_ray(function: Function, jobs: Iterable[Job], name: Name, workers: int, threads: int) -> Iterator[Result]:
    """Window by window, so that the driver never holds all jobs; jobs and results cross as JSON text."""
    ray = _ray(workers)
    source = iter(jobs)
    while window := list(islice(source, RAY_WINDOW)):
        rows = [{"place": place, "job": json.dumps(job)} for place, job in enumerate(window)]
        made = ray.data.from_items(rows, override_num_blocks=max(1, min(4 * workers, len(rows) // RAY_BATCH))).map_batches(
            RayWorker,
            fn_constructor_args=(function, name, threads),
            batch_size=RAY_BATCH,
            batch_format="numpy",
            compute=ray.data.ActorPoolStrategy(size=workers),
        )
        found = {row["place"]: json.loads(row["result"]) for row in made.iter_rows()}
        yield from (_result(found[place]) for place in range(len(window)))


class RayWorker:
    """One actor of Ray Data's `map_batches`: hands its jobs to a confined process or to threads, as the local executor does."""

    def __init__(self, function: Function, name: Name, threads: int) -> None:
        self.function, self.name, self.threads = function, name, threads
        self.pool = MediaPool(1) if threads == 1 else None

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """{"place", "job"} columns in, {"place", "result"} columns out."""
        jobs = [json.loads(job) for job in batch["job"]]
        if self.pool is not None:
            results = self.pool.map(self.function, jobs, name=self.name)
        else:
            results = in_threads(self.function, jobs, self.name, self.threads)
        shown = [{"reject": asdict(r)} if isinstance(r, Reject) else {"made": r} for r in results]
        return {"place": batch["place"], "result": [json.dumps(one) for one in shown]}


def _result(found: dict[str, Any]) -> Result:
    return Reject(**found["reject"]) if "reject" in found else found["made"]


def _ray(workers: int) -> Any:
    """Ray, started on this machine or joined at `RAY_ADDRESS`. Raises ImportError, with the remedy, where it is not installed."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise ImportError("run.executor=ray needs Ray: pip install 'uvrlab[ray]', or set run.executor=local") from error
    if not ray.is_initialized():
        quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.WARNING}
        if os.environ.get("RAY_ADDRESS"):
            ray.init(**quiet)
        else:
            ray.init(num_cpus=workers + 1, include_dashboard=False, object_store_memory=RAY_STORE_BYTES, **quiet)
    logging.getLogger("ray.data").setLevel(logging.WARNING)
    ray.data.DataContext.get_current().enable_progress_bars = False
    return ray
