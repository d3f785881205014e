"""Resemblyzer: speaker embeddings by a three-layer LSTM over mel power (Wan et al. 2018, arXiv 1710.10467).

Conventions
-----------
- 16 kHz, brought to -22 dB RMS first; 40 Slaney mel bands of power (no logarithm), window 25 ms, hop 10 ms.
- Windows of 1.6 s every 0.8 s, the last one ending with the audio; shorter audio is filled up with zeros. The embedding
  is the mean of the windows' unit vectors, of unit length. It is non-negative, so cosines lie in [0, 1].
- No voice activity detection: the clips are short and hold speech.
- Weights: the package Resemblyzer 0.1.4 (Apache-2.0), `resemblyzer/pretrained.pt`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from spokeneval.errors import ConfigError
from spokeneval.judges.intake import cropped, unit_mean, windows
from spokeneval.judges.loading import fill, read_checkpoint
from spokeneval.judges.mel import filters, power_spectrogram

_LEVEL = 10 ** (-22 / 20)


class _Network(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm = torch.nn.LSTM(40, 256, 3, batch_first=True)
        self.linear = torch.nn.Linear(256, 256)

    def forward(self, mel: torch.Tensor) -> torch.Tensor:
        """(n_windows, 160, 40) -> (n_windows, 256) of unit length."""
        _, (hidden, _) = self.lstm(mel)
        raw = torch.relu(self.linear(hidden[-1]))
        return torch.nn.functional.normalize(raw, dim=1)


class Resemblyzer:
    sample_rate = 16_000
    attribute = "speaker"
    dimension = 256
    least_s = 0.4

    def __init__(self, weights: Path, crop_s: float | None = None, device: str = "cpu") -> None:
        self.crop_s = crop_s
        self._device = device
        self._network = _Network()
        state = read_checkpoint(weights, "resemblyzer")
        if not isinstance(state, dict) or "model_state" not in state:
            raise ConfigError(f"resemblyzer: {weights} has no 'model_state'; expected the package's pretrained.pt")
        kept = {k: v for k, v in state["model_state"].items() if k.startswith(("lstm.", "linear."))}
        fill(self._network, kept, weights, "resemblyzer")
        self._network.to(device)

    def embed(self, waveforms: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
        """(n, 256) unit vectors; raises ItemError for silence and for less than 0.4 s."""
        return np.stack([self._one(waveform) for waveform in waveforms])

    @torch.inference_mode()
    def _one(self, waveform: NDArray[np.float32]) -> NDArray[np.float32]:
        heard = cropped(waveform, self.sample_rate, self.crop_s, self.least_s)
        level = np.sqrt(np.mean(np.square(heard, dtype=np.float64)))
        power = power_spectrogram(heard * np.float32(_LEVEL / level), 400, 160, 400)
        mel = power @ filters(self.sample_rate, 400, 40, 0.0, 8000.0, "slaney", "slaney")
        vectors = self._network(torch.from_numpy(windows(mel, 160, 80)).to(self._device))
        return unit_mean(vectors.cpu().numpy())
