"""Background noises that the demo makes itself: typing from single key clicks, and coloured noise.

Conventions
-----------
- 44,100 Hz, mono, 8 s, PCM16 WAV; every file has its own seed, so that the same files come out each time.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soundfile as sf
from numpy.typing import NDArray

from spokeneval.audio import Waveform

SAMPLE_RATE = 44_100
DURATION_S = 8.0
TYPING_CLICKS_PER_S = (4.0, 6.0, 8.0, 10.0)
NOISE_SLOPES = (0.5, 1.0, 1.5)
"""Power falls as 1 / frequency ** slope: 1 is pink."""
_PEAK = 0.7


def typing(clicks: Sequence[Waveform], clicks_per_s: float, rng: np.random.Generator) -> Waveform:
    """Clicks at random moments (exponential gaps), each drawn at random: (n_samples,)."""
    samples = np.zeros(int(DURATION_S * SAMPLE_RATE), np.float32)
    at_s = rng.exponential(1 / clicks_per_s)
    while at_s < DURATION_S:
        start, click = int(at_s * SAMPLE_RATE), clicks[int(rng.integers(len(clicks)))]
        part = click[: len(samples) - start]
        samples[start : start + len(part)] += part
        at_s += rng.exponential(1 / clicks_per_s)
    return _to_peak(samples)


def coloured(slope: float, rng: np.random.Generator) -> Waveform:
    """Noise whose power falls as 1 / frequency ** slope: (n_samples,)."""
    n_samples = int(DURATION_S * SAMPLE_RATE)
    spectrum = np.fft.rfft(rng.standard_normal(n_samples))
    shaped = spectrum / np.maximum(np.arange(len(spectrum)), 1) ** (slope / 2)
    return _to_peak(np.fft.irfft(shaped, n_samples))


def _to_peak(samples: NDArray[np.floating]) -> Waveform:
    scaled: Waveform = (samples * (_PEAK / np.abs(samples).max())).astype(np.float32)
    return scaled


def write_generated(folder: Path, clicks: Sequence[Waveform]) -> None:
    """Write `typing/*.wav` and `air/*.wav` below a folder of noise classes."""
    for i, clicks_per_s in enumerate(TYPING_CLICKS_PER_S):
        waveform = typing(clicks, clicks_per_s, np.random.default_rng([1, i]))
        _write(folder / "typing" / f"typing_{clicks_per_s:g}_per_s.wav", waveform)
    for i, slope in enumerate(NOISE_SLOPES):
        waveform = coloured(slope, np.random.default_rng([2, i]))
        _write(folder / "air" / f"noise_slope_{slope:g}.wav", waveform)


def _write(path: Path, waveform: Waveform) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    sf.write(path, waveform, SAMPLE_RATE, subtype="PCM_16")
