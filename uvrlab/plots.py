"""Plots as HTML and inline SVG, without scripts: bars and effects with intervals, curves, histograms, heat tables, sound.

Geometry is in percent, so a plot fills any width while its text keeps its size. Every function returns a fragment; all text
is escaped.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np

from uvrlab.report_numbers import common_n, interval, number, shown_unit, tick
from uvrlab.runs import Metric

Array = np.ndarray[Any, Any]
Value = Metric | float
N_COLOURS = 6
MAX_POINTS = 500
SMALLEST, LARGEST = 1e-200, 1e200  # beyond them a value is drawn as zero, or at the limit
SMOOTH_FROM = 120  # points; shorter curves are drawn as they are


def bars(
    rows: Mapping[str, Value | Mapping[str, Value]],
    unit: str,
    chance: float | Mapping[str, float] | None = None,
    *,
    dots: bool = False,
) -> str:
    """Horizontal bars from zero with interval whiskers, or `dots` with whiskers round a zero line (differences).

    `rows` maps a label to one value, or to {series: value}; `chance` is one level, or one a label.
    """
    groups = {label: value if isinstance(value, Mapping) else {"": value} for label, value in rows.items()}
    series = list(dict.fromkeys(name for group in groups.values() for name in group))
    levels = chance if isinstance(chance, Mapping) else dict.fromkeys(groups, chance)
    ends = [end for group in groups.values() for value in group.values() for end in _ends(value)]
    low, high, ticks = _axis([*ends, 0.0, *(level for level in levels.values() if level is not None)])
    common = common_n([value for group in groups.values() for value in group.values()])
    html = [legend(series if series != [""] else [], chance is not None), '<div class="bars">']
    for place, (label, group) in enumerate(groups.items()):
        if place and len(series) > 1:
            html.append('<div class="gap"></div>')
        for at, (name, value) in enumerate(group.items()):
            mark = _bar(value, unit, levels.get(label), low, high, dots, f"{label} {name}".strip())
            shown = (
                f' <span class="small">{interval(value, unit, with_n=common is None)}</span>' if isinstance(value, Metric) else ""
            )
            html += [
                f'<div class="label">{escape(label) if at == 0 else ""}</div>',
                f'<div class="c{series_colour(series.index(name))}">{mark}</div>',
                f'<div class="value">{number(_value(value), unit)}{shown}</div>',
            ]
    scale = _x_labels([(_part(t, low, high), tick(t, unit)) for t in ticks])
    note = f'<p class="note">95 % intervals, n {common:,}</p>' if common else ""
    return "".join([*html, f'<div class="axis">{scale}</div></div>', note])


def curves(series: Mapping[str, Sequence[tuple[float, float]]], x_label: str, y_label: str, *, log_y: bool = False) -> str:
    """Curves of (x, y) points. Long ones are thinned, and drawn faint below their running mean.

    Values that are not finite (or, with `log_y`, not positive) are left out, and counted below the plot.
    """
    clean, lost = {}, 0
    for name, points in series.items():
        array = np.asarray(points, dtype=float).reshape(-1, 2)
        good = np.isfinite(array).all(axis=1) & ((array[:, 1] > 0) | (not log_y))
        lost += int((~good).sum())
        clean[name] = np.clip(array[good], -LARGEST, LARGEST)
    everything = np.concatenate([*clean.values(), np.empty((0, 2))])
    if not len(everything):
        return '<p class="note">no finite points to draw</p>'
    transform = np.log10 if log_y else np.asarray
    x_low, x_high, x_ticks = _axis(everything[:, 0], tight=True)
    y_low, y_high, y_ticks = _log_axis(everything[:, 1]) if log_y else _axis(everything[:, 1])
    paths = []
    for place, points in enumerate(clean.values()):
        scaled = np.stack([_part(points[:, 0], x_low, x_high), 100 - _part(transform(points[:, 1]), y_low, y_high)], axis=1)
        paths.append(f'<g class="c{series_colour(place)}">{_curve(scaled)}</g>')
    last = [f"{name}: {number(float(points[-1, 1]))} at the end" if len(points) else name for name, points in clean.items()]
    note = f'<p class="note">{lost} points are not finite{" or not positive" if log_y else ""} and left out</p>' if lost else ""
    labels = [(t, number(float(10**t) if log_y else float(t))) for t in y_ticks]
    y_scale = [(100 - _part(t, y_low, y_high), text) for t, text in labels]
    x_scale = [(_part(t, x_low, x_high), number(float(t))) for t in x_ticks]
    grid = "".join(f'<line class="grid" x1="0" x2="100" y1="{y:.2f}" y2="{y:.2f}"/>' for y, _ in y_scale)
    caption = f'<p class="caption">{escape(y_label)}</p>'
    return (
        caption + legend(last, False) + _frame(grid + "".join(paths), x_scale, y_scale, x_label, f"{y_label} over {x_label}") + note
    )


def histogram(values: Sequence[float] | Array, unit: str, bins: int = 30) -> str:
    """Counts of finite values in equal bins; median and 5 % and 95 % quantiles in words below."""
    array = np.asarray(values, dtype=float)
    finite = np.clip(array[np.isfinite(array)], -LARGEST, LARGEST)
    if not finite.size:
        return '<p class="note">no finite values to draw</p>'
    low, high, ticks = _axis(finite, tight=True)
    counts, edges = np.histogram(finite, bins, (low, high))
    _, top, y_ticks = _axis([0.0, float(counts.max())])
    width = 100 / bins
    marks = "".join(
        f'<rect class="mark" x="{at * width + 0.1:.2f}" width="{width - 0.2:.2f}" y="{100 - 100 * count / top:.2f}" '
        f'height="{100 * count / top:.2f}">'
        f"<title>{number(edges[at], unit)} to {number(edges[at + 1], unit)}: {count}</title></rect>"
        for at, count in enumerate(counts)
    )
    y_scale = [(100 - 100 * t / top, number(int(t))) for t in y_ticks if float(t).is_integer()]
    grid = "".join(f'<line class="grid" x1="0" x2="100" y1="{y:.2f}" y2="{y:.2f}"/>' for y, _ in y_scale)
    p5, p50, p95 = np.quantile(finite, (0.05, 0.5, 0.95))
    lost = f"; {array.size - finite.size} not finite" if array.size > finite.size else ""
    spread = f"median {number(p50, unit)}, 5 % to 95 %: {number(p5, unit)} to {number(p95, unit)}, n {finite.size:,}{lost}"
    x_scale = [(_part(t, low, high), tick(t, unit)) for t in ticks]
    return (
        _frame(grid + f'<g class="c1">{marks}</g>', x_scale, y_scale, shown_unit(unit), f"histogram in {shown_unit(unit)}")
        + f'<p class="note">{spread}</p>'
    )


def heat(
    rows: Sequence[str], columns: Sequence[str], values: Sequence[Sequence[float | None]], unit: str, *, diverging: bool = False
) -> str:
    """A table of numbers, tinted by value: from the lowest to the highest, or with `diverging` by sign from zero."""
    flat = [v for row in values for v in row if v is not None and math.isfinite(v)]
    low, high = (0.0, max((abs(v) for v in flat), default=1.0)) if diverging else (min(flat, default=0.0), max(flat, default=1.0))
    head = "".join(f"<th>{escape(c)}</th>" for c in columns)
    body = []
    for label, row in zip(rows, values, strict=True):
        cells = "".join(_cell(v, unit, low, high, diverging) for v in row)
        body.append(f"<tr><th>{escape(label)}</th>{cells}</tr>")
    table = f'<table class="heat"><tr><th class="small">{escape(shown_unit(unit))}</th>{head}</tr>{"".join(body)}</table>'
    return f'<div class="scroll">{table}</div>'


def waveform(samples: Array, sample_rate_hz: int, spans: Sequence[tuple[float, float, str]] = ()) -> str:
    """The envelope of mono sound (n,), full scale 1, with labelled (start_s, end_s, label) spans."""
    samples = np.nan_to_num(np.asarray(samples, dtype=float).reshape(-1))
    duration_s = max(samples.size / sample_rate_hz, 1e-9)
    blocks = np.array_split(samples, min(400, max(samples.size, 1)))
    tops = np.array([[block.max(initial=0), block.min(initial=0)] for block in blocks])
    scale = max(float(np.abs(tops).max(initial=0)), 1e-4)
    x = np.linspace(0, 100, len(tops))
    upper = [f"{a:.2f},{50 - 48 * v / scale:.1f}" for a, v in zip(x, tops[:, 0], strict=True)]
    lower = [f"{a:.2f},{50 - 48 * v / scale:.1f}" for a, v in zip(x[::-1], tops[::-1, 1], strict=True)]
    shape = f'<g class="c3"><polygon class="mark" points="{" ".join(upper + lower)}"/></g>'
    shade = "".join(
        f'<div class="span" style="left:{_part(start, 0, duration_s):.2f}%;width:{_part(end - start, 0, duration_s):.2f}%">'
        f"{escape(label)}</div>"
        for start, end, label in spans
    )
    ticks = [(_part(t, 0, duration_s), f"{number(float(t))} s") for t in _axis([0, duration_s], tight=True)[2]]
    peak = [(2.0, f"{scale:.2g}"), (98.0, f"−{scale:.2g}")]
    return _frame(shape, ticks, peak, "", f"waveform of {number(duration_s)} s", low=True, over=shade)


# --- parts ---


def _value(value: Value) -> float:
    return value.value if isinstance(value, Metric) else float(value)


def _ends(value: Value) -> list[float]:
    ends = [value.value, value.low, value.high] if isinstance(value, Metric) else [value]
    return [float(end) for end in ends if end is not None and abs(end) <= LARGEST]


def _bar(value: Value, unit: str, chance: float | None, low: float, high: float, dots: bool, label: str) -> str:
    zero, at = _part(0.0, low, high), _part(_value(value), low, high) if math.isfinite(_value(value)) else None
    marks = [f'<line class="zero" x1="{zero:.2f}%" x2="{zero:.2f}%" y1="0" y2="20"/>']
    if at is not None and not dots:
        marks.append(f'<rect class="mark" x="{min(zero, at):.2f}%" width="{abs(at - zero):.2f}%" y="4" height="12" rx="2"/>')
    if isinstance(value, Metric) and value.low is not None and value.high is not None:
        left, right = _part(value.low, low, high), _part(value.high, low, high)
        marks.append(f'<line class="whisker" x1="{left:.2f}%" x2="{right:.2f}%" y1="10" y2="10"/>')
        marks += [f'<line class="whisker" x1="{x:.2f}%" x2="{x:.2f}%" y1="7" y2="13"/>' for x in (left, right)]
    if at is not None and dots:
        marks.append(f'<circle class="dot" cx="{at:.2f}%" cy="10" r="5"/>')
    if chance is not None:
        x = _part(chance, low, high)
        marks.append(
            f'<line class="chance" x1="{x:.2f}%" x2="{x:.2f}%" y1="1" y2="19"><title>chance {number(chance, unit)}</title></line>'
        )
    words = f"{escape(label)}: {number(_value(value), unit)} {interval(value, unit) if isinstance(value, Metric) else ''}".strip()
    return f'<svg width="100%" height="20" role="img" aria-label="{words}"><title>{words}</title>{"".join(marks)}</svg>'


def _curve(points: Array) -> str:
    """Polylines of points in percent (n, 2)."""
    if len(points) == 1:
        return f'<circle class="mark" cx="{points[0, 0]:.2f}" cy="{points[0, 1]:.2f}" r="1"/>'
    raw = points[np.unique(np.linspace(0, len(points) - 1, min(MAX_POINTS, len(points))).astype(int))] if len(points) else points
    if len(points) < SMOOTH_FROM:
        return f'<polyline class="curve" points="{_path(raw)}"/>'
    window = max(3, len(points) // 40)
    kernel, pad = np.ones(window) / window, (window // 2, window - 1 - window // 2)
    mean = np.convolve(np.pad(points[:, 1], pad, mode="edge"), kernel, mode="valid")
    smooth = np.stack([points[:, 0], mean], axis=1)[:: max(1, len(points) // 200)]
    return f'<polyline class="raw" points="{_path(raw)}"/><polyline class="curve" points="{_path(smooth)}"/>'


def _path(points: Array) -> str:
    return " ".join(f"{x:.2f},{y:.2f}" for x, y in points)


def _frame(
    inner: str,
    x_scale: Sequence[tuple[float, str]],
    y_scale: Sequence[tuple[float, str]],
    x_label: str,
    words: str,
    *,
    low: bool = False,
    over: str = "",
) -> str:
    """A plot area with its axes. The widest tick label stands once more, unseen, so that the column takes its width."""
    widest = max((text for _, text in y_scale), key=len, default="")
    y = f'<span class="widest">{widest}</span>' + "".join(f'<span style="top:{at:.2f}%">{text}</span>' for at, text in y_scale)
    svg = f'<svg viewBox="0 0 100 100" preserveAspectRatio="none" role="img" aria-label="{escape(words)}">{inner}</svg>'
    label = f'<div class="xlabel">{escape(x_label)}</div>' if x_label else ""
    area = f'<div class="y">{y}</div><div class="area">{svg}{over}</div><div class="x">{_x_labels(x_scale)}</div>'
    return f'<div class="plot{" low" if low else ""}">{area}{label}</div>'


def _x_labels(scale: Sequence[tuple[float, str]]) -> str:
    """Labels below an axis, centred on their ticks but kept inside the plot at its ends."""
    ends = (("start", lambda at: at < 2), ("end", lambda at: at > 98))
    kinds = [next((name for name, inside in ends if inside(at)), "") for at, _ in scale]
    return "".join(
        f'<span class="{kind}" style="left:{at:.2f}%">{text}</span>' for (at, text), kind in zip(scale, kinds, strict=True)
    )


def _cell(value: float | None, unit: str, low: float, high: float, diverging: bool) -> str:
    if value is None or not math.isfinite(value):
        return f'<td class="none">{number(value)}</td>'
    part = min(1.0, max(0.0, (abs(value) - low if diverging else value - low) / (high - low))) if high > low else 0.5
    colour = "c2" if diverging and value < 0 else "c1"
    text = number(value, unit, with_unit=False) if unit in ("share", "points") else f"{value:.2f}".replace("-", "−")
    return f'<td class="{colour}" style="--v:{part:.3f}">{text}</td>'


def legend(names: Sequence[str], chance: bool) -> str:
    """The names of the series in their colours."""
    parts = [f'<span><i class="c{series_colour(at)}"></i>{escape(name)}</span>' for at, name in enumerate(names)]
    if chance:
        parts.append('<span><i class="rule"></i>chance</span>')
    return f'<div class="legend">{"".join(parts)}</div>' if parts else ""


def series_colour(place: int) -> int:
    """The number of the colour of a series by its place."""
    return place % N_COLOURS + 1


def _part(value: Any, low: float, high: float) -> Any:
    """Percent of the way from low to high."""
    return 100 * (value - low) / (high - low)


def _axis(values: Sequence[float] | Array, *, tight: bool = False) -> tuple[float, float, list[float]]:
    """(low, high, ticks) around the values: ends on round numbers, or `tight` at the values themselves."""
    low, high = float(np.min(values)), float(np.max(values))
    size = max(abs(low), abs(high))
    if size < SMALLEST:
        low, high = (-0.5 if tight else 0.0), 0.5
    elif high - low <= 1e-9 * size:  # too close for distinct labels: show them as one level
        low, high = low - size / 2, high + size / 2
    step = _step((high - low) / 5)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    ticks = [float(f"{i * step:.12g}") for i in range(first, last + 1)]
    inside = [t for t in ticks if low - 1e-9 * step <= t <= high + 1e-9 * step]
    return (low, high, inside) if tight else (ticks[0], ticks[-1], ticks)


def _log_axis(values: Array) -> tuple[float, float, list[float]]:
    low, high = math.floor(math.log10(values.min())), math.ceil(math.log10(values.max()))
    high = max(high, low + 1)
    every = max(1, (high - low) // 5)
    return float(low), float(high), [float(t) for t in range(low, high + 1, every)]


def _step(rough: float) -> float:
    power = 10 ** math.floor(math.log10(rough))
    return power * next(m for m in (1, 2, 2.5, 5, 10) if rough <= m * power * 1.0001)
