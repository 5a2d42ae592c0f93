"""Sound to log-mel frames, as WhisperFeatureExtractor does it, but never padded to 30 or 300 seconds."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from uvrlab.data.spec import Backbone

N_FFT, HOP = 400, 160  # 25 ms windows every 10 ms at 16 kHz
MIN_SECONDS = 0.05  # below it the audio tower has no token left


@lru_cache(maxsize=4)
def _filters(bins: int, rate_hz: int) -> Any:
    import torch
    from transformers.audio_utils import mel_filter_bank

    bank = mel_filter_bank(1 + N_FFT // 2, bins, 0.0, 8000.0, rate_hz, norm="slaney", mel_scale="slaney")
    return torch.from_numpy(bank).float().T.contiguous()  # (bins, 201)


def mel_frames(spec: Backbone, samples: int) -> int:
    """Frames of a sound of `samples`, counted as the family's processor counts them."""
    return samples // HOP if spec.mel_tail == "reflect" else -(-samples // HOP)


def log_mel(spec: Backbone, waves: Sequence[np.ndarray]) -> list[Any]:
    """Log-mel spectrograms [(bins, frames)] float32 of mono waves [(samples,)] float32 at the backbone's rate.

    Independent of neighbours: each wave is treated as upstream treats it when it comes alone.
    """
    out: list[Any] = [None] * len(waves)
    for length in {len(wave) for wave in waves}:
        rows = [i for i, wave in enumerate(waves) if len(wave) == length]
        for row, mel in zip(rows, _equal_length(spec, np.stack([waves[i] for i in rows])), strict=True):
            out[row] = mel
    return out


def _equal_length(spec: Backbone, waves: np.ndarray) -> Any:
    import torch

    samples, half = waves.shape[1], N_FFT // 2
    if samples < MIN_SECONDS * spec.sampling_rate_hz:
        raise ValueError(f"a sound of {samples} samples is too short for the audio tower; expected at least {MIN_SECONDS} s")
    frames = mel_frames(spec, samples)
    # Upstream pads with silence before the transform; its loudest frame may be one just behind the sound, so compute two more.
    extra = 0 if spec.mel_tail == "reflect" else 2
    x = torch.from_numpy(np.ascontiguousarray(waves, dtype=np.float32))
    left = x[:, 1 : half + 1].flip(1)
    silence = x.new_zeros(len(x), (frames + extra) * HOP + half - samples)
    right = silence if extra else x[:, -half - 1 : -1].flip(1)
    x = torch.cat([left, x, right], dim=1)
    spectrum = torch.stft(x, N_FFT, HOP, window=torch.hann_window(N_FFT), center=False, return_complex=True)
    power = torch.view_as_real(spectrum[..., : frames + extra]).square().sum(-1)
    log = (_filters(int(spec.mel_bins or 0), spec.sampling_rate_hz) @ power).clamp(min=1e-10).log10()
    log = torch.maximum(log, log.amax(dim=(1, 2), keepdim=True) - 8.0)
    return ((log + 4.0) / 4.0)[..., :frames]
