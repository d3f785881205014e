"""Cutting recordings in two and joining halves of different ones.

Conventions
-----------
- No forced alignment is needed: a line is cut where it is quiet, near its middle. The energy is the mean square over
  30 ms, taken every 2.5 ms; what lies more than 40 dB below the loudest frame at either end is silence and left out.
- A join is the same for every pair of clips: the prompt stays as it is, sample for sample; from the transition on, its
  own following samples fade out while the continuation fades in (raised cosine, the two gains add up to 1). So nothing
  of the continuation can be heard before the transition.
- Levels are matched after the join: the root mean square from the transition to the end is exactly what is asked for,
  the faded-out rest of the prompt included.
- Samples are counted from the beginning of the recording at the dataset's rate. Spans are [start, end).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter1d

from spokeneval.audio import Waveform
from spokeneval.errors import ItemError

Float = NDArray[np.float64]

WINDOW_S = 0.030
HOP_S = 0.0025
SILENCE_DB = -40.0
"""Below the loudest frame: not part of the line."""
GAP_DB = -20.0
"""Below the line's mean energy: a gap at which it can be cut."""


@dataclass(frozen=True)
class Halves:
    """Where a line begins, is cut, and ends, in samples."""

    start: int
    cut: int
    end: int


def energy_db(waveform: Waveform, sample_rate: int) -> tuple[Float, int]:
    """Smoothed energy in dB, one value per hop, and the hop in samples; frame i is centred on sample i * hop."""
    hop = max(1, round(HOP_S * sample_rate))
    power = np.square(waveform, dtype=np.float64)
    smooth: Float = uniform_filter1d(power, max(1, round(WINDOW_S * sample_rate)), mode="constant")[::hop]
    return 10 * np.log10(np.maximum(smooth, 1e-12)), hop


def active_span(waveform: Waveform, sample_rate: int) -> tuple[int, int]:
    """[start, end) of the line without the silence at its ends; (0, 0) where all is digital silence."""
    level, hop = energy_db(waveform, sample_rate)
    if len(level) == 0 or level.max() <= -119.9:
        return 0, 0
    loud = np.flatnonzero(level > level.max() + SILENCE_DB)
    return int(loud[0] * hop), min(len(waveform), int((loud[-1] + 1) * hop))


def cut_sample(waveform: Waveform, sample_rate: int, start: int, end: int) -> int:
    """The sample at which the span [start, end) is cut.

    The energy minimum nearest the middle: of the local minima in the middle half that lie at least 20 dB below the
    span's mean energy, the one nearest the middle; where there is none, the lowest point of the middle half.
    """
    level, hop = energy_db(waveform[start:end], sample_rate)
    low, high = len(level) // 4, max(len(level) // 4 + 1, 3 * len(level) // 4)
    inner = level[low:high]
    before, after = np.r_[np.inf, inner[:-1]], np.r_[inner[1:], np.inf]
    mean_db = 10 * np.log10(np.mean(np.power(10.0, level / 10)))
    gaps = np.flatnonzero((inner <= before) & (inner < after) & (inner <= mean_db + GAP_DB))
    if len(gaps) == 0:
        gaps = np.flatnonzero(inner == inner.min())
    distance = np.abs(gaps + low - (len(level) - 1) / 2)
    return start + int(gaps[distance.argmin()] + low) * hop


def nearest_minimum(waveform: Waveform, sample_rate: int, sample: int, reach_s: float = 0.1) -> int:
    """The quietest sample within reach_s of a sample (by the smoothed energy)."""
    level, hop = energy_db(waveform, sample_rate)
    reach = round(reach_s * sample_rate / hop)
    low = max(0, sample // hop - reach)
    return int(low + level[low : sample // hop + reach + 1].argmin()) * hop


def halves(waveform: Waveform, sample_rate: int) -> Halves:
    """The line without silence at its ends, and its cut."""
    start, end = active_span(waveform, sample_rate)
    return Halves(start, cut_sample(waveform, sample_rate, start, end) if end > start else start, end)


def fade_in(n_samples: int) -> Float:
    """(n_samples,) gains from 0 to 1, raised cosine; the fade out is 1 minus this."""
    gains: Float = 0.5 - 0.5 * np.cos(np.pi * (np.arange(n_samples) + 0.5) / max(1, n_samples))
    return gains


def energy(waveform: NDArray[np.floating]) -> float:
    """Sum of squares."""
    return float(np.sum(np.square(waveform, dtype=np.float64)))


def root_mean_square(waveform: NDArray[np.floating]) -> float:
    """Root mean square, linear. Raises ItemError where it is zero: nothing can be matched to silence."""
    value = float(np.sqrt(energy(waveform) / max(1, len(waveform))))
    if value == 0.0:
        raise ItemError("a part that was cut out is digital silence")
    return value


def join(tail: NDArray[np.floating], continuation: NDArray[np.floating], rms: float) -> tuple[Float, float]:
    """What comes after the transition, and the gain of the continuation in it.

    tail: the prompt's own following samples, (n_fade,), with n_fade <= len(continuation); they fade out.
    continuation: (n_samples,), fades in over n_fade samples, then scaled so that the sum has exactly this rms.
    Raises ItemError where no gain can bring the sum to this level (the tail alone is louder).
    """
    n_fade = len(tail)
    gains = fade_in(n_fade)
    rest = np.zeros(len(continuation))
    rest[:n_fade] = tail * (1 - gains)
    body = np.array(continuation, np.float64)
    body[:n_fade] *= gains
    # rms^2 n = gain^2 |body|^2 + 2 gain <body, rest> + |rest|^2
    a, b, c = energy(body), float(body @ rest), energy(rest) - rms**2 * len(body)
    if a == 0 or c >= 0:
        raise ItemError("a continuation is silent, or what is left of the prompt is louder than it should be")
    gain = (-b + float(np.sqrt(b * b - a * c))) / a
    return gain * body + rest, gain
