"""Packed attention for the towers: equal-length windows in one batched call instead of one Python call a window.

transformers' own non-flash path splits by `cu_seqlens` and loops: 256 windows of a batch become 256 calls a layer. Its flash
path hands `cu_seqlens` over, so an implementation whose name holds "flash" gets them; this one runs anywhere.
"""

from __future__ import annotations

import itertools
from functools import cache
from typing import Any

NAME = "uvrlab_packed_flash"


def packed_attention(
    module: Any, query: Any, key: Any, value: Any, attention_mask: Any = None, *, scaling: float | None = None, **kwargs: Any
) -> tuple[Any, None]:
    """Attention inside each segment of `cu_seq_lens_q`: (1, heads, S, d) in, (1, S, heads, d) out. Differentiable."""
    import torch

    bounds = kwargs["cu_seq_lens_q"].tolist()
    lengths = [b - a for a, b in itertools.pairwise(bounds)]
    dropout = kwargs.get("dropout", 0.0)
    if len(set(lengths)) == 1:
        return _equal(query, key, value, lengths[0], scaling, dropout), None
    out = torch.empty_like(query.transpose(1, 2))
    starts = torch.tensor(bounds[:-1])
    for length in sorted(set(lengths)):
        begin = starts[torch.tensor([n == length for n in lengths])]
        index = (begin[:, None] + torch.arange(length)).flatten().to(query.device)
        part = _equal(query[:, :, index], key[:, :, index], value[:, :, index], length, scaling, dropout)
        out = out.index_copy(1, index, part)
    return out, None


def _equal(query: Any, key: Any, value: Any, length: int, scaling: float | None, dropout: float) -> Any:
    import torch.nn.functional as F

    _, heads, total, width = query.shape
    q, k, v = (x.reshape(heads, total // length, length, width).transpose(0, 1) for x in (query, key, value))
    out = F.scaled_dot_product_attention(q, k, v, scale=scaling, dropout_p=dropout)
    return out.transpose(1, 2).reshape(1, total, heads, width)


@cache
def _linear_conv() -> type:
    """Conv3d over exactly one patch, as the matrix product that it is: convolution kernels are slow at it."""
    import torch

    class PatchConv3d(torch.nn.Conv3d):
        def forward(self, input: Any) -> Any:
            flat = torch.nn.functional.linear(input.flatten(1), self.weight.flatten(1), self.bias)
            return flat[:, :, None, None, None]

    return PatchConv3d


def install(model: Any) -> Any:
    """Give the model's towers packed attention; returns the model. Weights, names and results stay as they are."""
    from transformers import AttentionInterface

    AttentionInterface.register(NAME, packed_attention)
    for tower in ("visual", "audio_tower"):
        part = getattr(model.model, tower, None)
        if part is not None:
            part.config._attn_implementation = NAME
    patch = model.model.visual.patch_embed.proj
    if type(patch).__name__ == "Conv3d":
        patch.__class__ = _linear_conv()  # keeps parameters, names and hooks
    return model
