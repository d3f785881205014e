"""Tiny benchmarks in the layouts of published ones: what tests of their dataset kinds read. Seeded noise, 16 kHz."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import soundfile as sf
from numpy.typing import NDArray

RATE = 16000
AUDIO = pa.struct([("bytes", pa.binary()), ("path", pa.string())])

Samples = NDArray[np.int16]


def noise(n_samples: int, seed: int, level: int = 3000) -> Samples:
    """(n_samples,) no sample is 0, so that a first difference is where it was put."""
    drawn = np.random.default_rng(seed).integers(1, level, n_samples)
    return (drawn * np.random.default_rng(seed + 10_000).choice([-1, 1], n_samples)).astype(np.int16)


def spliced(seed: int, cut: int, n_positive: int = 4000, n_negative: int = 3600) -> tuple[Samples, Samples]:
    """A pair that is equal up to `cut` and differs at it."""
    positive, other = noise(n_positive, seed), noise(n_negative, seed + 1000)
    negative = np.r_[positive[:cut], other[cut:]]
    negative[cut] = -positive[cut]
    return positive, negative


def rooms(seed: int, gain: float = 0.64, n_samples: int = 4000) -> tuple[Samples, Samples]:
    """A pair that is equal up to half of it but for a gain and rounding, as where each half was scaled by itself."""
    positive, other = noise(n_samples, seed), noise(n_samples, seed + 1000)
    negative = np.rint(gain * positive).astype(np.int16)
    negative[n_samples // 2 :] = other[n_samples // 2 :]
    negative[n_samples // 2] = -positive[n_samples // 2]
    return positive, negative


def write_wav(path: Path, samples: Samples, rate: int = RATE) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    sf.write(path, samples, rate, subtype="PCM_16")


def wav_bytes(samples: Samples, rate: int = RATE) -> bytes:
    buffer = io.BytesIO()
    sf.write(buffer, samples, rate, format="WAV", subtype="PCM_16")
    return buffer.getvalue()


def audio(samples: Samples, path: str | None = None, rate: int = RATE) -> dict[str, Any]:
    return {"bytes": wav_bytes(samples, rate), "path": path}


def write_parquet(path: Path, rows: Sequence[dict[str, Any]], row_group_size: int = 8) -> Path:
    """Rows as the hub stores them; every dictionary is an audio struct."""
    path.parent.mkdir(parents=True, exist_ok=True)
    columns = {}
    for name in rows[0]:
        values = [row[name] for row in rows]
        is_audio = any(isinstance(value, dict) for value in values)
        columns[name] = pa.array(values, type=AUDIO if is_audio else None)
    pq.write_table(pa.table(columns), path, row_group_size=row_group_size)
    return path


def write_with_datasets(path: Path, rows: Sequence[dict[str, Any]], audio_columns: Sequence[str]) -> Path:
    """The same as the `datasets` package writes it, with its Audio feature."""
    import datasets

    path.parent.mkdir(parents=True, exist_ok=True)
    datasets.disable_progress_bars()
    table = datasets.Dataset.from_list(list(rows))
    features = table.features.copy()
    for name in audio_columns:
        features[name] = datasets.Audio(sampling_rate=RATE)
    table.cast(features).to_parquet(path)
    return path
