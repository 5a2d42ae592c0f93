"""The fragments that a report is built of: tables, verdicts, tiles, film strips, the stations of a walk. All text is escaped."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np

from uvrlab import plots
from uvrlab.plots import Array, Value
from uvrlab.report_numbers import interval, number, shown_unit
from uvrlab.runs import Metric

MAX_SIDE_PX = 192
# What a verdict looks like wherever it stands alone in a cell or on a strip.
VERDICTS = {
    "hit": "good",
    "passed": "good",
    "promoted": "good",
    "moved": "strong",
    "improved": "good",
    "miss": "bad",
    "failed": "bad",
    "rejected": "bad",
    "worse": "bad",
    "warning": "warn",
    "not shown": "",
    "skipped": "",
}

Encode = Callable[[Array], str]  # a frame (H, W, 3) as a data URI, "" where the budget is spent
Block = Callable[[Encode], str]


@dataclass(frozen=True)
class Strip:
    """Frames (T, H, W, 3) uint8 of one clip with the line above them, a verdict (`hit`, `miss`, ...) and a line below."""

    frames: Array
    caption: str
    times_s: Sequence[float] = ()
    verdict: str = ""
    detail: str = ""


@dataclass(frozen=True)
class Step:
    """One station of a walk: a title, words, and whatever shows it best."""

    title: str
    text: str = ""
    strip: Strip | None = None
    sound: tuple[Array, int] | None = None  # mono samples (n,), sample_rate_hz
    spans: Sequence[tuple[float, float, str]] = ()  # start_s, end_s, label, drawn on the sound
    code: str = ""
    rows: Sequence[Mapping[str, Any]] = ()
    bars: Mapping[str, Value] | None = None
    unit: str = ""


def caption_html(words: str) -> str:
    return f'<p class="caption">{escape(words)}</p>' if words else ""


def details_html(title: str, inner: str) -> str:
    return f"<details><summary>{escape(title)}</summary>{inner}</details>"


def shown(value: Any, unit: str = "", *, with_unit: bool = True, with_n: bool = True) -> str:
    """A cell: a metric with its interval, a verdict as a badge, a list by commas, else the escaped value."""
    if isinstance(value, Metric):
        tail = interval(value, value.unit, with_n=with_n)
        return number(value.value, value.unit, with_unit=with_unit) + (f' <span class="small">{tail}</span>' if tail else "")
    if isinstance(value, str) and value in VERDICTS:
        return f'<span class="badge {VERDICTS[value]}">{escape(value)}</span>'
    if isinstance(value, list | tuple):
        return ", ".join(shown(v, unit) for v in value)
    return number(value, unit, with_unit=with_unit)


def tile_html(name: str, metric: Metric) -> str:
    unit = shown_unit(metric.unit)
    value = f'{number(metric.value, metric.unit, with_unit=False)} <span class="unit">{escape(unit)}</span>'
    tail = interval(metric, metric.unit)
    small = f'<div class="small">{tail}</div>' if tail else ""
    return f'<div class="tile"><div class="name">{escape(name)}</div><div class="value">{value}</div>{small}</div>'


def table_html(
    rows: Sequence[Mapping[str, Any]],
    columns: Sequence[str] | Mapping[str, str] | None = None,
    units: Mapping[str, str] | None = None,
    strong: Sequence[int] = (),
    limit: int = 100,
) -> str:
    """A table; numbers to the right, units in the head, n in a column of its own where each row has one."""
    if not rows:
        return '<p class="note">no rows</p>'
    keys = list(columns) if columns else list(dict.fromkeys(key for row in rows for key in row))
    names = dict(columns) if isinstance(columns, Mapping) else {key: key for key in keys}
    rows, with_n = _lift_n(rows, keys)
    heads = {key: (units or {}).get(key) or _common_unit([row.get(key) for row in rows]) for key in keys}
    sides = {key: "number" if all(_is_number(row.get(key)) for row in rows) else "" for key in keys}
    head = "".join(f'<th class="{sides[key]}">{_head(names.get(key, key), heads[key])}</th>' for key in keys)
    body = []
    for place, row in enumerate(rows[:limit]):
        cells = []
        for key in keys:
            cell = shown(row.get(key), heads[key], with_unit=not heads[key], with_n=with_n)
            cells.append(f'<td class="{sides[key]}">{cell}</td>')
        chosen = place in strong or place - len(rows) in strong
        body.append(f"<tr{' class=strong' if chosen else ''}>{''.join(cells)}</tr>")
    note = f'<p class="note">the first {limit} of {len(rows):,} rows</p>' if len(rows) > limit else ""
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{"".join(body)}</tbody></table></div>{note}'


def _lift_n(rows: Sequence[Mapping[str, Any]], keys: list[str]) -> tuple[Sequence[Mapping[str, Any]], bool]:
    """Where several metrics share a row's n, write it once: a column `n` after the last metric, and no n in the cells."""
    found = [{value.n for key in keys if isinstance(value := row.get(key), Metric)} - {None} for row in rows]
    crowded = sum(any(isinstance(row.get(key), Metric) for row in rows) for key in keys) > 1
    if "n" in keys or not crowded or any(len(n) > 1 for n in found):
        return rows, True
    last = max(at for at, key in enumerate(keys) if any(isinstance(row.get(key), Metric) for row in rows))
    keys.insert(last + 1, "n")
    return [{**row, "n": next(iter(n), None)} for row, n in zip(rows, found, strict=True)], False


def _head(name: str, unit: str) -> str:
    return escape(name) + (f' <span class="unit">{escape(shown_unit(unit))}</span>' if unit else "")


def _common_unit(values: Sequence[Any]) -> str:
    units = {value.unit for value in values if isinstance(value, Metric)}
    return units.pop() if len(units) == 1 else ""


def _is_number(value: Any) -> bool:
    return value is None or (isinstance(value, int | float | np.number | Metric) and not isinstance(value, bool))


def shrink(strip: Strip) -> Strip:
    """The strip with frames of at most MAX_SIDE_PX. Raises ValueError where they are not (T, H, W, 3) uint8."""
    from PIL import Image

    frames = np.asarray(strip.frames)
    if frames.ndim != 4 or frames.shape[-1] != 3 or frames.dtype != np.uint8:
        raise ValueError(f"frames must be (T, H, W, 3) uint8, found {frames.shape} {frames.dtype}")
    height, width = frames.shape[1:3]
    scale = MAX_SIDE_PX / max(height, width, 1)
    if scale < 1:
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        frames = np.stack([np.asarray(Image.fromarray(frame).resize(size, Image.Resampling.LANCZOS)) for frame in frames])
    return Strip(frames, strip.caption, tuple(strip.times_s), strip.verdict, strip.detail)


def jpeg(frame: Array, quality: int) -> str:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(frame).save(buffer, "JPEG", quality=quality, optimize=True)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def strip_html(strip: Strip, encode: Encode) -> str:
    uris = [encode(frame) for frame in strip.frames]
    times = [f"{number(round(float(time), 2))} s" for time in strip.times_s]
    times += [""] * (len(uris) - len(times))
    pictures = [_picture(frame, uri, time) for frame, uri, time in zip(strip.frames, uris, times, strict=False) if uri]
    badge = shown(strip.verdict) if strip.verdict else ""
    parts = [f'<div class="top">{badge}<div class="text">{escape(strip.caption)}</div></div>']
    if pictures:
        parts.append(f'<div class="film" style="--n:{len(uris)}">{"".join(pictures)}</div>')
    if lost := uris.count(""):
        parts.append(f'<p class="note">{lost} of {len(uris)} frames left out: the report is at its size limit</p>')
    if strip.detail:
        parts.append(f'<div class="detail">{escape(strip.detail)}</div>')
    return f'<div class="strip">{"".join(parts)}</div>'


def _picture(frame: Array, uri: str, time: str) -> str:
    height, width = frame.shape[:2]
    label = f"<figcaption>{time}</figcaption>" if time else ""
    return f'<figure><img src="{uri}" alt="frame at {time}" width="{width}" height="{height}">{label}</figure>'


def walk_html(steps: Sequence[tuple[Step, Strip | None]], encode: Encode) -> str:
    return f'<ol class="walk">{"".join(step_html(step, strip, encode) for step, strip in steps)}</ol>'


def step_html(step: Step, strip: Strip | None, encode: Encode) -> str:
    parts = [f"<h3>{escape(step.title)}</h3>"]
    if step.text:
        parts.append(f"<p>{escape(step.text)}</p>")
    if strip is not None:
        parts.append(strip_html(strip, encode))
    if step.sound is not None:
        parts.append(f'<div class="block">{plots.waveform(*step.sound, step.spans)}</div>')
    if step.code:
        parts.append(f'<div class="block"><pre>{escape(step.code)}</pre></div>')
    if step.bars:
        parts.append(f'<div class="block">{plots.bars(step.bars, step.unit)}</div>')
    if step.rows:
        parts.append(f'<div class="block">{table_html(step.rows, limit=20)}</div>')
    return f"<li>{''.join(parts)}</li>"
