"""Attention of short rows as plain products equals torch's, forwards and backwards."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from uvrlab.models.attention import SHORT, packed_attention, text_attention


def _states(length: int, heads: int = 4) -> torch.Tensor:
    return torch.randn(3, heads, length, 16, generator=torch.Generator().manual_seed(length + heads)).bfloat16()


def _forward_and_gradient(attend, states: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    leaf = states.clone().requires_grad_()
    out = attend(leaf)
    out.float().square().sum().backward()
    assert leaf.grad is not None
    return out.detach().float(), leaf.grad.float()


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("length", [7, 96, SHORT, SHORT + 1])
def test_the_language_models_attention_equals_torchs(length, masked):
    """Both are bfloat16: equal up to its 8 bits. One key-value head serves two heads."""
    states = _states(length)
    allowed = (torch.rand(3, 1, length, length, generator=torch.Generator().manual_seed(0)) < 0.7).tril()
    allowed |= torch.eye(length, dtype=torch.bool)
    module = torch.nn.Module()
    module.num_key_value_groups = 2

    def ours(x: torch.Tensor) -> torch.Tensor:
        mask = allowed if masked else None
        return text_attention(module, x, x[:, :2], x[:, 2:], mask, scaling=0.25)[0].transpose(1, 2)

    def theirs(x: torch.Tensor) -> torch.Tensor:
        key, value = (part.repeat_interleave(2, dim=1) for part in (x[:, :2], x[:, 2:]))
        return F.scaled_dot_product_attention(x, key, value, allowed if masked else None, is_causal=not masked, scale=0.25)

    for found, expected in zip(_forward_and_gradient(ours, states), _forward_and_gradient(theirs, states), strict=True):
        assert (found - expected).abs().max() <= 0.03 * expected.abs().max()


def test_windows_of_unequal_length_stay_apart():
    """Segments of 3, 5 and 3 tokens: each equals its own attention, in its own place."""
    states = _states(11)[:1]
    bounds = torch.tensor([0, 3, 8, 11])
    found, _ = packed_attention(None, states, states, states, cu_seq_lens_q=bounds)
    for a, b in ((0, 3), (3, 8), (8, 11)):
        part = states[:, :, a:b]
        expected = F.scaled_dot_product_attention(part, part, part).transpose(1, 2)
        assert torch.allclose(found[:, a:b].float(), expected.float(), atol=0.03)
