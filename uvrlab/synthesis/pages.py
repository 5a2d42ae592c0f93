"""The report of `synthesize`: the mix as configured and as realised, word lengths by style, five real pairs of each task."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from uvrlab.config import SynthesizeConfig
from uvrlab.data.decode import decode_frames
from uvrlab.data.media import MediaError
from uvrlab.data.sampling import sample_times
from uvrlab.data.schema import WORD_RANGES
from uvrlab.report import Report, Strip
from uvrlab.synthesis.extend import Extension, Row
from uvrlab.synthesis.plan import GIVEN, Cell, mix

EXAMPLES, FRAMES = 5, 6


def page(made: Extension, clips: list[Row], source: Path, own: SynthesizeConfig, warnings: list[str]) -> Report:
    """`source` is the clips run, whose media the example pairs show."""
    known = {clip["clip_id"]: clip for clip in clips}
    report = Report("UVRD", f"{len(made.pairs)} pairs from {len(clips)} clips by provider {own.provider}")
    for warning in warnings:
        report.warning(warning)
    report.section("Mix", "Shares as configured and as realised; they differ where clips lack words or repeat a text.")
    report.table(_mix_rows(made, own), units={"configured": "%", "realised": "%", "pairs": "pairs"})
    for style, lengths in _lengths(made).items():
        low, high = WORD_RANGES.get(style, (None, None))
        promise = f"{low}-{high} words promised" if low else "no range promised"
        report.histogram(lengths, "words", bins=20, caption=f"Words a caption, {style} ({promise}, n = {len(lengths)})")
    for task in sorted({pair["task"] for pair in made.pairs}):
        report.section(task, f"The first {EXAMPLES} pairs.")
        for pair in [p for p in made.pairs if p["task"] == task][:EXAMPLES]:
            _show(report, pair, known, source, made)
    if made.rejects:
        reasons = Counter(reject["reason"] for reject in made.rejects)
        report.section("Rejects", ", ".join(f"{n} x {reason}" for reason, n in reasons.most_common()))
        report.table(made.rejects, limit=20)
    return report


def _mix_rows(made: Extension, own: SynthesizeConfig) -> list[dict[str, Any]]:
    styles = {GIVEN: 1.0} if own.provider == "given" else own.styles
    shares = {str(cell): share for cell, share in mix(own.tasks, styles).items()}
    found = Counter(str(Cell(pair["task"], pair["style"])) for pair in made.pairs)
    total = found.total()
    return [
        {"pair": name, "configured": 100 * shares.get(name, 0.0), "realised": 100 * found[name] / total, "pairs": found[name]}
        for name in sorted(shares.keys() | found.keys())
    ]


def _lengths(made: Extension) -> dict[str, list[float]]:
    lengths: dict[str, list[float]] = {}
    for pair in made.pairs:
        if pair["query"]["text"]:
            lengths.setdefault(pair["style"], []).append(len(pair["query"]["text"].split()))
    return dict(sorted(lengths.items()))


def _show(report: Report, pair: Row, known: dict[str, Row], source: Path, made: Extension) -> None:
    clip = known[pair["target"]["clip_id"]]
    strips = [] if pair["query"]["text"] else _strip(pair["query"], clip, source, f"query of {pair['pair_id']}")
    strips += _strip(pair["target"], clip, source, f"target {clip['clip_id']} ({'+'.join(pair['target']['modalities'])})")
    if pair["query"]["text"]:
        report.text(f"{pair['style']}: {pair['query']['text']}")
    report.frames(strips)
    thoughts = [t for t in made.traces if t["pair_id"] == pair["pair_id"]]
    if thoughts:
        report.details("traces", "\n\n".join(f"{t['side']}: {t['think']}\n-> {t['answer']}" for t in thoughts))


def _strip(item: Row, clip: Row, source: Path, caption: str) -> list[Strip]:
    """Frames of an item; none where its media cannot be read here (a report never fails a stage)."""
    start, end = item["start_s"], item["end_s"]
    times = [start] if start == end else sample_times(end, FRAMES, start, end)
    try:
        frames = decode_frames(clip["uri"], times, max_height=120, base=source)
    except MediaError:
        return []
    return [Strip(frames, caption, times)]
