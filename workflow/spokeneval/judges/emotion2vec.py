"""emotion2vec: embeddings of emotion by FunASR (Ma et al. 2023, arXiv 2312.15185), base and plus models.

Conventions
-----------
- 16 kHz, the waveform brought to mean 0 and variance 1 where the model's settings say so; all of the clip at once. The
  embedding is the mean of the last layer's frames (50 a second): 768 numbers, 1024 for plus_large; brought to unit
  length, which no cosine sees. The nine emotions of the plus models are not used.
- The network is FunASR's own class with the folder's `config.yaml` (plain YAML) and `model.pt` (plain weights).
  FunASR's AutoModel is not used: it looks for updates, sets seeds and the number of threads. The class evaluates one
  setting as Python, so that it must be a sum of numbers in brackets. Weights that only training needs are left out.
- The weights have a licence of their own ("model-license"), to be read first.
- Never run with the published weights. A small network with random weights gives the embeddings of
  `AutoModel.generate(granularity="utterance")` of FunASR 1.4.16 to 1e-6.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from numpy.typing import NDArray

from spokeneval.errors import ConfigError
from spokeneval.judges.extras import import_extra
from spokeneval.judges.intake import cropped, unit_mean
from spokeneval.judges.loading import fill, read_checkpoint

_LAYERS = re.compile(r"[\d\s()\[\],+*]+")
"""E.g. "[(512, 10, 5)] + [(512, 3, 2)] * 4 + [(512,2,2)] + [(512,2,2)]"."""
_WRAPPERS = ("state_dict", "model_state_dict", "model")


def read_settings(path: Path) -> dict[str, Any]:
    """The `model_conf` of a folder's config.yaml. Raises ConfigError where it is missing or could run code."""
    if not path.is_file():
        raise ConfigError(f"emotion2vec: {path} is not there; expected a folder with config.yaml and model.pt")
    try:
        read = yaml.safe_load(path.read_text(encoding="utf-8"))
        settings: dict[str, Any] = read["model_conf"]
        layers = str(settings["modalities"]["audio"]["feature_encoder_spec"])
        int(settings["embed_dim"])
    except (yaml.YAMLError, KeyError, TypeError, ValueError) as error:
        raise ConfigError(f"emotion2vec: {path} is not the configuration of an emotion2vec ({error})") from error
    if read.get("model") != "Emotion2vec":
        raise ConfigError(f"emotion2vec: {path} is of a '{read.get('model')}'; expected Emotion2vec")
    if not _LAYERS.fullmatch(layers):
        raise ConfigError(f"emotion2vec: {path}: feature_encoder_spec is '{layers[:80]}', no list of layers")
    return settings


class Emotion2vec:
    sample_rate = 16_000
    attribute = "emotion"
    least_s = 0.4

    def __init__(self, path: Path, crop_s: float | None = None, device: str = "cpu") -> None:
        self.crop_s = crop_s
        self._device = device
        settings = read_settings(path / "config.yaml")
        self.dimension = int(settings["embed_dim"])
        self._scaled = bool(settings.get("normalize"))
        state = read_checkpoint(path / "model.pt", "emotion2vec")
        for name in _WRAPPERS:
            state = state[name] if isinstance(state, dict) and isinstance(state.get(name), dict) else state
        if not isinstance(state, dict):
            raise ConfigError(f"emotion2vec: {path / 'model.pt'} is not a table of weights by name")
        self._network: Any = import_extra("funasr.models.emotion2vec.model", "emotion2vec").Emotion2vec(
            model_conf=settings
        )
        kept = {name: state[name] for name in self._network.state_dict() if name in state}
        fill(self._network, kept, path / "model.pt", "emotion2vec")
        self._network.to(device)

    def embed(self, waveforms: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
        """(n, dimension) unit vectors; raises ItemError for silence and for less than 0.4 s."""
        return np.stack([self._one(waveform) for waveform in waveforms])

    @torch.inference_mode()
    def _one(self, waveform: NDArray[np.float32]) -> NDArray[np.float32]:
        heard = cropped(waveform, self.sample_rate, self.crop_s, self.least_s)
        samples = torch.from_numpy(np.ascontiguousarray(heard)).to(self._device)
        if self._scaled:
            samples = torch.nn.functional.layer_norm(samples, samples.shape)
        frames = self._network.extract_features(samples[None], padding_mask=None)["x"]
        return unit_mean(frames[0].float().cpu().numpy())
