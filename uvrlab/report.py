"""A report: one self-contained HTML file a stage, without scripts or any link, small enough to keep and to send.

Every number carries its unit and, where it is an estimate, n and interval: pass `Metric`. All text is escaped. Pictures are
encoded only when the page is written, at the best JPEG quality that keeps the file under `max_bytes`; what still does not fit
is left out, and says so.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from uvrlab import plots, plots_radar
from uvrlab import report_blocks as blocks
from uvrlab.plots import Array, Value
from uvrlab.report_blocks import Block, Encode, Step, Strip
from uvrlab.report_style import STYLE
from uvrlab.runs import Metric

MAX_BYTES = 3_000_000
FIGURE_BYTES = 160  # at most, of the tags round a picture
QUALITIES = (82, 70, 55, 40)
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{policy}"><title>{title}</title><style>{style}</style></head>
<body><main>{body}</main></body></html>
"""


class Report:
    """Builds the page block by block; every method returns the report, so calls chain."""

    def __init__(self, title: str, subtitle: str = "", *, max_bytes: int = MAX_BYTES) -> None:
        self.title, self.subtitle, self.max_bytes = title, subtitle, max_bytes
        self._sections: list[tuple[str, str, list[Block]]] = [("", "", [])]

    def section(self, title: str, lead: str = "") -> Report:
        """Start a section; all that follows belongs to it."""
        self._sections.append((title, lead, []))
        return self

    def text(self, words: str) -> Report:
        """A paragraph."""
        return self._add(f"<p>{escape(words)}</p>")

    def headline(self, metrics: Mapping[str, Metric]) -> Report:
        """The few numbers that matter, as tiles."""
        return self._add(
            f'<div class="headline">{"".join(blocks.tile_html(name, metric) for name, metric in metrics.items())}</div>', plain=True
        )

    def warning(self, words: str) -> Report:
        """A line that must not be overlooked."""
        return self._add(f'<div class="warning" role="alert">{escape(words)}</div>', plain=True)

    def table(
        self,
        rows: Sequence[Mapping[str, Any]],
        columns: Sequence[str] | Mapping[str, str] | None = None,
        units: Mapping[str, str] | None = None,
        *,
        caption: str = "",
        strong: Sequence[int] = (),
        limit: int = 100,
    ) -> Report:
        """Rows of plain values, `Metric`s and verdicts. `columns` orders the keys and may rename them; `strong` rows stand out."""
        return self._add(blocks.caption_html(caption) + blocks.table_html(rows, columns, units, strong, limit))

    def key_values(self, values: Mapping[str, Any], units: Mapping[str, str] | None = None) -> Report:
        """Facts, one a line."""
        lines = "".join(
            f"<dt>{escape(name)}</dt><dd>{blocks.shown(value, (units or {}).get(name, ''))}</dd>" for name, value in values.items()
        )
        return self._add(f"<dl>{lines}</dl>")

    def bars(
        self,
        rows: Mapping[str, Value | Mapping[str, Value]],
        unit: str,
        *,
        chance: float | Mapping[str, float] | None = None,
        caption: str = "",
    ) -> Report:
        """Bars with interval whiskers: {label: value} or {label: {series: value}}, with the chance level where there is one."""
        return self._add(blocks.caption_html(caption) + plots.bars(rows, unit, chance))

    def effects(self, rows: Mapping[str, Value], unit: str = "points", *, caption: str = "") -> Report:
        """Differences as dots with intervals round a zero line."""
        return self._add(blocks.caption_html(caption) + plots.bars(rows, unit, dots=True))

    def lines(
        self,
        series: Mapping[str, Sequence[tuple[float, float]]],
        x_label: str,
        y_label: str,
        *,
        log_y: bool = False,
        caption: str = "",
    ) -> Report:
        """Curves of (x, y) points, such as a loss over steps."""
        return self._add(blocks.caption_html(caption) + plots.curves(series, x_label, y_label, log_y=log_y))

    def histogram(self, values: Sequence[float] | Array, unit: str, *, bins: int = 30, caption: str = "") -> Report:
        """How values are spread."""
        return self._add(blocks.caption_html(caption) + plots.histogram(values, unit, bins))

    def heat(
        self,
        rows: Sequence[str],
        columns: Sequence[str],
        values: Sequence[Sequence[float | None]],
        unit: str,
        *,
        diverging: bool = False,
        caption: str = "",
    ) -> Report:
        """A tinted table of numbers; None where there is none."""
        return self._add(blocks.caption_html(caption) + plots.heat(rows, columns, values, unit, diverging=diverging))

    def radar(self, axes: Sequence[str], series: Mapping[str, Sequence[float]], unit: str, *, caption: str = "") -> Report:
        """Profiles over three axes or more: {series: one value an axis}."""
        return self._add(blocks.caption_html(caption) + plots_radar.radar(axes, series, unit))

    def waveform(
        self, samples: Array, sample_rate_hz: int, spans: Sequence[tuple[float, float, str]] = (), *, caption: str = ""
    ) -> Report:
        """Mono sound (n,) with labelled (start_s, end_s, label) spans."""
        return self._add(blocks.caption_html(caption) + plots.waveform(samples, sample_rate_hz, spans))

    def frames(self, strips: Sequence[Strip], *, caption: str = "") -> Report:
        """Film strips. Frames are shrunk now, so a report never holds full-size video."""
        small = [blocks.shrink(strip) for strip in strips]
        return self._add(lambda encode: blocks.caption_html(caption) + "".join(blocks.strip_html(strip, encode) for strip in small))

    def walk(self, steps: Sequence[Step], *, caption: str = "") -> Report:
        """One sample, station by station: clip, sound, prompt, vector, ranking."""
        small = [(step, blocks.shrink(step.strip) if step.strip else None) for step in steps]
        return self._add(lambda encode: blocks.caption_html(caption) + blocks.walk_html(small, encode))

    def details(self, title: str, text: str) -> Report:
        """Long text (JSON, a log) folded behind its title."""
        return self._add(blocks.details_html(title, f"<pre>{escape(text)}</pre>"))

    def provenance(self, manifest: Mapping[str, Any]) -> Report:
        """The section that says what made this: digests, seed, inputs, versions, config and files of `manifest.json`."""
        self.section("Provenance", "What this result was made from. `uvr verify` checks every file against its digest.")
        facts = {
            "stage": manifest["stage"],
            "digest": manifest["digest"],
            "code": manifest["code_digest"],
            "seed": manifest["seed"],
        }
        self.key_values(facts | {f"input {name}": digest for name, digest in manifest["inputs"].items()})
        config = json.dumps(manifest["config"], indent=1, ensure_ascii=False, sort_keys=True)
        files = [{**file, "sha256": str(file["sha256"])[:16]} for file in manifest["files"]]
        listing = blocks.table_html(files, ("path", "bytes", "rows", "sha256"), {"bytes": "B"})
        versions = blocks.table_html([{"package": k, "version": v} for k, v in manifest["versions"].items()])
        folded = (("Config", f"<pre>{escape(config)}</pre>"), (f"Files ({len(files)})", listing), ("Versions", versions))
        return self._add("".join(blocks.details_html(title, inner) for title, inner in folded), plain=True)

    def html(self) -> str:
        """The page. Tries falling JPEG qualities until it fits `max_bytes`; at the last, later pictures are left out."""
        for quality in QUALITIES:
            page = self._render(lambda frame, q=quality: blocks.jpeg(frame, q))  # type: ignore[misc]
            if len(page.encode()) <= self.max_bytes:
                return page
        left = self.max_bytes - len(self._render(lambda _: "").encode())

        def encode(frame: Array) -> str:
            nonlocal left
            uri = blocks.jpeg(frame, QUALITIES[-1])
            left -= len(uri) + FIGURE_BYTES
            return uri if left > 0 else ""

        return self._render(encode)

    def write(self, path: Path) -> Path:
        """Write the page atomically."""
        partial = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        partial.write_text(self.html(), encoding="utf-8")
        partial.replace(path)
        return path

    def _add(self, block: str | Block, *, plain: bool = False) -> Report:
        def render(encode: Encode) -> str:
            inner = block if isinstance(block, str) else block(encode)
            return inner if plain else f'<div class="block">{inner}</div>'

        self._sections[-1][2].append(render)
        return self

    def _render(self, encode: Encode) -> str:
        parts, links = [], []
        for place, (title, lead, content) in enumerate(self._sections):
            inner = "".join(block(encode) for block in content)
            if not place:
                parts.append(inner)
                continue
            links.append(f'<a href="#s{place}">{escape(title)}</a>')
            words = f'<p class="lead">{escape(lead)}</p>' if lead else ""
            parts.append(f'<section id="s{place}"><h2>{escape(title)}</h2>{words}{inner}</section>')
        subtitle = f'<p class="subtitle">{escape(self.subtitle)}</p>' if self.subtitle else ""
        nav = f"<nav>{''.join(links)}</nav>" if len(links) > 2 else ""
        header = f"<header><h1>{escape(self.title)}</h1>{subtitle}{nav}</header>"
        return PAGE.format(title=escape(self.title), style=STYLE, policy=POLICY, body=header + "".join(parts))
