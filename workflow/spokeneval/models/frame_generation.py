"""Continuing frames: one step after another, one codebook after another within it.

Conventions
-----------
- A code is chosen as in `decoding`: repetition penalty (per codebook, over the codes of prompt and continuation),
  legal codes, temperature, top-k, top-p, Gumbel noise; the largest wins.
- After a prompt of n frames, the first new step is step n. Where a delayed codebook still owes a code of the prompt's
  last frames, that code is fed, not chosen. New frames are gathered from their own steps; codes of later frames that
  come along in the last steps are chosen as the model would and thrown away.
- Noise is drawn for every codebook of every new step, whether it is used or not, so that a longer continuation begins
  with a shorter one.
- Where the format has a frame that ends speech (CSM: zeros in all codebooks) and `min_new_s` is set, the first such
  frame after min_new_s ends a continuation, and is no part of it. Its codes are codes of the codec as well, so before
  min_new_s, and without it, such a frame is a frame like any other: nothing is forbidden, no noise is shifted, and a
  continuation is the beginning of what it would be without min_new_s.
- Prompts are padded on the left, with an attention mask.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from transformers import DynamicCache

from spokeneval.errors import ItemError
from spokeneval.models.base import Decoding, Prompt
from spokeneval.models.decoding import Choice, penalise
from spokeneval.models.frame_string import FrameString
from spokeneval.models.vocabulary import Ids
from spokeneval.tokenizers.base import Codes

if TYPE_CHECKING:
    from spokeneval.models.frame_lm import FrameNetwork

CHOSEN = -1
"""Stands for a code that is not known beforehand."""


def continue_frames(
    network: FrameNetwork,
    frames: FrameString,
    prompts: Sequence[Prompt],
    n_frames: int,
    decoding: Decoding,
    sample_index: int,
    min_frames: int | None = None,
) -> list[Codes]:
    """(n_frames, n_codebooks) new codes for each prompt, or fewer where it ended after min_frames; see the module.

    Raises ItemError where a prompt and what is to come exceed the context, or logits are NaN.
    """
    n_steps = n_frames + frames.max_delay
    for prompt in prompts:
        frames.check_room(len(prompt.codes.codes) + n_steps)
    # What is laid out beyond the prompt's own steps is what its last frames still owe.
    laid_out = [frames.steps(prompt.codes.codes) for prompt in prompts]
    fed = [steps[: len(prompt.codes.codes)] for steps, prompt in zip(laid_out, prompts, strict=True)]
    owed = np.full((len(prompts), n_steps, frames.n_codebooks), CHOSEN, np.int64)
    for row, (steps, own) in enumerate(zip(laid_out, fed, strict=True)):
        for step in range(min(frames.max_delay, n_steps)):
            late = np.array(frames.delays) > step
            owed[row, step, late] = steps[len(own) + step, late]
    with torch.inference_mode():
        reader = _Reader(network, fed)
        chooser = _Chooser(network, frames, prompts, decoding, sample_index)
        new = np.zeros_like(owed)
        ended = np.zeros(len(prompts), bool)
        for step in range(n_steps):
            if step > 0:
                reader.read(new[:, step - 1])
            new[:, step] = chooser.step(reader.state, owed[:, step])
            if min_frames is not None and step >= min_frames:
                ended |= (new[:, step] == np.array(frames.end)).all(axis=1)
                if ended.all():
                    break
    own_steps = np.arange(n_frames)[:, None] + np.array(frames.delays)
    undelayed = new[:, own_steps, np.arange(frames.n_codebooks)]
    if min_frames is not None:
        firsts = [np.flatnonzero(frames.ended(codes, min_frames)) for codes in undelayed]
        lengths = [int(first[0]) if len(first) else n_frames for first in firsts]
    else:
        lengths = [n_frames] * len(prompts)
    return [Codes(frames.legal_frames(codes[:n]), None) for codes, n in zip(undelayed, lengths, strict=True)]


class _Reader:
    """The temporal transformer, after all steps so far."""

    def __init__(self, network: FrameNetwork, prompts: Sequence[Ids]) -> None:
        """prompts: (n_steps, n_codebooks) codes of each prompt."""
        self.network, self.cache = network, DynamicCache()
        prefix = network.embed_prefix()
        self.n_steps = torch.tensor([len(steps) for steps in prompts], device=network.device)
        n_positions = prefix.shape[1] + self.n_steps
        longest = int(n_positions.max())
        embeddings = prefix.new_zeros((len(prompts), longest, prefix.shape[2]))
        for row, steps in enumerate(prompts):
            places = torch.arange(len(steps), device=network.device)
            own = network.embed_steps(torch.from_numpy(steps).to(network.device)[None], places[None])
            embeddings[row, longest - int(n_positions[row]) :] = torch.cat([prefix, own], dim=1)[0]
        self.mask = (torch.arange(longest, device=network.device) >= longest - n_positions[:, None]).long()
        self._advance(embeddings, (self.mask.cumsum(dim=1) - 1).clamp(min=0))

    def read(self, codes: Ids) -> None:
        """(n_prompts, n_codebooks) the codes of the next step."""
        one_more = self.mask.new_ones((len(self.mask), 1))
        self.mask = torch.cat([self.mask, one_more], dim=1)
        step = torch.from_numpy(codes).to(self.network.device)[:, None]
        embeddings = self.network.embed_steps(step, self.n_steps[:, None])
        self.n_steps = self.n_steps + 1
        self._advance(embeddings, self.mask.sum(dim=1, keepdim=True) - 1)

    def _advance(self, embeddings: torch.Tensor, position_ids: torch.Tensor) -> None:
        states = self.network.temporal(
            embeddings, attention_mask=self.mask, position_ids=position_ids, past_key_values=self.cache, use_cache=True
        )
        # (n_prompts, width) from which the next step is predicted.
        self.state = states[:, -1]


class _Chooser:
    """The codes of one step after another."""

    def __init__(
        self,
        network: FrameNetwork,
        frames: FrameString,
        prompts: Sequence[Prompt],
        decoding: Decoding,
        sample_index: int,
    ) -> None:
        self.network, self.decoding = network, decoding
        self.n_choices = frames.codebook_sizes if decoding.constrained else (network.n_outputs,) * frames.n_codebooks
        clip_ids = [prompt.clip_id for prompt in prompts]
        self.choose = Choice(decoding, clip_ids, sample_index, max(self.n_choices))
        seen = np.zeros((len(prompts), frames.n_codebooks, network.n_outputs), bool)
        for row, prompt in enumerate(prompts):
            seen[row, np.arange(frames.n_codebooks), prompt.codes.codes] = True
        self.seen = torch.from_numpy(seen).to(network.device)

    def step(self, states: torch.Tensor, owed: Ids) -> Ids:
        """(n_prompts, width), (n_prompts, n_codebooks) codes or CHOSEN -> (n_prompts, n_codebooks) codes."""
        cache, previous = DynamicCache(), None
        codes = np.zeros_like(owed)
        for codebook, n_choices in enumerate(self.n_choices):
            logits = self.network.depth_next(states, previous, cache).float()
            if bool(logits.isnan().any()):
                raise ItemError("the model's logits are NaN")
            seen = self.seen[:, codebook].to(logits.device)
            if self.decoding.repetition_penalty is not None:
                logits = penalise(logits, seen, self.decoding.repetition_penalty)
            chosen = self.choose(logits[:, :n_choices]).argmax(dim=1).cpu().numpy()
            codes[:, codebook] = np.where(owed[:, codebook] == CHOSEN, chosen, owed[:, codebook])
            previous = torch.from_numpy(codes[:, codebook].copy()).to(self.network.device)
            if self.decoding.repetition_penalty is not None:
                # A fill id that is owed is no output of the head.
                real = (previous < self.network.n_outputs).nonzero()[:, 0]
                self.seen[real, codebook, previous[real]] = True
        return codes
