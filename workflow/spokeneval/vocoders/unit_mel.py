"""A mel network over de-duplicated units, with predicted durations, then Griffin-Lim: one voice, small and quick.

Conventions
-----------
- Durations are predicted from the units alone (see `unit_mel_network`): a continuation is as long as its vocoder makes
  it, and not as many frames as its model counted. The tokenizer's durations are not read.
- A continuation is decoded alone: how much of the sound the prompt's units would take is not known before.
- The voice is that of the training, whatever the prompt's was: no speaker, room or background passes.
- n mel frames are 256 n samples at 22,050 Hz, at the level of `tokenizers.mel`. The phase is Griffin-Lim's, from a
  fixed seed: the same units give the same waveform, and no global random state is read or changed.
- Units are said as the model gave them; equal neighbours are two units.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from spokeneval.errors import ConfigError, ItemError
from spokeneval.tokenizers import mel
from spokeneval.tokenizers.base import Codes, Tokenizer, TokenizerInfo
from spokeneval.vocoders.griffin_lim import GriffinLim
from spokeneval.vocoders.unit_mel_network import read_network


class UnitMel:
    """Vocoder for tokenizers of de-duplicated units."""

    sample_rate = mel.SAMPLE_RATE
    history_s = 0.0

    def __init__(self, weights: str | Path, config: str | Path, iterations: int = 32) -> None:
        """weights: safetensors; config: its config.json. iterations: of the phase search.

        Raises ConfigError where files are missing or do not fit.
        """
        self._network = read_network(Path(weights), Path(config))
        self._phases = GriffinLim(iterations)

    @torch.inference_mode()
    def decode(self, codes: Codes, tokenizer: Tokenizer) -> NDArray[np.float32]:
        """(256 n_mel_frames,) at 22,050 Hz. ItemError where there are no units."""
        self._check(tokenizer.info)
        if len(codes.codes) == 0:
            raise ItemError("no codes to decode")
        units = torch.from_numpy(codes.codes[:, 0].astype(np.int64))
        log_mel = self._network.log_mel(units, self._network.durations(units))
        return self._phases.invert(log_mel.numpy())

    def _check(self, info: TokenizerInfo) -> None:
        """Raises ConfigError where these are not the units that the network was trained on."""
        shape = self._network.shape
        if not info.deduplicated or info.codebook_sizes != (shape.n_units,):
            kind = "de-duplicated" if info.deduplicated else "not de-duplicated"
            raise ConfigError(
                f"vocoder unit_mel: the tokenizer's codebooks have {info.codebook_sizes} entries, {kind}; expected "
                f"one codebook of {shape.n_units} units, de-duplicated"
            )
        if info.sample_rate * shape.hop_samples != shape.sample_rate * info.hop_samples:
            raise ConfigError(
                f"vocoder unit_mel: the tokenizer has {info.frame_rate:g} frames a second; expected "
                f"{shape.sample_rate / shape.hop_samples:g}, for which the network was trained"
            )
