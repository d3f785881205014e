"""Reading, converting and storing audio.

Conventions
-----------
- Waveforms are float32, mono, `(n_samples,)`, nominally in [-1, 1]. Channels are averaged.
- A clip is stored as FLAC at its native rate: 16 bit where the source is PCM16, 24 bit otherwise. Where a source
  exceeds the range it is scaled down, and the gain is recorded: nothing is clipped.
- A clip's identity is the sha256 of its integer PCM samples (little-endian int32, after the conversion) and its rate:
  it does not depend on the encoder of the FLAC bytes.
- Each tokenizer or judge resamples once, from the native rate, with soxr at quality VHQ, or at HQ where a tokenizer
  says so: librosa's `soxr_hq`, the zero that librosa may add at the end included.
"""

from __future__ import annotations

import hashlib
import io
import math
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np
import soundfile as sf
import soxr
from numpy.typing import NDArray

from spokeneval.errors import ItemError

Waveform = NDArray[np.float32]
Resampler = Literal["soxr_vhq", "soxr_hq"]
"""Quality at which soxr converts rates."""

_SCALE = {"PCM_16": 2**15, "PCM_24": 2**23}


@dataclass(frozen=True)
class Clip:
    """A stored clip: integer PCM at a rate, its FLAC bytes and its identity."""

    clip_id: str
    sample_rate: int
    n_samples: int
    flac: bytes
    subtype: str
    gain: float
    note: str


@dataclass(frozen=True)
class Recording:
    """Audio as read from a file."""

    waveform: Waveform
    """(n_samples,) mono"""
    sample_rate: int
    subtype: str
    """'PCM_16' where the file holds 16-bit samples or lossy audio, else 'PCM_24'."""
    note: str
    """What was converted on the way; empty where nothing was."""


def read_recording(source: Path | BinaryIO | bytes, name: str | None = None) -> Recording:
    """Read any file that libsndfile knows, channels averaged.

    Raises ItemError naming the file where it cannot be read, is empty, or holds NaN or infinite samples.
    """
    label = name or (str(source) if isinstance(source, Path) else "audio")
    if isinstance(source, Path) and not source.is_file():
        raise ItemError(f"{label}: no such audio file")
    handle = io.BytesIO(source) if isinstance(source, bytes) else source
    try:
        with sf.SoundFile(handle) as file:
            rate, channels, subtype = int(file.samplerate), int(file.channels), str(file.subtype)
            samples = file.read(dtype="float32", always_2d=True)
    except (sf.LibsndfileError, OSError) as error:
        size = source.stat().st_size if isinstance(source, Path) else None
        what = "the file is empty (0 bytes)" if size == 0 else f"cannot be read as audio ({_plain(error)})"
        raise ItemError(f"{label}: {what}; expected WAV, FLAC, OGG or MP3") from error
    if len(samples) == 0:
        raise ItemError(f"{label}: holds no samples; expected audio")
    if not np.isfinite(samples).all():
        raise ItemError(f"{label}: holds {int((~np.isfinite(samples)).sum())} NaN or infinite samples")
    note = "" if channels == 1 else f"{channels} channels averaged"
    depth = "PCM_16" if subtype in {"PCM_16", "PCM_S8", "PCM_U8", "ULAW", "ALAW"} or "MPEG" in subtype else "PCM_24"
    if channels > 1:
        depth = "PCM_24"
    return Recording(samples.mean(axis=1), rate, depth, note)


def _plain(error: Exception) -> str:
    text = str(error).strip().rstrip(".")
    return text.split(":")[-1].strip() or type(error).__name__


def resample(waveform: Waveform, from_rate: int, to_rate: int, resampler: Resampler = "soxr_vhq") -> Waveform:
    """Resample (n_samples,) with soxr; the same array where the rates are equal."""
    if from_rate == to_rate:
        return waveform
    quality = resampler.removeprefix("soxr_").upper()
    converted: Waveform = soxr.resample(waveform, from_rate, to_rate, quality=quality).astype(np.float32, copy=False)
    if resampler == "soxr_hq":
        # librosa's length, which may be one more: it is taken from a product of floats.
        n_samples = math.ceil(len(waveform) * (float(to_rate) / from_rate))
        converted = np.pad(converted[:n_samples], (0, max(0, n_samples - len(converted))))
    return converted


def rms(waveform: Waveform) -> float:
    """Root mean square, linear; 0.0 for silence or no samples."""
    return float(np.sqrt(np.mean(np.square(waveform, dtype=np.float64)))) if len(waveform) else 0.0


def to_pcm(waveform: Waveform, subtype: str) -> NDArray[np.int32]:
    """Round float samples to integer PCM; raises ValueError where one exceeds the range (scale before)."""
    scale = _SCALE[subtype]
    scaled = np.rint(waveform.astype(np.float64) * scale)
    if len(scaled) and (scaled.max() > scale - 1 or scaled.min() < -scale):
        raise ValueError(f"samples up to {np.abs(waveform).max():.3f} do not fit {subtype}: scale them first")
    return scaled.astype(np.int32)


def pcm_digest(pcm: NDArray[np.int32], subtype: str, sample_rate: int) -> str:
    """clip_id: sha256 of PCM and rate. 16- and 24-bit clips of equal samples are equal: PCM is taken at 24 bit."""
    at_24_bit = pcm * (2**8) if subtype == "PCM_16" else pcm
    return hashlib.sha256(at_24_bit.astype("<i4").tobytes() + f"@{sample_rate}".encode()).hexdigest()


def fit_gain(waveform: Waveform, subtype: str) -> float:
    """The factor (<= 1, a float32) that brings a waveform into the PCM range; 1.0 where it fits."""
    peak = np.float32(np.abs(waveform).max()) if len(waveform) else np.float32(0.0)
    top = np.float32((_SCALE[subtype] - 1) / _SCALE[subtype])
    if peak <= top:
        return 1.0
    gain = np.float32(top / peak)
    while peak * gain > top:  # the product is rounded, too: at 24 bit it may come out one step above the range
        gain = np.nextafter(gain, np.float32(0.0))
    return float(gain)


def make_clip(waveform: Waveform, sample_rate: int, subtype: str = "PCM_16", note: str = "") -> Clip:
    """Store a waveform as a clip; scaled down (gain recorded) where it exceeds the range."""
    gain = fit_gain(waveform, subtype)
    return clip_from_pcm(to_pcm(waveform * np.float32(gain), subtype), sample_rate, subtype, gain, note)


def clip_from_pcm(
    pcm: NDArray[np.int32], sample_rate: int, subtype: str = "PCM_16", gain: float = 1.0, note: str = ""
) -> Clip:
    """Store integer PCM as a clip. Slices of one PCM array share their samples exactly."""
    buffer = io.BytesIO()
    stored = pcm.astype(np.int16) if subtype == "PCM_16" else (pcm * 2**8).astype(np.int32)
    sf.write(buffer, stored, sample_rate, format="FLAC", subtype=subtype)
    return Clip(
        pcm_digest(pcm, subtype, sample_rate),
        sample_rate,
        len(pcm),
        buffer.getvalue(),
        subtype,
        float(gain),
        note,
    )


def decode_flac(flac: bytes) -> tuple[Waveform, int]:
    """FLAC bytes to (waveform, rate). The bytes are our own, so a failure is an error and not an item's."""
    samples, rate = sf.read(io.BytesIO(flac), dtype="float32")
    return samples, int(rate)


def load_at(flac: bytes, to_rate: int, resampler: Resampler = "soxr_vhq") -> Waveform:
    """FLAC bytes to a waveform at another rate, resampled once."""
    waveform, rate = decode_flac(flac)
    return resample(waveform, rate, to_rate, resampler)
