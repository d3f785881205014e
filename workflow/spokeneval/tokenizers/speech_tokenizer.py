"""SpeechTokenizer: a codec of 50 frames a second at 16 kHz; codebook 0 distilled from HuBERT, 8 of 1,024 as published.

Conventions
-----------
- See `codec`. Rate, hop and sizes are those of its config.json.
- `causal` is False: the encoder's LSTM reads the clip in both directions.
- The network is that of the package `speechtokenizer`, which is not among spokeneval's requirements. The checkpoint is
  read without running anything in it.
"""

from __future__ import annotations

import importlib
import math
import pickle
from pathlib import Path
from typing import Any

import torch

from spokeneval.errors import ConfigError
from spokeneval.models.loading import find_device
from spokeneval.tokenizers.base import TokenizerInfo
from spokeneval.tokenizers.codec import Codec, check_n_codebooks
from spokeneval.tokenizers.pretrained import read_json

_INSTALL = "pip install speechtokenizer beartype tensorboard"
"""The package imports the last two, and does not say so in its own requirements."""


class SpeechTokenizer(Codec):
    """The codes of the network in the package `speechtokenizer`."""

    def __init__(self, config: str | Path, checkpoint: str | Path, n_codebooks: int = 8, device: str = "cpu") -> None:
        """config: its config.json; checkpoint: its SpeechTokenizer.pt.

        Raises ConfigError where the package is not installed, or the files do not fit one another.
        """
        where = find_device(device)
        settings = read_json(Path(config))
        model = _load(Path(config), settings, Path(checkpoint)).to(where)
        check_n_codebooks(checkpoint, n_codebooks, 1, int(settings["n_q"]))
        info = TokenizerInfo(
            sample_rate=int(settings["sample_rate"]),
            hop_samples=math.prod(settings["strides"]),
            codebook_sizes=(int(settings["codebook_size"]),) * n_codebooks,
            deduplicated=False,
            causal=False,
        )
        super().__init__(model, info, max_s=None)

    def _codes(self, samples: torch.Tensor) -> torch.Tensor:
        codes: torch.Tensor = self._model.encode(samples[None, None], n_q=self.info.n_codebooks)[:, 0]
        return codes

    def _samples(self, codes: torch.Tensor) -> torch.Tensor:
        samples: torch.Tensor = self._model.decode(codes[:, None])[0, 0]
        return samples


def _load(config: Path, settings: dict[str, Any], checkpoint: Path) -> Any:
    lacking = {"n_q", "sample_rate", "strides", "codebook_size"} - set(settings)
    if lacking:
        raise ConfigError(f"{config}: lacks {', '.join(sorted(lacking))}; expected the config.json of SpeechTokenizer")
    if not checkpoint.is_file():
        raise ConfigError(f"{checkpoint}: no such file; expected SpeechTokenizer.pt")
    try:
        # OSError: torchaudio, which the package imports, was built for another torch
        network: Any = importlib.import_module("speechtokenizer").SpeechTokenizer
    except (ImportError, OSError) as error:
        raise ConfigError(f"speech_tokenizer needs packages that cannot be imported ({error}): {_INSTALL}") from error
    try:
        model = network(settings)
        model.load_state_dict(torch.load(checkpoint, map_location="cpu", weights_only=True))
    except (pickle.UnpicklingError, RuntimeError, AttributeError, TypeError, EOFError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ConfigError(f"{checkpoint}: is not the checkpoint of the network in {config} ({reason})") from error
    return model.eval().requires_grad_(False)
