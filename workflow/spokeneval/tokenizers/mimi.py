"""Mimi (Kyutai): a causal codec of 12.5 frames a second at 24 kHz; codebook 0 semantic, the others acoustic.

Conventions
-----------
- See `codec`. A frame is 1,920 samples; up to 32 codebooks of 2,048.
- `causal`: whole frames of a prompt are the same whatever follows. Only the last, started frame of a clip differs,
  since the codec fills it up.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Literal

import torch
from transformers import MimiModel

from spokeneval.tokenizers.base import TokenizerInfo
from spokeneval.tokenizers.codec import Codec, check_n_codebooks
from spokeneval.tokenizers.pretrained import load_pretrained


class Mimi(Codec):
    """The codes of a MimiModel of transformers."""

    def __init__(
        self,
        path: str | Path,
        n_codebooks: int,
        max_s: float | None = None,
        resampler: Literal["soxr_vhq", "soxr_hq"] = "soxr_vhq",
        device: str = "cpu",
    ) -> None:
        """path: folder of the codec. Raises ConfigError where it holds something else or has fewer codebooks."""
        model = load_pretrained(MimiModel, Path(path), device)
        config = model.config
        check_n_codebooks(path, n_codebooks, config.num_semantic_quantizers, config.num_quantizers)
        info = TokenizerInfo(
            sample_rate=config.sampling_rate,
            hop_samples=math.prod(config.upsampling_ratios) * config.latent_stride,
            codebook_sizes=(config.codebook_size,) * n_codebooks,
            deduplicated=False,
            causal=config.use_causal_conv,
            resampler=resampler,
        )
        super().__init__(model, info, max_s)

    def _codes(self, samples: torch.Tensor) -> torch.Tensor:
        encoded = self._model.encode(
            samples[None, None], num_quantizers=self.info.n_codebooks, use_streaming=False
        ).audio_codes
        codes: torch.Tensor = encoded[0]
        return codes

    def _samples(self, codes: torch.Tensor) -> torch.Tensor:
        samples: torch.Tensor = self._model.decode(codes[None]).audio_values[0, 0]
        return samples
