"""What every vocoder provides: codes back to sound.

A vocoder belongs to a tokenizer: a codec's own decoder, or a network or algorithm that starts from the features
that the tokenizer's codes stand for. The waveform of `n` frames has `n * hop_samples` samples at the
tokenizer's rate (up to what the vocoder's own framing adds or cuts, which it must pad or trim to that length),
so that a prompt is cut off a continuation by frames x hop. De-duplicated units may last as long as a vocoder decides.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from spokeneval.tokenizers.base import Codes, Tokenizer, TokenizerInfo


class Vocoder(Protocol):
    @property
    def sample_rate(self) -> int | None:
        """Hz of the waveforms that `decode` returns; None for the tokenizer's own rate."""
        ...

    @property
    def history_s(self) -> float | None:
        """Seconds before a continuation that are decoded with it, so that filters and phases do not start from nothing
        at the join; None for all of the prompt (codecs with a long memory)."""
        ...

    def decode(self, codes: Codes, tokenizer: Tokenizer) -> NDArray[np.float32]:
        """Decode one clip: (n_frames * hop,) float32, the same for the same codes.

        Raises ItemError where there is nothing to decode.
        """
        ...


def sample_rate_of(vocoder: Vocoder, tokenizer: TokenizerInfo) -> int:
    """Hz of what a vocoder makes of a tokenizer's codes."""
    return tokenizer.sample_rate if vocoder.sample_rate is None else vocoder.sample_rate
