"""WavLM x-vectors: speaker embeddings (Chen et al. 2022, arXiv 2110.13900; Snyder et al. 2018 for the x-vector).

Conventions
-----------
- 16 kHz, normalised or not as preprocessor_config.json says. The embedding is `embeddings` of WavLMForXVector (512
  numbers before the classifier: a TDNN over all frames, mean and standard deviation over time, a linear layer), of
  unit length as on the model card. The card takes a cosine above .86 for the same speaker.
- Published weights: microsoft/wavlm-base-plus-sv on the hub; its card states no licence.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from transformers import WavLMForXVector

from spokeneval.judges.checkpoint import WaveformJudge
from spokeneval.judges.preprocessor import waveform_extractor
from spokeneval.tokenizers.pretrained import load_pretrained

_TRAINING_ONLY = {"wavlm.masked_spec_embed", "classifier.weight", "classifier.bias", "objective.weight"}
"""What comes after the embedding, and the mask of pre-training."""


class WavLMXVector(WaveformJudge):
    attribute = "speaker"

    def __init__(
        self, path: Path, crop_s: float | None = None, do_normalize: bool | None = None, device: str = "cpu"
    ) -> None:
        """path: folder of a WavLMForXVector. Raises ConfigError where it holds something else, or not all of it."""
        super().__init__(crop_s)
        self._model = load_pretrained(WavLMForXVector, path, device, _TRAINING_ONLY)
        self._extractor = waveform_extractor(path, self.sample_rate, do_normalize)
        self.dimension = int(self._model.config.xvector_output_dim)
        self._n_frames = _context(self._model.config) + 1  # a standard deviation needs two values

    def _vectors(self, heard: NDArray[np.float32]) -> NDArray[np.float32]:
        embeddings = self._model(self._input(heard, self._n_frames)).embeddings
        vectors: NDArray[np.float32] = embeddings.cpu().numpy()
        return vectors


def _context(config: Any) -> int:
    """Frames that one output of the TDNN sees: 15 as published."""
    layers = zip(config.tdnn_kernel, config.tdnn_dilation, strict=True)
    return 1 + sum((int(kernel) - 1) * int(step) for kernel, step in layers)
