"""Packed attention for the towers: equal-length windows in one batched call instead of one Python call a window.

transformers' own non-flash path splits by `cu_seqlens` and loops: 256 windows of a batch become 256 calls a layer. Its flash
path hands `cu_seqlens` over, so an implementation whose name holds "flash" gets them; this one runs anywhere.

And attention of short rows as plain matrix products where gradients flow in bfloat16 on a CPU: torch's flash kernel there is made
for long rows, its backward takes 2 to 6 times as long up to a few hundred tokens.
"""

from __future__ import annotations

import itertools
from functools import cache
from typing import Any

TOWER, TEXT = "uvrlab_packed_flash", "uvrlab_short"
SHORT = 448  # tokens: above it the flash kernel wins again


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
    if _short(q, k, dropout):
        out = _products(q, k, v, None, scaling)
    else:
        out = F.scaled_dot_product_attention(q, k, v, scale=scaling, dropout_p=dropout)
    return out.transpose(1, 2).reshape(1, total, heads, width)


def text_attention(
    module: Any,
    query: Any,
    key: Any,
    value: Any,
    attention_mask: Any = None,
    dropout: float = 0.0,
    scaling: float | None = None,
    **kwargs: Any,
) -> tuple[Any, None]:
    """The language model's attention: (B, heads, L, d) in, (B, L, heads, d) out; transformers' SDPA but for short rows."""
    from transformers.integrations.sdpa_attention import repeat_kv, sdpa_attention_forward

    if not _short(query, key, dropout):
        return sdpa_attention_forward(module, query, key, value, attention_mask, dropout, scaling, **kwargs)
    groups = query.shape[1] // key.shape[1]
    dtype, length = compute_dtype(query), query.shape[2]
    mask = attention_mask
    if mask is None:
        mask = query.new_full((length, length), float("-inf"), dtype=dtype).triu(1)
    elif not mask.is_floating_point():
        mask = additive(mask, dtype)
    out = _products(query, repeat_kv(key, groups), repeat_kv(value, groups), mask, scaling)
    return out.transpose(1, 2).contiguous(), None


def _short(query: Any, key: Any, dropout: float) -> bool:
    """Whether plain products are the faster way, and right: a whole row (no cache), with gradients, in bfloat16 on a CPU."""
    import torch

    half = query.device.type == "cpu" and compute_dtype(query) == torch.bfloat16
    return half and torch.is_grad_enabled() and dropout == 0.0 and query.shape[2] == key.shape[2] <= SHORT


def compute_dtype(states: Any) -> Any:
    """What attention computes in: autocast's dtype where it is on, else that of the states."""
    import torch

    device = states.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else states.dtype


def additive(mask: Any, dtype: Any) -> Any:
    """0 where a boolean mask is True, else minus infinity; once a batch, where every layer would do it again."""
    import torch

    return torch.zeros(mask.shape, dtype=dtype, device=mask.device).masked_fill_(~mask, float("-inf"))


def _products(query: Any, key: Any, value: Any, mask: Any, scaling: float | None) -> Any:
    dtype = compute_dtype(query)
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    scores = (query * scale).to(dtype) @ key.to(dtype).transpose(-1, -2)  # (B, heads, L, L)
    return (scores if mask is None else scores + mask).softmax(-1) @ value.to(dtype)


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
    """Give the towers packed attention and the language model `text_attention`; returns the model. Weights and names stay."""
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import sdpa_mask

    AttentionInterface.register(TOWER, packed_attention)
    AttentionInterface.register(TEXT, text_attention)
    AttentionMaskInterface.register(TEXT, sdpa_mask)
    model.model.language_model.config._attn_implementation = TEXT
    for tower in ("visual", "audio_tower"):
        part = getattr(model.model, tower, None)
        if part is not None:
            part.config._attn_implementation = TOWER
    patch = model.model.visual.patch_embed.proj
    if type(patch).__name__ == "Conv3d":
        patch.__class__ = _linear_conv()  # keeps parameters, names and hooks
    return model
