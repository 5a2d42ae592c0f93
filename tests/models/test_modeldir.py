"""Backbones and model directories: what is saved comes back, and what was changed is refused with its remedy."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from safetensors.numpy import load_file, save_file  # noqa: E402

from tests.models.families import FAMILIES, family, items  # noqa: E402
from uvrlab.data.places import write_places  # noqa: E402
from uvrlab.models.adapter import new_adapter  # noqa: E402
from uvrlab.models.encode import Embedder  # noqa: E402
from uvrlab.models.modeldir import (  # noqa: E402
    LoadedBackbone,
    ModelError,
    identify,
    install_readouts,
    load_backbone,
    load_model,
    save_backbone,
    save_model_dir,
    weights_digest,
)
from uvrlab.models.preprocess import default_preprocess  # noqa: E402
from uvrlab.runs import PLACES  # noqa: E402


def trained(loaded: LoadedBackbone) -> Any:
    """An adapter that does something; families without the read-out tokens train their rows too."""
    torch.manual_seed(0)
    rows = install_readouts(loaded)
    model = new_adapter(loaded.spec, loaded.model, rank=4, alpha=8, trainable_rows=rows)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)) * 0.05)
    return model


@pytest.fixture
def nano(tmp_path: Path) -> Path:
    """A backbone folder `bb` and a model directory `model` on it."""
    save_backbone(*family("nano-omni"), tmp_path / "bb", "nano-omni")
    loaded = load_backbone(tmp_path / "bb")
    save_model_dir(tmp_path / "model", loaded, trained(loaded))
    return tmp_path


@pytest.mark.parametrize("name", FAMILIES)
def test_a_model_directory_encodes_as_the_model_that_was_saved(name: str, tmp_path: Path) -> None:
    save_backbone(*family(name), tmp_path / "bb", name)
    loaded = load_backbone(tmp_path / "bb")
    model = trained(loaded).eval()
    digest = save_model_dir(tmp_path / "model", loaded, model)
    before = Embedder(loaded.spec, model, loaded.tokenizer, default_preprocess(loaded.spec), "").encode(items(name), workers=0)
    after = Embedder.load(tmp_path / "model")
    assert after.digest == digest
    assert ((before * after.encode(items(name), workers=0)).sum(1) >= 0.9999).all()
    bare = Embedder.load(tmp_path / "bb").encode(items(name), workers=0)
    assert ((before * bare).sum(1) < 0.9999).any()


@pytest.mark.parametrize("name", ["nano-omni", "qwen2.5-omni-7b"])
def test_weights_and_tokenizer_survive_saving(name: str, tmp_path: Path) -> None:
    model, processor = family(name)
    digest = save_backbone(model, processor, tmp_path / "bb", name)
    loaded = load_backbone(tmp_path / "bb")
    assert loaded.digest == digest == weights_digest(tmp_path / "bb")
    state = loaded.model.state_dict()
    assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())
    assert loaded.tokenizer.encode("Ü 猫 <think>") == processor.tokenizer.encode("Ü 猫 <think>")


def test_a_continued_model_is_again_one_backbone_and_one_adapter(nano: Path) -> None:
    loaded = load_model(nano / "model", merge=False)
    assert any(p.requires_grad for p in loaded.model.parameters())
    save_model_dir(nano / "next", loaded, loaded.model)
    digests = [json.loads((nano / name / "backbone.json").read_text())["digest"] for name in ("next", "model")]
    assert digests[0] == digests[1]
    assert (load_file(nano / "next/golden.safetensors")["vectors"] == load_file(nano / "model/golden.safetensors")["vectors"]).all()
    assert Embedder.load(nano / "next").digest == Embedder.load(nano / "model").digest


def test_a_model_directory_holds_no_pickle_and_no_backbone_weights(nano: Path) -> None:
    files = sorted(str(file.relative_to(nano / "model")) for file in (nano / "model").rglob("*") if file.is_file())
    assert {"backbone.json", "preprocess.json", "golden.safetensors", "adapter/adapter_model.safetensors"} <= set(files)
    assert all(Path(file).suffix in {".json", ".safetensors", ".jinja"} for file in files)
    assert sum((nano / "model" / file).stat().st_size for file in files) < 3e6


def test_a_model_directory_depends_on_its_backbone_but_not_on_where_that_lies(nano: Path) -> None:
    shutil.copytree(nano / "bb", nano / "elsewhere" / "bb")
    loaded = load_backbone(nano / "elsewhere" / "bb")
    save_model_dir(nano / "same", loaded, trained(loaded))
    folders = [nano / "model", nano / "same"]
    files = [{f.relative_to(d).as_posix(): f.read_bytes() for f in d.rglob("*") if f.is_file()} for d in folders]
    places = [json.loads(part.pop(PLACES)) for part in files]
    assert files[0] == files[1]
    assert places == [{"backbone": str(nano / "bb")}, {"backbone": str(nano / "elsewhere" / "bb")}]


def test_a_backbone_that_is_gone_is_named_and_one_line_leads_to_its_new_place(nano: Path) -> None:
    (nano / "bb").rename(nano / "moved")
    with pytest.raises(ModelError, match=r"found no backbone at .*bb; put it back, or write its new place into .*places.json"):
        load_model(nano / "model")
    write_places(nano / "model", {"backbone": str(nano / "moved")})
    assert load_model(nano / "model").backbone == str(nano / "moved")


def test_another_backbone_under_an_adapter_is_refused(nano: Path) -> None:
    model, processor = load_backbone(nano / "bb").model, family("nano-omni")[1]
    with torch.no_grad():
        model.lm_head.weight[0] += 1
    save_backbone(model, processor, nano / "bb", "nano-omni")
    with pytest.raises(ModelError, match="put the original backbone back"):
        load_model(nano / "model")


def test_vectors_that_differ_from_the_golden_ones_are_refused(nano: Path) -> None:
    path = nano / "model/golden.safetensors"
    vectors = load_file(path)["vectors"].copy()
    vectors[3] = np.roll(vectors[3], 1)
    save_file({"vectors": vectors}, path)
    with pytest.raises(ModelError, match="golden input 'text-3' has cosine"):
        load_model(nano / "model")


def test_preprocessing_is_part_of_the_digest(nano: Path) -> None:
    path, before = nano / "model/preprocess.json", load_model(nano / "model").digest
    value = json.loads(path.read_text())
    value["sampling"]["n_frames"] = 4
    path.write_text(json.dumps(value))
    assert load_model(nano / "model").digest != before


def test_missing_backbones_say_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="give the folder that holds its weights"):
        load_backbone(tmp_path / "nothing")
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    with pytest.raises(ModelError, match="'llama'"):
        identify(tmp_path)


def test_pickled_weights_are_never_loaded(nano: Path) -> None:
    (nano / "bb/model.safetensors").rename(nano / "bb/kept")
    torch.save(load_file(nano / "bb/kept"), nano / "bb/pytorch_model.bin")
    with pytest.raises((ModelError, OSError), match="safetensors"):
        load_backbone(nano / "bb")


@pytest.mark.parametrize(
    ("config", "name"),
    [
        ({"model_type": "qwen2_vl", "hidden_size": 1536}, "qwen2-vl-2b"),
        ({"model_type": "qwen2_5_vl", "hidden_size": 3584}, "qwen2.5-vl-7b"),
        ({"model_type": "qwen2_5_omni", "thinker_config": {"text_config": {"hidden_size": 2048}}}, "qwen2.5-omni-3b"),
        ({"model_type": "qwen2_5_omni_thinker", "text_config": {"hidden_size": 3584}}, "qwen2.5-omni-7b"),
        ({"model_type": "qwen3_omni_moe", "thinker_config": {"text_config": {"hidden_size": 2048}}}, "qwen3-omni-30b-a3b"),
    ],
)
def test_published_folders_are_known_by_their_configuration(config: dict[str, Any], name: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert identify(tmp_path).name == name


def test_a_full_omni_checkpoint_loads_its_thinker(tmp_path: Path) -> None:
    """The published folders hold thinker.* beside talker weights."""
    from safetensors.torch import save_file as save_torch

    model, processor = family("qwen2.5-omni-7b")
    save_backbone(model, processor, tmp_path, "qwen2.5-omni-7b")
    state = {f"thinker.{key}": value.clone().contiguous() for key, value in model.state_dict().items()}
    save_torch({**state, "talker.extra.weight": torch.zeros(2)}, tmp_path / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "qwen2_5_omni", "thinker_config": config}))
    loaded = load_backbone(tmp_path).model.state_dict()
    assert all(torch.equal(value, loaded[key]) for key, value in model.state_dict().items())


def test_published_checkpoints_read_out_as_their_authors_do(tmp_path: Path) -> None:
    """GVE has no token of its own and reads an appended end-of-text; UME-R1's two tokens are in its tokenizer."""
    save_backbone(*family("qwen2.5-vl-3b"), tmp_path, "qwen2.5-vl-3b")
    gve, ume = Embedder.load(tmp_path, template="last"), Embedder.load(tmp_path)
    assert (gve.preprocess.template, ume.preprocess.template) == ("last", "embed")
    vectors = [one.encode(items("qwen2.5-vl-3b"), workers=0) for one in (gve, ume)]
    assert ((vectors[0] * vectors[1]).sum(1) < 0.9999).all()
