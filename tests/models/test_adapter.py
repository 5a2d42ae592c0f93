"""The adapter trains what has to change for a new token to be read and to be emitted, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from tests.models.families import FAMILIES, family  # noqa: E402
from uvrlab.data.items import DecodedItem  # noqa: E402
from uvrlab.data.spec import GEN_TOKEN  # noqa: E402
from uvrlab.models import towers  # noqa: E402
from uvrlab.models.adapter import folded, new_adapter  # noqa: E402
from uvrlab.models.backbones import backbone  # noqa: E402
from uvrlab.models.build import build_tiny  # noqa: E402
from uvrlab.models.modeldir import install_readouts, load_backbone, load_model, save_backbone, save_model_dir  # noqa: E402
from uvrlab.models.preprocess import default_preprocess  # noqa: E402


@pytest.mark.parametrize("name", FAMILIES)
def test_what_trains_is_in_the_language_model(name: str) -> None:
    """PEFT rewrites the targets of a mixture of experts, so the adapter itself is looked at, not the pattern."""
    model = new_adapter(backbone(name), build_tiny(name)[0], rank=4, alpha=8)
    trained = {path for path, p in model.named_parameters() if p.requires_grad}
    assert trained and all(".language_model." in path and "o_proj" not in path for path in trained)


TIED, UNTIED = "qwen2.5-vl-3b", "qwen2.5-omni-7b"


@pytest.mark.parametrize("name", [TIED, UNTIED])
def test_one_step_moves_the_new_rows_of_both_tables_and_the_saved_adapter_brings_them_back(name: str, tmp_path: Path) -> None:
    save_backbone(*family(name), tmp_path / "bb", name)
    loaded = load_backbone(tmp_path / "bb")
    rows = install_readouts(loaded)
    head = loaded.model.lm_head.weight.detach().clone()  # (vocabulary, width)
    model = new_adapter(loaded.spec, loaded.model, rank=4, alpha=8, trainable_rows=rows)
    collate = default_preprocess(loaded.spec).collator(loaded.spec, loaded.tokenizer, loaded.model.config)
    batch = collate([DecodedItem("a", "a red ball")], [f"<think>a</think>{GEN_TOKEN}"])
    optimiser = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=1.0)
    loss, _ = towers.next_token_loss(model, towers.forward(model, batch), batch.labels)
    loss.backward()
    optimiser.step()
    save_model_dir(tmp_path / "model", loaded, model)
    again = load_model(tmp_path / "model", merge=True).model
    kept = [i for i in range(len(head)) if i not in rows]
    assert torch.equal(again.lm_head.weight[kept], head[kept])
    assert ((again.lm_head.weight[rows] - head[rows]).abs().amax(1) > 1e-6).all()
    assert (again.lm_head.weight is again.get_input_embeddings().weight) == (name == TIED)
    with torch.no_grad():
        found = towers.head(again, towers.forward(again, batch))
        expected = towers.head(model.eval(), towers.forward(model, batch))
    assert torch.allclose(found, expected, atol=1e-4)


@pytest.mark.parametrize("name", [TIED, UNTIED, "qwen3-omni-30b-a3b"])
def test_a_folded_adapter_reads_as_before_and_leaves_the_very_same_tensors(name: str) -> None:
    base, processor = build_tiny(name)
    spec, vocabulary = backbone(name), processor.tokenizer.get_vocab()
    model = new_adapter(spec, base, rank=4, alpha=8, dropout=0.0, trainable_rows=[vocabulary[GEN_TOKEN]]).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.1 * torch.randn_like(parameter))
    batch = default_preprocess(spec).collator(spec, processor.tokenizer, base.config)([DecodedItem("a", "a red ball")], cut=False)
    places = {path: parameter.data_ptr() for path, parameter in model.named_parameters()}
    with torch.no_grad():
        expected = towers.head(model, towers.forward(model, batch))
        with pytest.raises(KeyError), folded(model):
            moved = [path for path, parameter in model.named_parameters() if parameter.data_ptr() != places[path]]
            found = towers.head(model, towers.forward(model, batch))
            raise KeyError
        again = towers.head(model, towers.forward(model, batch))
    assert len(moved) > 4 and {path: p.data_ptr() for path, p in model.named_parameters()} == places
    assert torch.equal(again, expected)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
