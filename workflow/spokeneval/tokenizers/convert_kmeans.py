"""Published k-means to a codebook of `hubert_kmeans`, once, without running anything that the file holds.

    python -m spokeneval.tokenizers.convert_kmeans mhubert_base_25hz_cp_mls_cv_sp_fisher_L11_km500.bin km500.safetensors

Conventions
-----------
- Read are KMeans and MiniBatchKMeans of scikit-learn as joblib or pickle write them (see `sklearn_pickle`), and arrays
  (K, d): .npy, or .pt with one tensor.
- Written is a safetensors file with `centroids` (K, d), float32. Its sha256 is printed.
"""

from __future__ import annotations

import argparse
import hashlib
import pickle
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import save_file

from spokeneval.atomic import atomic_path
from spokeneval.errors import ConfigError, SpokenevalError
from spokeneval.tokenizers.sklearn_pickle import Shell, StoredArray, read_pickle


def read_centroids(path: Path) -> NDArray[np.float32]:
    """(K, d) centroids of a published file. Raises ConfigError where it holds something else, or NaN."""
    if not path.is_file():
        raise ConfigError(f"{path}: no such file; expected a k-means model of scikit-learn, a .npy or a .pt")
    readers = {".npy": _from_npy, ".pt": _from_torch, ".pth": _from_torch}
    centroids = readers.get(path.suffix, _from_sklearn)(path)
    if centroids.ndim != 2 or 0 in centroids.shape or centroids.dtype.kind != "f":
        raise ConfigError(f"{path}: holds {centroids.dtype} of shape {centroids.shape}; expected floats (K, d)")
    if not np.isfinite(centroids).all():
        raise ConfigError(f"{path}: holds {int((~np.isfinite(centroids)).sum())} NaN or infinite numbers")
    return np.ascontiguousarray(centroids, np.float32)


def _from_npy(path: Path) -> NDArray[Any]:
    try:
        array: NDArray[Any] = np.load(path, allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise ConfigError(f"{path}: cannot be read as .npy ({error})") from error
    return array


def _from_torch(path: Path) -> NDArray[Any]:
    try:
        tensor = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        raise ConfigError(f"{path}: cannot be read as tensors ({str(error).splitlines()[0]})") from error
    if not isinstance(tensor, torch.Tensor):
        raise ConfigError(f"{path}: holds a {type(tensor).__name__}; expected one tensor (K, d)")
    return tensor.float().numpy() if tensor.is_floating_point() else tensor.numpy()


def _from_sklearn(path: Path) -> NDArray[Any]:
    found = read_pickle(path)
    if isinstance(found, Shell) and not isinstance(found, StoredArray):
        found = found.state.get("cluster_centers_") if isinstance(found.state, dict) else None
    if not isinstance(found, StoredArray):
        raise ConfigError(f"{path}: holds no `cluster_centers_`; expected a fitted KMeans or MiniBatchKMeans")
    try:
        return found.array()
    except (pickle.UnpicklingError, LookupError, AttributeError, TypeError, ValueError) as error:
        raise ConfigError(f"{path}: cannot be read as a pickle of scikit-learn: {error}") from error


def convert(source: Path, target: Path) -> str:
    """Write the codebook; the line that says what it holds. Raises ConfigError as `read_centroids`."""
    centroids = read_centroids(source)
    with atomic_path(target) as temporary:
        save_file({"centroids": centroids}, temporary)
    digest = hashlib.sha256(target.read_bytes()).hexdigest()
    return f"{target}: {len(centroids)} centroids of size {centroids.shape[1]}, sha256 {digest}"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m spokeneval.tokenizers.convert_kmeans", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("source", type=Path, help="published k-means: joblib or pickle of scikit-learn, .npy, .pt")
    parser.add_argument("target", type=Path, help="codebook to write, .safetensors")
    options = parser.parse_args(arguments)
    try:
        print(convert(options.source, options.target))
    except SpokenevalError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
