"""What every judge provides.

Conventions
-----------
- An embedding judge turns waveforms into vectors that are compared by cosine, in float32. A naturalness judge gives a
  number on its own scale, reported beside consistency and never mixed into it. A transcriber writes down what is said.
- A judge listens to each waveform alone: the result does not depend on what else is in the list.
- The crop is the judge's own and declared: `crop_s` seconds from the beginning, or all where it is None.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol

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


class Transcriber(Protocol):
    sample_rate: int
    attribute: str
    """'content'"""
    language: str
    """Code of the language that it writes, e.g. 'en'."""

    def transcribe(self, waveforms: Sequence[NDArray[np.float32]]) -> list[str]:
        """(n,) texts as the judge writes them; an empty one where it hears no words. Raises ItemError as `embed`."""
        ...


Judge = EmbeddingJudge | NaturalnessJudge | Transcriber
Answer = Literal["embedding", "naturalness", "transcript"]
"""What a judge answers with: a vector that is compared, a number on its own scale, or a text."""

_METHODS: dict[str, Answer] = {"embed": "embedding", "score": "naturalness", "transcribe": "transcript"}


def answer_of(judge: Judge) -> Answer:
    """What a judge answers with, by the one method that it has."""
    found = [answer for method, answer in _METHODS.items() if hasattr(judge, method)]
    if len(found) != 1:
        raise TypeError(f"{type(judge).__name__} has {len(found)} of the methods {', '.join(_METHODS)}; expected one")
    return found[0]
