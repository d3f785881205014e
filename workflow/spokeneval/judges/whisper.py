"""Whisper: what is said, as text (Radford et al. 2022, arXiv 2212.04356).

Conventions
-----------
- 16 kHz, Whisper's own log-mel, filled up with silence to 30 s: without the filling the decoder loops.
- Longer than 30 s is refused and never cut: a crop is declared (`crop_s`), or the audio has no transcript.
- Greedy decoding in float32, without timestamps, in one language that is given and never guessed; at most half of the
  decoder's positions (224 tokens), as the published code. One waveform at a time: nothing else in the list enters.
- The text is as Whisper writes it (case, punctuation); it is normalised where words are counted, not here.
- No speech is no refusal: on noise the transcript is empty, or words that nobody said.
- A folder holds either a model of transformers with its processor, or the `model.bin` of an English-only model in
  CTranslate2's format (`whisper_ctranslate2`).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.backends import cudnn
from transformers import WhisperFeatureExtractor, WhisperForConditionalGeneration, WhisperProcessor

from spokeneval.errors import ConfigError, ItemError
from spokeneval.judges.intake import cropped
from spokeneval.judges.whisper_ctranslate2 import MODEL_FILE, load_ctranslate2
from spokeneval.models.loading import check_folder, find_device, loading_errors, quiet, refuse_missing

LONGEST_S = 30.0
"""Seconds that the encoder hears at once."""


class Whisper:
    sample_rate = 16_000
    attribute = "content"
    least_s = 0.1

    def __init__(self, path: Path, language: str = "en", crop_s: float | None = None, device: str = "cpu") -> None:
        """path: a folder, see the module. Raises ConfigError where it holds no whole Whisper model, or one that does
        not know the language (a code such as 'en', 'de')."""
        if crop_s is not None and crop_s > LONGEST_S:
            raise ConfigError(f"whisper: `crop_s: {crop_s:g}` is longer than the {LONGEST_S:g} s that Whisper hears")
        self.crop_s = crop_s
        self.language = language
        self._device = find_device(device)
        model, self._tokenizer, self._features = _load(path)
        self._model = model.float().eval().requires_grad_(False).to(self._device)
        self._asked = _spoken(model.generation_config, language, path)
        self._max_new = model.config.max_target_positions // 2

    def transcribe(self, waveforms: Sequence[NDArray[np.float32]]) -> list[str]:
        """What is said in each (n_samples,); raises ItemError for silence, less than 0.1 s and more than 30 s."""
        with torch.inference_mode(), cudnn.flags(enabled=True, allow_tf32=False):
            return [self._one(waveform) for waveform in waveforms]

    def _one(self, waveform: NDArray[np.float32]) -> str:
        heard = cropped(waveform, self.sample_rate, self.crop_s, self.least_s)
        seconds = len(heard) / self.sample_rate
        if seconds > LONGEST_S:
            raise ItemError(f"too long for whisper: {seconds:.1f} s, it hears {LONGEST_S:g} s; set `crop_s` to cut")
        text: str = self._tokenizer.decode(self._tokens(heard), skip_special_tokens=True)
        return text.strip()

    def _tokens(self, heard: NDArray[np.float32]) -> list[int]:
        mel = self._features(heard, sampling_rate=self.sample_rate, return_tensors="pt").input_features
        with quiet():
            found = self._model.generate(
                mel.to(self._device),
                attention_mask=torch.ones(mel.shape[0], mel.shape[2], dtype=torch.long, device=self._device),
                num_beams=1,
                do_sample=False,
                return_timestamps=False,
                max_new_tokens=self._max_new,
                **self._asked,
            )
        tokens: list[int] = found[0].tolist()
        return tokens


def _load(path: Path) -> tuple[Any, Any, Any]:
    """(model, tokenizer, feature extractor) of a folder in either format."""
    if (path / MODEL_FILE).is_file():
        model, tokenizer = load_ctranslate2(path)
        extractor: Any = WhisperFeatureExtractor
        return model, tokenizer, extractor(feature_size=model.config.num_mel_bins)
    check_folder(path)
    with loading_errors(path), quiet():
        factory: Any = WhisperForConditionalGeneration
        model, info = factory.from_pretrained(str(path), local_files_only=True, output_loading_info=True)
        processor: Any = WhisperProcessor.from_pretrained(str(path), local_files_only=True)
    refuse_missing(sorted(info["missing_keys"]), "Whisper model", path)
    return model, processor.tokenizer, processor.feature_extractor


def _spoken(settings: Any, language: str, path: Path) -> dict[str, str]:
    """What `generate` is told about the language. Raises ConfigError where the model does not know it."""
    if getattr(settings, "no_timestamps_token_id", None) is None:
        raise ConfigError(
            f"{path}: generation_config.json has no no_timestamps_token_id; expected that of a published Whisper model"
        )
    if not getattr(settings, "is_multilingual", False):
        if language != "en":
            raise ConfigError(f"{path}: is an English-only Whisper model, and `language: {language}` is asked for")
        return {}
    known = sorted(token.strip("<|>") for token in getattr(settings, "lang_to_id", {}))
    if language not in known:
        raise ConfigError(f"{path}: does not know `language: {language}`; expected one of {', '.join(known)}")
    return {"language": language, "task": "transcribe"}
