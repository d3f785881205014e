"""Noise for sampling that depends on nothing but its key and the step.

Conventions
-----------
- The generator is Philox (counter-based; Salmon et al., SC 2011), keyed by blake2b(seed, clip_id, sample_index). Step t
  of a continuation uses the numbers t * n_ids .. (t + 1) * n_ids - 1 of its stream, one for each id of the vocabulary,
  so that no other clip, batch or order has any part in it. What else is drawn beside (the end mark) has a stream of its
  own, by its name, and shifts nothing.
- Adding Gumbel noise to logits and taking the largest is a draw from their softmax (Gumbel 1954; "Gumbel-max").
"""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray


class GumbelNoise:
    """Standard Gumbel noise, step by step, for one sample of one clip."""

    def __init__(self, seed: int, clip_id: str, sample_index: int, n_ids: int, stream: str = "") -> None:
        name = f"{stream}{seed}/{sample_index}/{clip_id}".encode()
        key = np.frombuffer(hashlib.blake2b(name, digest_size=16).digest(), dtype="<u8").astype(np.uint64)
        self.n_ids = n_ids
        self._generator = np.random.Philox(key=key)

    def next_step(self) -> NDArray[np.float32]:
        """(n_ids,) the noise of the next step, counted from 0."""
        # Raw bits, and 52 of them, so that the stream is fixed by Philox alone and u is never 0 or 1.
        bits = np.asarray(self._generator.random_raw(self.n_ids), np.uint64) >> np.uint64(12)
        uniform = (bits.astype(np.float64) + 0.5) * 2.0**-52
        return (-np.log(-np.log(uniform))).astype(np.float32)
