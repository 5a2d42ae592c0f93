"""A verdict as text for a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from uvrlab.gate.judge import Verdict, points


def verdict_text(verdict: Verdict) -> str:
    """The verdict, its reasons, and a line for each slice."""
    lines = [f"{verdict.verdict} (policy {verdict.policy_digest[:12]}, verdict {verdict.digest[:12]})"]
    lines += [f"  - {reason}" for reason in verdict.reasons]
    lines += [f"  warning: {warning}" for warning in verdict.warnings]
    if verdict.headline:
        head = ("slice", "n", "candidate", "incumbent", "difference", "lower bound", "decision")
        rows = [
            (
                _name(d),
                d["n"],
                _share(d["candidate"]),
                _share(d["incumbent"]),
                points(d["difference"]),
                points(d["low"]),
                d["decision"],
            )
            for d in (verdict.headline, *verdict.slices)
        ]
        lines += ["", *_columns(head, rows)]
    return "\n".join(lines)


def power_text(verdict: Verdict) -> str:
    """For each slice its size, standard error, the smallest margin it can decide, and the size that the policy's margin needs."""
    if not verdict.headline:
        reasons = verdict.reasons or ("nothing to compare with; pass --incumbent RESULTS",)
        return "\n".join(["no paired evidence, so no power:", *(f"  - {reason}" for reason in reasons)])
    policy, head = verdict.policy, ("slice", "n", "standard error", "decidable margin", "n needed", "")
    rows = [
        (
            _name(d),
            d["n"],
            points(d["standard_error"])[1:],
            points(d["decidable"])[1:],
            d["n_needed"],
            "under-powered" if d["decidable"] > d["margin"] else "enough",
        )
        for d in (verdict.headline, *verdict.slices)
    ]
    said = (
        f"margin {points(policy['margin'])[1:]}, one-sided {policy['confidence']:.0%}; an equal candidate fails on any of "
        f"{verdict.distinct_slices} distinct slices at most {policy['false_block']:.0%} of the time, a gain of the margin on the "
        f"headline is missed at most {policy['missed_gain']:.0%}"
    )
    return "\n".join([said, "", *_columns(head, rows)])


def _name(decision: dict[str, Any]) -> str:
    return f"{decision['kind']} {decision['slice']}"


def _share(value: float) -> str:
    return f"{100 * value:.2f} %"


def _columns(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> list[str]:
    cells = [list(map(str, row)) for row in (head, *rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(head))]
    return ["  ".join(c.ljust(w) if i == 0 else c.rjust(w) for i, (c, w) in enumerate(zip(r, widths, strict=True))) for r in cells]
