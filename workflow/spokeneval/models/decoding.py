"""How the next id is chosen, as one step of transformers' generate().

Conventions
-----------
- In this order: repetition penalty (Keskar et al. 2019, over the ids of the prompt and of the continuation, padding
  left out), legal ids, temperature, top-k, top-p, Gumbel noise; then the largest wins. Greedy: no noise.
- Constrained: only codes of the codebook that is due. Unconstrained: any id but EOS; the first that is not a code of
  the codebook that is due ends the speech there, after the last whole step.
- EOS (the first id of the vocabulary's suffix) is never chosen, so that systems are heard for equally long; unless
  `min_new_s` is set: then it stands beside the codes at the first codebook of every step from there on, and ends its
  own continuation. It is never penalised, as no end repeats another, and its noise is a stream of its own: until it is
  chosen, a continuation is what it would be without it (top-k and top-p apart, where it takes part in what is kept).
- Noise is drawn per (seed, clip, sample) and step (`sampling`), for the ids that may be chosen, so that a continuation
  does not depend on its batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import (
    GenerationConfig,
    LogitsProcessor,
    LogitsProcessorList,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from spokeneval.errors import ItemError
from spokeneval.models.base import Decoding
from spokeneval.models.vocabulary import UnitVocabulary
from spokeneval.sampling import GumbelNoise


class Choice:
    """Turns the logits of what may be chosen into scores whose largest is what is chosen; keeps count of the noise."""

    def __init__(self, decoding: Decoding, clip_ids: Sequence[str], sample_index: int, n_choices: int) -> None:
        """n_choices: numbers that a step takes from the noise; at least as many as may be chosen."""
        self.greedy = decoding.greedy
        self.noises = [GumbelNoise(decoding.seed, clip_id, sample_index, n_choices) for clip_id in clip_ids]
        self.end_noises = [GumbelNoise(decoding.seed, clip_id, sample_index, 1, "end/") for clip_id in clip_ids]
        self.warpers: Any = LogitsProcessorList()
        if decoding.temperature != 1.0:
            self.warpers.append(TemperatureLogitsWarper(decoding.temperature))
        if decoding.top_k is not None:
            self.warpers.append(TopKLogitsWarper(decoding.top_k))
        if decoding.top_p is not None:
            self.warpers.append(TopPLogitsWarper(decoding.top_p))

    def __call__(self, choices: torch.Tensor, end: torch.Tensor | None = None) -> torch.Tensor:
        """(n_prompts, n) float32 logits -> (n_prompts, n) scores; n is at most n_choices.

        end: (n_prompts,) logits of the end mark, -inf where it may not be chosen; its scores are then a last column.
        """
        n = choices.shape[1]
        if end is not None:
            choices = torch.cat([choices, end[:, None]], dim=1)
        if self.greedy:
            return choices
        noise = np.stack([source.next_step() for source in self.noises])[:, :n]
        if end is not None:
            noise = np.concatenate([noise, np.stack([source.next_step() for source in self.end_noises])], axis=1)
        warped: torch.Tensor = self.warpers(None, choices)
        return warped + torch.from_numpy(noise).to(choices.device)


def penalise(scores: torch.Tensor, seen: torch.Tensor, repetition_penalty: float) -> torch.Tensor:
    """Logits with the penalty on what was seen already (a mask of the same shape)."""
    penalised = torch.where(scores < 0, scores * repetition_penalty, scores / repetition_penalty)
    return torch.where(seen, penalised, scores)


class _NextId(LogitsProcessor):
    """Turns the logits of a step into scores whose largest is the id that is chosen."""

    def __init__(
        self,
        vocabulary: UnitVocabulary,
        decoding: Decoding,
        seen: torch.Tensor,
        n_prompt: int,
        clip_ids: Sequence[str],
        sample_index: int,
        ends: torch.Tensor | None,
    ) -> None:
        self.ends = ends
        self.vocabulary, self.decoding, self.seen, self.n_prompt = vocabulary, decoding, seen, n_prompt
        n_choices = max(vocabulary.codebook_sizes) if decoding.constrained else seen.shape[1]
        self.choose = Choice(decoding, clip_ids, sample_index, n_choices)
        self.legal = [torch.from_numpy(vocabulary.legal(q)).to(seen.device) for q in range(vocabulary.n_codebooks)]

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """(n_prompts, n_ids_so_far), (n_prompts, vocabulary) float32 logits -> (n_prompts, vocabulary) scores."""
        if bool(scores.isnan().any()):
            raise ItemError("the model's logits are NaN")
        decoding, step = self.decoding, input_ids.shape[1] - self.n_prompt
        if decoding.repetition_penalty is not None:
            if step > 0:
                self.seen.scatter_(1, input_ids[:, -1:], True)
            raw, scores = scores, penalise(scores, self.seen, decoding.repetition_penalty)
        else:
            raw = scores
        codebook = step % self.vocabulary.n_codebooks
        if decoding.constrained:
            ids = self.legal[codebook]
            choices = scores[:, ids]
        else:
            ids = torch.arange(scores.shape[1], device=scores.device)
            choices = scores.clone()
            choices[:, list(self.vocabulary.suffix)] = -torch.inf
        end = None
        if self.ends is not None and codebook == 0:
            # A column of its own at every step, so that what is computed does not depend on when others may end.
            end = raw[:, self.vocabulary.suffix[0]].masked_fill(step < self.ends, -torch.inf)
        scored = self.choose(choices, end)
        chosen = torch.full_like(scores, -torch.inf)
        chosen[:, ids] = scored[:, : len(ids)]
        if end is not None:
            chosen[:, self.vocabulary.suffix[0]] = scored[:, -1]
        return chosen


def generate(
    model: Any,
    prompts: Sequence[NDArray[np.int64]],
    clip_ids: Sequence[str],
    sample_index: int,
    n_new: int,
    vocabulary: UnitVocabulary,
    decoding: Decoding,
    ends: Sequence[int] | None = None,
) -> NDArray[np.int64]:
    """Ids of prompts (marks included) -> (n_prompts, n_new) new ids. Raises ItemError where logits are NaN.

    ends: the new ids of each prompt after which EOS may be chosen; None: never. What follows an EOS means nothing, and
    where all have ended there are fewer than n_new columns.
    """
    longest = max(len(prompt) for prompt in prompts)
    ids = np.zeros((len(prompts), longest), np.int64)
    mask = np.zeros_like(ids)
    for row, prompt in enumerate(prompts):
        ids[row, longest - len(prompt) :] = prompt
        mask[row, longest - len(prompt) :] = 1
    input_ids = torch.from_numpy(ids).to(model.device)
    seen = torch.zeros((len(prompts), _n_output_ids(model)), dtype=torch.bool)
    for row, prompt in enumerate(prompts):
        seen[row, torch.from_numpy(prompt)] = True
    may_end = None if ends is None else torch.tensor(list(ends), device=model.device)
    processor = _NextId(vocabulary, decoding, seen.to(model.device), longest, clip_ids, sample_index, may_end)
    factory: Any = GenerationConfig
    settings = factory(do_sample=False, num_beams=1, max_new_tokens=n_new, pad_token_id=0, disable_compile=True)
    if ends is not None:
        settings.eos_token_id = vocabulary.suffix[0]  # nothing but this stops the loop early
    if getattr(model, "_can_compile_fullgraph", False):  # transformers' mark of models that know a static cache
        settings.cache_implementation = "static"  # allocated once, where the dynamic one is copied at every step
    with torch.inference_mode():
        output = model.generate(
            inputs=input_ids,
            attention_mask=torch.from_numpy(mask).to(model.device),
            logits_processor=LogitsProcessorList([processor]),
            generation_config=settings,
        )
    new: NDArray[np.int64] = output[:, longest:].cpu().numpy()
    return new


def _n_output_ids(model: Any) -> int:
    return int(model.get_output_embeddings().weight.shape[0])
