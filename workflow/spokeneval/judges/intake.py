"""What a judge does with a waveform before it listens: crop, refuse what cannot be judged, cut into windows."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from spokeneval.errors import ItemError

SILENT_RMS = 1e-5
"""-100 dBFS, below one step of 16-bit audio: nothing to hear."""


def cropped(
    waveform: NDArray[np.float32], sample_rate: int, crop_s: float | None, least_s: float
) -> NDArray[np.float32]:
    """The first `crop_s` seconds of (n_samples,), all where it is None.

    Raises ItemError where the waveform is empty, shorter than `least_s` seconds, not finite or silent after the crop.
    """
    if waveform.ndim != 1:
        raise ValueError(f"a waveform of shape {waveform.shape}; expected (n_samples,)")
    if len(waveform) == 0:
        raise ItemError("empty: no samples to judge")
    heard = waveform if crop_s is None else waveform[: round(crop_s * sample_rate)]
    if len(heard) < round(least_s * sample_rate):
        raise ItemError(f"too short to judge: {len(heard) / sample_rate:.2f} s, at least {least_s:.2f} s are needed")
    if not np.isfinite(heard).all():
        raise ItemError(f"holds {int((~np.isfinite(heard)).sum())} NaN or infinite samples")
    level = float(np.sqrt(np.mean(np.square(heard, dtype=np.float64))))
    if level < SILENT_RMS:
        raise ItemError(f"silent: RMS {level:.1e}, below {SILENT_RMS:.0e}")
    return heard


def windows(frames: NDArray[np.float32], length: int, hop: int) -> NDArray[np.float32]:
    """Cut (n_frames, n_bands) into (n_windows, length, n_bands), so that every frame is in a window.

    Windows start every `hop` frames; where the last one would leave frames out, one more ends at the last frame. Fewer
    frames than one window are filled up with zeros.
    """
    n_frames = len(frames)
    if n_frames < length:
        return np.pad(frames, ((0, length - n_frames), (0, 0)))[None]
    starts = list(range(0, n_frames - length + 1, hop))
    if starts[-1] + length < n_frames:
        starts.append(n_frames - length)
    return np.stack([frames[start : start + length] for start in starts])


def unit_mean(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """The mean of (n_windows, dimension), scaled to unit length. Raises ItemError where it is zero or not finite."""
    mean = vectors.astype(np.float64).mean(axis=0)
    norm = float(np.linalg.norm(mean))
    if not np.isfinite(norm) or norm == 0.0:
        raise ItemError(f"the judge's embedding has the length {norm}: no direction to compare")
    unit: NDArray[np.float32] = (mean / norm).astype(np.float32)
    return unit
