"""Spectrograms for judges, in numpy.

Conventions
-----------
- Periodic windows; where the window is shorter than the FFT it stands in its middle. Frames are centred on multiples of
  the hop, zeros beyond the ends, unless `centred` is False: then the first frame starts at the first sample.
- Arrays are (n_frames, n_bins or n_bands), float32, power (squared magnitude).
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray


@cache
def filters(
    sample_rate: int, n_fft: int, n_bands: int, low_hz: float, high_hz: float, scale: str, norm: str | None
) -> NDArray[np.float32]:
    """(n_fft // 2 + 1, n_bands) triangular filters on the mel scale 'slaney' or 'htk'."""
    from transformers.audio_utils import mel_filter_bank  # here, so that judges without a mel load at once

    bank = mel_filter_bank(n_fft // 2 + 1, n_bands, low_hz, high_hz, sample_rate, norm=norm, mel_scale=scale)
    return np.asarray(bank, np.float32)


@cache
def _window(name: str, length: int, n_fft: int) -> NDArray[np.float32]:
    left = (n_fft - length) // 2
    shape = {"hann": np.hanning, "hamming": np.hamming}[name]
    padded = np.pad(shape(length + 1)[:-1], (left, n_fft - length - left))  # periodic: one sample more, cut off
    return np.asarray(padded, np.float32)


def power_spectrogram(
    waveform: NDArray[np.float32],
    n_fft: int,
    hop: int,
    window_length: int,
    window: str = "hann",
    centred: bool = True,
) -> NDArray[np.float32]:
    """(n_samples,) -> (n_frames, n_fft // 2 + 1); at least one frame, zeros filled up."""
    samples = np.pad(waveform, n_fft // 2) if centred else waveform
    if len(samples) < n_fft:
        samples = np.pad(samples, (0, n_fft - len(samples)))
    frames = np.lib.stride_tricks.sliding_window_view(samples, n_fft)[::hop]
    spectrum = np.fft.rfft(frames * _window(window, window_length, n_fft), axis=1)
    return (spectrum.real**2 + spectrum.imag**2).astype(np.float32)
