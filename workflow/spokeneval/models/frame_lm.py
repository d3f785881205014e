"""Models of two levels: a temporal transformer over steps, a depth transformer over the codebooks of a step.

Conventions
-----------
- A family provides the networks (`FrameNetwork`): embeddings of steps, the temporal transformer, the depth transformer.
  How frames become a string of ids, delays among them, is in `frame_string`, how they are continued in
  `frame_generation`.
- The code of codebook q at a step is predicted from the temporal state after all steps before it and from the codes of
  the codebooks before q at the same step (teacher forcing). All codebooks are scored, one value a code.
- float32 log-softmax, natural logarithm, over all outputs of the codebook's head; `legal` over its codes alone.
- Batches are padded on the right: both transformers are causal, so that nothing scored comes after the padding.
- Longer clips than the context are refused (ItemError), never truncated.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import torch

from spokeneval.errors import ConfigError, ItemError
from spokeneval.models.base import Decoding, LogProbs, Prompt, ScoredSequence
from spokeneval.models.frame_generation import continue_frames
from spokeneval.models.frame_string import FrameString
from spokeneval.models.scoring import CHUNK_ELEMENTS
from spokeneval.tokenizers.base import Codes


class FrameNetwork(Protocol):
    """The networks of a family. Codes are those of `FrameString.steps`, fills included; dimensions: batch b, rows n."""

    device: torch.device
    n_outputs: int
    """Outputs of the head of a codebook."""

    def embed_prefix(self) -> torch.Tensor:
        """(1, n_positions, width) what stands before step 0; at least one position."""
        ...

    def embed_steps(self, codes: torch.Tensor, steps: torch.Tensor) -> torch.Tensor:
        """(b, n_steps, n_codebooks) codes, (b, n_steps) which steps they are -> (b, n_steps, width)."""
        ...

    def temporal(self, embeddings: torch.Tensor, **options: Any) -> torch.Tensor:
        """(b, n_positions, width) -> (b, n_positions, width) states; that of a position predicts the next step.

        options: attention_mask, position_ids, past_key_values, use_cache, as in transformers.
        """
        ...

    def depth(self, states: torch.Tensor, codes: torch.Tensor) -> torch.Tensor:
        """(n, width) temporal states, (n, n_codebooks) codes of the step -> (n, n_codebooks, n_outputs) logits."""
        ...

    def depth_next(self, states: torch.Tensor, previous: torch.Tensor | None, cache: Any) -> torch.Tensor:
        """(n, n_outputs) logits of the next codebook of a step.

        previous: (n,) the code of the codebook before; None for codebook 0. cache: of transformers, for one step;
        empty at codebook 0, and filled here.
        """
        ...


class FrameLM:
    """A model of two levels under one layout of frames; families construct the two."""

    streams: tuple[str, ...] = ("units",)

    def __init__(self, network: FrameNetwork, frames: FrameString) -> None:
        self.network, self.frames = network, frames

    def sequence(self, codes: Codes) -> ScoredSequence:
        """The whole clip. Raises ItemError where it is empty or exceeds the context."""
        return self.frames.sequence(codes)

    def kept(self, codes: Codes, cut_frame: int) -> ScoredSequence:
        """The frames from cut_frame on, in all codebooks, after nothing but the model's own beginning."""
        return self.frames.sequence(codes, cut_frame)

    def logprobs(self, batch: Sequence[ScoredSequence]) -> list[LogProbs]:
        """Score a batch in one forward pass: float32 nats of every scored position.

        Results differ between batches by rounding only (<= 1e-4 nats a token in float32). Raises ItemError where one
        of them is NaN or infinite.
        """
        steps = [self.frames.steps_of(sequence) for sequence in batch]
        n_steps = torch.tensor([len(own) for own in steps])
        padded = np.zeros((len(batch), int(n_steps.max()), self.frames.n_codebooks), np.int64)
        for row, own in enumerate(steps):
            padded[row, : len(own)] = own
        network = self.network
        with torch.inference_mode():
            codes = torch.from_numpy(padded).to(network.device)
            places = torch.arange(padded.shape[1], device=network.device).expand(padded.shape[:2])
            prefix = network.embed_prefix()
            # The last step is predicted and never fed.
            fed = network.embed_steps(codes[:, :-1], places[:, :-1])
            states = network.temporal(torch.cat([prefix.expand(len(batch), -1, -1), fed], dim=1))
            states = states[:, prefix.shape[1] - 1 :]
            real = (torch.arange(padded.shape[1]) < n_steps[:, None]).to(network.device)
            states, codes = states[real.to(states.device)], codes[real]
            at_once = max(1, CHUNK_ELEMENTS // (self.frames.n_codebooks * network.n_outputs))
            chunks = [
                self._score(states[i : i + at_once], codes[i : i + at_once]) for i in range(0, len(codes), at_once)
            ]
        full, legal = (torch.cat(parts).cpu().numpy() for parts in zip(*chunks, strict=True))
        results, first = [], 0
        for sequence, own in zip(batch, steps, strict=True):
            scored = self.frames.places(sequence)
            results.append(
                LogProbs(*(values[first : first + len(own)].reshape(-1)[scored] for values in (full, legal)))
            )
            first += len(own)
            _refuse_infinite(sequence, results[-1])
        return results

    def _score(self, states: torch.Tensor, codes: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(n, width), (n, n_codebooks) -> (n, n_codebooks) float32 nats each: whole and legal softmax.

        What stands at the place of a fill id means nothing; it is never scored.
        """
        logits = self.network.depth(states, codes).float()
        n_codes = min(self.frames.codebook_sizes)
        target = codes.to(logits.device).clamp(max=n_codes - 1)[..., None]
        full, legal = (
            torch.log_softmax(part, -1).gather(-1, target)[..., 0] for part in (logits, logits[..., :n_codes])
        )
        # Fewer ids in the sum: only rounding can bring it below.
        return full, torch.maximum(full, legal)

    @property
    def can_end(self) -> bool:
        """True where the format has a frame that ends speech."""
        return self.frames.end is not None

    def continue_(
        self,
        prompts: Sequence[Prompt],
        n_frames: int,
        decoding: Decoding,
        sample_index: int,
        min_frames: int | None = None,
    ) -> list[Codes]:
        """Exactly n_frames new frames for each prompt, without the prompt (fewer only if decoding is unconstrained and
        the model leaves the codes, or after min_frames, see `frame_generation`).

        Raises ItemError where a prompt and what is to come exceed the context, or logits are NaN; ConfigError for
        min_frames of a family without an end.
        """
        if min_frames is not None and not self.can_end:
            raise ConfigError("the model has no end mark: `min_new_s` cannot be kept; take it away")
        return continue_frames(self.network, self.frames, prompts, n_frames, decoding, sample_index, min_frames)


def _refuse_infinite(sequence: ScoredSequence, result: LogProbs) -> None:
    bad = np.flatnonzero(~np.isfinite(result.logprob))
    if len(bad):
        raise ItemError(
            f"the log-probability of codebook {sequence.codebook[bad[0]]} of frame {sequence.frame[bad[0]]} is "
            f"{result.logprob[bad[0]]}"
        )
