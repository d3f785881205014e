"""AST: scenes, by a transformer over patches of a spectrogram (Gong et al. 2021, arXiv 2104.01778).

Conventions
-----------
- 16 kHz; 128 Kaldi mel bands (20 Hz to 8 kHz), Hann window 25 ms, hop 10 ms, no centring, pre-emphasis .97, natural
  logarithm; normalised by the mean and twice the standard deviation that preprocessor_config.json holds.
- Windows of 1,024 frames (10.24 s) one after the other, the last one ending with the audio; shorter audio is filled up
  with zeros before the normalisation, as published. The published code leaves unheard what comes after 10.24 s.
- The embedding is `pooler_output` of ASTModel, what the published classifier reads: the mean of the class token and the
  distillation token after the last layer norm (768 numbers as published). Of more windows their mean; of unit length.
- The spectrogram is always computed in numpy. ASTFeatureExtractor itself takes torchaudio where that is installed, and
  the same audio would have other embeddings (by rounding) on another machine.
- Published weights: MIT/ast-finetuned-audioset-10-10-0.4593 on the hub, BSD-3-Clause.
"""

from __future__ import annotations

import warnings
from functools import cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import ASTFeatureExtractor, ASTModel
from transformers.audio_utils import mel_filter_bank, spectrogram, window_function

from spokeneval.judges.checkpoint import CheckpointJudge
from spokeneval.judges.intake import windows
from spokeneval.judges.preprocessor import need_preprocessor
from spokeneval.tokenizers.pretrained import load_pretrained

_FLOOR = 1.192092955078125e-07
"""Kaldi's: one step of float32 above 1."""


class AST(CheckpointJudge):
    attribute = "scene"

    def __init__(self, path: Path, crop_s: float | None = None, device: str = "cpu") -> None:
        """path: folder of an ASTModel, with or without a classifier. ConfigError where it holds something else."""
        super().__init__(crop_s)
        self._model = load_pretrained(ASTModel, path, device)
        config = self._model.config
        expected = {
            "sampling_rate": self.sample_rate,
            "num_mel_bins": config.num_mel_bins,
            "max_length": config.max_length,
            "do_normalize": True,
            "mean": None,
            "std": None,
        }
        said = need_preprocessor(path, ASTFeatureExtractor.__name__, expected)
        self._mean, self._std = float(said["mean"]), float(said["std"])
        self._n_bands, self._n_frames = int(config.num_mel_bins), int(config.max_length)
        self.dimension = int(config.hidden_size)

    def _vectors(self, heard: NDArray[np.float32]) -> NDArray[np.float32]:
        cut = windows(log_mel(heard, self.sample_rate, self._n_bands), self._n_frames, self._n_frames)
        normalised = torch.from_numpy((cut - self._mean) / (self._std * 2)).to(self._model.device, torch.float32)
        found = [self._model(window[None]).pooler_output.cpu().numpy() for window in normalised]
        return np.concatenate(found)


@cache
def _filters(sample_rate: int, n_bands: int) -> NDArray[np.float64]:
    with warnings.catch_warnings():
        # Some of the lowest of 128 bands lie between two bins and hear nothing, as in the published features.
        warnings.filterwarnings("ignore", message="At least one mel filter has all zero values")
        return np.asarray(
            mel_filter_bank(
                num_frequency_bins=257,
                num_mel_filters=n_bands,
                min_frequency=20,
                max_frequency=sample_rate // 2,
                sampling_rate=sample_rate,
                norm=None,
                mel_scale="kaldi",
                triangularize_in_mel_space=True,
            )
        )


def log_mel(waveform: NDArray[np.float32], sample_rate: int, n_bands: int) -> NDArray[np.float32]:
    """(n_samples,) -> (n_frames, n_bands): natural logarithm of Kaldi's mel power, each frame without its mean."""
    bands = spectrogram(
        waveform,
        window_function(400, "hann", periodic=False),
        frame_length=400,
        hop_length=160,
        fft_length=512,
        power=2.0,
        center=False,
        preemphasis=0.97,
        mel_filters=_filters(sample_rate, n_bands),
        log_mel="log",
        mel_floor=_FLOOR,
        remove_dc_offset=True,
    )
    return np.ascontiguousarray(bands.T, np.float32)
