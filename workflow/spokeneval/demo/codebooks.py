"""Fits the demo's codebooks: k-means by Lloyd's iterations from seeded starts, on the training scenes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spokeneval.demo.speech import Utterance, waveforms
from spokeneval.tokenizers import ctranslate2, mel
from spokeneval.tokenizers.codebook import nearest
from spokeneval.tokenizers.mel_rvq import stacked_mel
from spokeneval.tokenizers.whisper_kmeans import features

N_STAGES = 3
N_CODES = 256
N_UNITS = 500
N_ITERATIONS = 12
N_FITTED = 60_000
"""Vectors that k-means sees, drawn at random."""


def k_means(vectors: NDArray[np.float32], n_centroids: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """(n, d) -> centroids (n_centroids, d), starting from vectors; an empty cluster keeps its centroid."""
    seen = vectors[rng.permutation(len(vectors))[:N_FITTED]]
    centroids = seen[:n_centroids].astype(np.float64)
    for _ in range(N_ITERATIONS):
        assigned = nearest(seen, centroids.astype(np.float32))
        counts = np.bincount(assigned, minlength=n_centroids)
        order = np.argsort(assigned, kind="stable")
        filled = np.flatnonzero(counts)
        starts = (np.cumsum(counts) - counts)[filled]
        centroids[filled] = np.add.reduceat(seen[order].astype(np.float64), starts) / counts[filled, None]
    return centroids.astype(np.float32)


def fit_mel_rvq(utterances: Sequence[Utterance], seed: int) -> dict[str, NDArray[np.float32]]:
    """`mean` (160,) and `codebooks` (3, 256, 160): each stage is fitted on what the stages before it left."""
    rng = np.random.default_rng(seed)
    vectors = np.concatenate([stacked_mel(w) for w in waveforms(utterances, mel.SAMPLE_RATE)])
    mean = vectors.mean(axis=0, dtype=np.float64).astype(np.float32)
    residual, stages = vectors - mean, []
    for _ in range(N_STAGES):
        stages.append(k_means(residual, N_CODES, rng))
        residual = residual - stages[-1][nearest(residual, stages[-1])]
    return {"mean": mean, "codebooks": np.stack(stages)}


def fit_whisper_kmeans(
    utterances: Sequence[Utterance], encoder_folder: Path, layer: int, seed: int
) -> dict[str, NDArray[np.float32]]:
    """`centroids` (500, size of the encoder): fitted on the output of one layer of the encoder."""
    encoder = ctranslate2.WhisperEncoder(encoder_folder, layer)
    vectors = np.concatenate([features(encoder, w) for w in waveforms(utterances, ctranslate2.SAMPLE_RATE)])
    return {"centroids": k_means(vectors, N_UNITS, np.random.default_rng(seed))}
