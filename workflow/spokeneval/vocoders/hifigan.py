"""HiFi-GAN: sound from a log-mel spectrogram by a pretrained generator (Kong et al. 2020, universal V1).

Conventions
-----------
- The mel is that of `tokenizers.mel`, which is the generator's own. One mel frame becomes 256 samples; the generator's
  output may lack up to 255 samples at the end, which are padded with zeros.
- Clips are decoded one at a time: a batch is slower per second on a CPU.
- Weights are the published `generator_universal.pth.tar`, read without pickle code; weight normalisation is folded in.
"""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import SpeechT5HifiGan, SpeechT5HifiGanConfig

from spokeneval.errors import ConfigError
from spokeneval.tokenizers import mel
from spokeneval.tokenizers.base import Codes, Tokenizer
from spokeneval.vocoders.griffin_lim import log_mel_of
from spokeneval.vocoders.weight_norm import fold_weight_norm

_GENERATOR: dict[str, Any] = {
    "model_in_dim": mel.N_BANDS,
    "sampling_rate": mel.SAMPLE_RATE,
    "upsample_initial_channel": 512,
    "upsample_rates": [8, 8, 2, 2],
    "upsample_kernel_sizes": [16, 16, 4, 4],
    "normalize_before": False,
}


class HiFiGAN:
    """Vocoder for tokenizers whose codes stand for log-mel frames."""

    sample_rate = mel.SAMPLE_RATE
    history_s = 0.5

    def __init__(self, weights: str | Path) -> None:
        """weights: the generator's checkpoint. Raises ConfigError where it is missing or another network."""
        self._generator = load_generator(Path(weights))

    @torch.inference_mode()
    def decode(self, codes: Codes, tokenizer: Tokenizer) -> NDArray[np.float32]:
        """(n_frames * 512,) at 22,050 Hz for mel_rvq. ItemError where there are no codes."""
        log_mel = log_mel_of(codes, tokenizer)
        waveform: NDArray[np.float32] = self._generator(torch.from_numpy(log_mel)).numpy()
        n_samples = len(log_mel) * mel.HOP_SAMPLES
        return np.pad(waveform[:n_samples], (0, max(0, n_samples - len(waveform))))


def load_generator(path: Path) -> SpeechT5HifiGan:
    """The generator in the form that transformers has (it is the same network)."""
    if not path.is_file():
        raise ConfigError(
            f"{path}: no such file; expected generator_universal.pth.tar, which "
            "`python -m spokeneval.demo.fetch --assets hifigan` fetches"
        )
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
        generator: Any = SpeechT5HifiGan(SpeechT5HifiGanConfig(**_GENERATOR)).eval()  # type: ignore[no-untyped-call]
        generator.load_state_dict(_renamed(checkpoint["generator"]))
    except (pickle.UnpicklingError, RuntimeError, KeyError, EOFError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ConfigError(f"{path}: is not the checkpoint of a universal HiFi-GAN generator ({reason})") from error
    loaded: SpeechT5HifiGan = generator
    return loaded


def _renamed(published: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Published weights under the names of transformers."""
    folded = {name.replace("ups.", "upsampler."): values for name, values in fold_weight_norm(published).items()}
    return {"mean": torch.zeros(mel.N_BANDS), "scale": torch.ones(mel.N_BANDS), **folded}
