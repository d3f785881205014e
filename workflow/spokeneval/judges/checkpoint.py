"""What judges on networks of transformers share: each waveform alone, float32 on every device, vectors of unit length.

Conventions
-----------
- One waveform a forward pass, and no padding but the model's own: no clip changes another.
- float32 throughout. On CUDA, TF32 (10 bits of mantissa, torch's default for convolutions) is off.
- At least 0.4 s are needed, as for the other judges.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.backends import cudnn
from transformers import Wav2Vec2FeatureExtractor

from spokeneval.errors import ItemError
from spokeneval.judges.intake import cropped, unit_mean


class CheckpointJudge(ABC):
    """A network of transformers on its device, asked for one waveform at a time."""

    sample_rate = 16_000
    least_s = 0.4
    dimension: int
    _model: Any
    """In evaluation mode, without gradients."""

    def __init__(self, crop_s: float | None) -> None:
        self.crop_s = crop_s

    def embed(self, waveforms: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
        """(n, dimension) unit vectors; raises ItemError for silence and for less than 0.4 s."""
        with torch.inference_mode(), cudnn.flags(enabled=True, allow_tf32=False):
            return np.stack([self._one(waveform) for waveform in waveforms])

    def _one(self, waveform: NDArray[np.float32]) -> NDArray[np.float32]:
        heard = cropped(waveform, self.sample_rate, self.crop_s, self.least_s)
        return unit_mean(self._vectors(np.ascontiguousarray(heard, np.float32)))

    @abstractmethod
    def _vectors(self, heard: NDArray[np.float32]) -> NDArray[np.float32]:
        """(n, dimension) of frames or windows of one waveform, whose mean points where the embedding does."""


class WaveformJudge(CheckpointJudge):
    """WavLM, HuBERT or wav2vec 2.0: fed with the waveform itself, whatever its length."""

    _extractor: Wav2Vec2FeatureExtractor

    def _input(self, heard: NDArray[np.float32], n_frames: int = 1) -> torch.Tensor:
        """(1, n_samples), prepared by the extractor, on the device. ItemError where it has fewer than n_frames."""
        found = int(self._model._get_feat_extract_output_lengths(torch.tensor(len(heard))))
        if found < n_frames:
            raise ItemError(f"too short to judge: {found} frames of the encoder, {n_frames} are needed")
        features = self._extractor([heard], sampling_rate=self.sample_rate, return_tensors="pt")
        values: torch.Tensor = features["input_values"].to(self._model.device, torch.float32)
        return values
