"""How reports write numbers: shares as percent, four significant digits, true minus signs, intervals with n."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from typing import Any

import numpy as np

from uvrlab.runs import Metric


def number(value: Any, unit: str = "", *, with_unit: bool = True) -> str:
    """A value as readers write it: shares as percent, four significant digits, thousands apart; None is a dash."""
    if value is None:
        return "–"
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    if not isinstance(value, int | float | np.integer | np.floating):
        return escape(str(value))
    if not math.isfinite(float(value)):
        return "not finite"
    tail = f" {escape(shown_unit(unit))}" if with_unit and unit else ""
    if unit in ("share", "points"):
        return f"{100 * value:{'+' if unit == 'points' else ''}.1f}".replace("-", "−") + tail
    if unit == "B" and with_unit:
        return _bytes(float(value))
    if isinstance(value, int | np.integer) or (abs(float(value)) >= 1000 and float(value).is_integer()):
        return f"{int(value):,}".replace("-", "−") + tail
    return _digits(float(value)).replace("-", "−") + tail


def shown_unit(unit: str) -> str:
    """The unit that stands beside a printed number: a share is printed in percent."""
    return "%" if unit == "share" else unit


def tick(value: float, unit: str) -> str:
    """A number on an axis: no more digits than it needs, a plain zero."""
    if unit not in ("share", "points"):
        return number(float(value))
    sign = "+" if unit == "points" and value > 0 else ""
    return sign + _digits(round(100 * value, 9)).replace("-", "−") + (" %" if unit == "share" else "")


def common_n(values: Sequence[Any]) -> int | None:
    """The n of all metrics among `values`, where it is one and the same."""
    found = {value.n for value in values if isinstance(value, Metric)}
    return found.pop() if len(found) == 1 else None


def interval(metric: Metric, unit: str, *, with_n: bool = True) -> str:
    """`[38.1, 48.0] n 500`, as far as the metric has them."""
    parts = []
    if metric.low is not None and metric.high is not None:
        parts.append(f"[{number(metric.low, unit, with_unit=False)}, {number(metric.high, unit, with_unit=False)}]")
    if with_n and metric.n is not None:
        parts.append(f"n {metric.n:,}")
    return " ".join(parts)


def _bytes(value: float) -> str:
    """Decimal multiples, three digits: 2.34 GB."""
    power = 0 if value < 1 else min(4, int(math.log10(value) / 3))
    return f"{value / 1000**power:.3g} {('B', 'kB', 'MB', 'GB', 'TB')[power]}"


def _digits(value: float) -> str:
    """Up to four significant digits, no exponent between 0.001 and a million."""
    if value == 0:
        return "0"
    if not 1e-3 <= abs(value) < 1e6:
        mantissa, exponent = f"{value:.2e}".split("e")
        return f"{float(mantissa):g}e{int(exponent)}"
    text = f"{value:,.{max(0, 3 - math.floor(math.log10(abs(value))))}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
