"""Signatures of model runs: what they cover, whose they are, and what they leave out."""

from __future__ import annotations

import shutil
import stat
from pathlib import Path

import pytest

from uvrlab import runs, signing
from uvrlab.cli import main
from uvrlab.runs import RunDir, RunError


@pytest.fixture
def keys(tmp_path, monkeypatch) -> tuple[Path, Path]:
    monkeypatch.setenv("UVR_HOME", str(tmp_path / "home"))
    return signing.local_key()


@pytest.fixture
def model(tmp_path) -> Path:
    folder = tmp_path / "sft"
    (folder / "adapter").mkdir(parents=True)
    (folder / "adapter" / "adapter_model.safetensors").write_text("weights")
    (folder / "status.json").write_text("{}")
    runs.finish(folder, runs.seal(folder, stage="sft", config={"sft": {}}, inputs={}, code="c"))
    return folder


def test_a_key_pair_is_made_once_and_its_private_half_is_the_owners(keys):
    assert signing.local_key() == keys
    assert stat.S_IMODE(keys[0].stat().st_mode) == 0o600
    assert signing.public_key(keys[0]) == keys[1].read_bytes()


def test_a_signature_holds_for_a_copy_whatever_its_status_and_reports_say(keys, model, tmp_path):
    signing.sign(model)
    copy = Path(shutil.copytree(model, tmp_path / "elsewhere" / "model"))
    (copy / "status.json").write_text('{"state": "done"}')
    (copy / "report.html").write_text("<p>")
    RunDir(copy).verify()
    signing.verify(copy, keys[1])


def test_a_run_named_by_a_relative_path_is_covered_in_the_same_way(keys, model, tmp_path, monkeypatch):
    """Found in a registry at its default place, `registry/` in the current directory."""
    monkeypatch.chdir(tmp_path)
    signing.sign(Path(model.name))
    signing.verify(Path(model.name), keys[1])
    signing.verify(model, keys[1])


@pytest.mark.parametrize("file", ["adapter/adapter_model.safetensors", "manifest.json", "model.sig"])
def test_one_flipped_bit_breaks_the_signature(keys, model, file):
    signing.sign(model)
    content = bytearray((model / file).read_bytes())
    content[len(content) // 2] ^= 1
    (model / file).write_bytes(content)
    with pytest.raises(RunError, match="the signature does not hold under key"):
        signing.verify(model, keys[1])


def test_an_added_file_breaks_the_signature(keys, model):
    signing.sign(model)
    (model / "adapter" / "extra.bin").write_text("x")
    with pytest.raises(RunError, match=r"Extra files found .* adapter/extra.bin"):
        signing.verify(model, keys[1])


def test_unsigned_and_strangers_models_are_refused(keys, model, tmp_path, monkeypatch):
    with pytest.raises(RunError, match=r"is unsigned: no model.sig; sign it where it was made: uvr sign"):
        signing.verify(model, keys[1])
    monkeypatch.setenv("UVR_HOME", str(tmp_path / "stranger"))
    signing.sign(model)
    with pytest.raises(RunError, match="Key mismatch"):
        signing.verify(model, keys[1])
    with pytest.raises(RunError, match="no public key at"):
        signing.verify(model, tmp_path / "absent.pem")


def test_an_altered_run_is_not_signed(keys, model):
    (model / "adapter" / "adapter_model.safetensors").write_text("Weights")
    with pytest.raises(RunError, match="was altered"):
        signing.sign(model)


def test_the_command_signs_with_a_key_that_is_named(keys, model, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("UVR_HOME", str(tmp_path / "unused"))
    assert main(["sign", str(model), "--key", str(keys[0])]) == 0
    assert signing.fingerprint(keys[1]) in capsys.readouterr().out
    signing.verify(model, keys[1])
    assert not (tmp_path / "unused").exists()
    assert main(["sign", str(model), "--key", str(model / "manifest.json")]) == 1
    assert "no unencrypted PEM private key" in capsys.readouterr().err
