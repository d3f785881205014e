"""EnCodec at 24 kHz: a codec of 75 frames a second, up to 32 codebooks of 1,024.

Conventions
-----------
- See `codec`. A frame is 320 samples. The codec is asked for the lowest bandwidth that has n_codebooks or more.
- `causal` as the checkpoint's convolutions are. The published one mirrors the beginning of a clip instead of filling up
  with zeros, so frames 0 to 2 see as far as frame 6. Of a prompt of seven whole frames (93 ms) or more, all whole
  frames are the same whatever follows.
- The 48 kHz model is refused: it is stereo and encodes overlapping chunks of 1 s, each at its own level.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import torch
from transformers import EncodecModel

from spokeneval.errors import ConfigError
from spokeneval.tokenizers.base import TokenizerInfo
from spokeneval.tokenizers.codec import Codec, check_n_codebooks
from spokeneval.tokenizers.pretrained import load_pretrained


class Encodec(Codec):
    """The codes of an EncodecModel of transformers."""

    def __init__(
        self,
        path: str | Path,
        n_codebooks: int,
        max_s: float | None = None,
        resampler: Literal["soxr_vhq", "soxr_hq"] = "soxr_vhq",
        device: str = "cpu",
    ) -> None:
        """path: folder of the codec. Raises ConfigError where it holds another kind or has fewer codebooks."""
        model = load_pretrained(EncodecModel, Path(path), device)
        config = model.config
        if config.audio_channels != 1 or config.chunk_length_s is not None or config.normalize:
            raise ConfigError(
                f"{path}: a codec of {config.audio_channels} channel(s), chunk_length_s {config.chunk_length_s}, "
                f"normalize {config.normalize}; expected the 24 kHz model: 1 channel, no chunks, no normalisation"
            )
        n_by_bandwidth = {
            bandwidth: model.quantizer.get_num_quantizers_for_bandwidth(bandwidth)
            for bandwidth in sorted(config.target_bandwidths)
        }
        check_n_codebooks(path, n_codebooks, 1, max(n_by_bandwidth.values()))
        self._bandwidth = next(bandwidth for bandwidth, n in n_by_bandwidth.items() if n >= n_codebooks)
        info = TokenizerInfo(
            sample_rate=config.sampling_rate,
            hop_samples=config.hop_length,
            codebook_sizes=(config.codebook_size,) * n_codebooks,
            deduplicated=False,
            causal=config.use_causal_conv and config.norm_type == "weight_norm",
            resampler=resampler,
        )
        super().__init__(model, info, max_s)

    def _codes(self, samples: torch.Tensor) -> torch.Tensor:
        codes: torch.Tensor = self._model.encode(samples[None, None], bandwidth=self._bandwidth).audio_codes[0, 0]
        return codes

    def _samples(self, codes: torch.Tensor) -> torch.Tensor:
        samples: torch.Tensor = self._model.decode(codes[None, None], [None]).audio_values[0, 0]
        return samples
