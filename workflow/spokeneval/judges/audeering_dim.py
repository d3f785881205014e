"""audeering's wav2vec 2.0 for emotion: arousal, dominance and valence (Wagner et al. 2023, arXiv 2203.07378).

Conventions
-----------
- 16 kHz, normalised or not as preprocessor_config.json says. The embedding is what the regression head reads: the mean
  over time of the last hidden state (1,024 numbers as published), of unit length.
- The head takes no part in the embedding. It is built and loaded, without a tensor too few or too many, so that a
  wav2vec 2.0 that was trained for something else is refused.
- Published weights: audeering/wav2vec2-large-robust-12-ft-emotion-msp-dim on the hub, CC-BY-NC-SA-4.0. For a second of
  zeros its card prints arousal .546, dominance .606, valence .404, and -.0075, .0066, -.0075 ... for the hidden state.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import Wav2Vec2Config, Wav2Vec2Model, Wav2Vec2PreTrainedModel

from spokeneval.errors import ConfigError
from spokeneval.judges.checkpoint import WaveformJudge
from spokeneval.judges.preprocessor import waveform_extractor
from spokeneval.tokenizers.pretrained import load_pretrained

_TRAINING_ONLY = {"wav2vec2.masked_spec_embed"}
_OUTPUTS = ("arousal", "dominance", "valence")


class _RegressionHead(torch.nn.Module):
    def __init__(self, config: Any) -> None:
        super().__init__()
        self.dense = torch.nn.Linear(config.hidden_size, config.hidden_size)
        self.out_proj = torch.nn.Linear(config.hidden_size, config.num_labels)

    def forward(self, pooled: torch.Tensor) -> torch.Tensor:
        scores: torch.Tensor = self.out_proj(torch.tanh(self.dense(pooled)))
        return scores


class EmotionModel(Wav2Vec2PreTrainedModel):  # type: ignore[no-untyped-call]
    """The network of the model card; names of parameters are those of the checkpoint."""

    config_class = Wav2Vec2Config

    def __init__(self, config: Wav2Vec2Config) -> None:
        super().__init__(config)
        self.wav2vec2 = Wav2Vec2Model(config)
        self.classifier = _RegressionHead(config)
        self.post_init()  # type: ignore[no-untyped-call]

    def forward(self, input_values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(n, n_samples) -> hidden states averaged over time (n, size), and arousal, dominance, valence (n, 3)."""
        pooled = self.wav2vec2(input_values).last_hidden_state.mean(dim=1)
        return pooled, self.classifier(pooled)


class AudeeringDim(WaveformJudge):
    attribute = "emotion"

    def __init__(
        self, path: Path, crop_s: float | None = None, do_normalize: bool | None = None, device: str = "cpu"
    ) -> None:
        """path: folder of the model. Raises ConfigError where it is not this model, head included."""
        super().__init__(crop_s)
        self._model = load_pretrained(EmotionModel, path, device, _TRAINING_ONLY, exact=True)
        labels = tuple(self._model.config.id2label[k] for k in sorted(self._model.config.id2label))
        if labels != _OUTPUTS:
            raise ConfigError(
                f"{path}: its config.json names the outputs {', '.join(labels)}; expected {', '.join(_OUTPUTS)}"
            )
        self._extractor = waveform_extractor(path, self.sample_rate, do_normalize)
        self.dimension = int(self._model.config.hidden_size)

    def _vectors(self, heard: NDArray[np.float32]) -> NDArray[np.float32]:
        pooled, _ = self._model(self._input(heard))
        vectors: NDArray[np.float32] = pooled.cpu().numpy()
        return vectors
