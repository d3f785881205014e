"""HiFi-GAN over de-duplicated units, with predicted durations: the vocoder of TWIST, Slam and textless.

Conventions
-----------
- Each unit is said for max(1, round(exp(x) - 1)) frames, x being the network's prediction from the units alone: a
  continuation is as long as its vocoder makes it, and not as many frames as its model counted.
- A continuation is decoded alone: how much of the sound the prompt's units would take is not known before.
- The voice is the checkpoint's, whatever the prompt's was: no speaker, room or background passes.
- Units are said as the model gave them; equal neighbours are two units.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from spokeneval.errors import ConfigError, ItemError
from spokeneval.tokenizers.base import Codes, Tokenizer, TokenizerInfo
from spokeneval.vocoders.code_hifigan import CodeHiFiGAN


class UnitHiFiGAN:
    """Vocoder for tokenizers of de-duplicated units."""

    history_s = 0.0

    def __init__(
        self, weights: str | Path, config: str | Path, speaker: int | None = None, style: int | None = None
    ) -> None:
        """weights: {"generator": tensors}; config: its config.json. speaker, style: numbers, where it has several.

        Raises ConfigError where files are missing or do not fit, or a number is lacking, too high or not needed.
        """
        self._generator = CodeHiFiGAN(Path(weights), Path(config))
        self._speaker = _number("speaker", speaker, self._generator.n_speakers, Path(config))
        self._style = _number("style", style, self._generator.n_styles, Path(config))
        self.sample_rate = self._generator.sample_rate

    def decode(self, codes: Codes, tokenizer: Tokenizer) -> NDArray[np.float32]:
        """(n_samples,) at the generator's rate. ItemError where there are no units."""
        self._check(tokenizer.info)
        if len(codes.codes) == 0:
            raise ItemError("no codes to decode")
        waveform = self._generator(torch.from_numpy(codes.codes[:, 0].astype(np.int64)), self._speaker, self._style)
        samples: NDArray[np.float32] = waveform.numpy()
        return samples

    def _check(self, info: TokenizerInfo) -> None:
        """Raises ConfigError where these are not the units that the generator says."""
        generator = self._generator
        if not info.deduplicated or info.n_codebooks != 1 or info.codebook_sizes[0] > generator.n_units:
            kind = "de-duplicated" if info.deduplicated else "not de-duplicated"
            raise ConfigError(
                f"vocoder unit_hifigan: the tokenizer's codebooks have {info.codebook_sizes} entries, {kind}; expected "
                f"one codebook of at most {generator.n_units} units, de-duplicated"
            )
        if generator.hop_samples * info.sample_rate != info.hop_samples * generator.sample_rate:
            raise ConfigError(
                f"vocoder unit_hifigan: the tokenizer has {info.frame_rate:g} frames a second; expected "
                f"{generator.sample_rate / generator.hop_samples:g}, for which the generator was trained"
            )


def _number(what: str, number: int | None, count: int, config: Path) -> int:
    """The number of a voice or style, checked; 0 where there is but one."""
    if count == 0 and number is not None:
        raise ConfigError(f"{config}: the generator has but one {what}; leave `{what}` out")
    if count > 0 and (number is None or not 0 <= number < count):
        raise ConfigError(f"{config}: `{what}` is {number}; the generator has 0 to {count - 1}, name one")
    return number or 0
