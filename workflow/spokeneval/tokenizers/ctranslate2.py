"""Reads the encoder of a Whisper model from a CTranslate2 file, and runs it without padding to 30 s.

Conventions
-----------
- The file format is CTranslate2's binary model, version 6: named arrays, then aliases. Nothing in it is code.
- Features are Whisper's own: 16 kHz, log-mel of 80 bands, 100 frames a second, normalised to the clip's loudest; two of
  them make one frame of the encoder, 50 a second. Without the 30 s padding the features of layer 2 have a cosine
  of .99 to the padded ones, at a tenth of the time, and nothing beyond the clip enters them.
"""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional
from transformers.audio_utils import mel_filter_bank

from spokeneval.errors import ConfigError

SAMPLE_RATE = 16_000
HOP_SAMPLES = 320
"""Samples of one frame of the encoder."""
_N_FFT = 400
_MEL_HOP = 160
_N_BANDS = 80
_HEAD_SIZE = 64
_VERSION = 6
_TYPES = ("<f4", "i1", "<i2", "<i4", "<f2")


class _Reader:
    """Takes values off the beginning of a buffer."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def number(self, code: str) -> int:
        value: int
        (value,) = struct.unpack_from(f"<{code}", self._data, self._at)
        self._at += struct.calcsize(code)
        return value

    def string(self) -> str:
        length = self.number("H")
        self._at += length
        return self._data[self._at - length : self._at].rstrip(b"\0").decode()

    def array(self) -> NDArray[np.generic]:
        shape = [self.number("I") for _ in range(self.number("B"))]
        dtype = np.dtype(_TYPES[self.number("B")])
        n_bytes = self.number("I")
        values = np.frombuffer(self._data, dtype, n_bytes // dtype.itemsize, self._at)
        self._at += n_bytes
        return values.reshape(shape)


def read_arrays(path: Path) -> dict[str, NDArray[np.generic]]:
    """All arrays of a CTranslate2 model by name. Raises ConfigError where the file is not one."""
    if not path.is_file():
        raise ConfigError(f"{path}: no such file; expected the model.bin of a Whisper model in CTranslate2 format")
    reader = _Reader(path.read_bytes())
    try:
        version = reader.number("I")
        if version != _VERSION:
            raise ConfigError(f"{path}: expected a CTranslate2 model of binary version {_VERSION}, found {version}")
        reader.string()  # name of the model's specification
        reader.number("I")  # its revision
        arrays = {}
        for _ in range(reader.number("I")):
            name = reader.string()
            arrays[name] = reader.array()
        for _ in range(reader.number("I")):
            alias = reader.string()
            arrays[alias] = arrays[reader.string()]
    except (struct.error, ValueError, IndexError, KeyError) as error:
        raise ConfigError(f"{path}: is not a whole CTranslate2 model ({error}); fetch it again") from error
    return arrays


class WhisperEncoder:
    """The first layers of a Whisper encoder in float32, one clip at a time."""

    size: int
    """Of the features."""
    n_positions: int
    """Frames of the longest clip."""

    def __init__(self, folder: Path, n_layers: int) -> None:
        """folder: holds model.bin. Raises ConfigError where it has fewer layers, or is no Whisper model."""
        path = folder / "model.bin"
        arrays = read_arrays(path)
        n_found = sum(name.startswith("encoder/layer_") and name.endswith("ffn/layer_norm/gamma") for name in arrays)
        if "encoder/conv1/weight" not in arrays or n_layers > n_found:
            raise ConfigError(f"{path}: expected a Whisper encoder of at least {n_layers} layers, found {n_found}")
        self._weights = {
            name: torch.from_numpy(values.astype(np.float32))
            for name, values in arrays.items()
            if name.startswith("encoder/") and values.ndim > 0
        }
        self.n_layers = n_layers
        self.size = self._weights["encoder/conv1/bias"].shape[0]
        self.n_positions = self._weights["encoder/position_encodings/encodings"].shape[0]
        bank = mel_filter_bank(_N_FFT // 2 + 1, _N_BANDS, 0.0, 8000.0, SAMPLE_RATE, norm="slaney", mel_scale="slaney")
        self._filters = torch.from_numpy(bank.T.astype(np.float32))
        self._window = torch.hann_window(_N_FFT)

    @torch.inference_mode()
    def __call__(self, waveform: NDArray[np.float32]) -> torch.Tensor:
        """(n_samples,) at 16 kHz -> (n_samples // 320, size), the output of layer n_layers without the final norm."""
        # Samples beyond the last whole frame are left out, so that there is no frame that only a part of it supports.
        whole = waveform[: len(waveform) // HOP_SAMPLES * HOP_SAMPLES]
        features = self._features(torch.from_numpy(np.ascontiguousarray(whole)))
        hidden = functional.gelu(self._convolve("encoder/conv1", features[None], stride=1))
        hidden = functional.gelu(self._convolve("encoder/conv2", hidden, stride=2))[0].T
        hidden = hidden + self._weights["encoder/position_encodings/encodings"][: len(hidden)]
        for i in range(self.n_layers):
            hidden = self._layer(f"encoder/layer_{i}/", hidden)
        return hidden

    def _features(self, samples: torch.Tensor) -> torch.Tensor:
        """Whisper's log-mel: (n_samples,) -> (80, n_samples // 160), about -1 to 1."""
        spectrum = torch.stft(samples, _N_FFT, _MEL_HOP, _N_FFT, self._window, return_complex=True)[:, :-1].abs() ** 2
        logs = (self._filters @ spectrum).clamp(min=1e-10).log10()
        return (torch.maximum(logs, logs.max() - 8.0) + 4.0) / 4.0

    def _convolve(self, name: str, values: torch.Tensor, stride: int) -> torch.Tensor:
        weights = self._weights
        return functional.conv1d(values, weights[f"{name}/weight"], weights[f"{name}/bias"], stride, padding=1)

    def _linear(self, name: str, values: torch.Tensor) -> torch.Tensor:
        return functional.linear(values, self._weights[f"{name}/weight"], self._weights[f"{name}/bias"])

    def _norm(self, name: str, values: torch.Tensor) -> torch.Tensor:
        gamma, beta = self._weights[f"{name}/gamma"], self._weights[f"{name}/beta"]
        return functional.layer_norm(values, (self.size,), gamma, beta)

    def _layer(self, name: str, hidden: torch.Tensor) -> torch.Tensor:
        """Pre-norm self-attention and feed-forward: (n_frames, size) -> the same."""
        normed = self._norm(f"{name}self_attention/layer_norm", hidden)
        fused = self._linear(f"{name}self_attention/linear_0", normed)
        query, key, value = fused.reshape(len(fused), 3, -1, _HEAD_SIZE).permute(1, 2, 0, 3)
        attended = functional.scaled_dot_product_attention(query[None], key[None], value[None])[0]
        hidden = hidden + self._linear(f"{name}self_attention/linear_1", attended.transpose(0, 1).flatten(1))
        widened = functional.gelu(self._linear(f"{name}ffn/linear_0", self._norm(f"{name}ffn/layer_norm", hidden)))
        return hidden + self._linear(f"{name}ffn/linear_1", widened)
