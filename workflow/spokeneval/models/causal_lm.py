"""Any causal LM of transformers over one stream of ids.

The sequence convention (offset or token names, marks, context, truncation) is in `vocabulary` and `token_lookup`, the
arithmetic of log-probabilities in `scoring`, the choice of the next id in `decoding`. For scoring, batches are padded
on the right: no mask is needed, because nothing that is scored comes after the padding and a model that looks ahead is
refused when it is loaded. For continuing they are padded on the left, with an attention mask.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from spokeneval.errors import ConfigError, ItemError
from spokeneval.models.base import Decoding, LogProbs, Prompt, ScoredSequence
from spokeneval.models.decoding import generate
from spokeneval.models.loading import (
    LoadOptions,
    check_causal,
    has_learned_positions,
    load_causal_lm,
    max_positions,
    n_input_ids,
)
from spokeneval.models.scoring import score_batch
from spokeneval.models.token_lookup import load_text_tokenizer, lookup_vocabulary
from spokeneval.models.vocabulary import UnitVocabulary
from spokeneval.tokenizers.base import Codes, TokenizerInfo

Unscored = Literal["config_pad", "tokenizer_pad"] | Sequence[int] | None


class CausalUnitLM:
    """A causal LM over the codes of one tokenizer.

    path: a folder with config.json and weights.
    offset: id of code 0 of the first codebook; "config" reads the field `offset` of the model's own config; bos, eos:
    ids of the marks, None for none. Without a BOS the first unit is given and not scored.
    codes, text: names of the codes' tokens and the string of a clip, in place of offset, bos and eos (`token_lookup`).
    unscored: ids that are fed and never scored, or where a published script reads the one that it masks.
    max_context: longest string that is fed; None for as long as the model's positions go; "unlimited" for no limit
    where positions are not learned (rotary and the like run on, if not well).
    one_at_a_time: ask for batches of one clip, and share no value between clips (see `likelihood`).
    truncate: "refuse" (ItemError for longer clips) or "left" (the oldest frames are dropped).
    Raises ConfigError where the checkpoint cannot be loaded, does not fit the tokenizer, or is not causal.
    """

    streams: tuple[str, ...] = ("units",)

    def __init__(
        self,
        path: str | Path,
        tokenizer: TokenizerInfo,
        offset: int | Literal["config"] | None = 1,
        bos: int | None = 0,
        eos: int | None = None,
        codes: str | Sequence[str] | None = None,
        text: str | None = None,
        unscored: Unscored = None,
        max_context: int | Literal["unlimited"] | None = None,
        truncate: Literal["refuse", "left"] = "refuse",
        one_at_a_time: bool = False,
        **loading: Any,
    ) -> None:
        self.tokenizer = tokenizer
        self.truncate: Literal["refuse", "left"] = truncate
        self.one_at_a_time = one_at_a_time
        options = LoadOptions(**loading)
        self.model = self._load(Path(path), options)
        try:
            self.vocabulary = self._vocabulary(Path(path), options, offset, bos, eos, codes, text, unscored)
            self._check_vocabulary()
        except ConfigError as error:
            raise ConfigError(f"{path}: {error}".replace(f"{path}: {path}: ", f"{path}: ")) from error
        limit = max_positions(self.model.config)
        if max_context == "unlimited":
            limit, max_context = (limit if has_learned_positions(self.model) else None), None
        if max_context is not None and limit is not None and max_context > limit:
            raise ConfigError(f"{path}: max_context {max_context} is more than the model's {limit} positions")
        self.max_context = limit if max_context is None else max_context
        check_causal(self.model, self.vocabulary.n_ids)

    def _load(self, path: Path, options: LoadOptions) -> Any:
        return load_causal_lm(path, options)

    def _vocabulary(
        self,
        path: Path,
        options: LoadOptions,
        offset: int | Literal["config"] | None,
        bos: int | None,
        eos: int | None,
        codes: str | Sequence[str] | None,
        text: str | None,
        unscored: Unscored,
    ) -> UnitVocabulary:
        config, sizes = self.model.config, self.tokenizer.codebook_sizes
        named = codes is not None or unscored == "tokenizer_pad"
        names: Any = load_text_tokenizer(path, options.trust_remote_code) if named else None
        if unscored == "config_pad":
            masked = [config.pad_token_id]
        elif unscored == "tokenizer_pad":
            masked = [names.eos_token_id if names.pad_token_id is None else names.pad_token_id]
        else:
            masked = list(unscored or ())
        more: dict[str, Any] = {
            "unscored": frozenset(int(mark) for mark in masked if mark is not None),
            "asynchronous": self.tokenizer.asynchronous,
        }
        if codes is not None:
            return lookup_vocabulary(names, sizes, codes, text or "{codes}", **more)
        if offset == "config":
            offset = getattr(config, "offset", None)
            if not isinstance(offset, int):
                raise ConfigError("`sequence.offset: config`, but its config.json has no integer 'offset'")
        if offset is None:
            raise ConfigError("`sequence` needs an `offset`, or `codes` with the names of the codes' tokens")
        return UnitVocabulary.by_offset(sizes, offset, bos, eos, **more)

    def _check_vocabulary(self) -> None:
        vocabulary = self.vocabulary
        rows = min(n_input_ids(self.model), int(self.model.get_output_embeddings().weight.shape[0]))
        if rows < vocabulary.n_ids:
            first = int(vocabulary.tables[0][0])
            raise ConfigError(
                f"the model has {rows} ids, but the tokenizer needs {vocabulary.n_ids} (code 0 is id {first}, "
                f"codebooks of {' + '.join(map(str, vocabulary.codebook_sizes))}, BOS {list(vocabulary.prefix)}, EOS "
                f"{list(vocabulary.suffix)}): it belongs to another tokenizer, or `sequence.offset` is wrong"
            )
        declared = getattr(self.model.config, "num_quantizers", None)
        if declared is not None and declared != vocabulary.n_codebooks:
            raise ConfigError(
                f"its config.json says num_quantizers {declared}, but the tokenizer gives {vocabulary.n_codebooks} "
                f"codebooks; set `n_codebooks: {declared}` in the tokenizer's block"
            )

    def sequence(self, codes: Codes) -> ScoredSequence:
        """The whole clip. Raises ItemError where nothing would be scored or it exceeds the context."""
        return self.vocabulary.sequence(codes, None, self.max_context, self.truncate)

    def kept(self, codes: Codes, cut_frame: int) -> ScoredSequence:
        """The steps that end after the beginning of frame cut_frame, as a string of their own.

        A run of equal units that lasts across the cut is kept whole, so that its first frame may lie before it.
        """
        after = np.flatnonzero(codes.frame_starts() + codes.frame_counts() > cut_frame)
        return self.vocabulary.sequence(codes, after, self.max_context, self.truncate)

    def logprobs(self, batch: Sequence[ScoredSequence]) -> list[LogProbs]:
        """Score a batch in one forward pass: float32 nats of every scored position.

        Results differ between batches by rounding only (<= 1e-4 nats a token in float32). Raises ItemError where one
        of them is NaN or infinite; which one, a batch of one item tells.
        """
        longest = max(len(sequence.input_ids) for sequence in batch)
        ids = np.zeros((len(batch), longest), np.int64)
        for row, sequence in enumerate(batch):
            ids[row, : len(sequence.input_ids)] = sequence.input_ids
        with torch.inference_mode():
            logits = self.model(input_ids=torch.from_numpy(ids).to(self.model.device), use_cache=False).logits
            scored = score_batch(logits, batch, self.vocabulary)
        for number, result in enumerate(scored):
            if not np.isfinite(result.logprob).all():
                bad = int(np.flatnonzero(~np.isfinite(result.logprob))[0])
                raise ItemError(
                    f"the log-probability of id {batch[number].target[bad]} at place {batch[number].index[bad]} is "
                    f"{result.logprob[bad]}"
                )
        return scored

    @property
    def can_end(self) -> bool:
        """True where the vocabulary has an end mark."""
        return bool(self.vocabulary.suffix)

    def continue_(
        self,
        prompts: Sequence[Prompt],
        n_frames: int,
        decoding: Decoding,
        sample_index: int,
        min_frames: int | None = None,
    ) -> list[Codes]:
        """New codes for each prompt, without the prompt.

        Where every step is one frame: exactly n_frames steps (fewer only if decoding is unconstrained and the model
        leaves the codes). De-duplicated units: how long a new unit lasts is not known before it is heard, so as many
        units come as n_frames hold at the prompt's own mean duration, and their durations are None.
        min_frames: after so many (units: counted as n_frames are) the model may say its end mark, and has then fewer.
        Raises ConfigError for min_frames without an end mark, ItemError where a prompt and what is to come exceed the
        context, or logits are NaN.
        """
        if self.tokenizer.asynchronous:
            raise ConfigError(
                "codebooks of different rates cannot be continued yet: which one is due is not known beforehand; "
                "take the model's `vocoder` away, or give what it generated as `kind: external`"
            )
        if min_frames is not None and not self.can_end:
            raise ConfigError("the model has no end mark: `min_new_s` cannot be kept; take it away")
        n_steps = [self._n_steps(prompt, n_frames) for prompt in prompts]
        n_codebooks, n_new = self.vocabulary.n_codebooks, max(n_steps) * self.vocabulary.n_codebooks
        fed = []
        for prompt, own_steps in zip(prompts, n_steps, strict=True):
            room = None if self.max_context is None else self.max_context - own_steps * n_codebooks
            fed.append(self.vocabulary.prompt(prompt.codes, room, self.truncate))
        if len(prompts) > 1 and self.max_context is not None and max(map(len, fed)) + n_new > self.max_context:
            # Units only: one of them has room for its own steps, but not for the longest ones of the batch.
            return [self.continue_([prompt], n_frames, decoding, sample_index, min_frames)[0] for prompt in prompts]
        ends = None if min_frames is None else [self._n_steps(p, min_frames) * n_codebooks for p in prompts]
        clip_ids = [prompt.clip_id for prompt in prompts]
        new = generate(self.model, fed, clip_ids, sample_index, n_new, self.vocabulary, decoding, ends)
        return [
            Codes(self.vocabulary.codes(ids[: own_steps * n_codebooks]), None)
            for ids, own_steps in zip(new, n_steps, strict=True)
        ]

    def _n_steps(self, prompt: Prompt, n_frames: int) -> int:
        if prompt.codes.durations is None:
            return n_frames
        if prompt.codes.n_frames == 0:
            raise ItemError("the prompt has no codes: how long its units last is not known")
        return math.ceil(n_frames * len(prompt.codes.codes) / prompt.codes.n_frames)
