"""Frames and sound of a clip as parts of a chat message: JPEG data URLs and base64 WAV."""

from __future__ import annotations

import base64
import io
import wave
from dataclasses import dataclass
from typing import Any

import numpy as np

from uvrlab.data.media import MediaError
from uvrlab.synthesis.captioners.base import ProviderError
from uvrlab.synthesis.view import ClipView

JPEG_QUALITY = 85
SOUND_RATE_HZ = 16_000
MAX_SOUND_S = 60.0


@dataclass(frozen=True)
class Shown:
    """A part of a clip that a model gets to see or hear; times on the file's clock. It is decoded when it is sent, not before."""

    label: str
    view: ClipView
    times_s: tuple[float, ...] = ()
    sound_s: tuple[float, float] | None = None
    height: int = 384

    def named(self) -> dict[str, Any]:
        """What identifies it: content digest, span, and how it is sampled. Part of a cache key."""
        row = self.view.row
        span = [row["start_s"], row["end_s"]]
        sampled = {"times_s": list(self.times_s), "sound_s": self.sound_s, "height": self.height, "jpeg": JPEG_QUALITY}
        return {"label": self.label, "media": row["media_sha256"], "span": span, **sampled}

    def parts(self) -> list[dict[str, Any]]:
        """Chat message parts. Raises ProviderError where the media does not decode."""
        start_s = self.view.row["start_s"]
        try:
            frames = list(self.view.frames(self.times_s, max_height=self.height)) if self.times_s else []
            sound = self.view.wave(SOUND_RATE_HZ, *self.sound_s) if self.sound_s else None
        except MediaError as error:
            raise ProviderError(f"not shown: {error}") from error
        found: list[dict[str, Any]] = [{"type": "text", "text": self.label}]
        for time_s, frame in zip(self.times_s, frames, strict=True):
            if len(self.times_s) > 1:
                found.append({"type": "text", "text": f"{time_s - start_s:.1f} s"})
            found.append({"type": "image_url", "image_url": {"url": f"data:image/jpeg;base64,{_text(jpeg(frame))}"}})
        if sound is not None:
            found.append({"type": "input_audio", "input_audio": {"data": _text(wav(sound)), "format": "wav"}})
        return found


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def jpeg(frame: np.ndarray) -> bytes:
    """(H, W, 3) uint8 RGB as a JPEG file."""
    from PIL import Image

    target = io.BytesIO()
    Image.fromarray(frame).save(target, "JPEG", quality=JPEG_QUALITY)
    return target.getvalue()


def wav(samples: np.ndarray) -> bytes:
    """Mono samples in -1..1 at SOUND_RATE_HZ as a 16-bit WAV file."""
    target = io.BytesIO()
    with wave.open(target, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SOUND_RATE_HZ)
        file.writeframes((np.clip(samples, -1.0, 1.0) * 32767).astype("<i2").tobytes())
    return target.getvalue()
