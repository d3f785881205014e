"""Codebook files and nearest centroids, for tokenizers that quantise vectors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file

from spokeneval.errors import ConfigError


def read_codebook(path: Path, shapes: dict[str, tuple[int, ...]]) -> dict[str, NDArray[np.float32]]:
    """The tensors of a codebook file, as float32.

    shapes: name -> expected shape, -1 for any length. Raises ConfigError naming the file and what it lacks.
    """
    if not path.is_file():
        raise ConfigError(f"{path}: no such codebook; expected a safetensors file with {', '.join(shapes)}")
    try:
        tensors = load_file(path)
    except SafetensorError as error:
        raise ConfigError(
            f"{path}: cannot be read as safetensors ({error}); fetch or fit the codebook again"
        ) from error
    for name, shape in shapes.items():
        if name not in tensors:
            raise ConfigError(f"{path}: expected tensors {', '.join(shapes)}, found {', '.join(sorted(tensors))}")
        found = tensors[name].shape
        if len(found) != len(shape) or any(want not in (-1, got) for want, got in zip(shape, found, strict=True)):
            wanted = ", ".join("any" if n == -1 else str(n) for n in shape)
            raise ConfigError(f"{path}: expected {name} of shape ({wanted}), found {found}")
    return {name: tensors[name].astype(np.float32) for name in shapes}


def nearest(vectors: NDArray[np.float32], centroids: NDArray[np.float32]) -> NDArray[np.int32]:
    """Index of the nearest centroid (Euclidean) of each vector: (n, d), (k, d) -> (n,); the lowest where equally near.

    In float64: then the result does not depend on how many vectors are given at once.
    """
    wide = centroids.astype(np.float64)
    # |x - c|^2 less |x|^2, which does not change the order
    distances = np.square(wide).sum(axis=1) - 2.0 * (vectors.astype(np.float64) @ wide.T)
    indices: NDArray[np.int32] = distances.argmin(axis=1).astype(np.int32)
    return indices
