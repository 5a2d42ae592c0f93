"""Run directories: written by one stage, payload first and manifest last, verified before anyone reads them.

Run digest = payload files + config + input digests + code digest. Status, cost, logs and reports stay outside it.
Checkpoints never live here: they are in `work_dir()/<run key>`, which survives a deleted or retried output.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import platform
import resource
import shutil
import signal
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from importlib import metadata
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

MANIFEST = "manifest.json"
STATUS = "status.json"
PLACES = "places.json"  # where folders lie that a run refers to: outside the digest at any depth
MANIFEST_SCHEMA = 1
SIGNATURE, LINEAGE = "model.sig", "lineage"  # written beside the payload after it: see signing.py and upstream.py
OUTSIDE_DIGEST = frozenset(
    {MANIFEST, STATUS, SIGNATURE, LINEAGE, "cost.json", "stage_report.json", "report.html", "logs", "rendered"}
)
PACKAGE_ROOT = Path(__file__).resolve().parent
RECORDED_PACKAGES = ("uvrlab", "torch", "transformers", "trl", "peft", "av", "pyarrow", "numpy", "faiss-cpu")


class RunError(RuntimeError):
    """A run directory is absent, incomplete, altered or of the wrong kind."""


class FileEntry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")
    path: str
    bytes: int
    sha256: str
    rows: int | None = None


class Manifest(BaseModel):
    """`manifest.json`: what made this directory, and every payload file with its digest."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    schema_: int = Field(default=MANIFEST_SCHEMA, alias="schema")
    stage: str
    digest: str
    config: dict[str, Any]
    seed: int
    code_digest: str
    inputs: dict[str, str]
    files: tuple[FileEntry, ...]
    versions: dict[str, str]

    def follows(self) -> bool:
        """Does the digest follow from the other fields?"""
        return _run_digest(run_key(self.config, self.inputs, self.code_digest), self.files) == self.digest


class Metric(BaseModel):
    """One number with its unit and, where it is an estimate, its 95 % interval and n."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    value: float
    unit: str
    low: float | None = None
    high: float | None = None
    n: int | None = None


class StageReport(BaseModel):
    """What a stage returns. `page` is its unwritten HTML report (`uvrlab.report.Report`); it is no part of the record."""

    model_config = ConfigDict(extra="forbid", arbitrary_types_allowed=True)
    stage: str
    metrics: dict[str, Metric] = Field(default_factory=dict)
    counts: dict[str, int] = Field(default_factory=dict)
    warnings: list[str] = Field(default_factory=list)
    cost: dict[str, float] = Field(default_factory=dict)
    digest: str = ""
    source_listing: str = ""  # of a folder outside the run; decides whether the run is current, never its digest
    page: Any = Field(default=None, exclude=True, repr=False)


def sha256_bytes(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def sha256_file(path: Path, chunk: int = 1 << 20) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(chunk):
            digest.update(block)
    return digest.hexdigest()


def digest_json(value: Any) -> str:
    """sha256 of canonical JSON: sorted keys, no spaces, no NaN."""
    return sha256_bytes(json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode())


def _json_text(value: Any) -> str:
    return json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def read_exact(path: Path) -> Any:
    """JSON that `write_json` wrote. Raises ValueError for any other byte, even one that changes no value: `1E-05` for `1e-05`."""
    text = path.read_bytes().decode()
    value = json.loads(text)
    if text != _json_text(value):
        raise ValueError(f"{path} is not as it was written")
    return value


def write_json(path: Path, value: Any) -> None:
    """Write JSON atomically: a reader sees the old file or the whole new one."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    partial.write_text(_json_text(value))
    with partial.open("rb") as file:
        os.fsync(file.fileno())
    partial.replace(path)


def work_dir() -> Path:
    """Where checkpoints and caches live: `$UVR_WORK`, else `work/` under the current directory."""
    return Path(os.environ.get("UVR_WORK", "work")).resolve()


def process() -> int:
    """Which of the processes of one stage this is, as torchrun numbers them; 0 owns the run directory."""
    return int(os.environ.get("RANK", "0"))


def processes() -> int:
    return int(os.environ.get("WORLD_SIZE", "1"))


_key: ContextVar[str] = ContextVar("run_key")


@contextmanager
def working(key: str) -> Iterator[None]:
    """Tell the stage inside which run it is, so that it finds its checkpoints without knowing the table of stages."""
    token = _key.set(key)
    try:
        yield
    finally:
        _key.reset(token)


def checkpoint_dir() -> Path:
    """Where the running stage keeps its checkpoints: `work_dir()/<run key>`. Raises RunError outside `stages.run_stage`."""
    try:
        folder = work_dir() / _key.get()
    except LookupError:
        raise RunError("no stage is running here; call it by uvrlab.stages.run_stage") from None
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def source_files(sources: Iterable[str]) -> list[Path]:
    """The library files behind `sources` (files or folders relative to the package), sorted."""
    files: set[Path] = set()
    for source in sources:
        path = PACKAGE_ROOT / source
        if not path.exists():
            raise RunError(f"source {source!r} is not in {PACKAGE_ROOT.name}/; correct the table in stages.py")
        found = [path] if path.is_file() else path.rglob("*")
        files.update(f for f in found if f.is_file() and "__pycache__" not in f.parts and not f.name.startswith("."))
    return sorted(files)


def code_digest(sources: Iterable[str]) -> str:
    """sha256 over the names and bytes of a stage's source files."""
    digest = hashlib.sha256()
    for file in source_files(sources):
        digest.update(f"{file.relative_to(PACKAGE_ROOT).as_posix()}\0{sha256_file(file)}\n".encode())
    return digest.hexdigest()


def run_key(config: Mapping[str, Any], inputs: Mapping[str, str], code: str) -> str:
    """The name of a run before it has run: config + input digests + code digest."""
    return digest_json({"config": config, "inputs": dict(inputs), "code": code})


def _run_digest(key: str, files: Iterable[FileEntry]) -> str:
    return digest_json({"key": key, "files": [[f.path, f.sha256] for f in files]})


def payload_files(folder: Path) -> list[Path]:
    """Every file of a run directory that its digest covers, in path order."""
    found = (p for p in folder.rglob("*") if p.is_file() and p.relative_to(folder).parts[0] not in OUTSIDE_DIGEST)
    return sorted(p for p in found if p.name != PLACES and not p.name.endswith(".tmp"))


def _entry(folder: Path, file: Path) -> FileEntry:
    rows = None
    if file.suffix == ".parquet":
        import pyarrow.parquet as pq

        rows = pq.read_metadata(file).num_rows
    return FileEntry(path=file.relative_to(folder).as_posix(), bytes=file.stat().st_size, sha256=sha256_file(file), rows=rows)


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for name in RECORDED_PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def seal(folder: Path, *, stage: str, config: dict[str, Any], inputs: dict[str, str], code: str) -> Manifest:
    """Hash the payload into a manifest. It is returned, not written: `finish` writes it last."""
    files = tuple(_entry(folder, f) for f in payload_files(folder))
    digest = _run_digest(run_key(config, inputs, code), files)
    return Manifest(
        stage=stage,
        digest=digest,
        config=config,
        seed=int(config.get("seed", 0)),
        code_digest=code,
        inputs=inputs,
        files=files,
        versions=_versions(),
    )


def finish(folder: Path, manifest: Manifest) -> None:
    """Make the directory exist for the next stage."""
    write_json(folder / MANIFEST, manifest.model_dump(mode="json", by_alias=True))


class RunDir:
    """A finished run directory. Opening one without a manifest is an error; `verify` re-hashes the payload."""

    def __init__(self, path: Path | str, stage: str | None = None) -> None:
        self.path = Path(path)
        file = self.path / MANIFEST
        if not file.is_file():
            raise RunError(
                f"{self.path} has no {MANIFEST}: found an unfinished or foreign folder, expected a run; run its stage again"
            )
        self.manifest = Manifest.model_validate_json(file.read_text())
        if stage is not None and self.manifest.stage != stage:
            raise RunError(f"{self.path} was written by stage {self.manifest.stage!r}, expected {stage!r}")

    @property
    def digest(self) -> str:
        return self.manifest.digest

    def verify(self) -> None:
        """Raise RunError naming the first file or field that does not match the manifest."""
        listed = {f.path: f for f in self.manifest.files}
        present = {p.relative_to(self.path).as_posix() for p in payload_files(self.path)}
        if missing := sorted(set(listed) - present):
            raise RunError(f"{self.path}: {missing[0]} is listed but missing; restore it or run the stage again")
        if extra := sorted(present - set(listed)):
            raise RunError(f"{self.path}: {extra[0]} is not in the manifest; remove it or run the stage again")
        for name, entry in listed.items():
            if (found := sha256_file(self.path / name)) != entry.sha256:
                raise RunError(f"{self.path}: {name} was altered (sha256 {found[:12]}, expected {entry.sha256[:12]}); restore it")
        m = self.manifest
        facts = all(entry == _entry(self.path, self.path / name) for name, entry in listed.items())
        if not (m.follows() and facts and m.stage in m.config and m.seed == m.config.get("seed", 0) and self._exact()):
            raise RunError(f"{self.path}: {MANIFEST} was altered: its digest does not follow from its fields")

    def _exact(self) -> bool:
        try:
            read_exact(self.path / MANIFEST)
        except ValueError:
            return False
        return True


def peak_memory_bytes() -> int:
    """Peak resident memory of this process and its largest finished child."""
    return 1024 * max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))


@contextmanager
def lock(path: Path) -> Iterator[None]:
    """Only one process at a time works on `path`; a dead holder leaves no lock behind."""
    path.mkdir(parents=True, exist_ok=True)
    with (path / ".lock").open("w") as handle:
        try:
            # lockf, not flock: a forked worker that outlives its killed parent must not keep the lock
            fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise RunError(f"another process is working in {path}; wait for it or stop it") from error
        yield


MEANS = {
    "SIGKILL": "usually the memory limit",
    "SIGBUS": "usually a full /dev/shm",
    "SIGTERM": "asked to stop: preempted, drained, or past its deadline",
}


class Stopped(SystemExit):
    """SIGTERM, raised where the process stands, so that a stage can leave its cause."""

    def __init__(self) -> None:
        super().__init__(128 + signal.SIGTERM)

    def __str__(self) -> str:
        return cause_of(signal.SIGTERM)


def stop_with_cause() -> None:
    """Turn SIGTERM into `Stopped` in this process; workers forked from it end at once, as they would have."""
    owner = os.getpid()

    def stop(*_: Any) -> None:
        if os.getpid() != owner:
            os._exit(128 + signal.SIGTERM)
        raise Stopped

    signal.signal(signal.SIGTERM, stop)


class Heartbeat:
    """Keeps `status.json` fresh while a stage runs, and leaves its end or its cause of death there."""

    def __init__(self, folder: Path, stage: str, period_s: float = 10.0) -> None:
        self.file, self.period_s, self.state = folder / STATUS, period_s, {"stage": stage, "pid": os.getpid()}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._beat, daemon=True)

    def _write(self, **extra: Any) -> None:
        if self.file.parent.is_dir():
            write_json(self.file, {**self.state, "heartbeat_unix_s": round(time.time(), 1), **extra})

    def _beat(self) -> None:
        while not self._stop.wait(self.period_s):
            self._write(state="running")

    def __enter__(self) -> Heartbeat:
        self._write(state="running")
        self._thread.start()
        return self

    def __exit__(self, kind: Any, error: BaseException | None, _: Any) -> None:
        self._stop.set()
        self._thread.join()
        self._write(state="failed", cause=f"{kind.__name__}: {error}") if error else self._write(state="done")


def cause_of(signal_number: int) -> str:
    """A signal in words, with what it usually means."""
    name = signal.Signals(signal_number).name
    return "; ".join([f"{name}: exit status {128 + signal_number}", *([MEANS[name]] if name in MEANS else [])])


def record_death(folder: Path, signal_number: int) -> str:
    """Write into `status.json` what a process killed by a signal could not; for the process that started it. Returns the cause."""
    cause = cause_of(signal_number)
    file = folder / STATUS
    if file.is_file() and file.stat().st_size:
        write_json(file, {**json.loads(file.read_text()), "state": "killed", "cause": cause})
    return cause


def state_of(folder: Path, patience_s: float = 60.0) -> dict[str, Any]:
    """`status.json` of a stage's output; `running` without a heartbeat for `patience_s` is told as `dead`."""
    file = folder / STATUS
    if not file.is_file() or not file.stat().st_size:
        raise RunError(f"{folder} has no {STATUS}: no stage has started there")
    told: dict[str, Any] = json.loads(file.read_text())
    silent_s = round(time.time() - told.get("heartbeat_unix_s", 0.0), 1)
    if told.get("state") == "running" and silent_s > patience_s:
        told |= {"state": "dead", "cause": f"no heartbeat for {silent_s:.0f} s: killed from outside, usually by the memory limit"}
    return {**told, "silent_s": silent_s}


def clear(folder: Path) -> None:
    """Empty an unfinished or outdated output directory. Raises RunError on a folder that no stage wrote.

    Its manifest goes first and its status last, so that a kill half way leaves neither a false run nor a foreign folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    present = {p.name for p in folder.iterdir()}
    if present and not present & {MANIFEST, STATUS}:
        raise RunError(
            f"{folder} holds files that no stage wrote ({min(present)}, ...); expected an empty folder, choose another --out"
        )
    (folder / STATUS).touch()
    (folder / MANIFEST).unlink(missing_ok=True)
    for name in present - {STATUS, MANIFEST}:
        child = folder / name
        if child.is_dir() and not child.is_symlink():
            shutil.rmtree(child)
        else:
            child.unlink()
