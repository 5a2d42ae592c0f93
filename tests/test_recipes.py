"""Every shipped recipe loads, under the plain command and under ZenML."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from uvrlab.config import load_config
from uvrlab.stages import graph

CONFIGS = Path(__file__).resolve().parents[1] / "configs"
RECIPES = sorted(set(CONFIGS.glob("*.yaml")) - {CONFIGS / "gate.yaml"})  # a policy, not a recipe


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_every_shipped_recipe_loads_and_names_a_profile(recipe):
    assert graph(load_config(recipe).profile)


@pytest.mark.parametrize("file", sorted((CONFIGS / "zenml").glob("*.yaml")), ids=lambda path: path.stem)
def test_a_zenml_file_holds_parameters_and_nothing_else(file):
    """ZenML drops other keys silently, and a top-level `enable_cache` would cache even the step that promotes."""
    content = yaml.safe_load(file.read_text())
    assert set(content) == {"parameters"}
    assert set(content["parameters"]) <= {"config", "overrides"}
    assert (CONFIGS.parent / content["parameters"]["config"]).is_file()
