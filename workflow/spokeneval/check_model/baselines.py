"""What counting codes is worth on a few clips: the floor under which a model knows nothing.

Conventions
-----------
- Each clip is predicted from the other clips' counts (leave one out), in nats a code, every codebook on its own.
- Unigram: (count + 1/2) / (total + size / 2). Repeat: with the other clips' share of repeats the code before comes
  again, else another one, by the unigram without it.
- What clips have in common (parts shared within an item) makes the baselines better than they are: they err against
  the model.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from spokeneval.tokenizers.base import Codes, TokenizerInfo

_PRIOR = 0.5
_SHARES = (1e-3, 1 - 1e-3)
"""Repeats are never thought impossible or certain."""

Units = NDArray[np.int32]
_Loss = Callable[[Units, Sequence[Units], int], float]
"""A clip's codes of one codebook, the others', size of the codebook -> sum in nats."""


def uniform(info: TokenizerInfo) -> float:
    """Nats a code where every code of a codebook is as likely."""
    if info.asynchronous:
        return float(np.log(sum(info.codebook_sizes)))
    return float(np.mean(np.log(info.codebook_sizes)))


def unigram(clips: Sequence[Codes], info: TokenizerInfo) -> list[float]:
    """Nats a code of each clip, from the other clips' counts."""
    return _leave_one_out(clips, info, _unigram_loss)


def repeat(clips: Sequence[Codes], info: TokenizerInfo) -> list[float]:
    """Nats a code of each clip, from the other clips' counts and share of repeats."""
    return _leave_one_out(clips, info, _repeat_loss)


def _leave_one_out(clips: Sequence[Codes], info: TokenizerInfo, loss: _Loss) -> list[float]:
    books = [[codes.of_codebook(q).codes[:, 0] for codes in clips] for q in range(info.n_codebooks)]
    found = []
    for i in range(len(clips)):
        sums = [
            loss(units[i], [other for j, other in enumerate(units) if j != i], size)
            for units, size in zip(books, info.codebook_sizes, strict=True)
        ]
        found.append(sum(sums) / sum(len(units[i]) for units in books))
    return found


def _log_unigram(others: Sequence[Units], size: int) -> NDArray[np.float64]:
    counts = np.full(size, _PRIOR)
    for units in others:
        counts += np.bincount(units, minlength=size)
    found: NDArray[np.float64] = np.log(counts / counts.sum())
    return found


def _unigram_loss(units: Units, others: Sequence[Units], size: int) -> float:
    return -float(_log_unigram(others, size)[units].sum())


def _repeat_loss(units: Units, others: Sequence[Units], size: int) -> float:
    if len(units) == 0:
        return 0.0
    log = _log_unigram(others, size)
    repeats = np.concatenate([other[1:] == other[:-1] for other in others] or [np.zeros(0, bool)])
    share = float(np.clip(repeats.mean() if len(repeats) else 0.0, *_SHARES))
    another = np.log1p(-share) + log[units[1:]] - np.log1p(-np.exp(log[units[:-1]]))
    losses = np.where(units[1:] == units[:-1], np.log(share), another)
    return -float(log[units[0]] + losses.sum())
