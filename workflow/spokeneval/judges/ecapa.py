"""ECAPA-TDNN: speaker embeddings of speechbrain/spkrec-ecapa-voxceleb (Desplanques et al. 2020, arXiv 2005.07143).

Conventions
-----------
- 16 kHz; 80 mel bands in dB (25 ms, hop 10 ms), their mean over the clip taken off; all of the clip at once. The
  embedding has 192 numbers and is brought to unit length, which no cosine sees.
- The network, the features and the normalisation are speechbrain's own classes with the published settings, put
  together here: the settings file of the repository (HyperPyYAML) may construct anything and is not read. Of the
  repository only `embedding_model.ckpt` is used (Apache-2.0), as plain weights.
- Never run with the published weights. With random weights of the published sizes it equals
  `EncoderClassifier.encode_batch` of speechbrain 1.1.2 to 1e-6.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from spokeneval.judges.extras import import_extra
from spokeneval.judges.intake import cropped, unit_mean
from spokeneval.judges.loading import fill, read_checkpoint

FILE = "embedding_model.ckpt"
_N_BANDS = 80


class ECAPA:
    sample_rate = 16_000
    attribute = "speaker"
    dimension = 192
    least_s = 0.4

    def __init__(self, path: Path, crop_s: float | None = None, device: str = "cpu") -> None:
        self.crop_s = crop_s
        self._device = device
        weights = path / FILE if path.is_dir() else path
        state = read_checkpoint(weights, "ecapa")
        networks = import_extra("speechbrain.lobes.models.ECAPA_TDNN", "ecapa")
        features = import_extra("speechbrain.lobes.features", "ecapa")
        normalisation = import_extra("speechbrain.processing.features", "ecapa")
        self._network = networks.ECAPA_TDNN(
            input_size=_N_BANDS,
            channels=[1024, 1024, 1024, 1024, 3072],
            kernel_sizes=[5, 3, 3, 3, 1],
            dilations=[1, 2, 3, 4, 1],
            attention_channels=128,
            lin_neurons=self.dimension,
        )
        fill(self._network, state, weights, "ecapa")
        self._network.to(device)
        self._features = features.Fbank(n_mels=_N_BANDS).to(device).eval()
        self._normalise = normalisation.InputNormalization(norm_type="sentence", std_norm=False).to(device).eval()

    def embed(self, waveforms: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
        """(n, 192) unit vectors; raises ItemError for silence and for less than 0.4 s."""
        return np.stack([self._one(waveform) for waveform in waveforms])

    @torch.inference_mode()
    def _one(self, waveform: NDArray[np.float32]) -> NDArray[np.float32]:
        heard = cropped(waveform, self.sample_rate, self.crop_s, self.least_s)
        whole = torch.ones(1, device=self._device)
        bands = self._features(torch.from_numpy(np.ascontiguousarray(heard))[None].to(self._device))
        vectors = self._network(self._normalise(bands, whole), whole)
        return unit_mean(vectors[0].cpu().numpy())
