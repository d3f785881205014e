"""Log-probabilities of clips in the shape of their codes, so that strings under different conventions can be compared.

Conventions
-----------
- Losses are negative log-probabilities in nats, `(n_steps, width)` like `Codes.codes`; NaN where a code is not scored
  (the first one without a BOS, ids that are never scored) or could not be (its clip failed). Marks are left out.
- A code is found again by the frame and the codebook that its scored position carries.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spokeneval.batching import Halving, plan
from spokeneval.errors import ItemError
from spokeneval.models.base import LogProbs, ScoredSequence, SpokenLM
from spokeneval.models.vocabulary import UnitVocabulary
from spokeneval.tables import KIND_UNIT
from spokeneval.tokenizers.base import Codes

Losses = NDArray[np.float64]
Place = tuple[int, int]
"""(frame, codebook)"""


@dataclass(frozen=True)
class ScoredClip:
    """One clip's losses, (n_steps, width) each."""

    full: Losses
    """Softmax over the whole vocabulary."""
    legal: Losses
    """Softmax over the legal ids."""


def places(codes: Codes) -> dict[Place, int]:
    """Place of every code -> its index in the flattened codes. A place that two codes share keeps the last."""
    starts = codes.frame_starts()
    if codes.codebooks is not None:
        return {(int(f), int(q)): i for i, (f, q) in enumerate(zip(starts, codes.codebooks, strict=True))}
    width = codes.codes.shape[1]
    return {(int(f), q): i * width + q for i, f in enumerate(starts) for q in range(width)}


def units_of(sequence: ScoredSequence) -> dict[Place, int]:
    """Place of every scored code -> its position among the scored ones."""
    found = np.flatnonzero(sequence.kind == KIND_UNIT)
    return {(int(sequence.frame[i]), int(sequence.codebook[i])): int(i) for i in found}


def score_clips(model: SpokenLM, clips: Sequence[Codes], max_batch_tokens: int = 8192) -> list[ScoredClip]:
    """Score clips in batches. What the model raises for one clip alone (ItemError) makes that clip NaN."""
    sequences: dict[int, ScoredSequence] = {}
    for number, codes in enumerate(clips):
        try:
            sequences[number] = model.sequence(codes)
        except ItemError:
            continue
    results: dict[int, LogProbs] = {}
    forward: Halving[int, LogProbs] = Halving(lambda batch: model.logprobs([sequences[number] for number in batch]))
    for batch in plan(list(sequences), lambda number: len(sequences[number].input_ids), max_batch_tokens):
        results |= {number: found for number, found in forward(batch) if not isinstance(found, ItemError)}
    return [_in_shape(codes, sequences.get(i), results.get(i)) for i, codes in enumerate(clips)]


def _in_shape(codes: Codes, sequence: ScoredSequence | None, result: LogProbs | None) -> ScoredClip:
    full, legal = np.full(codes.codes.size, np.nan), np.full(codes.codes.size, np.nan)
    if sequence is not None and result is not None:
        index = places(codes)
        for place, position in units_of(sequence).items():
            if place in index:
                full[index[place]] = -float(result.logprob[position])
                legal[index[place]] = -float(result.legal[position])
    return ScoredClip(full.reshape(codes.codes.shape), legal.reshape(codes.codes.shape))


def vocabulary_of(model: SpokenLM) -> UnitVocabulary | None:
    """The ids of codes and marks, where the family has them in one vocabulary."""
    found = getattr(model, "vocabulary", None)
    return found if isinstance(found, UnitVocabulary) else None
