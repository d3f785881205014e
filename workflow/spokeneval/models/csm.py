"""CSM: a backbone over text and audio frames that predicts codebook 0, and a depth transformer for the others.

Conventions
-----------
- The clip is one turn of one speaker without words: the text part that transformers' CsmProcessor builds for an empty
  text, <begin_of_text>[speaker]<end_of_text>, then the frames. CSM was trained on transcribed turns only, so a
  likelihood without the words is outside of its training use.
- Codebook 0 of a frame is predicted by the backbone's head, the others one after another by the depth transformer,
  given the backbone's state and the codes before. No codebook is delayed: step t is frame t.
- Scored are all codes of all codebooks. The frame of zeros that ends CSM's audio is neither fed after a clip nor
  scored; in a continuation it ends the speech from `min_new_s` on, and is a frame like any other where that is not set.
- Ids of the string: code c of codebook q is q * vocab_size + c (as rows of the backbone's own table), text id x is
  n_codebooks * vocab_size + x. Text ids are fed and never scored.
- The heads have vocab_size outputs (2051), three more than codes (2048): the legal softmax is over the codes alone.
- Context: text ids and frames up to `max_position_embeddings` (2048); longer clips are refused.
- Sources: transformers 5.23 (modeling_csm, processing_csm).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import CsmForConditionalGeneration

from spokeneval.errors import ConfigError
from spokeneval.models.frame_lm import FrameLM
from spokeneval.models.frame_loading import check_codebooks, load_frame_model
from spokeneval.models.frame_string import FrameString
from spokeneval.models.loading import LoadOptions
from spokeneval.models.token_lookup import load_text_tokenizer
from spokeneval.tokenizers.base import TokenizerInfo


class CSM(FrameLM):
    """One turn of one speaker, without text.

    path: a folder with config.json, weights and the text tokenizer, as transformers saves them.
    speaker: number of the speaker in the text part.
    Raises ConfigError where the checkpoint cannot be loaded or does not fit the tokenizer.
    """

    def __init__(self, path: str | Path, tokenizer: TokenizerInfo, speaker: int = 0, **loading: Any) -> None:
        path, options = Path(path), LoadOptions(**loading)
        if speaker < 0:
            raise ConfigError(f"{path}: speaker is {speaker}; expected 0 or more")
        family: Any = CsmForConditionalGeneration
        self.model = load_frame_model(path, options, family)
        config, depth = self.model.config, self.model.config.depth_decoder_config
        check_codebooks(path, tokenizer, config.num_codebooks, config.codec_config.codebook_size)
        own, expected = (depth.num_codebooks, depth.vocab_size), (config.num_codebooks, config.vocab_size)
        if own != expected or config.vocab_size < config.codec_config.codebook_size:
            raise ConfigError(
                f"{path}: the depth transformer has {own[0]} codebooks of {own[1]} ids, the backbone {expected[0]} of "
                f"{expected[1]}, the codec {config.codec_config.codebook_size} codes; expected one and the same layout"
            )
        text = self._text_part(path, options, speaker)
        self.text = torch.tensor(text, device=self.model.device)
        """(n_text,) ids of the text part."""
        limit = int(config.max_position_embeddings)
        if len(text) >= limit:
            raise ConfigError(f"{path}: the text part has {len(text)} ids, but the model {limit} positions")
        stride = int(config.vocab_size)
        frames = FrameString(
            codebook_sizes=tokenizer.codebook_sizes,
            stride=stride,
            fill=stride - 1,  # never stands anywhere: no codebook is delayed
            delays=(0,) * tokenizer.n_codebooks,
            prefix=tuple(tokenizer.n_codebooks * stride + int(i) for i in text),
            max_steps=limit - len(text) + 1,  # the last frame is predicted and never fed
            end=(0,) * tokenizer.n_codebooks,
        )
        super().__init__(_CSMNetwork(self.model, self.text), frames)

    def _text_part(self, path: Path, options: LoadOptions, speaker: int) -> np.ndarray[Any, np.dtype[np.int64]]:
        names = load_text_tokenizer(path, options.trust_remote_code)
        if names.bos_token is None or names.eos_token is None:
            raise ConfigError(f"{path}: the text tokenizer has no BOS or no EOS, which stand around a turn's text")
        string = f"{names.bos_token}[{speaker}]{names.eos_token}"
        ids = np.array(names(string, add_special_tokens=False)["input_ids"], np.int64)
        n_text = int(self.model.config.text_vocab_size)
        if len(ids) < 3 or ids.max() >= n_text or (ids[0], ids[-1]) != (names.bos_token_id, names.eos_token_id):
            raise ConfigError(
                f"{path}: the text tokenizer encodes '{string}' as {ids.tolist()}; expected ids below {n_text}, from "
                f"BOS {names.bos_token_id} to EOS {names.eos_token_id}: it belongs to another model"
            )
        return ids


class _CSMNetwork:
    """The parts of CsmForConditionalGeneration, see `FrameNetwork`."""

    def __init__(self, model: Any, text: torch.Tensor) -> None:
        self.model, self.text = model, text
        self.device: torch.device = model.device
        self.n_outputs = int(model.config.vocab_size)

    def embed_prefix(self) -> torch.Tensor:
        embedded: torch.Tensor = self.model.embed_text_tokens(self.text[None])
        return embedded

    def embed_steps(self, codes: torch.Tensor, steps: torch.Tensor) -> torch.Tensor:
        embedded: torch.Tensor = self.model.backbone_model.embed_tokens(codes)
        return embedded

    def temporal(self, embeddings: torch.Tensor, **options: Any) -> torch.Tensor:
        options.setdefault("use_cache", False)
        states: torch.Tensor = self.model.backbone_model(inputs_embeds=embeddings, **options).last_hidden_state
        return states

    def depth(self, states: torch.Tensor, codes: torch.Tensor) -> torch.Tensor:
        # Place 0 is taken by the backbone's state.
        ids = torch.nn.functional.pad(codes[:, :-1], (1, 0))
        # A mask, because transformers takes the positions of some batches (of one row) for packed ones without it.
        others = self.model.depth_decoder(
            input_ids=ids, backbone_last_hidden_state=states, attention_mask=torch.ones_like(ids), use_cache=False
        ).logits
        first = self.model.lm_head(states)[:, None].to(others.device)
        return torch.cat([first, others], dim=1)

    def depth_next(self, states: torch.Tensor, previous: torch.Tensor | None, cache: Any) -> torch.Tensor:
        if previous is None:
            logits: torch.Tensor = self.model.lm_head(states)
            return logits
        ids = previous[:, None]
        given: dict[str, Any] = {}
        if cache.get_seq_length() == 0:
            ids = torch.nn.functional.pad(ids, (1, 0))
            given["backbone_last_hidden_state"] = states
        logits = self.model.depth_decoder(
            input_ids=ids, past_key_values=cache, use_cache=True, logits_to_keep=1, **given
        ).logits
        return logits[:, -1]
