"""What codecs share: how much of a clip is encoded, and codes back to exactly their samples.

Conventions
-----------
- One clip at a time, in float32, nothing carried over from the clip before. Every started frame counts: n samples are
  ceil(n / hop) frames, the last of them filled up by the codec itself.
- Only the first `n_codebooks` are used. Each quantises what those before it left, so they are the same however many
  are asked for.
- `max_s`: samples from int(max_s * rate) on are left out, after resampling.
- The waveform of n frames is exactly n * hop samples.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from fractions import Fraction
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray

from spokeneval.errors import ConfigError, ItemError
from spokeneval.tokenizers.base import Codes, TokenizerInfo


@runtime_checkable
class DecodingTokenizer(Protocol):
    """A tokenizer that makes sound of its codes itself: what the vocoder `codec` asks for."""

    def decode(self, codes: Codes) -> NDArray[np.float32]:
        """(n_frames * hop,) at the tokenizer's rate."""
        ...


class Codec(ABC):
    """A codec: encodes and decodes."""

    info: TokenizerInfo

    def __init__(self, model: Any, info: TokenizerInfo, max_s: float | None) -> None:
        self._model, self.info = model, info
        # exact for decimal fractions: 0.29 s at 24 kHz are 6,960 samples
        self._max_samples = None if max_s is None else int(Fraction(str(max_s)) * info.sample_rate)

    def encode(self, waveform: NDArray[np.float32]) -> Codes:
        """(n_samples,) -> codes (ceil(n_samples / hop), n_codebooks). ItemError where there are no samples."""
        kept = waveform[: self._max_samples]
        if len(kept) == 0:
            raise ItemError("no samples to encode")
        with torch.inference_mode():
            codes = self._codes(torch.from_numpy(np.ascontiguousarray(kept)).to(self._device))
        return Codes(codes[: self.info.n_codebooks].T.cpu().numpy().astype(np.int32), None)

    def decode(self, codes: Codes) -> NDArray[np.float32]:
        """(n_frames, n_codebooks) -> (n_frames * hop,) at the codec's rate. ItemError where there are no codes."""
        if len(codes.codes) == 0:
            raise ItemError("no codes to decode")
        with torch.inference_mode():
            samples = self._samples(torch.from_numpy(codes.codes.T.astype(np.int64)).to(self._device))
        n_samples = len(codes.codes) * self.info.hop_samples
        if len(samples) < n_samples:
            raise ValueError(f"{type(self).__name__} decoded {len(samples)} samples; expected {n_samples}")
        waveform: NDArray[np.float32] = samples[:n_samples].float().cpu().numpy()
        return waveform

    @property
    def _device(self) -> torch.device:
        device: torch.device = next(self._model.parameters()).device
        return device

    @abstractmethod
    def _codes(self, samples: torch.Tensor) -> torch.Tensor:
        """(n_samples,) -> (n_codebooks or more, n_frames)"""

    @abstractmethod
    def _samples(self, codes: torch.Tensor) -> torch.Tensor:
        """(n_codebooks, n_frames) -> (n_samples,)"""


def check_n_codebooks(where: object, asked: int, least: int, most: int) -> None:
    """Raises ConfigError where a codec does not have as many codebooks as are asked for."""
    if not least <= asked <= most:
        raise ConfigError(f"{where}: n_codebooks is {asked}; expected {least} to {most}, which is what the codec has")
