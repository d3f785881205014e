"""What every judge provides.

Conventions
-----------
- An embedding judge turns waveforms into vectors that are compared by cosine, in float32. A naturalness judge gives a
  number on its own scale, reported beside consistency and never mixed into it.
- A judge listens to each waveform alone: the result does not depend on what else is in the list.
- The crop is the judge's own and declared: `crop_s` seconds from the beginning, or all where it is None.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class EmbeddingJudge(Protocol):
    sample_rate: int
    """Hz of the waveforms it takes."""
    attribute: str
    """What it hears: speaker, scene, emotion, room, level ..."""
    dimension: int

    def embed(self, waveforms: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
        """(n, dimension) float32 embeddings of mono waveforms at `sample_rate`, each (n_samples,).

        Raises ItemError for a waveform that it cannot take (silent, too short), naming why; call it with one
        waveform at a time to know which.
        """
        ...


class NaturalnessJudge(Protocol):
    sample_rate: int
    attribute: str
    """'naturalness'"""
    scale: tuple[float, float]
    """Lowest and highest value of the scale; higher is better."""

    def score(self, waveforms: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
        """(n,) float32 scores."""
        ...
