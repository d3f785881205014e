"""CLAP (LAION): scenes, by an audio encoder trained together with captions (Wu et al. 2023, arXiv 2211.06687).

Conventions
-----------
- 48 kHz, windows of 10 s (`max_length_s`). Shorter audio is repeated as often as it fits and then filled up with zeros
  (`repeatpad`), as published.
- The published code hears one random window of longer audio, or three and all of it at once. Here it is every 10 s, the
  last window ending with the audio, so that the same audio gives the same embedding and nothing is left unheard.
- The embedding is that of `get_audio_features` (512 numbers as published, projected and of unit length); of more
  windows their mean, of unit length.
- Fused checkpoints get one clip as their extractor gives it: the spectrogram four times, marked as longer.
- Published weights: laion/clap-htsat-unfused and laion/clap-htsat-fused on the hub, Apache-2.0.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from transformers import ClapFeatureExtractor, ClapModel

from spokeneval.errors import ConfigError
from spokeneval.judges.checkpoint import CheckpointJudge
from spokeneval.judges.intake import windows
from spokeneval.judges.preprocessor import need_preprocessor
from spokeneval.tokenizers.pretrained import load_pretrained

_TRUNCATIONS = {False: "rand_trunc", True: "fusion"}
"""By `enable_fusion`. The truncation itself never takes place: no window is longer than the model takes."""


class CLAP(CheckpointJudge):
    sample_rate = 48_000
    attribute = "scene"

    def __init__(self, path: Path, crop_s: float | None = None, device: str = "cpu") -> None:
        """path: folder of a ClapModel. Raises ConfigError where it holds something else, or not all of it."""
        super().__init__(crop_s)
        self._model = load_pretrained(ClapModel, path, device)
        del self._model.text_model, self._model.text_projection  # not heard, and most of the weights
        audio = self._model.config.audio_config
        if audio.enable_fusion not in _TRUNCATIONS:
            raise ConfigError(
                f"{path}: config.json: `enable_fusion` is {audio.enable_fusion!r}; expected true or false"
            )
        expected = {
            "sampling_rate": self.sample_rate,
            "padding": "repeatpad",
            "truncation": _TRUNCATIONS[audio.enable_fusion],
            "feature_size": audio.num_mel_bins,
            **dict.fromkeys(("max_length_s", "hop_length", "fft_window_size", "frequency_min", "frequency_max")),
        }
        said = need_preprocessor(path, ClapFeatureExtractor.__name__, expected)
        self._extractor = ClapFeatureExtractor(**{key: said[key] for key in expected})
        self._window_samples = int(said["max_length_s"] * self.sample_rate)
        self.dimension = int(audio.projection_dim)

    def _vectors(self, heard: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.concatenate([self._window(window) for window in self._cut(heard)])

    def _cut(self, heard: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        length = self._window_samples
        return [heard] if len(heard) <= length else list(windows(heard[:, None], length, length)[..., 0])

    def _window(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        features = self._extractor([samples], sampling_rate=self.sample_rate, return_tensors="pt")
        found = self._model.get_audio_features(**features.to(self._model.device))
        vectors: NDArray[np.float32] = found.pooler_output.cpu().numpy()
        return vectors
