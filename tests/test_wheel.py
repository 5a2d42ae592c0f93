"""The wheel holds the library and what it ships, and nothing of the engines around it."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def names(tmp_path_factory) -> list[str]:
    """The files in a wheel that is built from a copy of the checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(REPO / name, folder / name)
    for name in ("uvrlab", "steps", "pipelines", "materializers", "configs", "tests"):
        shutil.copytree(REPO / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    code = "from setuptools.build_meta import build_wheel; print(build_wheel('dist'))"
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return zipfile.ZipFile(next((folder / "dist").glob("*.whl"))).namelist()


def test_only_the_library_is_packaged(names):
    assert {name.split("/")[0].partition("-")[0] for name in names} == {"uvrlab"}


def test_every_module_asset_and_recipe_of_the_library_is_packaged(names):
    wanted = [
        f for f in (REPO / "uvrlab").rglob("*") if f.is_file() and "__pycache__" not in f.parts and not f.name.startswith(".")
    ]
    missing = [f.relative_to(REPO).as_posix() for f in wanted if f.relative_to(REPO).as_posix() not in names]
    assert missing == []


def test_the_wheel_carries_its_licence_and_its_command(names):
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert any(name.endswith("entry_points.txt") for name in names)


def test_the_nano_backbone_is_small_enough_to_ship():
    weights = [f for f in (REPO / "uvrlab" / "assets").rglob("*") if f.is_file()]
    assert sum(f.stat().st_size for f in weights) <= 8 * 2**20
