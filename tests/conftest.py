"""What every test shares: no network, no analytics, checkpoints in a temporary folder, and stages small enough to read."""

from __future__ import annotations

import atexit
import dataclasses
import os
import shutil
import sys
import tempfile
import types
from collections.abc import Callable
from pathlib import Path

_WORK = tempfile.mkdtemp(prefix="uvr-work-")
atexit.register(shutil.rmtree, _WORK, ignore_errors=True)
os.environ |= {
    "UVR_WORK": _WORK,
    "UVR_HOME": f"{_WORK}/home",  # the local signing key
    "HF_HUB_OFFLINE": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "ZENML_ANALYTICS_OPT_IN": "false",
    "DVC_NO_ANALYTICS": "1",
    "NO_COLOR": "1",
}

import pytest  # noqa: E402
from hypothesis import settings  # noqa: E402

from uvrlab import stages  # noqa: E402
from uvrlab.runs import Metric, StageReport  # noqa: E402

settings.register_profile("uvrlab", deadline=None)  # a busy machine is no counterexample
settings.load_profile("uvrlab")
REPO = Path(__file__).resolve().parents[1]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests of minutes run on demand: `make long`."""
    if not os.environ.get("UVR_LONG"):
        for item in items:
            if item.get_closest_marker("long"):
                item.add_marker(pytest.mark.skip(reason="takes minutes; run it by `make long`"))


@pytest.fixture(autouse=True)
def _own_work_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the checkpoints of one test away from the next."""
    monkeypatch.setenv("UVR_WORK", str(tmp_path / "work"))


@pytest.fixture(scope="session")
def shared() -> Path:
    """Material that is no part of the repository; tests that need it skip where it is absent."""
    folder = REPO.parent / "shared"
    if not folder.is_dir():
        pytest.skip("needs the folder shared/ beside the repository")
    return folder


class Planted:
    """Small functions of a test in the place of real stages; counts their calls."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.module, self.calls, self._patch = types.ModuleType("planted"), [], monkeypatch
        monkeypatch.setitem(sys.modules, "planted", self.module)

    def put(self, name: str, body: Callable[..., object] | None = None, sources: tuple[str, ...] | None = None) -> None:
        """Let `body(config, inputs, out)` be the stage; by default it writes its seed and what its inputs hold."""

        def run(config, inputs: dict[str, Path], out: Path) -> StageReport:
            self.calls.append(name)
            (body or write_payload)(config, inputs, out)
            return StageReport(stage=name, metrics={"seed": Metric(value=config.run.seed, unit="")})

        setattr(self.module, name, run)
        stage = dataclasses.replace(stages.STAGES[name], target=f"planted:{name}")
        self._patch.setitem(stages.STAGES, name, dataclasses.replace(stage, sources=sources) if sources else stage)


def write_payload(config, inputs: dict[str, Path], out: Path) -> None:
    """A payload that follows from the configuration and the inputs alone."""
    read = {name: (path / "payload.txt").read_text() for name, path in sorted(inputs.items())}
    (out / "payload.txt").write_text(f"{config.digest_view()} {read}\n")


@pytest.fixture
def planted(monkeypatch: pytest.MonkeyPatch) -> Planted:
    return Planted(monkeypatch)
