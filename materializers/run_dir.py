"""Run directories as ZenML artifacts: exactly one type, files stored as they are, verified before a step may read them."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any, ClassVar

from zenml.enums import ArtifactType, VisualizationType
from zenml.materializers.base_materializer import BaseMaterializer

from uvrlab.runs import RunDir, RunError, work_dir

REPORT = "report.html"


class RunDirMaterializer(BaseMaterializer):
    """Stores a run directory file by file. Its content hash is the run digest, so equal runs keep later steps cached."""

    ASSOCIATED_TYPES: ClassVar = (RunDir,)
    ASSOCIATED_ARTIFACT_TYPE: ClassVar = ArtifactType.DATA

    def save(self, data: RunDir) -> None:
        """Copy the run into the store, its manifest last. Raises RunError when it does not match its manifest."""
        data.verify()
        files = sorted((f for f in data.path.rglob("*") if f.is_file()), key=lambda f: f.name == "manifest.json")
        for file in files:
            target = f"{self.uri}/{file.relative_to(data.path).as_posix()}"
            self.artifact_store.makedirs(os.path.dirname(target))  # noqa: PTH120  (the store may be remote: not a pathlib path)
            if "://" in self.uri:
                with file.open("rb") as source, self.artifact_store.open(target, "wb") as sink:
                    shutil.copyfileobj(source, sink)
            else:
                _link(file, Path(target))

    def load(self, data_type: type[Any]) -> RunDir:
        """The stored run, in place where the store is local. Raises RunError when it was altered or replaced."""
        folder = self._download() if "://" in self.uri else Path(self.uri)
        run = RunDir(folder)
        run.verify()
        if self.expected_content_hash not in (None, run.digest):
            raise RunError(f"{folder}: found run {run.digest[:12]}, expected {self.expected_content_hash}; restore the artifact")
        return run

    def compute_content_hash(self, data: RunDir) -> str:
        return data.digest

    def extract_metadata(self, data: RunDir) -> dict[str, Any]:
        m = data.manifest
        rows = {f"rows/{f.path}": f.rows for f in m.files if f.rows is not None}
        return {"stage": m.stage, "digest": m.digest, "code_digest": m.code_digest, "seed": m.seed, "inputs": m.inputs, **rows}

    def save_visualizations(self, data: RunDir) -> dict[str, VisualizationType]:
        return {f"{self.uri}/{REPORT}": VisualizationType.HTML} if (data.path / REPORT).is_file() else {}

    def _download(self) -> Path:
        """A local copy of a run in a remote store, kept by its address; the manifest arrives last here too."""
        folder = work_dir() / "artifacts" / self.uri.partition("://")[2]
        names = [f"{base!s}/{name!s}" for base, _, found in self.artifact_store.walk(self.uri) for name in found]
        for name in sorted(names, key=lambda n: n.endswith("/manifest.json")):
            target = folder / name.removeprefix(f"{self.uri}/")
            target.parent.mkdir(parents=True, exist_ok=True)
            with self.artifact_store.open(name, "rb") as source, target.open("wb") as sink:
                shutil.copyfileobj(source, sink)
        return folder


def _link(source: Path, target: Path) -> None:
    """A hard link where the file system allows it, so that a local store costs no second copy; else a copy."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
