"""The measured facts of a clip, from one decode of small frames and its sound: all that the provider `rules` may say."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from pathlib import Path

import numpy as np

from uvrlab.data.media import MediaError
from uvrlab.synthesis.captioners import flow, picture
from uvrlab.synthesis.captioners.base import ProviderError
from uvrlab.synthesis.captioners.loudness import Loudness, measure_loudness
from uvrlab.synthesis.view import ClipView

RATE_FPS, MAX_FRAMES, HEIGHT = 8.0, 240, 120
SOUND_RATE_HZ = 16_000
MAX_STRETCHES = 10
SLOW_S = 1.0  # what creeps less than a pixel from frame to frame shows over a second
QUIET = 0.3  # strength below which the slow look counts, if it sees more


@dataclass(frozen=True)
class Stretch:
    """A part of the clip between two times (seconds from the clip's start): a second or more, never across a cut."""

    start_s: float
    end_s: float
    luma: float
    colours: picture.Shares
    view: str  # see flow.view_word
    motion: float  # see flow.strength
    heading: str | None
    place: str | None
    loud: bool  # a loudness event falls into it


@dataclass(frozen=True)
class Facts:
    """What was measured in a clip; times are seconds from its start."""

    duration_s: float
    width: int
    height: int
    frames: int  # that were looked at
    luma: float
    colours: picture.Shares
    fields: tuple[tuple[tuple[str, str], picture.Shares], ...]  # 3 x 3, by row and column
    cuts_s: tuple[float, ...]
    view: str
    motion: float
    heading: str | None
    place: str | None
    stretches: tuple[Stretch, ...]
    track: str  # "none", "silent" or "sound"
    sound: Loudness | None


def measure_facts(view: ClipView) -> Facts:
    """The facts of a clip, measured once in a process. Raises ProviderError where it does not decode."""
    row = view.row
    try:
        return _measured(
            row["media_sha256"],
            row["uri"],
            str(view.base),
            row["start_s"],
            row["end_s"],
            row["fps"],
            row["has_audio"],
            row["audible"],
        )
    except MediaError as error:
        raise ProviderError(f"not measured: {error}") from error


@lru_cache(maxsize=64)
def _measured(sha256: str, uri: str, base: str, start_s: float, end_s: float, fps: float, has_audio: bool, audible: bool) -> Facts:
    view = ClipView({"uri": uri, "start_s": start_s, "end_s": end_s, "has_audio": has_audio}, Path(base))
    times = sample_times(start_s, end_s, fps)
    frames = view.frames(times.tolist(), max_height=HEIGHT)
    wave = view.wave(SOUND_RATE_HZ) if audible else None
    sound = measure_loudness(wave, SOUND_RATE_HZ) if wave is not None and len(wave) else None
    found = flow.steps(frames, times - start_s)
    cuts = flow.cuts(found)
    every = max(1, round(SLOW_S * (len(times) - 1) / max(times[-1] - times[0], SLOW_S)))
    slow = flow.steps(frames[::every], times[::every] - start_s) if every > 1 else []
    slow = [s for s in slow if not any(s.at_s - s.dt_s < cut <= s.at_s for cut in cuts)]
    numbers, luma = picture.colour_numbers(frames), picture.luma(frames)
    seen = [s for s in found if round(s.at_s, 2) not in cuts]
    moving = _livelier(seen, slow)
    return Facts(
        duration_s=round(end_s - start_s, 2),
        width=frames.shape[2],
        height=frames.shape[1],
        frames=len(frames),
        luma=round(float(luma.mean()), 1),
        colours=picture.shares(numbers),
        fields=tuple(picture.regions(numbers).items()),
        cuts_s=cuts,
        view=flow.view_word(seen),
        motion=flow.strength(moving),
        heading=flow.heading_word(seen) if moving is seen else None,
        place=flow.place_word(moving),
        stretches=_stretches(end_s - start_s, cuts, times - start_s, numbers, luma, found, slow, sound),
        track="sound" if audible else "silent" if has_audio else "none",
        sound=sound,
    )


def _livelier(steps: list[flow.Step], slow: list[flow.Step]) -> list[flow.Step]:
    """The steps to judge motion by: from frame to frame, or where little moves so, over a second (its direction is then unsure)."""
    return slow if flow.strength(steps) < min(QUIET, flow.strength(slow)) else steps


def sample_times(start_s: float, end_s: float, fps: float) -> np.ndarray:
    """Times on the file's clock, in the middle of frames, evenly spaced: at most 8 a second and 240 in all."""
    n_frames = max(1, round((end_s - start_s) * fps))
    count = min(n_frames, MAX_FRAMES, max(2, round((end_s - start_s) * RATE_FPS)))
    numbers = np.unique(np.linspace(0, n_frames - 1, count).round().astype(int))
    return start_s + (numbers + 0.5) / fps


def _stretches(
    duration_s: float,
    cuts: tuple[float, ...],
    times: np.ndarray,
    numbers: np.ndarray,
    luma: np.ndarray,
    found: list[flow.Step],
    slow: list[flow.Step],
    sound: Loudness | None,
) -> tuple[Stretch, ...]:
    length = max(1.0, float(np.ceil(duration_s / MAX_STRETCHES)))
    edges = sorted({0.0, duration_s, *cuts, *np.arange(length, duration_s - 0.5 * length, length).tolist()})
    made = []
    for start, end in pairwise(edges):
        inside = (times >= start) & (times < end)
        if not inside.any():
            continue
        steps = [s for s in found if start < s.at_s < end and round(s.at_s, 2) not in cuts]
        moving = _livelier(steps, [s for s in slow if start <= s.at_s - s.dt_s and s.at_s <= end])
        made.append(
            Stretch(
                start_s=round(float(start), 1),
                end_s=round(float(end), 1),
                luma=round(float(luma[inside].mean()), 1),
                colours=picture.shares(numbers[inside], most=2),
                view=flow.view_word(steps),
                motion=flow.strength(moving),
                heading=flow.heading_word(steps) if moving is steps else None,
                place=flow.place_word(moving),
                loud=sound is not None and any(a < end and b > start for a, b in sound.loud),
            )
        )
    return tuple(made)
