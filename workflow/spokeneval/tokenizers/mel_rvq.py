"""Acoustic tokens: residual vector quantisation of the vocoder's mel spectrogram.

Conventions
-----------
- Two mel frames (see `mel`) are stacked into one vector of 160, so a frame of codes is 512 samples at 22,050 Hz:
  43.07 a second. An odd last mel frame is dropped.
- Stage q quantises what the stages before it left: code = index of the nearest centroid (Euclidean), the lowest index
  where two are equally near. Decoding adds the mean and the chosen centroids.
- `causal` is False: the level is normalised over the whole clip and the ends are reflected, so a prefix of a clip has
  slightly other codes than the clip's own beginning.
- The codebook is a safetensors file: `mean` (160,), `codebooks` (n_stages, n_codes, 160), float32. Models are
  trained on these very numbers: a refitted codebook makes their ids meaningless.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spokeneval.errors import ItemError
from spokeneval.tokenizers import mel
from spokeneval.tokenizers.base import Codes, TokenizerInfo
from spokeneval.tokenizers.codebook import nearest, read_codebook

STACKED = 2
"""Mel frames in one frame of codes."""
VECTOR_SIZE = STACKED * mel.N_BANDS


class MelRVQ:
    """Residual vector quantiser of log-mel frames."""

    def __init__(self, codebook: str | Path) -> None:
        """Raises ConfigError where the codebook file is missing or does not hold what it should."""
        tensors = read_codebook(Path(codebook), {"mean": (VECTOR_SIZE,), "codebooks": (-1, -1, VECTOR_SIZE)})
        self._mean, self._stages = tensors["mean"], tensors["codebooks"]
        n_stages, n_codes, _ = self._stages.shape
        self.info = TokenizerInfo(
            sample_rate=mel.SAMPLE_RATE,
            hop_samples=STACKED * mel.HOP_SAMPLES,
            codebook_sizes=(n_codes,) * n_stages,
            deduplicated=False,
            causal=False,
        )

    def encode(self, waveform: NDArray[np.float32]) -> Codes:
        """(n_samples,) at 22,050 Hz -> codes (n_samples // 512, n_stages). ItemError below 512 samples."""
        return Codes(self.quantise(stacked_mel(waveform)), None)

    def quantise(self, vectors: NDArray[np.float32]) -> NDArray[np.int32]:
        """(n_frames, 160) -> (n_frames, n_stages)"""
        residual = vectors - self._mean
        codes = np.empty((len(vectors), len(self._stages)), np.int32)
        for q, centroids in enumerate(self._stages):
            codes[:, q] = nearest(residual, centroids)
            residual = residual - centroids[codes[:, q]]
        return codes

    def to_log_mel(self, codes: Codes) -> NDArray[np.float32]:
        """(n_frames, n_stages) -> log-mel (2 n_frames, 80), natural logarithm of magnitudes.

        Raises ItemError where there are no codes.
        """
        if len(codes.codes) == 0:
            raise ItemError("no codes to decode")
        chosen = [centroids[codes.codes[:, q]] for q, centroids in enumerate(self._stages)]
        return (self._mean + np.sum(chosen, axis=0, dtype=np.float32)).reshape(-1, mel.N_BANDS)


def stacked_mel(waveform: NDArray[np.float32]) -> NDArray[np.float32]:
    """The vectors that are quantised: (n_samples,) at 22,050 Hz -> (n_samples // 512, 160)."""
    needed = STACKED * mel.HOP_SAMPLES
    if len(waveform) < needed:
        raise ItemError(
            f"too short for mel_rvq: {len(waveform)} samples at {mel.SAMPLE_RATE} Hz, one frame needs {needed} "
            f"({needed / mel.SAMPLE_RATE * 1000:.0f} ms)"
        )
    frames = mel.log_mel(waveform)
    return frames[: len(frames) // STACKED * STACKED].reshape(-1, VECTOR_SIZE)
