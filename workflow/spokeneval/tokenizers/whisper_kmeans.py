"""Semantic tokens: nearest of K centroids to the features of a Whisper encoder, runs of equal units merged.

Conventions
-----------
- 16 kHz, a frame is 320 samples: 50 a second. Samples beyond the last whole frame are left out.
- Features are those of one encoder layer, counted from 1, without the final norm; the encoder hears the clip alone,
  without the padding to 30 s, one clip at a time.
- Runs of equal units are one step; `durations` keeps their frames, so that they can be placed in time.
- `causal` is False: the encoder attends to the whole clip.
- The codebook is a safetensors file: `centroids` (n_units, size of the encoder), float32.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spokeneval.errors import ConfigError, ItemError
from spokeneval.tokenizers import ctranslate2
from spokeneval.tokenizers.base import Codes, TokenizerInfo, deduplicate
from spokeneval.tokenizers.codebook import nearest, read_codebook

_MIN_SAMPLES = 2 * ctranslate2.HOP_SAMPLES
"""Less cannot be reflected by the short-time Fourier transform (200 samples at each end) and still hold two frames."""


class WhisperKMeans:
    """De-duplicated k-means units of a Whisper encoder."""

    def __init__(self, encoder: str | Path, codebook: str | Path, layer: int = 4) -> None:
        """encoder: folder with model.bin (CTranslate2). Raises ConfigError where encoder and codebook do not fit."""
        self._encoder = ctranslate2.WhisperEncoder(Path(encoder), layer)
        self._centroids = read_codebook(Path(codebook), {"centroids": (-1, -1)})["centroids"]
        if self._centroids.shape[1] != self._encoder.size:
            raise ConfigError(
                f"{codebook}: centroids of size {self._centroids.shape[1]}, but the encoder in {encoder} gives "
                f"{self._encoder.size}; give the codebook that was fitted on this encoder"
            )
        self.info = TokenizerInfo(
            sample_rate=ctranslate2.SAMPLE_RATE,
            hop_samples=ctranslate2.HOP_SAMPLES,
            codebook_sizes=(len(self._centroids),),
            deduplicated=True,
            causal=False,
        )

    def encode(self, waveform: NDArray[np.float32]) -> Codes:
        """(n_samples,) at 16 kHz -> units (n_units, 1) with durations that sum to n_samples // 320.

        Raises ItemError for a clip of less than 40 ms, or longer than the encoder's positions (30 s).
        """
        return deduplicate(nearest(features(self._encoder, waveform), self._centroids))


def features(encoder: ctranslate2.WhisperEncoder, waveform: NDArray[np.float32]) -> NDArray[np.float32]:
    """What is quantised: (n_samples,) at 16 kHz -> (n_samples // 320, size)."""
    if len(waveform) < _MIN_SAMPLES:
        raise ItemError(
            f"too short for whisper_kmeans: {len(waveform)} samples at {ctranslate2.SAMPLE_RATE} Hz, "
            f"expected at least {_MIN_SAMPLES} (40 ms)"
        )
    if len(waveform) // ctranslate2.HOP_SAMPLES > encoder.n_positions:
        raise ItemError(
            f"too long for whisper_kmeans: {len(waveform) / ctranslate2.SAMPLE_RATE:.1f} s, the encoder has positions "
            f"for {encoder.n_positions * ctranslate2.HOP_SAMPLES / ctranslate2.SAMPLE_RATE:.0f} s"
        )
    values: NDArray[np.float32] = encoder(waveform).numpy()
    return values
