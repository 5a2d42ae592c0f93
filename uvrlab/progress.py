"""Progress lines: one logged line every few seconds, each number with its unit. The CLI decides where lines go."""

from __future__ import annotations

import logging
import time

log = logging.getLogger("uvrlab.progress")


class Progress:
    """Counts work and logs rate and time left. `share` adds how much of the wall time went into one named part."""

    def __init__(self, label: str, total: int, unit: str, every_s: float = 2.0) -> None:
        self.label, self.total, self.unit, self.every_s = label, total, unit, every_s
        self.done = 0
        self._parts: dict[str, float] = {}
        self._start = self._last = time.monotonic()
        self._resumed = 0

    def resume(self, done: int) -> None:
        """Start from work that an earlier process finished; it does not count towards the rate."""
        self.done = self._resumed = done

    def spent(self, part: str, seconds: float) -> None:
        """Account seconds to a part, such as "decode wait"."""
        self._parts[part] = self._parts.get(part, 0.0) + seconds

    @property
    def rate(self) -> float:
        """Units a second in this process."""
        return (self.done - self._resumed) / max(time.monotonic() - self._start, 1e-9)

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._start

    def step(self, n: int = 1, **numbers: float | str) -> None:
        """Advance; log at most every `every_s` seconds and at the end."""
        self.done += n
        now = time.monotonic()
        if now - self._last < self.every_s and self.done < self.total:
            return
        self._last = now
        told = {"work": self.label, "done": self.done, "total": self.total, "unit": self.unit, "rate": round(self.rate, 3)}
        log.info("%s", self.line(**numbers), extra={"numbers": {**told, **numbers}})

    def line(self, **numbers: float | str) -> str:
        left_s = (self.total - self.done) / self.rate if self.rate else 0.0
        parts = [f"{self.label:<10}", f"{self.done}/{self.total} {self.unit}", f"{self.rate:.1f} {self.unit}/s"]
        parts += [
            f"{k.replace('_', ' ')} {v:.4g}" if isinstance(v, float) else f"{k.replace('_', ' ')} {v}" for k, v in numbers.items()
        ]
        parts += [f"{k} {100 * s / max(self.seconds, 1e-9):.0f} %" for k, s in self._parts.items()]
        parts.append(f"ETA {left_s:.0f} s" if self.done < self.total else f"took {self.seconds:.1f} s")
        return "  ".join(parts)
