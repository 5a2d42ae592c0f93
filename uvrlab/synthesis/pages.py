"""The report of `synthesize`: the mix as configured and as realised, what was kept, word lengths, five real pairs of each task."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from uvrlab.config import SynthesizeConfig
from uvrlab.data.media import MediaError
from uvrlab.data.sampling import sample_times
from uvrlab.data.schema import WORD_RANGES, iter_rows
from uvrlab.report import Report, Strip
from uvrlab.synthesis.captioners import Captioner, ProviderError, captioner
from uvrlab.synthesis.captioners.base import STRATEGIES, Measuring
from uvrlab.synthesis.filters.pages import section
from uvrlab.synthesis.known import Known
from uvrlab.synthesis.tally import EXAMPLES, Tally
from uvrlab.synthesis.view import ClipView

Row = dict[str, Any]
FRAMES, RATE_HZ = 6, 16000
SIDES = ("query", "target")


def page(tally: Tally, known: Known, source: Path, filters: Path, own: SynthesizeConfig, warnings: list[str]) -> Report:
    """`source` is the clips run, whose media the example pairs show; `filters` the table of that name."""
    report = Report("UVRD", f"{tally.n_pairs} pairs from {known.n_clips} of {tally.n_clips} clips by provider {own.provider}")
    for warning in warnings:
        report.warning(warning)
    report.section("Mix", "Shares as configured and as realised; they differ where clips lack words, a reference or a new text.")
    report.table(_by_task(tally, own), units={"configured": "%", "realised": "%", "pairs": "pairs"})
    report.table(_by_style(tally), units={"of its task": "%", "pairs": "pairs"})
    for style, lengths in sorted(tally.lengths.items()):
        low, high = WORD_RANGES.get(STRATEGIES.get(style, (style,))[0], (None, None))
        promise = f"{low}-{high} words promised" if low else "no range promised"
        words = np.repeat(list(lengths), list(lengths.values()))
        report.histogram(words, "words", bins=20, caption=f"Words a query, {style} ({promise}, n = {len(words)})")
    clips, provider = _clips(tally, source), captioner(own)
    for task, pairs in sorted(tally.examples.items()):
        report.section(task, f"The first {EXAMPLES} pairs.")
        for pair in pairs:
            _show(report, pair, clips, tally)
            _measured(report, pair, clips, provider)
    if own.filters.enabled:
        section(report, iter_rows("filters", filters), own.filters)
    if tally.usage:
        report.section("What the captioner used", "Of requests sent now; answers found in the cache cost nothing.")
        report.key_values({name: round(value, 4) for name, value in tally.usage.items()})
    _rejects(report, tally)
    return report


def _by_task(tally: Tally, own: SynthesizeConfig) -> list[dict[str, Any]]:
    found = {task: sum(n for (t, _), n in tally.cells.items() if t == task) for task in own.tasks}
    return [
        {"task": task, "configured": 100 * share, "realised": 100 * found[task] / tally.n_pairs, "pairs": found[task]}
        for task, share in own.tasks.items()
    ]


def _by_style(tally: Tally) -> list[dict[str, Any]]:
    """Caption styles, kinds of frame captions, strategies of changes."""
    totals: dict[str, int] = {}
    for (task, _), n in tally.cells.items():
        totals[task] = totals.get(task, 0) + n
    return [
        {"task": task, "style": style, "of its task": 100 * n / totals[task], "pairs": n}
        for (task, style), n in sorted(tally.cells.items())
        if style
    ]


def _clips(tally: Tally, source: Path) -> dict[str, ClipView]:
    """The clips that the examples show."""
    pairs = [pair for shown in tally.examples.values() for pair in shown]
    wanted = {pair[side]["clip_id"] for pair in pairs for side in SIDES} - {None}
    rows = (row for row in iter_rows("clips", source / "clips") if row["clip_id"] in wanted)
    return {row["clip_id"]: ClipView(row, source) for row in rows}


def _show(report: Report, pair: Row, clips: Mapping[str, ClipView], tally: Tally) -> None:
    """Both sides: text, frames, sound; then what an annotator thought of each."""
    report.text(f"{pair['pair_id']}{', ' + pair['style'] if pair['style'] else ''}")
    for side in SIDES:
        if pair[side]["text"]:
            report.text(f"{side}: {pair[side]['text']}")
    strips = [strip for side in SIDES for strip in _strip(pair[side], clips, side)]
    if strips:
        report.frames(strips)
    for side in SIDES:
        _sound(report, pair[side], clips, side)
    if thoughts := tally.thoughts.get(pair["pair_id"]):
        report.details("traces", "\n\n".join(f"{t['side']}: {t['think']}\n-> {t['answer']}" for t in thoughts))


def _measured(report: Report, pair: Row, clips: Mapping[str, ClipView], provider: Captioner) -> None:
    """What the captioner measured in the target's clip, where it works from measurements."""
    view = clips.get(pair["target"]["clip_id"] or "")
    if isinstance(provider, Measuring) and view is not None:
        with suppress(ProviderError):
            report.text(f"measured: {'; '.join(provider.facts(view))}")


def _strip(item: Row, clips: Mapping[str, ClipView], side: str) -> list[Strip]:
    """Frames of an item; none where it has none, or its media cannot be read here (a report never fails a stage)."""
    if not {"image", "video"} & set(item["modalities"]):
        return []
    start, end = item["start_s"], item["end_s"]
    times = [start] if start == end else sample_times(end, FRAMES, start, end)
    try:
        frames = clips[item["clip_id"]].frames(times, 120)
    except (MediaError, OSError):
        return []
    return [Strip(frames, f"{side}: {'+'.join(item['modalities'])} of {item['clip_id']}", times)]


def _sound(report: Report, item: Row, clips: Mapping[str, ClipView], side: str) -> None:
    if "audio" not in item["modalities"]:
        return
    try:
        wave = clips[item["clip_id"]].wave(RATE_HZ, item["start_s"], item["end_s"])
    except (MediaError, OSError):
        return
    if wave is not None:
        report.waveform(wave, RATE_HZ, caption=f"{side}: sound of {item['clip_id']}")


def _rejects(report: Report, tally: Tally) -> None:
    reasons = tally.faults + tally.decisions
    if reasons:
        report.section("Rejects", ", ".join(f"{n} x {reason}" for reason, n in reasons.most_common()))
        report.table(tally.rejects, caption=f"The first {len(tally.rejects)} of {tally.rows['rejects']}")
