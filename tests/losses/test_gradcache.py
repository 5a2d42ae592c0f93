"""The gradient cache against the plain big batch: same loss, same gradients, same random state afterwards."""

from __future__ import annotations

from contextlib import contextmanager

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from uvrlab.losses.contrastive import info_nce
from uvrlab.losses.gradcache import cached_backward


class Tower(nn.Module):
    """Two readouts of one state, and a loss a row."""

    def __init__(self, dropout: float) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(6, 16), nn.Tanh(), nn.Dropout(dropout))
        self.disc, self.gen = nn.Linear(16, 8), nn.Linear(16, 8)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        state = self.body(x)
        return F.normalize(self.disc(state), dim=-1), F.normalize(self.gen(state), dim=-1), state.square().sum()[None]


def build(dropout: float) -> tuple[Tower, list[list[torch.Tensor]]]:
    torch.manual_seed(0)
    return Tower(dropout).double(), [list(torch.randn(10, 6).double().split(size)) for size in (4, 3)]


def objective(query, target) -> torch.Tensor:
    contrast = [info_nce(q, t, temperature=0.1) for q, t in zip(query[:2], target[:2], strict=True)]
    return contrast[0] + contrast[1] + 0.01 * (query[2].sum() + target[2].sum())


def plain(tower: Tower, sides) -> torch.Tensor:
    outputs = [[tower(chunk) for chunk in side] for side in sides]
    loss = objective(*(tuple(torch.cat(column) for column in zip(*chunks, strict=True)) for chunks in outputs))
    loss.backward()
    return loss.detach()


def gradients(tower: Tower) -> list[torch.Tensor]:
    return [p.grad.clone() for p in tower.parameters()]


def test_gradients_equal_those_of_the_whole_batch_in_one_piece() -> None:
    tower, sides = build(dropout=0.0)
    expected = plain(tower, [[torch.cat(side)] for side in sides])
    wanted = gradients(tower)
    tower.zero_grad()
    assert cached_backward(tower, sides, objective).item() == pytest.approx(expected.item(), rel=1e-12)
    for got, want in zip(gradients(tower), wanted, strict=True):
        torch.testing.assert_close(got, want, rtol=1e-5, atol=1e-10)


def test_dropout_draws_the_same_masks_twice_and_leaves_the_random_state_where_one_pass_does() -> None:
    tower, sides = build(dropout=0.5)
    torch.manual_seed(7)
    expected = plain(tower, sides)
    wanted, after = gradients(tower), torch.rand(3)
    tower.zero_grad()
    torch.manual_seed(7)
    assert cached_backward(tower, sides, objective).item() == pytest.approx(expected.item(), rel=1e-12)
    assert torch.equal(torch.rand(3), after)
    for got, want in zip(gradients(tower), wanted, strict=True):
        torch.testing.assert_close(got, want, rtol=1e-5, atol=1e-10)


def test_gradients_accumulate_and_only_the_last_chunk_synchronises() -> None:
    tower, sides = build(dropout=0.0)
    cached_backward(tower, sides, objective)
    once, entered = gradients(tower), []

    @contextmanager
    def no_sync():
        entered.append(1)
        yield

    cached_backward(tower, sides, objective, no_sync=no_sync)
    assert len(entered) == len(sides[0]) + len(sides[1])  # the loss itself and all chunks but the last
    for got, want in zip(gradients(tower), once, strict=True):
        torch.testing.assert_close(got, 2 * want)


def test_a_side_that_the_loss_ignores_gets_no_gradient() -> None:
    tower, sides = build(dropout=0.0)
    cached_backward(tower, sides, lambda query, target: query[0].sum())
    assert tower.gen.weight.grad is None
