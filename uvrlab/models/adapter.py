"""The one adapter of a model: LoRA on the language model, plus rows for the read-out tokens where the backbone lacks them.

GVE's recipe: rank 16, alpha 32, dropout 0.1 on q, k, v, up, gate and down; towers, projector and token table stay frozen.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from uvrlab.data.prompts import token_id
from uvrlab.data.spec import DISC_TOKEN, GEN_TOKEN, Backbone

TOWERS = r".*\b(visual|audio_tower)\b.*"  # PEFT turns the targets of a mixture of experts into bare names, which towers share


def add_readout_tokens(spec: Backbone, model: Any, tokenizer: Any) -> list[int]:
    """Make sure <disc_emb> and <gen_emb> exist; returns the ids of those added now.

    A new row starts from the row of one of the family's delimiter tokens (UME-R1). Published checkpoints have spare rows behind
    their tokenizer; the table is enlarged only where they run out.
    """
    import torch

    missing = [name for name in (DISC_TOKEN, GEN_TOKEN) if name not in tokenizer.get_vocab()]
    if not missing:
        return []
    from tokenizers import AddedToken

    tokenizer.add_tokens([AddedToken(name, special=False, normalized=False) for name in missing])
    if len(tokenizer) > model.get_input_embeddings().weight.shape[0]:
        model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    sources = dict(zip((DISC_TOKEN, GEN_TOKEN), spec.readout_from, strict=True))
    tables = [model.get_input_embeddings(), model.get_output_embeddings()]
    with torch.no_grad():
        for name in missing:
            new, old = token_id(tokenizer, name), token_id(tokenizer, sources[name])
            for table in tables:
                table.weight[new] = table.weight[old]
    return [token_id(tokenizer, name) for name in missing]


def new_adapter(
    spec: Backbone, model: Any, *, rank: int = 16, alpha: int = 32, dropout: float = 0.1, trainable_rows: list[int] | None = None
) -> Any:
    """The model under a fresh LoRA adapter (no effect until trained); `trainable_rows` are token rows that train too.

    Where the head is a table of its own its rows train as well: <gen_emb> is a token that the model has to emit.
    """
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(
        r=rank,
        lora_alpha=alpha,
        lora_dropout=dropout,
        target_modules=spec.lora_targets,
        exclude_modules=TOWERS,
        task_type="CAUSAL_LM",
        trainable_token_indices=dict.fromkeys(_tables(model), trainable_rows) if trainable_rows else None,
    )
    return get_peft_model(model, config)


def _tables(model: Any) -> list[str]:
    """The tables that hold a row a token; a tied head follows the embeddings by itself."""
    tied = model.get_input_embeddings().weight is model.get_output_embeddings().weight
    return ["embed_tokens"] if tied else ["embed_tokens", "lm_head"]


@contextmanager
def folded(model: Any) -> Iterator[None]:
    """The active adapter as part of the weights, for passes without gradient: a LoRA layer is then one product instead of three.

    The very same tensors come back behind it: adding and subtracting would let the backbone drift, step by step. Weights that
    DeepSpeed has cut in shards (ZeRO-3) stay as they are.
    """
    import torch
    from peft.tuners.tuners_utils import BaseTunerLayer

    kept: list[tuple[Any, Any, Any]] = []
    try:
        for layer in model.modules():
            if isinstance(layer, BaseTunerLayer) and not (layer.merged or layer.disable_adapters):
                weight = layer.get_base_layer().weight
                if not hasattr(weight, "ds_id"):
                    kept.append((layer, weight, weight.data))
                    with torch.no_grad():
                        weight.data = _folded_weight(layer, weight)
                    layer.merged_adapters = list(layer.active_adapters)
        yield
    finally:
        for layer, weight, data in reversed(kept):  # a tied table stands here twice
            weight.data, layer.merged_adapters = data, []


def _folded_weight(layer: Any, weight: Any) -> Any:
    """A new tensor: the layer's weight under its active adapter."""
    if hasattr(layer, "get_merged_weights"):  # rows of tokens
        return layer.get_merged_weights(layer.active_adapters)
    deltas = [layer.get_delta_weight(name).to(weight.dtype) for name in layer.active_adapters if name in layer.lora_A]
    return weight.data + sum(deltas)
