"""HuBERT or wav2vec 2.0 trained on AudioSet: scenes, backgrounds and rooms (La Quatra et al. 2024, arXiv 2405.00934).

Conventions
-----------
- 16 kHz, normalised or not as preprocessor_config.json says; the first 5 s unless `crop_s` says otherwise, as in arXiv
  2601.06329, where the HuBERT judges backgrounds and the wav2vec 2.0 rooms.
- The embedding is the mean over time of the last hidden state (1,024 numbers as published), of unit length.
- Shorter audio is not filled up to 5 s: the clip is heard alone. Code that fills up masks the zeros and leaves them out
  of the mean, which differs by rounding and by a frame at the end where the encoder normalises each frame for itself
  (`feat_extract_norm: layer`); where it normalises over time (`group`), zeros would change every frame.
- Published weights: ALM/hubert-large-audioset and ALM/wav2vec2-large-audioset on the hub, CC-BY-NC-SA-4.0.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from transformers import HubertModel, Wav2Vec2Model

from spokeneval.errors import ConfigError
from spokeneval.judges.checkpoint import WaveformJudge
from spokeneval.judges.preprocessor import waveform_extractor
from spokeneval.models.loading import check_folder
from spokeneval.tokenizers.pretrained import load_pretrained, read_json

_FAMILIES = {"hubert": HubertModel, "wav2vec2": Wav2Vec2Model}
_TRAINING_ONLY = {"masked_spec_embed"}


class SSLAudioSet(WaveformJudge):
    def __init__(
        self,
        path: Path,
        crop_s: float | None = 5.0,
        attribute: Literal["scene", "background", "room"] = "scene",
        do_normalize: bool | None = None,
        device: str = "cpu",
    ) -> None:
        """path: folder of a HubertModel or a Wav2Vec2Model. attribute: what it is asked for; it changes no number.

        Raises ConfigError where the folder holds something else, or not all of it.
        """
        super().__init__(crop_s)
        self.attribute = attribute
        check_folder(path)
        found = read_json(path / "config.json").get("model_type")
        if found not in _FAMILIES:
            raise ConfigError(f"{path}: holds a model of type '{found}'; expected one of {', '.join(_FAMILIES)}")
        self._model = load_pretrained(_FAMILIES[str(found)], path, device, _TRAINING_ONLY)
        self._extractor = waveform_extractor(path, self.sample_rate, do_normalize)
        self.dimension = int(self._model.config.hidden_size)

    def _vectors(self, heard: NDArray[np.float32]) -> NDArray[np.float32]:
        frames: NDArray[np.float32] = self._model(self._input(heard)).last_hidden_state[0].cpu().numpy()
        return frames
