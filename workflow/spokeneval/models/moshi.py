"""Moshi: a temporal transformer over steps of two audio streams and a text stream, and a depth transformer.

Conventions
-----------
- The clip is Moshi's own stream, the only one that transformers' MoshiForConditionalGeneration predicts (its depth
  transformer has one head a codebook of that stream). A clip in the user's stream could be fed, but not scored.
- Codebook 0 is not delayed, all others by one step, in both streams (transformers' `build_delay_pattern_mask`). At
  step t the model predicts code 0 of frame t and codes 1.. of frame t - 1; what that means for the string that is
  scored is in `frame_string`. Before the first and after the last frame stands the audio fill id (config
  `audio_vocab_size`, 2048), also where codebook 0 would go on while the others finish the last frame.
- Before step 0: the start ids of text (`vocab_size`) and audio (the fill id) in all streams.
- The user is silent: `silence_codes` at every step; without them, the codes of one frame of zeros by the codec in
  the checkpoint, over and over, as transformers' generate() fills that stream. It is delayed like the other.
- Text is the padding id (`text_pad`, 3 in the published checkpoints) at every step, when scoring and when continuing:
  Moshi says nothing in words. Text is not scored.
- All codes of all codebooks are scored. The heads have no special ids, so the legal softmax is the whole one.
- Context: steps (frames + 1) up to `max_position_embeddings` and the attention's `sliding_window` (both 3000); longer
  clips are refused.
- Sources: transformers 5.23 (modeling_moshi), arXiv 2410.00037.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import MoshiForConditionalGeneration
from transformers.models.moshi.modeling_moshi import MoshiFlexibleLinear

from spokeneval.errors import ConfigError
from spokeneval.models.frame_lm import FrameLM
from spokeneval.models.frame_loading import check_codebooks, load_frame_model
from spokeneval.models.frame_string import FrameString
from spokeneval.models.loading import LoadOptions
from spokeneval.tokenizers.base import TokenizerInfo


class Moshi(FrameLM):
    """Moshi's own stream, in a dialogue with a silent user.

    path: a folder with config.json and weights, as transformers saves them (not the layout of kyutai's own package).
    silence_codes: one code a codebook of the user's stream at every step; None for the checkpoint's own codec.
    text_pad: id of the text stream at every step.
    Raises ConfigError where the checkpoint cannot be loaded or does not fit the tokenizer or these settings.
    """

    streams = ("moshi",)

    def __init__(
        self,
        path: str | Path,
        tokenizer: TokenizerInfo,
        silence_codes: Sequence[int] | None = None,
        text_pad: int = 3,
        **loading: Any,
    ) -> None:
        path = Path(path)
        family: Any = MoshiForConditionalGeneration
        self.model = load_frame_model(path, LoadOptions(**loading), family)
        config = self.model.config
        n_codes = int(config.audio_vocab_size)
        check_codebooks(path, tokenizer, config.num_codebooks, n_codes)
        if config.depth_decoder_config.num_codebooks != config.num_codebooks:
            raise ConfigError(
                f"{path}: the depth transformer predicts {config.depth_decoder_config.num_codebooks} codebooks, but a "
                f"stream has {config.num_codebooks}; expected as many"
            )
        if not 0 <= text_pad < config.vocab_size:
            raise ConfigError(f"{path}: text_pad is {text_pad}; expected an id of text, 0 to {config.vocab_size - 1}")
        if silence_codes is not None and (
            len(silence_codes) != config.num_codebooks or not all(0 <= code < n_codes for code in silence_codes)
        ):
            raise ConfigError(
                f"{path}: silence_codes is {list(silence_codes)}; expected {config.num_codebooks} codes from 0 to "
                f"{n_codes - 1}"
            )
        n_books = tokenizer.n_codebooks
        stride = n_codes + 1
        frames = FrameString(
            codebook_sizes=tokenizer.codebook_sizes,
            stride=stride,
            fill=n_codes,
            delays=(0,) + (1,) * (n_books - 1),
            prefix=tuple(q * stride + n_codes for q in range(n_books)),
            max_steps=min(int(config.max_position_embeddings), int(config.sliding_window)),
        )
        super().__init__(_MoshiNetwork(self.model, frames, silence_codes, text_pad), frames)

    @property
    def silence_codes(self) -> list[int]:
        """The user's code in each codebook."""
        return self.network.silence.tolist()  # type: ignore[attr-defined, no-any-return]


class _MoshiNetwork:
    """The parts of MoshiForConditionalGeneration, see `FrameNetwork`."""

    def __init__(self, model: Any, frames: FrameString, silence_codes: Sequence[int] | None, text_pad: int) -> None:
        self.model, self.text_pad, self.fill = model, text_pad, frames.fill
        self.device: torch.device = model.device
        self.n_outputs = frames.fill
        self.delays = torch.tensor(frames.delays, device=self.device)
        for module in model.depth_decoder.modules():
            if isinstance(module, MoshiFlexibleLinear):
                module.__class__ = _SharedLinear
        own = self._encode_silence(len(frames.delays)) if silence_codes is None else torch.tensor(list(silence_codes))
        self.silence = own.to(self.device)

    def _encode_silence(self, n_codebooks: int) -> torch.Tensor:
        """(n_codebooks,) codes of a frame of zeros."""
        codec = self.model.audio_encoder
        n_samples = int(codec.config.sampling_rate / codec.config.frame_rate)
        zeros = torch.zeros((1, 1, n_samples), dtype=codec.dtype, device=codec.device)
        with torch.inference_mode():
            codes: torch.Tensor = codec.encode(zeros, num_quantizers=n_codebooks).audio_codes[0, :, 0]
        return codes

    def _embed(self, text: torch.Tensor, codes: torch.Tensor) -> torch.Tensor:
        """(b, n_steps) text ids, (b, n_steps, 2 n_codebooks) codes of Moshi and user -> (b, n_steps, width)."""
        tables = self.model.embed_tokens
        audio = torch.stack([table(codes[..., k]) for k, table in enumerate(tables)]).sum(dim=0)
        embedded: torch.Tensor = audio + self.model.decoder.model.embed_tokens(text)
        return embedded

    def embed_prefix(self) -> torch.Tensor:
        start = torch.full((1, 1, 2 * len(self.delays)), self.fill, device=self.device)
        return self._embed(torch.full((1, 1), self.model.config.vocab_size, device=self.device), start)

    def embed_steps(self, codes: torch.Tensor, steps: torch.Tensor) -> torch.Tensor:
        user = torch.where(steps[..., None] < self.delays, self.fill, self.silence)
        return self._embed(torch.full_like(steps, self.text_pad), torch.cat([codes, user], dim=-1))

    def temporal(self, embeddings: torch.Tensor, **options: Any) -> torch.Tensor:
        options.setdefault("use_cache", False)
        states: torch.Tensor = self.model.decoder.model(inputs_embeds=embeddings, **options).last_hidden_state
        return states

    def depth(self, states: torch.Tensor, codes: torch.Tensor) -> torch.Tensor:
        text = torch.full((len(codes), 1), self.text_pad, device=codes.device)
        ids = torch.cat([text, codes[:, :-1]], dim=1)
        # Without a mask, transformers' eager attention of the depth transformer would look ahead.
        logits: torch.Tensor = self.model.depth_decoder(
            input_ids=ids, last_hidden_state=states[:, None], attention_mask=torch.ones_like(ids), use_cache=False
        ).logits
        return logits

    def depth_next(self, states: torch.Tensor, previous: torch.Tensor | None, cache: Any) -> torch.Tensor:
        ids = torch.full((len(states),), self.text_pad, device=self.device) if previous is None else previous
        logits: torch.Tensor = self.model.depth_decoder(
            input_ids=ids[:, None], last_hidden_state=states[:, None], past_key_values=cache, use_cache=True
        ).logits
        return logits[:, -1]


class _SharedLinear(MoshiFlexibleLinear):
    """The same product; transformers' own copies all weights of all codebooks for every row."""

    def forward(self, x: torch.Tensor, layer_idx: torch.Tensor | None = None) -> torch.Tensor:
        weight = self.weight if layer_idx is None else self.weight[layer_idx]
        return torch.einsum("nqi,qoi->nqo", x.expand(-1, len(weight), -1), weight)
