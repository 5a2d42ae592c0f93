"""A cursor over one video stream: the frame shown at a time, with as little decoding as gives exactly that frame.

It seeks only where a keyframe lies between the last decoded frame and the wanted one. In H.264 a packet says whether anything
refers to it (nal_ref_idc): packets that nothing refers to and nobody wants are skipped undecoded. Which ones are wanted is known
before decoding, because packets are read ahead in decode order until none can still belong at or before the wanted time.
"""

from __future__ import annotations

import bisect
from collections import deque
from collections.abc import Iterator
from typing import Any

import av

from uvrlab.data.media import MediaError, OpenVideo

SKIPPABLE = frozenset({"h264"})  # HEVC's mark only speaks for one temporal layer
UNSEEKABLE = frozenset({"mpeg", "mpegvideo", "mpegts", "gif"})  # they seek by guess
LOOKAHEAD = 64  # packets held at once
MIN_SAVING = 4  # frames that a seek must save
_BEFORE_ALL, _AFTER_ALL = -(1 << 62), 1 << 62


class Cursor:
    """Frames in presentation order. `at` must be called with ascending ticks (units of the stream's time base)."""

    def __init__(self, media: OpenVideo) -> None:
        self._container, self._stream, self._context = media.container, media.video, media.video.codec_context
        self._may_skip = self._context.codec.name in SKIPPABLE
        self._may_seek = self._container.format.name not in UNSEEKABLE
        self._keys: list[int] | None = None
        self._frame_ticks = 1.0 / float((self._stream.average_rate or 25) * self._stream.time_base)
        self._broken = 0
        self._restart()

    def _restart(self) -> None:
        self._packets: Iterator[Any] = self._container.demux(self._stream)
        self._queue: deque[tuple[Any, bool]] = deque()  # packets read, with: decode even if nothing refers to it
        self._pending: deque[Any] = deque()  # frames decoded, not yet looked at
        self._read_dts = _BEFORE_ALL  # every packet with a smaller pts has been read
        self._known: list[int] = []  # pts of the packets read
        self._best: Any = None  # the last frame at or before the current tick
        self._ahead: Any = None  # the first frame after it
        self._drained = self._may_drain = False

    def at(self, tick: int, then: int | None = None) -> Any:
        """The last frame with pts <= tick, or the first frame of all; `then` is the tick of the next call, None for the last.

        Raises MediaError when nothing decodes.
        """
        if self._drained or self._should_seek(tick):
            self._seek(tick)
        self._may_drain = self._may_skip and (then is None or (self._may_seek and self._key_between(tick, then)))
        while self._ahead is None or self._ahead.pts <= tick:
            if self._ahead is not None:
                self._best, self._ahead = self._ahead, None
            if self._best is not None and self._best.pts == self._wanted(tick):
                return self._best
            if (frame := self._next(tick)) is None:
                break
            self._ahead = frame
        found = self._best if self._best is not None else self._ahead
        if found is None:
            raise MediaError("corrupt", f"found no decodable frame ({self._broken} broken packets), expected at least one")
        return found

    def rest(self) -> Iterator[Any]:
        """Every further frame, in order."""
        while (frame := self._next(None)) is not None:
            yield frame

    # Reading and decoding.

    def _next(self, tick: int | None) -> Any:
        while not self._pending:
            if tick is not None and self._may_drain and self._read_dts > tick and not self._queued_before(tick):
                self._drain()
                return self._pending.popleft() if self._pending else None
            if not self._queue:
                self._look_ahead(tick)
            if not self._queue:
                return None
            self._decode(*self._queue.popleft())
        return self._pending.popleft()

    def _read(self) -> Any:
        """The next packet, the flushing one (size 0) included, or None."""
        packet = next(self._packets, None)
        if packet is None or not packet.size:
            self._read_dts = _AFTER_ALL
        else:
            self._read_dts = packet.dts if packet.dts is not None else self._read_dts
            if packet.pts is not None:
                self._known.append(packet.pts)
        return packet

    def _look_ahead(self, tick: int | None) -> None:
        """Queue the packets up to `tick` (at most LOOKAHEAD, at least one), each with whether it may be wanted."""
        first = self._read()
        read = [first] if first is not None else []
        while first is not None and tick is not None and self._may_skip and self._read_dts <= tick and len(read) < LOOKAHEAD:
            if (packet := self._read()) is not None:
                read.append(packet)
        newest = self._newest(tick) if tick is not None else None
        for packet in read:
            self._queue.append((packet, tick is None or packet.pts is None or packet.pts > tick or packet.pts == newest))

    def _queued_before(self, tick: int) -> bool:
        return any(packet.pts is None or packet.pts <= tick for packet, _ in self._queue)

    def _drain(self) -> None:
        """Have the decoder give what it holds back for reordering, instead of feeding it more; after that only a seek helps."""
        if not self._drained and self._read_dts < _AFTER_ALL:
            self._pending.extend(frame for frame in self._context.decode(None) if frame.pts is not None)
        self._drained = True

    def _newest(self, tick: int) -> int | None:
        """The newest known pts at or before `tick`; what is older is forgotten, since ticks ascend."""
        newest = max((p for p in self._known if p <= tick), default=None)
        if newest is not None:
            self._known = [p for p in self._known if p >= newest]
        return newest

    def _wanted(self, tick: int) -> int | None:
        """The pts of the frame for `tick`, once every packet up to it was read."""
        return self._newest(tick) if self._may_skip and self._read_dts > tick else None

    def _decode(self, packet: Any, whole: bool) -> None:
        if self._may_skip:
            self._context.skip_frame = "DEFAULT" if whole else "NONREF"
        try:
            self._pending.extend(frame for frame in packet.decode() if frame.pts is not None)
        except av.error.InvalidDataError:
            self._broken += 1

    # Seeking.

    def _key_ticks(self) -> list[int]:
        """When the keyframes of the container's index are shown, ascending; empty where it has none.

        The index holds decode times; the first keyframe tells how much later a keyframe is shown.
        """
        if self._keys is None:
            entries = self._stream.index_entries
            keys = sorted(e.timestamp for e in entries if e.is_keyframe) if len(entries) > 1 else []
            shift = max(0, (self._stream.start_time or 0) - keys[0]) if keys else 0
            self._keys = [key + shift for key in keys]
        return self._keys

    def _key_between(self, tick: int, then: int) -> bool:
        """Whether the next call will seek, however far this one reads."""
        keys = self._key_ticks()
        i = bisect.bisect_right(keys, then) - 1
        return i >= 1 and keys[i] > tick + MIN_SAVING * self._frame_ticks

    def _should_seek(self, tick: int) -> bool:
        if not self._may_seek:
            return False
        keys = self._key_ticks()
        i = bisect.bisect_right(keys, tick) - 1
        frame = self._ahead if self._ahead is not None else self._best
        if i < 1 or frame is None:
            return i >= 1
        return keys[i] > frame.pts + MIN_SAVING * self._frame_ticks

    def _seek(self, tick: int) -> None:
        """Go to the last keyframe shown at or before `tick`: the pictures that lead it in an open group are not needed then."""
        keys = self._key_ticks()
        before = keys[: bisect.bisect_right(keys, tick)]
        for target in (tick, *reversed(before[:-1])):
            self._container.seek(target, stream=self._stream, backward=True)
            self._restart()
            first = self._read()
            if first is not None and first.is_keyframe and first.pts is not None and first.pts <= tick:
                self._queue.append((first, True))
                return
        self._container.seek(min(0, self._stream.start_time or 0), stream=self._stream, backward=True)
        self._restart()
