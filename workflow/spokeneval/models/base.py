"""What every family of spoken language models provides.

Conventions
-----------
- A model reads the codes of one tokenizer and is asked three things: what to feed and what of it is scored
  (`sequence`, `kept`), the log-probabilities of what is scored (`logprobs`), and what it says next (`continue_`).
- Log-probabilities are natural logarithms from a float32 log-softmax, whatever the dtype of the weights.
- A scored position carries where it lies: stream, codebook, frame span (of the frame that the code decodes to, never
  of the step that predicts it), step, kind. Marks (BOS, <audio>, EOS) have no span.
- The sequence convention (BOS, EOS, offset, context, truncation) is the model's; which kinds and codebooks enter a
  score, mean or sum, ties are the reduction convention, applied later by `evaluators`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from spokeneval.tokenizers.base import Codes

IntArray = NDArray[np.int32]


@dataclass(frozen=True)
class ScoredSequence:
    """One sequence to feed, and the positions of it that are scored. Arrays are (n_scored,) unless said."""

    input_ids: NDArray[np.int64]
    """(n_ids,) everything that is fed, marks included."""
    index: IntArray
    """Index into input_ids of the id that is scored; at least 1 (something must come before it)."""
    kind: NDArray[np.int8]
    stream: NDArray[np.int8]
    codebook: NDArray[np.int8]
    frame: IntArray
    """First frame in the whole clip; -1 for marks."""
    n_frames: IntArray
    step: IntArray
    """Step of the model that predicted it, counted from 0."""
    n_dropped_frames: int = 0
    """Oldest frames that were left out because the model's context is too short."""

    @property
    def target(self) -> NDArray[np.int64]:
        """(n_scored,) the ids that are scored."""
        return self.input_ids[self.index]


class LogProbs(NamedTuple):
    """Log-probabilities of one sequence's scored positions, in nats, float32 (n_scored,)."""

    logprob: NDArray[np.float32]
    """Softmax over the whole vocabulary."""
    legal: NDArray[np.float32]
    """Softmax over the ids that are legal at the position only; >= logprob."""


@dataclass(frozen=True)
class Decoding:
    """How a model continues a prompt. Lengths are in seconds; the tokenizer's rate turns them into frames."""

    new_s: float = 2.0
    """Seconds of new audio at most: the shortest whole number of frames that covers them."""
    min_new_s: float | None = None
    """From here on the model may end by itself; None: never, every continuation lasts new_s."""
    temperature: float = 1.0
    top_k: int | None = None
    top_p: float | None = None
    repetition_penalty: float | None = None
    greedy: bool = False
    constrained: bool = True
    """Only legal codes at each position."""
    seed: int = 0
    samples_per_item: int = 1


class Prompt(NamedTuple):
    """A prompt to continue: what the noise is keyed by, and its codes."""

    clip_id: str
    codes: Codes


class SpokenLM(Protocol):
    """The contract; `models.causal_lm` serves any causal LM of transformers over one stream of ids."""

    streams: tuple[str, ...]
    """Names of the streams that `ScoredSequence.stream` indexes."""

    @property
    def can_end(self) -> bool:
        """True where it has a mark that ends speech, so that `continue_` knows min_frames."""
        ...

    def sequence(self, codes: Codes) -> ScoredSequence:
        """The whole clip. Raises ItemError where it is empty or longer than the model's context."""
        ...

    def kept(self, codes: Codes, cut_frame: int) -> ScoredSequence:
        """The steps that end after `cut_frame`, with nothing before them but the model's own BOS string.

        Frames keep their place in the whole clip.
        """
        ...

    def logprobs(self, batch: Sequence[ScoredSequence]) -> list[LogProbs]:
        """Score a batch in one forward pass; the result does not depend on the batch beyond 1e-4 nats a token."""
        ...

    def continue_(
        self,
        prompts: Sequence[Prompt],
        n_frames: int,
        decoding: Decoding,
        sample_index: int,
        min_frames: int | None = None,
    ) -> list[Codes]:
        """New codes of about n_frames frames for each prompt (without the prompt), the same for any batch.

        min_frames: after so many the model may end by itself, which ends its own continuation only; None: never.
        Noise is drawn from a counter-based generator keyed by (decoding.seed, clip_id, sample_index) and step.
        """
        ...
