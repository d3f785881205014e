"""Which voices can be told apart.

Conventions
-----------
- For two speakers, each of their screening recordings is compared (cosine) with the centroid of its own speaker's other
  recordings and with the centroid of the other speaker's. Their **separation** is the share that is nearer to its own,
  in [0, 1]; a tie counts one half. Speakers who sound alike to the embedder come near .5.
- Screening recordings are in no item, and the embedder is another one than the judges: pairs are not chosen by what
  judges them.
- A speaker with fewer than three screening recordings cannot be screened, and is paired with nobody.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from spokeneval.audio import Waveform
from spokeneval.errors import ItemError
from spokeneval.judges.base import EmbeddingJudge

MIN_RECORDINGS = 3
MAX_RECORDINGS = 8
MAX_SECONDS = 3.0
"""Heard of each recording, from its beginning; more costs time and changes little."""

Separations = dict[frozenset[str], float]
"""{speaker, other speaker} -> separation."""


def separation(one: NDArray[np.floating], other: NDArray[np.floating]) -> float:
    """Separation of two speakers from embeddings (n, dimension) and (m, dimension), n and m at least 2."""
    nearer = [_nearer_to_own(_unit(one), _unit(other)), _nearer_to_own(_unit(other), _unit(one))]
    return float(np.concatenate(nearer).mean())


def _unit(embeddings: NDArray[np.floating]) -> NDArray[np.float64]:
    values = np.asarray(embeddings, np.float64)
    unit: NDArray[np.float64] = values / np.linalg.norm(values, axis=1, keepdims=True)
    return unit


def _nearer_to_own(own: NDArray[np.float64], other: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n,) 1 where a row of `own` is nearer to the centroid of the other rows than to `other`'s, 0.5 for a tie."""
    left_out = own.sum(axis=0) - own
    to_own = (own * left_out).sum(axis=1) / np.linalg.norm(left_out, axis=1)
    centroid = other.sum(axis=0)
    to_other = own @ centroid / np.linalg.norm(centroid)
    # Equal up to rounding is a tie: two copies of one voice are not told apart by the last bit.
    verdict: NDArray[np.float64] = np.where(np.isclose(to_own, to_other, rtol=0, atol=1e-9), 0.5, to_own > to_other)
    return verdict


def screen_voices(judge: EmbeddingJudge, voices: Mapping[str, Iterable[Waveform]]) -> Separations:
    """Separation of all pairs of speakers that can be screened.

    voices: speaker -> waveforms at judge.sample_rate. A waveform that the judge cannot take is passed over: it is in no
    item, and its speaker is left out where fewer than three remain.
    """
    embedded: dict[str, NDArray[np.float32]] = {}
    for speaker, waveforms in voices.items():
        rows = [row for waveform in waveforms for row in _embed(judge, [waveform])]
        if len(rows) >= MIN_RECORDINGS:
            embedded[speaker] = np.stack(rows)
    return {
        frozenset((one, two)): separation(embedded[one], embedded[two])
        for one, two in combinations(sorted(embedded), 2)
    }


def _embed(judge: EmbeddingJudge, waveforms: Sequence[Waveform]) -> list[NDArray[np.float32]]:
    try:
        return list(judge.embed([waveform[: round(MAX_SECONDS * judge.sample_rate)] for waveform in waveforms]))
    except ItemError:
        return []
