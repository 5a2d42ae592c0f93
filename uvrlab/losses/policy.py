"""Group-relative policy losses: GRPO (arXiv 2402.03300) and GSPO (arXiv 2507.18071), from advantages to one scalar.

Deliberately not here: sampling, rewards, models. R is the number of rollouts, grouped by prompt, G the rollouts of a group, T the
longest completion.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

Scaling = Literal["std", "none", "leave-one-out"]
Level = Literal["token", "sequence"]
STD_FLOOR = 1e-4
FLAT = 1e-6  # rewards of a group that differ by no more than this say nothing
CLIP: dict[Level, tuple[float, float]] = {"token": (0.2, 0.28), "sequence": (3e-4, 4e-4)}  # UME-R1; OmniVideo-R1


@dataclass(frozen=True)
class Advantages:
    values: Tensor  # (R,) 0 for unscored rollouts and in flat groups
    flat: Tensor  # (R / G,) bool: fewer than two scored rollouts, or all rewards equal


def advantages(rewards: Tensor, group_size: int, *, scaling: Scaling = "std") -> Advantages:
    """How much better each rollout did than its group.

    Args:
        rewards: (R,) grouped by prompt; NaN marks an unscored rollout, which leaves its group's statistics.
        group_size: G, at least 2; R is a multiple of it.
        scaling: `std` (published): (R - mean) / (std + 1e-4), std with ddof 1. `none` (Dr. GRPO, arXiv 2503.20783): R - mean.
            `leave-one-out` (RLOO, arXiv 2402.14740): R - mean of the others, which is unbiased.
    """
    if rewards.ndim != 1 or group_size < 2 or len(rewards) == 0 or len(rewards) % group_size:
        raise ValueError(f"found rewards {tuple(rewards.shape)} in groups of {group_size}; expected (R,), R a multiple of G >= 2")
    if torch.isinf(rewards).any():
        raise ValueError("found an infinite reward; expected finite numbers, NaN for an unscored rollout")
    if scaling not in ("std", "none", "leave-one-out"):
        raise ValueError(f"found scaling {scaling!r}; expected std, none or leave-one-out")
    groups = rewards.view(-1, group_size)
    scored = ~groups.isnan()
    n = scored.sum(1, keepdim=True)
    filled = groups.masked_fill(~scored, 0.0)
    centred = (filled - filled.sum(1, keepdim=True) / n.clamp(min=1)).masked_fill(~scored, 0.0)
    flat = (centred.amax(1, keepdim=True) - centred.amin(1, keepdim=True) <= FLAT) | (n < 2)
    if scaling == "std":
        centred = centred / ((centred.square().sum(1, keepdim=True) / (n - 1).clamp(min=1)).sqrt() + STD_FLOOR)
    elif scaling == "leave-one-out":
        centred = centred * n / (n - 1).clamp(min=1)  # R - (sum - R) / (n - 1) = n / (n - 1) * (R - mean)
    return Advantages(centred.masked_fill(flat, 0.0).reshape(-1), flat[:, 0])


def k3(logp: Tensor, ref_logp: Tensor) -> Tensor:
    """Per-token estimate of KL(policy || reference): exp(x) - x - 1 with x = ref - logp; never negative, 0 where they agree."""
    x = ref_logp - logp
    return torch.exp(x) - x - 1


@dataclass(frozen=True)
class LossInputs:
    """Log-probabilities of sampled tokens, (R, T) each; what stands outside the mask is never used."""

    logp: Tensor  # under the policy, with gradient
    mask: Tensor  # bool: tokens of the completion; all False for a rollout that is masked out, as a truncated one
    advantages: Tensor  # (R,)
    old_logp: Tensor | None = None  # under the policy that sampled; None: the policy itself, at its first update
    ref_logp: Tensor | None = None  # under the reference; needed for a KL term


@dataclass(frozen=True)
class PolicyLoss:
    loss: Tensor  # scalar, with gradient
    kl: Tensor  # mean k3 of a token; 0 without a reference
    clipped_low: Tensor  # share of tokens, or of rollouts at level sequence, whose ratio is clipped from below
    clipped_high: Tensor


def policy_loss(
    inputs: LossInputs,
    *,
    level: Level = "token",
    clip: tuple[float, float] | None = None,
    kl_weight: float = 0.0,
    length: float | None = None,
) -> PolicyLoss:
    """-min(ratio * A, clip(ratio, 1 - low, 1 + high) * A) + kl_weight * k3 a token, averaged over rollouts.

    Args:
        level: `token`: a ratio a token (GRPO). `sequence`: one a rollout, exp(mean token log-ratio) (GSPO).
        clip: (low, high); by default 0.2 and 0.28 for tokens, 3e-4 and 4e-4 for sequences.
        kl_weight: of the k3 term; 0.04 in UME-R1, 0.03 in OmniVideo-R1.
        length: a rollout's sum over tokens is divided by this constant (UME-R1: 2048), so that long rollouts are not
            favoured; None divides it by the rollout's own number of tokens, as GRPO and GSPO were published.

    Rollouts that are masked out add nothing but still count in the average, as in TRL.
    """
    _check(inputs, level, kl_weight, length)
    mask = inputs.mask.bool()
    n_tokens = mask.sum(1, keepdim=True).clamp(min=1)  # (R, 1)
    old = inputs.logp.detach() if inputs.old_logp is None else inputs.old_logp
    log_ratio = (inputs.logp - old).masked_fill(~mask, 0.0)  # masked before exp: padding may hold anything
    if level == "sequence":
        log_ratio = log_ratio.sum(1, keepdim=True) / n_tokens  # (R, 1)
    ratio, gain = log_ratio.exp(), inputs.advantages[:, None]
    low, high = clip if clip is not None else CLIP[level]
    per_token = -torch.minimum(ratio * gain, ratio.clamp(1 - low, 1 + high) * gain).expand_as(mask)  # (R, T)
    kl = torch.zeros_like(inputs.logp)
    if inputs.ref_logp is not None:
        kl = k3(inputs.logp.masked_fill(~mask, 0.0), inputs.ref_logp.masked_fill(~mask, 0.0))
    summed = (per_token + kl_weight * kl if kl_weight else per_token).masked_fill(~mask, 0.0).sum(1, keepdim=True)
    loss = (summed / (n_tokens if length is None else length)).mean()
    counted = mask if level == "token" else mask.any(1, keepdim=True)
    below, above = (ratio < 1 - low) & (gain < 0), (ratio > 1 + high) & (gain > 0)
    return PolicyLoss(loss, _mean(kl.detach(), mask), _mean(below, counted), _mean(above, counted))


def _mean(values: Tensor, counted: Tensor) -> Tensor:
    return values.masked_fill(~counted, 0).sum() / counted.sum().clamp(min=1)


def _check(inputs: LossInputs, level: str, kl_weight: float, length: float | None) -> None:
    shape = inputs.logp.shape
    tables = {"mask": inputs.mask, "old_logp": inputs.old_logp, "ref_logp": inputs.ref_logp}
    wrong = {name: tuple(t.shape) for name, t in tables.items() if t is not None and t.shape != shape}
    if len(shape) != 2 or wrong or inputs.advantages.shape != shape[:1]:
        raise ValueError(
            f"found logp {tuple(shape)}, advantages {tuple(inputs.advantages.shape)}, {wrong or 'the rest alike'}; "
            "expected (R, T) for every table of tokens and (R,) advantages"
        )
    if level not in CLIP:
        raise ValueError(f"found level {level!r}; expected token or sequence")
    if kl_weight and inputs.ref_logp is None:
        raise ValueError(f"found a KL weight of {kl_weight:g} without ref_logp; give the reference's log-probabilities or weight 0")
    if length is not None and length <= 0:
        raise ValueError(f"found length {length:g}; expected a positive number of tokens, or None for each rollout's own")
