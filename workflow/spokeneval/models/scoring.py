"""From logits to the log-probabilities of what came next.

Conventions
-----------
- float32 whatever the dtype of the logits, natural logarithm. The largest logit is subtracted first, so that no digits
  are lost to large logits.
- `legal` is the same with the softmax over the ids that are legal at the position only (see `vocabulary`).
- Positions are taken in chunks: no float32 copy of all logits exists at once.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from spokeneval.models.base import LogProbs, ScoredSequence
from spokeneval.models.vocabulary import UnitVocabulary
from spokeneval.tables import KIND_EOS, KIND_UNIT

CHUNK_ELEMENTS = 2**22
"""float32 logits that exist at once (16 MiB)."""

EOS, MARK = -1, -2
"""Stand for the codebook at the places of an end mark and of another mark."""


def score_rows(
    logits: torch.Tensor, target: torch.Tensor, codebook: torch.Tensor, vocabulary: UnitVocabulary
) -> tuple[torch.Tensor, torch.Tensor]:
    """(n, vocabulary) logits, (n,) ids and codebooks -> (n,) log-probabilities in nats: full softmax, legal softmax."""
    full = _log_softmax_at(logits, logits.gather(1, target[:, None]))
    legal = torch.zeros_like(full)
    for q in range(EOS, vocabulary.n_codebooks):
        rows = (codebook == q).nonzero()[:, 0]
        if len(rows) == 0:
            continue
        allowed = select(logits[rows], vocabulary.legal(max(q, 0)))
        if q == EOS:
            # Of a longer suffix, only the first id has an alternative.
            first = target[rows] == vocabulary.suffix[0]
            rows, allowed = rows[first], allowed[first]
            allowed = torch.cat([allowed, logits[rows, vocabulary.suffix[0], None]], dim=1)
        legal[rows] = _log_softmax_at(allowed, logits[rows, target[rows], None])
    # Fewer ids in the sum: only rounding can bring it below.
    return full, torch.maximum(full, legal)


def select(logits: torch.Tensor, ids: NDArray[np.int64]) -> torch.Tensor:
    """(n, vocabulary), (n_ids,) -> (n, n_ids); a view where the ids follow one another."""
    first, last = int(ids[0]), int(ids[-1])
    if last - first == len(ids) - 1 and bool((np.diff(ids) == 1).all()):
        return logits[:, first : last + 1]
    return logits[:, torch.from_numpy(ids).to(logits.device)]


def _log_softmax_at(logits: torch.Tensor, chosen: torch.Tensor) -> torch.Tensor:
    """(n, n_allowed) logits, (n, 1) logit of the target -> (n,) float32."""
    largest = logits.amax(dim=-1, keepdim=True).float()
    return (chosen.float() - largest)[:, 0] - (logits.float() - largest).exp_().sum(dim=-1).log()


def score_batch(logits: torch.Tensor, batch: Sequence[ScoredSequence], vocabulary: UnitVocabulary) -> list[LogProbs]:
    """(n_sequences, n_ids, vocabulary) logits of a right-padded batch -> log-probabilities of its scored positions."""
    lengths = [len(sequence.index) for sequence in batch]
    row = np.repeat(np.arange(len(batch)), lengths) * logits.shape[1]
    place = torch.from_numpy(row + np.concatenate([s.index for s in batch]) - 1).to(logits.device)
    target = torch.from_numpy(np.concatenate([s.target for s in batch])).to(logits.device)
    books = [np.where(s.kind == KIND_UNIT, s.codebook, np.where(s.kind == KIND_EOS, EOS, MARK)) for s in batch]
    codebook = torch.from_numpy(np.concatenate(books)).to(logits.device)
    flat = logits.reshape(-1, logits.shape[-1])
    step = max(1, CHUNK_ELEMENTS // logits.shape[-1])
    chunks = [
        score_rows(flat[place[i : i + step]], target[i : i + step], codebook[i : i + step], vocabulary)
        for i in range(0, len(place), step)
    ]
    full, legal = (torch.cat(parts).cpu().numpy() for parts in zip(*chunks, strict=True))
    ends = np.cumsum(lengths)[:-1]
    return [LogProbs(f, g) for f, g in zip(np.split(full, ends), np.split(legal, ends), strict=True)]
