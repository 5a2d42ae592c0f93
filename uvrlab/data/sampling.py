"""When to look: uniform times, times at a frame rate under a cap, and windows of bounded length. Pure arithmetic, in seconds."""

from __future__ import annotations

import itertools
import math

MAX_WINDOW_S = 8.0  # interleaved position ids of picture and sound stay in order up to here


def sample_times(duration_s: float, n: int = 8, start_s: float = 0.0, end_s: float | None = None) -> list[float]:
    """`n` times in [start_s, end_s): the middles of `n` equal bins. `end_s` defaults to the duration, and never passes it."""
    end_s = duration_s if end_s is None else min(end_s, duration_s)
    if n < 1 or not 0.0 <= start_s < end_s:
        raise ValueError(f"found n={n} and span [{start_s}, {end_s}) of {duration_s} s; expected n >= 1 and 0 <= start < end")
    step = (end_s - start_s) / n
    return [start_s + (i + 0.5) * step for i in range(n)]


def sample_times_fps(
    duration_s: float, fps: float, max_frames: int, start_s: float = 0.0, end_s: float | None = None, multiple: int = 1
) -> list[float]:
    """Uniform times at about `fps` a second: a multiple of `multiple`, at least one such group, at most `max_frames`."""
    end_s = duration_s if end_s is None else min(end_s, duration_s)
    if fps <= 0 or max_frames < multiple:
        raise ValueError(f"found fps={fps}, max_frames={max_frames}; expected fps > 0 and max_frames >= {multiple}")
    n = round((end_s - start_s) * fps / multiple) * multiple
    return sample_times(duration_s, min(max(n, multiple), max_frames // multiple * multiple), start_s, end_s)


def windows(start_s: float, end_s: float, max_s: float = MAX_WINDOW_S) -> list[tuple[float, float]]:
    """[start_s, end_s) cut into the fewest equal windows of at most `max_s` seconds."""
    if not start_s < end_s or max_s <= 0:
        raise ValueError(f"found span [{start_s}, {end_s}) and max_s={max_s}; expected start < end and max_s > 0")
    n = max(1, math.ceil((end_s - start_s) / max_s - 1e-9))
    edges = [start_s + (end_s - start_s) * i / n for i in range(n)] + [end_s]
    return list(itertools.pairwise(edges))
