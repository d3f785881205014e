"""Everything equally loud: integrated loudness by EBU R128, and the gain that brings a sound there.

Conventions
-----------
- Integrated loudness in LUFS by ITU-R BS.1770-4 (K-weighting, 400 ms blocks, both gates), from the package pyloudnorm,
  of one channel: a 997 Hz sine of full scale is at -3.01 LUFS. EBU R128 asks for -23 LUFS.
- A sound shorter than one block (0.4 s), or below the absolute gate of -70 LUFS, has no integrated loudness: it cannot
  be made equally loud, and is no audio for a listening test.
- Nothing is clipped: where the gain would bring the true peak (4 times oversampled) above -1 dBTP it is made smaller,
  and such a sound stays quieter than the others; the loudness that it has is recorded.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import pyloudnorm
import soxr

from spokeneval.audio import Waveform

SHORTEST_S = 0.4
MAX_TRUE_PEAK_DB = -1.0
_OVERSAMPLED = 4


class Loud(NamedTuple):
    """A sound at the loudness asked for, or as near as its peaks let it."""

    waveform: Waveform
    gain_db: float
    loudness_lufs: float
    held_back: bool
    """True where the peak and not the target set the gain."""


def integrated_loudness(waveform: Waveform, sample_rate: int) -> float | None:
    """LUFS of (n_samples,); None where it has none (shorter than 0.4 s, or all below -70 LUFS)."""
    if len(waveform) < SHORTEST_S * sample_rate:
        return None
    value = float(pyloudnorm.Meter(sample_rate).integrated_loudness(waveform.astype(np.float64)))
    return value if math.isfinite(value) else None


def true_peak_db(waveform: Waveform, sample_rate: int) -> float:
    """True peak in dBTP of (n_samples,): the largest magnitude at 4 times the rate; -inf for silence."""
    if not len(waveform):
        return -math.inf
    between = soxr.resample(waveform, sample_rate, _OVERSAMPLED * sample_rate, quality="VHQ")
    peak = max(float(np.abs(between).max()), float(np.abs(waveform).max()))
    return 20 * math.log10(peak) if peak > 0 else -math.inf


def at_loudness(waveform: Waveform, sample_rate: int, target_lufs: float) -> Loud | None:
    """The sound at the target, its peaks kept below -1 dBTP; None where it has no loudness."""
    now = integrated_loudness(waveform, sample_rate)
    if now is None:
        return None
    wanted, room = target_lufs - now, MAX_TRUE_PEAK_DB - true_peak_db(waveform, sample_rate)
    gain = min(wanted, room)
    louder = (waveform * np.float32(10 ** (gain / 20))).astype(np.float32)
    return Loud(louder, gain, now + gain, room < wanted)
