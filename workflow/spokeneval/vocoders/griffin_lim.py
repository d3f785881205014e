"""Griffin-Lim: sound from a log-mel spectrogram without weights.

Conventions
-----------
- The mel is that of `tokenizers.mel`. Its filters are inverted by their pseudo-inverse; the phase is searched with
  momentum (Perraudin et al. 2013) from random phases of a fixed seed: the same codes give the same waveform.
- A mel frame t is centred on sample 256 t + 128. The inverse transform centres it on 256 t, so its waveform is moved
  128 samples to the right and both ends are padded with zeros: n mel frames are exactly 256 n samples.
- The level is the tokenizer's normalised one (RMS about 0.1), whatever the original's was.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray

from spokeneval.errors import ConfigError
from spokeneval.tokenizers import mel
from spokeneval.tokenizers.base import Codes, Tokenizer

_MOMENTUM = 0.99
_SEED = 0
_LOWEST_MAGNITUDE = 1e-5
_SHORTEST = 4
"""Mel frames below which the transforms cannot reflect the ends."""


class GriffinLim:
    """Vocoder for tokenizers whose codes stand for log-mel frames."""

    sample_rate = mel.SAMPLE_RATE
    history_s = 0.5

    def __init__(self, iterations: int = 32) -> None:
        self._iterations = iterations

    def decode(self, codes: Codes, tokenizer: Tokenizer) -> NDArray[np.float32]:
        """(n_frames * 512,) at 22,050 Hz for mel_rvq. ItemError where there are no codes."""
        return self.invert(log_mel_of(codes, tokenizer))

    @torch.inference_mode()
    def invert(self, log_mel: NDArray[np.float32]) -> NDArray[np.float32]:
        """(n_mel_frames, 80) -> (256 n_mel_frames,)"""
        n_samples = len(log_mel) * mel.HOP_SAMPLES
        frames = torch.from_numpy(np.pad(log_mel, ((0, max(0, _SHORTEST - len(log_mel))), (0, 0)), mode="edge"))
        magnitude = (_inverse_filters() @ frames.exp().T).clamp(min=_LOWEST_MAGNITUDE)
        phases = torch.rand(magnitude.shape, generator=torch.Generator().manual_seed(_SEED)) * (2 * torch.pi)
        spectrum, previous = torch.polar(magnitude, phases), torch.zeros((), dtype=torch.complex64)
        for _ in range(self._iterations):
            consistent = _transform(_inverse(spectrum))
            update = consistent - _MOMENTUM / (1 + _MOMENTUM) * previous
            spectrum, previous = magnitude * update / (update.abs() + 1e-9), consistent
        waveform = _inverse(spectrum).numpy()
        before = mel.HOP_SAMPLES // 2
        return np.pad(waveform, (before, mel.HOP_SAMPLES - before)).astype(np.float32, copy=False)[:n_samples]


def log_mel_of(codes: Codes, tokenizer: Tokenizer) -> NDArray[np.float32]:
    """The log-mel that codes stand for. ConfigError where the tokenizer's codes stand for something else."""
    if not isinstance(tokenizer, mel.MelTokenizer):
        raise ConfigError(
            f"a mel vocoder cannot decode the codes of {type(tokenizer).__name__}: they do not stand for log-mel "
            "frames; expected a tokenizer such as mel_rvq"
        )
    return tokenizer.to_log_mel(codes)


@cache
def _inverse_filters() -> torch.Tensor:
    """(N_FFT // 2 + 1, N_BANDS)"""
    inverse: torch.Tensor = torch.linalg.pinv(mel.filters())
    return inverse


def _transform(waveform: torch.Tensor) -> torch.Tensor:
    return torch.stft(waveform, mel.N_FFT, mel.HOP_SAMPLES, mel.N_FFT, mel.window(), return_complex=True)


def _inverse(spectrum: torch.Tensor) -> torch.Tensor:
    return torch.istft(spectrum, mel.N_FFT, mel.HOP_SAMPLES, mel.N_FFT, mel.window())
