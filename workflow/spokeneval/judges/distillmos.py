"""Distill-MOS: naturalness without a reference (Stahl and Gamper 2025, arXiv 2502.05356).

Conventions
-----------
- 16 kHz, windows of 7.68 s (122,880 samples): shorter audio is filled up with zeros, longer audio is the mean of
  windows at most 1 s apart, the last one ending with the audio. Each window is scaled to a peak of 1, so that the
  level is not heard (to about 3e-4: the compression enlarges rounding in the zeros).
- A compressed complex spectrogram (20 ms, hop 10 ms, magnitude ** 0.3), six convolutions, seven transformer layers,
  attention pooling. The score lies between 1 and 5, higher is better.
- It learned to predict the quality of recorded, transmitted and enhanced speech; for other sounds it means nothing.
- Weights: the package distillmos 0.9.1 (MIT), `distillmos/weights/distill_mos_v7.pt`. The network below is written
  anew for its checkpoint, because the package imports torchaudio; on 40 clips of speech of 0.8 to 13.7 s (six are
  lines joined together) the two differ by at most 5e-7.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from spokeneval.errors import ConfigError
from spokeneval.judges.intake import cropped
from spokeneval.judges.loading import fill, read_checkpoint

_WINDOW_SAMPLES = 122_880
_MAX_HOP_SAMPLES = 16_000
_N_FFT, _HOP = 320, 160
_N_STEPS = 384
"""Steps of 20 ms in a window: the last convolution takes every second frame."""
_WIDTH = 200
_CHANNELS = (64, 64, 128, 256, 256, 256)
_TINY = 1e-12


def compressed_spectrogram(samples: torch.Tensor) -> torch.Tensor:
    """(n, n_samples) -> (n, 2, 161, n_samples / 160): real and imaginary part, the magnitude raised to 0.3."""
    padded = functional.pad(samples, (_HOP // 2, _HOP // 2), mode="reflect")
    window = torch.hann_window(_N_FFT, device=samples.device)
    spectrum = torch.stft(padded, _N_FFT, _HOP, window=window, center=False, return_complex=True)
    parts = torch.view_as_real(spectrum)
    magnitude = parts.square().sum(-1, keepdim=True).sqrt().clip(_TINY)
    return (magnitude**0.3 * parts / magnitude).permute(0, 3, 1, 2)


class _Convolutions(torch.nn.Module):
    """(n, 2, 161, 768) -> (n, 1024, 384): halves frequency from the second layer on, time in the last."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[torch.nn.Module] = []
        for number, (n_in, n_out) in enumerate(zip((2, *_CHANNELS), _CHANNELS, strict=False)):
            stride = (1 if number == 0 else 2, 2 if number == len(_CHANNELS) - 1 else 1)
            layers += [torch.nn.Conv2d(n_in, n_out, 3, stride, padding=(0, 1)), torch.nn.LeakyReLU(0.1)]
        self.cnn = torch.nn.Sequential(*layers)

    def forward(self, spectrogram: torch.Tensor) -> torch.Tensor:
        return torch.flatten(self.cnn(spectrogram), 1, 2)


class _Positions(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("pe", torch.empty(1, _N_STEPS, _WIDTH))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.get_buffer("pe")


class _Transformer(torch.nn.Module):
    def __init__(self, n_in: int) -> None:
        super().__init__()
        self.norm = torch.nn.BatchNorm1d(n_in)
        self.position_encoding = _Positions()
        self.linear_proj = torch.nn.Linear(n_in, _WIDTH)
        layer = torch.nn.TransformerEncoderLayer(_WIDTH, 8, 2 * _WIDTH, dropout=0.0, batch_first=True)
        self.transformer_encoder = torch.nn.TransformerEncoder(layer, 7)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(n, n_in, n_steps) -> (n, n_steps, width)"""
        projected = self.linear_proj(self.norm(x).transpose(1, 2))
        encoded: torch.Tensor = self.transformer_encoder(self.position_encoding(projected))
        return encoded


class _Pooling(torch.nn.Module):
    """Steps weighted by attention, then one number."""

    def __init__(self) -> None:
        super().__init__()
        self.linear1 = torch.nn.Linear(_WIDTH, 2 * _WIDTH)
        self.linear2 = torch.nn.Linear(2 * _WIDTH, 1)
        self.linear3 = torch.nn.Linear(_WIDTH, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        weights = torch.softmax(self.linear2(torch.relu(self.linear1(x))), dim=1)
        pooled: torch.Tensor = self.linear3((weights.transpose(1, 2) @ x).squeeze(1))
        return pooled.squeeze(-1)


class _Head(torch.nn.Module):
    def __init__(self, n_in: int) -> None:
        super().__init__()
        self.norm_input = torch.nn.BatchNorm1d(n_in)
        self.transformer = _Transformer(n_in)
        self.norm_trans = torch.nn.BatchNorm1d(_WIDTH)
        self.pool = _Pooling()

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        steps = self.transformer(self.norm_input(features))
        pooled: torch.Tensor = self.pool(self.norm_trans(steps.transpose(1, 2)).transpose(1, 2))
        return torch.sigmoid(pooled)


class _Network(torch.nn.Module):
    """Names of parameters are those of the checkpoint."""

    def __init__(self) -> None:
        super().__init__()
        self.cnn = _Convolutions()
        self.transformer_pool_attn = _Head(4 * _CHANNELS[-1])

    def forward(self, windows: torch.Tensor) -> torch.Tensor:
        """(n, 122880) with peaks of 1 -> (n,) in (1, 5)"""
        features = self.cnn(compressed_spectrogram(windows))
        return 1 + 4 * torch.as_tensor(self.transformer_pool_attn(features))


class DistillMOS:
    sample_rate = 16_000
    attribute = "naturalness"
    scale = (1.0, 5.0)
    least_s = 0.5

    def __init__(self, weights: Path, crop_s: float | None = None, device: str = "cpu") -> None:
        self.crop_s = crop_s
        self._device = device
        self._network = _Network()
        state = read_checkpoint(weights, "distillmos")
        if not isinstance(state, dict) or not isinstance(state.get("model"), dict):
            raise ConfigError(f"distillmos: {weights} has no 'model'; expected the package's distill_mos_v7.pt")
        fill(self._network, state["model"], weights, "distillmos")
        self._network.to(device)

    def score(self, waveforms: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
        """(n,) predicted mean opinion scores; raises ItemError for silence and for less than 0.5 s."""
        return np.array([self._one(waveform) for waveform in waveforms], np.float32)

    @torch.inference_mode()
    def _one(self, waveform: NDArray[np.float32]) -> float:
        heard = cropped(waveform, self.sample_rate, self.crop_s, self.least_s)
        spare = max(0, len(heard) - _WINDOW_SAMPLES)
        n_windows = math.ceil(spare / _MAX_HOP_SAMPLES) + 1
        # One window at a time: memory does not grow with the length.
        starts = [int(share * spare) for share in np.linspace(0, 1, n_windows)]
        return float(np.mean([self._window(heard[start : start + _WINDOW_SAMPLES]) for start in starts]))

    def _window(self, samples: NDArray[np.float32]) -> float:
        filled = np.pad(samples, (0, _WINDOW_SAMPLES - len(samples)))
        filled = filled / (np.abs(filled).max() + np.float32(1e-8))
        return float(self._network(torch.from_numpy(filled)[None].to(self._device)))
