"""Small pictures of sound: a log-mel spectrogram as a grey PNG, dark where it is loud.

Conventions
-----------
- 64 mel bands (HTK scale) up to half the rate, Hann windows of 25 ms, dB relative to the loudest cell, 60 dB shown:
  white is 60 dB or more below the loudest, black the loudest. Low frequencies are at the bottom.
- Pictures have at most 240 columns: louder cells win where several fall into one.
"""

from __future__ import annotations

import base64
import struct
import zlib

import numpy as np
from numpy.typing import NDArray

from spokeneval.audio import Waveform

N_MELS, N_COLUMNS, RANGE_DB = 64, 240, 60.0
_WINDOW_S, _FLOOR = 0.025, 1e-10


def log_mel(waveform: Waveform, sample_rate: int) -> NDArray[np.float64]:
    """(N_MELS, n_columns) dB relative to the loudest cell, in [-RANGE_DB, 0]; no columns where there is no sound."""
    from transformers.audio_utils import mel_filter_bank, spectrogram, window_function

    frame = max(16, round(_WINDOW_S * sample_rate))
    if len(waveform) < frame:
        return np.zeros((N_MELS, 0))
    hop = max(frame // 4, len(waveform) // N_COLUMNS)
    n_fft = 1 << (frame - 1).bit_length()
    filters = mel_filter_bank(n_fft // 2 + 1, N_MELS, 0.0, sample_rate / 2, sample_rate, mel_scale="htk")
    power = spectrogram(
        waveform.astype(np.float64),
        window_function(frame, "hann"),
        frame_length=frame,
        hop_length=hop,
        fft_length=n_fft,
        power=2.0,
        mel_filters=filters,
        mel_floor=_FLOOR,
    )
    decibels = 10 * np.log10(np.maximum(power, _FLOOR))
    shown: NDArray[np.float64] = np.clip(decibels - decibels.max(), -RANGE_DB, 0.0)[:, :N_COLUMNS]
    return shown


def png(grey: NDArray[np.uint8]) -> bytes:
    """(height, width) grey values as a PNG file (ISO/IEC 15948), first row on top."""
    height, width = grey.shape
    rows = np.zeros((height, width + 1), dtype=np.uint8)  # a filter byte, 0, before each row
    rows[:, 1:] = grey

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    body = zlib.compress(rows.tobytes(), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def spectrogram_uri(waveform: Waveform, sample_rate: int) -> str | None:
    """The picture as a data: URI; None where there is no sound to draw."""
    decibels = log_mel(waveform, sample_rate)
    if decibels.shape[1] == 0:
        return None
    # 16 greys: small files, and more than an eye tells apart in a thumbnail
    grey = (255 - 17 * np.round((decibels + RANGE_DB) / RANGE_DB * 15)).astype(np.uint8)
    return "data:image/png;base64," + base64.b64encode(png(grey[::-1])).decode()
