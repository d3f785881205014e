"""aiSFX: embeddings of sounds and scenes by a CNN, "X-Sequential-CE" of Ma and Lerch (ISMIR 2022).

Conventions
-----------
- 44.1 kHz, scaled to a peak of 1; 96 HTK mel bands of power, each filter of unit sum, window 2048, hop 1024, centred;
  log10(10000 x + 1) / 9.4578 (the largest value of its training data).
- Windows of 100 frames (2.3 s) every 50, the last one ending with the audio; shorter audio is filled up with zeros. The
  embedding is the mean of the windows, of unit length.
- Weights: the package aiSFX 0.1.2 (MIT), `aisfx/models/checkpoint.pth`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy._core.multiarray import scalar
from numpy.typing import NDArray
from torch.nn import functional

from spokeneval.errors import ConfigError
from spokeneval.judges.intake import cropped, unit_mean, windows
from spokeneval.judges.loading import fill, read_checkpoint
from spokeneval.judges.mel import filters, power_spectrogram

_LARGEST_LOG = 9.457798957824707
_PREFIX = "embedding_net."
_NUMBERS = [
    (scalar, "numpy.core.multiarray.scalar"),
    np.dtype,
    type(np.dtype("float64")),
    type(np.dtype("int64")),
]
"""The types of plain numbers that the checkpoint holds beside its tensors."""


class _Block(torch.nn.Module):
    def __init__(self, n_in: int, n_out: int) -> None:
        super().__init__()
        self.conv1 = torch.nn.Conv2d(n_in, n_out, 3, padding=1, bias=False)
        self.conv2 = torch.nn.Conv2d(n_out, n_out, 3, padding=1, bias=False)
        self.bn1 = torch.nn.BatchNorm2d(n_out)
        self.bn2 = torch.nn.BatchNorm2d(n_out)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x))))))


class _Network(torch.nn.Module):
    """Names of parameters are those of the checkpoint."""

    def __init__(self) -> None:
        super().__init__()
        self.conv_block1 = _Block(1, 64)
        self.conv_block2 = _Block(64, 128)
        self.conv_block3 = _Block(128, 256)
        self.conv_block4 = _Block(256, 512)

    def forward(self, mel: torch.Tensor) -> torch.Tensor:
        """(n_windows, n_frames, 96) -> (n_windows, 512)"""
        x = mel[:, None]
        for block in (self.conv_block1, self.conv_block2, self.conv_block3):
            x = functional.max_pool2d(block(x), 2)
        pooled: torch.Tensor = self.conv_block4(x).mean(dim=3).amax(dim=2)
        return pooled


class AiSFX:
    sample_rate = 44_100
    attribute = "scene"
    dimension = 512
    least_s = 0.4

    def __init__(self, weights: Path, crop_s: float | None = None, device: str = "cpu") -> None:
        self.crop_s = crop_s
        self._device = device
        self._network = _Network()
        checkpoint = read_checkpoint(weights, "aisfx", _NUMBERS)
        state = checkpoint[0] if isinstance(checkpoint, (tuple, list)) and len(checkpoint) == 2 else None
        if not isinstance(state, dict):
            raise ConfigError(
                f"aisfx: {weights} is not a pair of weights and data sets, as the package's checkpoint.pth"
            )
        kept = {k.removeprefix(_PREFIX): v for k, v in state.items() if k.startswith(_PREFIX)}
        fill(self._network, kept, weights, "aisfx")
        self._network.to(device)
        bank = filters(self.sample_rate, 2048, 96, 0.0, 22_050.0, "htk", None)
        self._filters = bank / bank.sum(axis=0)

    def embed(self, waveforms: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
        """(n, 512) unit vectors; raises ItemError for silence and for less than 0.4 s."""
        return np.stack([self._one(waveform) for waveform in waveforms])

    @torch.inference_mode()
    def _one(self, waveform: NDArray[np.float32]) -> NDArray[np.float32]:
        heard = cropped(waveform, self.sample_rate, self.crop_s, self.least_s)
        power = power_spectrogram(heard / np.abs(heard).max(), 2048, 1024, 2048)
        mel = np.log10(power @ self._filters * 1e4 + 1) / np.float32(_LARGEST_LOG)
        vectors = self._network(torch.from_numpy(windows(mel.astype(np.float32), 100, 50)).to(self._device))
        return unit_mean(vectors.cpu().numpy())
