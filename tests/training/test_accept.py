"""`uvr accept` runs one step of `sft` on any backbone: all three losses, every tensor of the adapter, time and memory."""

from __future__ import annotations

from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from tests.models.families import FAMILIES, family  # noqa: E402
from uvrlab.data.prompts import token_id  # noqa: E402
from uvrlab.models.accept import accept  # noqa: E402
from uvrlab.models.modeldir import install_readouts, load_backbone, save_backbone  # noqa: E402
from uvrlab.models.preprocess import default_preprocess  # noqa: E402
from uvrlab.training.accept import STEPS, sft_step  # noqa: E402


@pytest.mark.parametrize("name", FAMILIES)
def test_a_step_of_sft_trains_every_adapter_tensor_and_leaves_the_backbone(name: str, tmp_path: Path) -> None:
    save_backbone(*family(name), tmp_path, name)
    loaded = load_backbone(tmp_path)
    added = install_readouts(loaded)
    before = {key: value.clone() for key, value in loaded.model.state_dict().items()}
    collate = default_preprocess(loaded.spec).collator(loaded.spec, loaded.tokenizer, loaded.model.config)
    found = sft_step(loaded, collate, added, "cpu")
    assert all(word in found for word in ("disc ", "gen ", "next_token ", "tensors moved"))
    after = loaded.model.state_dict()
    assert set(after) == set(before) and all(torch.equal(after[key], value) for key, value in before.items())


def test_the_step_is_a_check_with_time_and_memory_of_its_own(tmp_path: Path) -> None:
    save_backbone(*family("nano-omni"), tmp_path, "nano-omni")
    report = accept(tmp_path, stages=STEPS)
    last = report["checks"][-1]
    assert report["accepted"] and last["check"] == "a step of sft"
    assert last["seconds"] > 0 and 0 < last["peak_memory_bytes"] <= report["peak_memory_bytes"]


def test_weights_that_give_no_finite_loss_are_not_accepted(tmp_path: Path) -> None:
    model, processor = family("nano-omni")
    save_backbone(model, processor, tmp_path, "nano-omni")
    loaded = load_backbone(tmp_path)
    with torch.no_grad():
        loaded.model.get_input_embeddings().weight[token_id(loaded.tokenizer, "<gen_emb>")] = torch.nan
    collate = default_preprocess(loaded.spec).collator(loaded.spec, loaded.tokenizer, loaded.model.config)
    with pytest.raises(ValueError, match=r"losses .*nan"):
        sft_step(loaded, collate, [], "cpu")
