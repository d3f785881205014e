"""A codec's own decoder: codes to the sound that the codec makes of them.

Conventions
-----------
- For tokenizers with a method `decode` (mimi, encodec, speech_tokenizer), at their own rate: n frames are exactly
  n * hop samples.
- A continuation is decoded with the whole of its prompt, which is then cut off: decoders remember seconds.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from spokeneval.errors import ConfigError
from spokeneval.tokenizers.base import Codes, Tokenizer
from spokeneval.tokenizers.codec import DecodingTokenizer


class OwnDecoder:
    """Vocoder for tokenizers that are codecs."""

    sample_rate = None
    history_s = None

    def decode(self, codes: Codes, tokenizer: Tokenizer) -> NDArray[np.float32]:
        """(n_frames * hop,) at the tokenizer's rate.

        Raises ConfigError where the tokenizer has no decoder, ItemError where there are no codes.
        """
        if not isinstance(tokenizer, DecodingTokenizer):
            raise ConfigError(
                f"vocoder codec: {type(tokenizer).__name__} has no decoder of its own; expected a codec (mimi, "
                "encodec, speech_tokenizer)"
            )
        return tokenizer.decode(codes)
