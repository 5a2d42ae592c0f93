"""The filters in one literal table, the verdict on a score, and what the verdicts drop."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

from uvrlab.config import FiltersConfig

Row = dict[str, Any]
KEEP, DROP, NOT_JUDGED = "keep", "drop", "not judged"
FINGERPRINT = "fingerprint"  # its detail is what `duplicates` compares; it never has a verdict


@dataclass(frozen=True)
class Filter:
    """What a filter judges, on which side of its threshold it drops, and what its score is."""

    level: Literal["clip", "pair"]
    drops: Literal["below", "above"]
    unit: str
    score: str


FILTERS: dict[str, Filter] = {
    "black": Filter("clip", "below", "grey levels", "brightness of the median frame"),
    "blurred": Filter("clip", "below", "", "variance of the Laplacian of the median frame, at 128 lines"),
    "frozen": Filter("clip", "above", "share", "share of the clip in which the picture does not change at all"),
    "static_difference": Filter("clip", "below", "grey levels", "mean change between neighbouring frames"),
    "static_flow": Filter("clip", "below", "heights/s", "speed of the fastest twentieth of the picture"),
    "cuts": Filter("clip", "above", "1/min", "shot boundaries a minute"),
    "silence": Filter("clip", "below", "dB", "loudness; no track counts as -120 dB"),
    "duplicate": Filter(
        "clip", "below", "levels", "difference from the nearest earlier clip, of 255: its worst cell of picture or sound"
    ),
    "duplicate_vector": Filter("clip", "above", "cosine", "cosine with the nearest earlier clip"),
    "text_words": Filter("pair", "below", "words", "words"),
    "text_variety": Filter("pair", "below", "share", "share of different words"),
    "text_function": Filter("pair", "above", "share", "share of function words"),
    "text_boilerplate": Filter("pair", "above", "share", "share of words that are file names, addresses or channel talk"),
    "text_generic": Filter("pair", "above", "share", "share of content words that fit any video"),
    "similarity": Filter("pair", "below", "cosine", "cosine of query and target under the configured embedder"),
    "unaided": Filter("pair", "above", "cosine", "by how much a TI2V query's text alone prefers its target to 15 others"),
}


def judge(
    name: str,
    score: float | None,
    own: FiltersConfig,
    *,
    clip_id: str | None = None,
    pair_id: str | None = None,
    detail: str = "",
    able: bool = True,
) -> Row:
    """One row of the table `filters`. Without a score, a threshold or the ability to judge (`able`) nothing is dropped."""
    threshold: float | None = getattr(own, name)
    verdict = NOT_JUDGED
    if able and score is not None and threshold is not None:
        wrong = score < threshold if FILTERS[name].drops == "below" else score > threshold
        verdict = DROP if wrong else KEEP
    return {
        "clip_id": clip_id,
        "pair_id": pair_id,
        "filter": name,
        "score": None if score is None else round(float(score), 6),
        "threshold": threshold,
        "verdict": verdict,
        "detail": detail,
    }


@dataclass
class Dropped:
    """Reject rows by clip id and by pair id: the first filter that dropped it gives the reason, all of them the detail."""

    clips: dict[str, Row] = field(default_factory=dict)
    pairs: dict[str, Row] = field(default_factory=dict)


def apply(rows: Iterable[Row]) -> Dropped:
    """What the verdicts drop. A row with a pair id drops the pair, one without drops the clip."""
    out = Dropped()
    for row in rows:
        if row["verdict"] != DROP:
            continue
        found, item = (out.clips, row["clip_id"]) if row["pair_id"] is None else (out.pairs, row["pair_id"])
        side = FILTERS[row["filter"]].drops
        words = f"{row['filter']} {row['score']:g} is {side} {row['threshold']:g}" + (
            f" ({row['detail']})" if row["detail"] else ""
        )
        if item in found:
            found[item]["detail"] += f"; {words}"
        else:
            found[item] = {"item": item, "reason": f"filter:{row['filter']}", "detail": words}
    return out
