"""DNSMOS P.835: naturalness without a reference (Reddy et al. 2022, arXiv 2110.01763).

Conventions
-----------
- 16 kHz, windows of 9.01 s; shorter audio is repeated to that length, longer audio is the mean of windows every
  second. A waveform that exceeds [-1, 1] (resampling may) is scaled down to it.
- The score is the overall quality (OVRL) after the published polynomial, nominally 1 to 5, higher is better.
- It was trained on noise suppression: babble with clean sound may score like speech, and a low level scores lower.
- Weights: the package speechmos 0.0.1.1 (MIT), `speechmos/dnsmos_models/sig_bak_ovr.onnx`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spokeneval.judges.intake import cropped
from spokeneval.judges.loading import onnx_session

_WINDOW_SAMPLES = 144_160
_OVERALL = (-0.06766283, 1.11546468, 0.04602535)


class DNSMOS:
    sample_rate = 16_000
    attribute = "naturalness"
    scale = (1.0, 5.0)
    least_s = 0.5

    def __init__(self, weights: Path, crop_s: float | None = None) -> None:
        self.crop_s = crop_s
        self._session = onnx_session(weights, "dnsmos")

    def score(self, waveforms: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
        """(n,) overall quality; raises ItemError for silence and for less than 0.5 s."""
        return np.array([self._one(waveform) for waveform in waveforms], np.float32)

    def _one(self, waveform: NDArray[np.float32]) -> float:
        heard = cropped(waveform, self.sample_rate, self.crop_s, self.least_s)
        heard = heard / max(1.0, float(np.abs(heard).max()))
        if len(heard) < _WINDOW_SAMPLES:
            heard = np.resize(heard, _WINDOW_SAMPLES)
        starts = range(0, len(heard) - _WINDOW_SAMPLES + 1, self.sample_rate)
        return float(np.mean([self._window(heard[start : start + _WINDOW_SAMPLES]) for start in starts]))

    def _window(self, samples: NDArray[np.float32]) -> float:
        _, _, overall = self._session.run(None, {"input_1": samples[None].astype(np.float32)})[0][0]
        return float(np.polyval(_OVERALL, float(overall)))
