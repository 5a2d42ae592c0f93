"""When and where things happen: event slots, who moves, places that make the motions possible, times of the sounds."""

from __future__ import annotations

import numpy as np

from uvrlab.data.world import tables
from uvrlab.data.world.scene import Event, Object, Sound, overlap_s, place_after

EVENT_S = (0.8, 2.0)
SOUND_S = (0.4, 1.2)


def possible(objects: tuple[Object, ...], events: tuple[Event, ...]) -> bool:
    """Whether every motion stays on the grid, ends on a free place, and no object is asked too much.

    An object never does two things at once, and grows at most once and shrinks at most once.
    """
    places, scaled = [o.place for o in objects], set[tuple[int, str]]()
    busy = [(a, b) for i, a in enumerate(events) for b in events[:i] if a.object == b.object]
    if any(overlap_s(a, b) > 0.0 for a, b in busy):
        return False
    for event in sorted(events, key=lambda e: e.start_s):
        target = place_after(places[event.object], event.motion)
        others = places[: event.object] + places[event.object + 1 :]
        if target not in tables.PLACES or target in others:
            return False
        if event.motion in ("grow", "shrink"):
            if (event.object, event.motion) in scaled:
                return False
            scaled.add((event.object, event.motion))
        places[event.object] = target
    return True


def slots(duration_s: float, rng: np.random.Generator) -> list[tuple[float, float]]:
    """Ordered event times on a grid of 0.1 s, in one clip of ten with two events that overlap a little."""
    if duration_s <= 8.0:
        wanted = int(rng.choice(4, p=(0.1, 0.25, 0.35, 0.3))) + 1
    else:
        wanted = min(14, int(rng.integers(max(3, round(duration_s / 8)), max(4, round(duration_s / 4)) + 1)))
    count = max(1, min(wanted, int((duration_s - 0.2) / EVENT_S[0])))
    lengths = rng.triangular(EVENT_S[0], EVENT_S[0] + 0.1, EVENT_S[1], count)  # mostly short: gaps remain for sounds
    room = duration_s - 0.2
    if lengths.sum() > room:
        spare = max(lengths.sum() - EVENT_S[0] * count, 1e-9)
        lengths = EVENT_S[0] + (lengths - EVENT_S[0]) * (room - EVENT_S[0] * count) / spare
    tenths = np.floor(lengths * 10 + 1e-6).astype(int)
    gaps = rng.multinomial(round(room * 10) - int(tenths.sum()), np.full(count + 1, 1 / (count + 1)))
    starts = 1 + np.cumsum(gaps[:-1]) + np.concatenate([[0], np.cumsum(tenths)[:-1]])
    if count > 1 and rng.random() < 0.1:
        late = int(rng.integers(1, count))
        starts[late] = max(starts[late] - 2, starts[late - 1] + 3) if gaps[late] == 0 else starts[late]
    return [(round(a / 10, 1), round((a + n) / 10, 1)) for a, n in zip(starts.tolist(), tenths.tolist(), strict=True)]


def movers(n_events: int, n_objects: int, rng: np.random.Generator) -> list[int]:
    """Which object each event belongs to: mostly a fresh one while there is one."""
    chosen: list[int] = []
    for _ in range(n_events):
        fresh = [o for o in range(n_objects) if o not in chosen]
        pool = fresh if fresh and (not chosen or rng.random() < 0.85) else list(range(n_objects))
        chosen.append(int(rng.choice(pool)))
    return chosen


def sounds(events: tuple[Event, ...], duration_s: float, rng: np.random.Generator) -> tuple[Sound, ...]:
    if duration_s <= 8.0:
        count = int(rng.choice(4, p=(0.06, 0.24, 0.35, 0.35)))
    else:
        count = int(rng.integers(3, max(4, round(duration_s / 6)) + 1))
    kinds = [str(k) for k in rng.permutation(tables.SOUNDS)]
    placed: list[Sound] = []
    for number in range(count):
        made = place_sound(kinds[number % len(kinds)], events, placed, duration_s, rng)
        if made is not None:
            placed.append(made)
    return tuple(sorted(placed, key=lambda s: s.start_s))


def place_sound(
    kind: str, events: tuple[Event, ...], others: list[Sound], duration_s: float, rng: np.random.Generator
) -> Sound | None:
    """`kind` where it meets no other sound: with an event's start every second time, else clearly apart from any start."""
    for _ in range(30):
        length = round(float(rng.uniform(*SOUND_S)), 1)
        event = int(rng.integers(len(events))) if events and rng.random() < 0.5 else None
        latest = round(duration_s - length, 1)
        start = events[event].start_s if event is not None else round(float(rng.uniform(0.1, latest)), 1)
        end = round(start + length, 1)
        apart = event is not None or all(abs(start - e.start_s) > 0.3 for e in events)
        clear = all(end + 0.1 <= s.start_s or s.end_s + 0.1 <= start for s in others)
        if apart and clear and end <= duration_s:
            return Sound(kind, start, end, event, round(float(rng.uniform(0.9, 1.1)), 3))
    return None
