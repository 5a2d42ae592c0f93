"""`uvr accept` on tiny copies with random weights: it passes on sound folders, and names what is wrong on others."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("torch")

from tests.models.families import FAMILIES, family
from uvrlab.models.accept import accept
from uvrlab.models.modeldir import save_backbone


@pytest.mark.parametrize("name", FAMILIES)
def test_a_sound_backbone_is_accepted(name: str, tmp_path: Path) -> None:
    save_backbone(*family(name), tmp_path, name)
    report = accept(tmp_path)
    assert [check for check in report["checks"] if not check["ok"]] == []
    assert report["accepted"]
    assert report["peak_memory_bytes"] > 0


def test_a_wrong_token_id_is_named(tmp_path: Path) -> None:
    save_backbone(*family("nano-omni"), tmp_path, "nano-omni")
    config = json.loads((tmp_path / "config.json").read_text())
    key = next(name for name in ("video_token_id", "video_token_index") if name in config)
    config[key] = 7
    (tmp_path / "config.json").write_text(json.dumps(config))
    report = accept(tmp_path)
    assert not report["accepted"]
    assert "7 in config.json" in report["checks"][0]["found"]
