"""From stored audio to what a rater hears: one rate, one loudness, 16 bit, nothing in the file that tells its origin.

Conventions
-----------
- All sounds of a test have the highest rate among their sources: none is cut in bandwidth, and the rate tells nothing.
- Prompt and continuation in one sound are joined at their own levels (the join is what is rated), then the whole is
  brought to the loudness.
- What is heard is known by the digest of its PCM (`heard_sha256`); a WAV holds a header and this PCM only.
"""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
import soundfile as sf

from spokeneval.audio import Waveform, decode_flac, pcm_digest, resample, to_pcm
from spokeneval.listening_test.loudness import at_loudness


@dataclass(frozen=True)
class Rendered:
    """What is written for a rater."""

    wav: bytes
    heard_sha256: str
    gain_db: float
    loudness_lufs: float
    held_back: bool
    seconds: float


def render(flac: bytes, sample_rate: int, target_lufs: float, before: bytes | None, pause_s: float) -> Rendered | None:
    """A stored sound as it is heard; None where it has no loudness (shorter than 0.4 s, or silent).

    before: what is heard in front of it in the same sound (the prompt), None for nothing; pause_s: between them.
    """
    waveform = _at(flac, sample_rate)
    if before is not None:
        pause = np.zeros(round(pause_s * sample_rate), dtype=np.float32)
        waveform = np.concatenate([_at(before, sample_rate), pause, waveform])
    loud = at_loudness(waveform, sample_rate, target_lufs)
    if loud is None:
        return None
    pcm = to_pcm(loud.waveform, "PCM_16")
    buffer = io.BytesIO()
    sf.write(buffer, pcm.astype(np.int16), sample_rate, format="WAV", subtype="PCM_16")
    return Rendered(
        buffer.getvalue(),
        pcm_digest(pcm, "PCM_16", sample_rate),
        loud.gain_db,
        loud.loudness_lufs,
        loud.held_back,
        len(pcm) / sample_rate,
    )


def rate_of(flac: bytes) -> int:
    """Sample rate in Hz of stored audio."""
    return int(sf.info(io.BytesIO(flac)).samplerate)


def _at(flac: bytes, sample_rate: int) -> Waveform:
    waveform, rate = decode_flac(flac)
    return resample(waveform, rate, sample_rate)
