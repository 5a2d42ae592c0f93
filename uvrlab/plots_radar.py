"""A radar: several profiles over the same few axes, all in one unit, as inline SVG without scripts."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

from uvrlab.plots import legend, series_colour
from uvrlab.report_numbers import number, tick

WIDTH, HEIGHT, RADIUS = 460, 340, 120
RINGS = 4


def radar(axes: Sequence[str], series: Mapping[str, Sequence[float]], unit: str) -> str:
    """`series` maps a name to one value (at least 0) an axis; the rim is the next round number. ValueError below three axes."""
    if len(axes) < 3 or any(len(values) != len(axes) for values in series.values()):
        raise ValueError(f"a radar needs three axes and a value for each, found {len(axes)} axes; draw bars instead")
    top = _rim(max((v for values in series.values() for v in values), default=0.0))
    rings = "".join(_polygon([ring / RINGS] * len(axes), 'class="grid" fill="none"') for ring in range(1, RINGS + 1))
    spokes = "".join(
        f'<line class="grid" x1="{_x(0, 0):.1f}" y1="{_y(0, 0):.1f}" {_end(at, len(axes))}/>' for at in range(len(axes))
    )
    shapes = []
    for place, (name, values) in enumerate(series.items()):
        words = ", ".join(f"{axis} {number(value, unit)}" for axis, value in zip(axes, values, strict=True))
        parts = [min(1.0, max(0.0, value / top)) for value in values]
        lines = _polygon(parts, 'class="faded"') + _polygon(parts, 'class="curve"')
        shapes.append(f'<g class="c{series_colour(place)}"><title>{escape(name)}: {escape(words)}</title>{lines}</g>')
    scale = "".join(
        f'<text class="tick" x="{_x(0, 0) + 4:.1f}" y="{_y(0, ring / RINGS) - 2:.1f}">{tick(top * ring / RINGS, unit)}</text>'
        for ring in range(1, RINGS + 1)
    )
    labels = "".join(_label(axis, at, len(axes)) for at, axis in enumerate(axes))
    svg = f'<svg class="radar" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="profiles over {escape(", ".join(axes))}">'
    return legend(list(series), False) + svg + rings + spokes + "".join(shapes) + scale + labels + "</svg>"


def _rim(highest: float) -> float:
    """The next of 1, 2, 4, 5 and 10 times a power of ten."""
    if highest <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(highest))
    return power * next(m for m in (1, 2, 4, 5, 10) if highest <= m * power * 1.0001)


def _x(angle: float, part: float) -> float:
    return WIDTH / 2 + RADIUS * part * math.sin(angle)


def _y(angle: float, part: float) -> float:
    return HEIGHT / 2 - RADIUS * part * math.cos(angle)


def _angle(at: int, n: int) -> float:
    return 2 * math.pi * at / n


def _end(at: int, n: int) -> str:
    return f'x2="{_x(_angle(at, n), 1):.1f}" y2="{_y(_angle(at, n), 1):.1f}"'


def _polygon(parts: Sequence[float], attributes: str) -> str:
    n = len(parts)
    points = " ".join(f"{_x(_angle(at, n), part):.1f},{_y(_angle(at, n), part):.1f}" for at, part in enumerate(parts))
    return f'<polygon {attributes} points="{points}"/>'


def _label(axis: str, at: int, n: int) -> str:
    x, y = _x(_angle(at, n), 1.13), _y(_angle(at, n), 1.13)
    side = "middle" if abs(x - WIDTH / 2) < 8 else "start" if x > WIDTH / 2 else "end"
    return f'<text class="axis" x="{x:.1f}" y="{y + 4:.1f}" text-anchor="{side}">{escape(axis)}</text>'
