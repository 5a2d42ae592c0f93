"""Advantages, k3 and clipped losses: worked by hand, against loops over single tokens, and their gradients."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from uvrlab.losses.policy import CLIP, LossInputs, advantages, k3, policy_loss

NAN = float("nan")


def close(found: torch.Tensor, expected) -> None:
    torch.testing.assert_close(found, torch.as_tensor(expected, dtype=found.dtype), rtol=1e-5, atol=1e-6)


# --- advantages ---


def test_hand_worked_advantages() -> None:
    """Rewards 1 2 3: mean 2, std 1 (ddof 1). std: -1 0 1 over 1.0001; none: -1 0 1; leave-one-out: 1 - 2.5, 2 - 2, 3 - 1.5."""
    rewards = torch.tensor([1.0, 2.0, 3.0])
    close(advantages(rewards, 3).values, [-1 / 1.0001, 0, 1 / 1.0001])
    close(advantages(rewards, 3, scaling="none").values, [-1.0, 0, 1])
    close(advantages(rewards, 3, scaling="leave-one-out").values, [-1.5, 0, 1.5])


@pytest.mark.parametrize("scaling", ["std", "none", "leave-one-out"])
def test_a_group_of_equal_rewards_is_zero_and_flagged(scaling: str) -> None:
    """0.1 + 0.2 and 0.3 differ by rounding only, and must not be blown up."""
    rewards = torch.tensor([0.1 + 0.2, 0.3, 0.3, 1.0, 0.0, 0.0], dtype=torch.float64)
    found = advantages(rewards, 3, scaling=scaling)
    assert found.flat.tolist() == [True, False]
    assert found.values[:3].tolist() == [0, 0, 0]
    assert found.values[3] > 0 > found.values[4]


@pytest.mark.parametrize("scaling", ["std", "none", "leave-one-out"])
def test_an_unscored_rollout_leaves_its_group_as_if_it_had_never_been(scaling: str) -> None:
    whole = advantages(torch.tensor([1.0, NAN, 2.0, 4.0]), 4, scaling=scaling)
    close(whole.values[[0, 2, 3]], advantages(torch.tensor([1.0, 2.0, 4.0]), 3, scaling=scaling).values)
    assert whole.values[1] == 0
    lone = advantages(torch.tensor([NAN, 5.0, NAN, NAN]), 2, scaling=scaling)
    assert lone.flat.tolist() == [True, True]
    assert not lone.values.any()


@settings(max_examples=100)
@given(st.lists(st.floats(-3, 3), min_size=4, max_size=4), st.floats(-5, 5))
def test_advantages_sum_to_zero_and_ignore_a_shift(rewards: list[float], shift: float) -> None:
    values = torch.tensor(rewards, dtype=torch.float64)
    for scaling in ("std", "none", "leave-one-out"):
        found = advantages(values, 4, scaling=scaling).values
        assert found.sum().abs() < 1e-6
        torch.testing.assert_close(advantages(values + shift, 4, scaling=scaling).values, found, rtol=1e-4, atol=3e-6)


def test_std_advantages_equal_the_published_formula() -> None:
    rewards = torch.randn(24, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    groups = rewards.view(-1, 8)
    expected = (groups - groups.mean(1, keepdim=True)) / (groups.std(1, keepdim=True) + 1e-4)
    close(advantages(rewards, 8).values, expected.view(-1))


@pytest.mark.parametrize(
    ("rewards", "group_size", "said"),
    [
        ([1.0, 2.0, 3.0], 2, r"\(3,\) in groups of 2"),
        ([1.0, 2.0], 1, "in groups of 1"),
        ([[1.0, 2.0]], 2, r"\(1, 2\)"),
        ([], 2, r"\(0,\)"),
        ([1.0, math.inf], 2, "infinite reward"),
    ],
)
def test_rewards_that_form_no_groups_are_refused(rewards, group_size, said) -> None:
    with pytest.raises(ValueError, match=said):
        advantages(torch.tensor(rewards), group_size)
    with pytest.raises(ValueError, match="found scaling 'batch'"):
        advantages(torch.tensor([1.0, 2.0]), 2, scaling="batch")  # type: ignore[arg-type]


# --- losses ---


def test_k3_is_zero_at_the_reference_and_positive_elsewhere() -> None:
    """ref - logp = ln 2: 2 - ln 2 - 1 = 0.3069."""
    logp = torch.tensor([-1.0, -2.0, -3.0])
    assert k3(logp, logp).tolist() == [0, 0, 0]
    close(k3(logp, logp + math.log(2)), [1 - math.log(2)] * 3)
    assert (k3(logp, logp + torch.tensor([-1.0, 0.1, 3.0])) > 0).all()


def inputs(ratios: list[list[float]], gains: list[float], mask: list[list[int]] | None = None, **more) -> LossInputs:
    """Rollouts whose tokens have these probability ratios to the policy that sampled them."""
    old = torch.full((len(ratios), len(ratios[0])), -1.0, dtype=torch.float64)
    logp = (old + torch.tensor(ratios, dtype=torch.float64).log()).requires_grad_()
    kept = torch.ones_like(old) if mask is None else torch.tensor(mask)
    return LossInputs(logp, kept, torch.tensor(gains, dtype=torch.float64), old_logp=old, **more)


def test_hand_worked_token_loss() -> None:
    """Clip to 0.8 .. 1.28. A = 1, ratios 1.5 and 0.5: min(1.5, 1.28) = 1.28, min(0.5, 0.8) = 0.5: mean 0.89.

    A = -2, ratios 1.5 and 0.5: min(-3, -2.56) = -3, min(-1, -1.6) = -1.6: mean -2.3. Loss = -(0.89 - 2.3) / 2 = 0.705.
    Over a constant length of 10: -(1.78 - 4.6) / 10 / 2 = 0.141. Of four tokens one is clipped from above, one from below.
    """
    batch = inputs([[1.5, 0.5], [1.5, 0.5]], [1.0, -2.0])
    found = policy_loss(batch)
    close(found.loss, 0.705)
    close(policy_loss(batch, length=10).loss, 0.141)
    assert (found.clipped_low.item(), found.clipped_high.item()) == (0.25, 0.25)


def test_hand_worked_sequence_loss() -> None:
    """Ratios 1.21 and 1: exp(mean log) = 1.1. A = 1, clip 0.05: min(1.1, 1.05) = 1.05. A = -1: min(-1.1, -1.05) = -1.1.

    Loss = -(1.05 - 1.1) / 2 = 0.025; one of two rollouts is clipped, from above.
    """
    batch = inputs([[1.21, 1.0], [1.21, 1.0]], [1.0, -1.0])
    found = policy_loss(batch, level="sequence", clip=(0.05, 0.05))
    close(found.loss, 0.025)
    assert (found.clipped_low.item(), found.clipped_high.item()) == (0, 0.5)
    close(policy_loss(batch, level="sequence", clip=(0.05, 0.05), length=4).loss, 0.0125)  # 2 tokens of 4


def test_the_published_sequence_clip_is_narrow() -> None:
    """3e-4 below and 4e-4 above: a mean log-ratio of 1e-3 is clipped to 1.0004, one of 2e-4 is not."""
    found = policy_loss(inputs([[math.exp(1e-3)], [math.exp(2e-4)], [math.exp(-1e-3)]], [1.0, 1.0, -1.0]), level="sequence")
    close(found.loss, -(1.0004 + math.exp(2e-4) - 0.9997) / 3)
    assert (found.clipped_low.item(), found.clipped_high.item()) == pytest.approx((1 / 3, 1 / 3))
    assert CLIP == {"token": (0.2, 0.28), "sequence": (3e-4, 4e-4)}


def by_tokens(batch: LossInputs, level: str, kl_weight: float, length: float | None) -> float:
    """The loss as TRL writes it, one token at a time: loss types grpo (own length) and dr_grpo (constant length)."""
    low, high = CLIP[level]
    total = 0.0
    for r, gain in enumerate(batch.advantages.tolist()):
        kept = [t for t in range(batch.mask.shape[1]) if batch.mask[r, t]]
        log_ratios = [float(batch.logp[r, t] - batch.old_logp[r, t]) for t in kept]
        if level == "sequence":
            log_ratios = [sum(log_ratios) / max(len(kept), 1)] * len(kept)
        summed = 0.0
        for t, log_ratio in zip(kept, log_ratios, strict=True):
            ratio, x = math.exp(log_ratio), float(batch.ref_logp[r, t] - batch.logp[r, t])
            clipped = min(max(ratio, 1 - low), 1 + high)
            summed += -min(ratio * gain, clipped * gain) + kl_weight * (math.exp(x) - x - 1)
        total += summed / (max(len(kept), 1) if length is None else length)
    return total / len(batch.advantages)


def random_batch(seed: int, spread: float) -> LossInputs:
    generator = torch.Generator().manual_seed(seed)
    logp, noise, ref, gains = (torch.randn(shape, generator=generator, dtype=torch.float64) for shape in [(5, 7)] * 3 + [(5,)])
    mask = torch.arange(7) < torch.tensor([7, 4, 1, 0, 6])[:, None]
    return LossInputs(logp.requires_grad_(), mask, gains, logp.detach() + spread * noise, logp.detach() + 0.3 * ref)


@pytest.mark.parametrize("length", [None, 12.0])
@pytest.mark.parametrize(("level", "spread"), [("token", 0.3), ("sequence", 1e-3)])
def test_losses_equal_loops_over_tokens(level: str, spread: float, length: float | None) -> None:
    for seed in range(5):
        batch = random_batch(seed, spread)
        found = policy_loss(batch, level=level, kl_weight=0.04, length=length)
        assert found.loss.item() == pytest.approx(by_tokens(batch, level, 0.04, length), abs=1e-9)
        assert 0 < found.clipped_low + found.clipped_high < 1
        assert found.kl.item() == pytest.approx(k3(batch.logp, batch.ref_logp)[batch.mask].mean().item())


@pytest.mark.parametrize("length", [None, 12.0])
@pytest.mark.parametrize(("level", "spread"), [("token", 0.3), ("sequence", 1e-3)])
def test_gradients_equal_finite_differences(level: str, spread: float, length: float | None) -> None:
    batch = random_batch(3, spread)

    def loss(logp: torch.Tensor) -> torch.Tensor:
        moved = LossInputs(logp, batch.mask, batch.advantages, batch.old_logp, batch.ref_logp)
        return policy_loss(moved, level=level, kl_weight=0.04, length=length).loss

    assert torch.autograd.gradcheck(loss, batch.logp, eps=1e-7)


def test_first_update_is_the_policy_gradient() -> None:
    """Without old_logp every ratio is 1: the loss is -mean A, and d loss / d logp = -A / (tokens * rollouts) at either level."""
    for level in CLIP:
        logp = torch.tensor([[-1.0, -2.0], [-3.0, -0.5]], requires_grad=True)
        found = policy_loss(LossInputs(logp, torch.tensor([[1, 1], [1, 0]]), torch.tensor([2.0, -1.0])), level=level)
        found.loss.backward()
        close(found.loss.detach(), -0.5)
        close(logp.grad, [[-0.5, -0.5], [0.5, 0]])


def test_a_clipped_token_has_no_gradient_and_an_unclipped_one_has() -> None:
    batch = inputs([[1.5, 0.5]], [1.0])
    policy_loss(batch, length=1).loss.backward()
    close(batch.logp.grad, [[0.0, -0.5]])  # -A * ratio for the second


def test_a_clipped_sequence_has_no_gradient_at_any_token() -> None:
    batch = inputs([[1.21, 1.0], [0.9, 1.0]], [1.0, 1.0])
    policy_loss(batch, level="sequence").loss.backward()
    assert not batch.logp.grad[0].any()
    close(batch.logp.grad[1], [-math.sqrt(0.9) / 4] * 2)  # ratio / (2 tokens * 2 rollouts)


def test_a_flat_group_moves_nothing_but_the_kl_term() -> None:
    batch = random_batch(0, 0.1)
    still = LossInputs(batch.logp, batch.mask, advantages(torch.ones(5), 5).values.double(), batch.old_logp, batch.ref_logp)
    policy_loss(still).loss.backward()
    assert not batch.logp.grad.any()
    policy_loss(still, kl_weight=0.1).loss.backward()
    assert batch.logp.grad.any()


@pytest.mark.parametrize("junk", [NAN, math.inf, -math.inf, 1e30])
@pytest.mark.parametrize("level", ["token", "sequence"])
def test_padding_may_hold_anything(level: str, junk: float) -> None:
    """The same losses and gradients, whatever stands outside the mask; a rollout that is masked out has no gradient."""
    batch = random_batch(1, 0.01)
    clean = policy_loss(batch, level=level, kl_weight=0.1)
    clean.loss.backward()
    dirty = [t.detach().clone().masked_fill_(~batch.mask, junk) for t in (batch.logp, batch.old_logp, batch.ref_logp)]
    logp = dirty[0].requires_grad_()
    found = policy_loss(LossInputs(logp, batch.mask, batch.advantages, dirty[1], dirty[2]), level=level, kl_weight=0.1)
    found.loss.backward()
    for mine, theirs in ((found.loss, clean.loss), (found.kl, clean.kl), (logp.grad, batch.logp.grad)):
        torch.testing.assert_close(mine, theirs)
    assert not logp.grad[3].any()


def test_at_the_reference_the_kl_is_zero_and_so_is_its_gradient() -> None:
    logp = torch.tensor([[-1.0, -2.0]], requires_grad=True)
    found = policy_loss(LossInputs(logp, torch.ones(1, 2), torch.zeros(1), ref_logp=logp.detach()), kl_weight=1.0)
    found.loss.backward()
    assert found.kl == 0
    assert not logp.grad.any()


def test_faults_say_what_was_found() -> None:
    logp, ones = torch.zeros(2, 3), torch.ones(2, 3)
    with pytest.raises(ValueError, match=r"logp \(2, 3\), advantages \(3,\)"):
        policy_loss(LossInputs(logp, ones, torch.zeros(3)))
    with pytest.raises(ValueError, match=r"'mask': \(2, 2\)"):
        policy_loss(LossInputs(logp, ones[:, :2], torch.zeros(2)))
    with pytest.raises(ValueError, match=r"KL weight of 0.04 without ref_logp"):
        policy_loss(LossInputs(logp, ones, torch.zeros(2)), kl_weight=0.04)
    with pytest.raises(ValueError, match="found length 0"):
        policy_loss(LossInputs(logp, ones, torch.zeros(2)), length=0)
    with pytest.raises(ValueError, match="found level 'word'"):
        policy_loss(LossInputs(logp, ones, torch.zeros(2)), level="word")  # type: ignore[arg-type]
