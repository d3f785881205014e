"""Semantic tokens: nearest of K centroids to one layer of HuBERT or mHuBERT (GSLM, TWIST, Slam).

Conventions
-----------
- 16 kHz (the folder's preprocessor_config.json may say otherwise); a frame is as many samples as the convolutions'
  strides make: 320 (50 a second, HuBERT base) or 640 (25 a second, mHuBERT of TWIST).
- Features are `hidden_states[layer]` of transformers in float32; only the layers up to it are run, which changes
  nothing.
- `padding: textless` adds nothing: `(n_samples - receptive field) // hop + 1` frames; where preprocessor_config.json
  says `do_normalize`, the waveform is brought to mean 0 and variance 1 (as a layer norm, epsilon 1e-5).
- `padding: slamkit` adds 40 zeros at each end: `n_samples // hop` frames at both rates, and slightly other units; the
  waveform is taken as it is, whatever preprocessor_config.json says. Frame f starts at f * hop in both.
- One clip at a time and no mask: the first convolution is normalised over the whole clip, so zeros added to fill a
  batch would change its units. For the same reason `causal` is False.
- Runs of equal units are one step where `deduplicate` is set; `durations` keeps their frames.
- The codebook is a safetensors file: `centroids` (n_units, size of the layer), float32; see `convert_kmeans`.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import layer_norm, pad
from transformers import HubertModel

from spokeneval.errors import ConfigError, ItemError
from spokeneval.tokenizers.base import Codes, TokenizerInfo, deduplicate
from spokeneval.tokenizers.codebook import nearest, read_codebook
from spokeneval.tokenizers.pretrained import load_pretrained, read_json

_PADDING = {"textless": 0, "slamkit": 40}
"""Zeros at each end, in samples."""
_TRAINING_ONLY = {"masked_spec_embed"}


class HubertKMeans:
    """K-means units of a HuBERT encoder."""

    def __init__(
        self,
        path: str | Path,
        codebook: str | Path,
        layer: int,
        padding: Literal["textless", "slamkit"] = "textless",
        deduplicate: bool = True,
        device: str = "cpu",
    ) -> None:
        """path: folder of a HubertModel of transformers. layer: counted from 1.

        Raises ConfigError where the folder holds something else, the layer does not exist, or the codebook is of
        another size.
        """
        if padding not in _PADDING:
            raise ConfigError(f"unknown padding '{padding}'; expected one of {', '.join(_PADDING)}")
        folder = Path(path)
        self._model = load_pretrained(HubertModel, folder, device, _TRAINING_ONLY)
        config = self._model.config
        if not 1 <= layer <= config.num_hidden_layers:
            raise ConfigError(f"{folder}: layer {layer} is asked for, the encoder has 1 to {config.num_hidden_layers}")
        self._centroids = read_codebook(Path(codebook), {"centroids": (-1, -1)})["centroids"]
        if self._centroids.shape[1] != config.hidden_size:
            raise ConfigError(
                f"{codebook}: centroids of size {self._centroids.shape[1]}, but the encoder in {folder} gives "
                f"{config.hidden_size}; give the codebook that was fitted on this encoder"
            )
        self._model.encoder.layers = self._model.encoder.layers[:layer]
        self._layer, self._deduplicate, self._n_padded = layer, deduplicate, _PADDING[padding]
        self._receptive_field = receptive_field(config)
        sample_rate, wants_norm = _preprocessing(folder)
        self._normalise = wants_norm and padding == "textless"
        self.info = TokenizerInfo(
            sample_rate=sample_rate,
            hop_samples=math.prod(config.conv_stride),
            codebook_sizes=(len(self._centroids),),
            deduplicated=deduplicate,
            causal=False,
        )

    def encode(self, waveform: NDArray[np.float32]) -> Codes:
        """(n_samples,) -> units (n_units, 1), with durations where they are de-duplicated.

        Raises ItemError for a clip shorter than the receptive field of one frame.
        """
        units = nearest(self.features(waveform), self._centroids)
        return deduplicate(units) if self._deduplicate else Codes(units[:, None], None)

    @torch.inference_mode()
    def features(self, waveform: NDArray[np.float32]) -> NDArray[np.float32]:
        """What is quantised: (n_samples,) -> (n_frames, size). ItemError as `encode`."""
        needed = self._receptive_field - 2 * self._n_padded
        if len(waveform) < needed:
            raise ItemError(
                f"too short for hubert_kmeans: {len(waveform)} samples at {self.info.sample_rate} Hz, one frame needs "
                f"{needed} ({needed / self.info.sample_rate * 1000:.0f} ms)"
            )
        samples = torch.from_numpy(waveform)
        if self._normalise:
            samples = layer_norm(samples, samples.shape)
        samples = pad(samples, (self._n_padded, self._n_padded)).to(self._model.device)
        hidden = self._model(samples[None], output_hidden_states=True).hidden_states[self._layer]
        values: NDArray[np.float32] = hidden[0].float().cpu().numpy()
        return values


def receptive_field(config: Any) -> int:
    """Samples that one frame of the convolutions sees: 400 for HuBERT base, 720 for mHuBERT at 25 Hz."""
    samples, hop = 1, 1
    for kernel, stride in zip(config.conv_kernel, config.conv_stride, strict=True):
        samples += (kernel - 1) * hop
        hop *= stride
    return samples


def _preprocessing(folder: Path) -> tuple[int, bool]:
    """Sample rate in Hz, and whether the waveform is normalised; 16 kHz and not where the folder does not say."""
    path = folder / "preprocessor_config.json"
    if not path.is_file():
        return 16_000, False
    said = read_json(path)
    return int(said.get("sampling_rate", 16_000)), bool(said.get("do_normalize", False))
