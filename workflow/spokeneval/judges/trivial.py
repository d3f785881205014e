"""Judges that hear level or spectrum only. Where one qualifies, channel cues solve the task.

Conventions
-----------
- 16 kHz, no weights, at least 0.1 s; crop as for every judge.
- Levels are in dB re full scale (RMS 1.0 = 0 dB).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from spokeneval.judges.intake import cropped
from spokeneval.judges.mel import filters, power_spectrogram

_LOWEST_LEVEL_DB = -100.0
_POWER_FLOOR = 1e-8
_SPHERE_RADIUS = 500.0
"""Nats; 40 bands between log(1e-8) and 15 have a norm below 120."""
_N_FFT, _HOP, _N_BANDS = 512, 160, 40


class _Trivial(ABC):
    sample_rate = 16_000
    least_s = 0.1

    def __init__(self, crop_s: float | None = None) -> None:
        self.crop_s = crop_s

    def embed(self, waveforms: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
        """(n, dimension) float32; raises ItemError for silence and for less than 0.1 s."""
        heard = (cropped(waveform, self.sample_rate, self.crop_s, self.least_s) for waveform in waveforms)
        return np.stack([self._one(waveform) for waveform in heard]).astype(np.float32)

    @abstractmethod
    def _one(self, heard: NDArray[np.float32]) -> NDArray[np.float64]:
        """(dimension,) the embedding of one waveform that was cropped and is not silent."""

    @staticmethod
    def _power(heard: NDArray[np.float32]) -> NDArray[np.float64]:
        return power_spectrogram(heard, _N_FFT, _HOP, _N_FFT).astype(np.float64)


class RMSLevel(_Trivial):
    """The level alone, as an angle: -100 dB points along the first axis, 0 dB along the second.

    So the cosine of two clips falls with the difference of their levels, and with nothing else: 12 dB apart is .982.
    """

    attribute = "level"
    dimension = 2

    def _one(self, heard: NDArray[np.float32]) -> NDArray[np.float64]:
        level_db = 10 * np.log10(np.mean(np.square(heard, dtype=np.float64)))
        angle = np.pi / 2 * (level_db - _LOWEST_LEVEL_DB) / -_LOWEST_LEVEL_DB
        return np.array([np.cos(angle), np.sin(angle)])


class MeanLogMel(_Trivial):
    """Mean over time of 40 log-mel bands (nats): level and spectral shape.

    Lifted onto a sphere that is large against it, so that the cosine falls with the Euclidean distance of two clips'
    bands; the plain cosine would not hear a difference of level, which moves all bands alike.
    """

    attribute = "mean log-mel"
    dimension = _N_BANDS + 1

    def _one(self, heard: NDArray[np.float32]) -> NDArray[np.float64]:
        mel = self._power(heard) @ filters(self.sample_rate, _N_FFT, _N_BANDS, 0.0, 8000.0, "slaney", "slaney")
        bands = np.log(mel + _POWER_FLOOR).mean(axis=0) / _SPHERE_RADIUS
        return np.append(bands, np.sqrt(1 - bands @ bands))


class LongTermSpectrum(_Trivial):
    """Long-term average spectrum in dB of 40 mel bands, its mean taken off: spectral shape without level."""

    attribute = "long-term spectrum"
    dimension = _N_BANDS

    def _one(self, heard: NDArray[np.float32]) -> NDArray[np.float64]:
        level = np.mean(np.square(heard, dtype=np.float64))
        average = (self._power(heard) / level).mean(axis=0)
        bands = average @ filters(self.sample_rate, _N_FFT, _N_BANDS, 0.0, 8000.0, "slaney", "slaney")
        decibels = 10 * np.log10(bands + _POWER_FLOOR)
        return np.asarray(decibels - decibels.mean())
