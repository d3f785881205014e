"""Where one speaker is in another's rendering of the same text.

Conventions
-----------
- Two recordings of the same words are aligned by dynamic time warping over 20 band energies (dB, 100 to 4000 Hz, the
  mean of each band taken out so that voice and microphone weigh less), 10 ms a frame, steps (1,1), (1,0), (0,1).
- It finds a word gap well enough to cut there; it is no phonetic alignment.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from spokeneval.audio import Waveform
from spokeneval.datasets.splicing import Float

_FRAME_S = 0.010
_N_BANDS = 20
_RANGE_HZ = (100.0, 4000.0)
_FLOOR_DB = 50.0


def band_energies(waveform: Waveform, sample_rate: int) -> Float:
    """(n_frames, 20) dB; frame i begins at sample i * 0.01 s and lasts 25 ms."""
    hop, width = round(_FRAME_S * sample_rate), round(0.025 * sample_rate)
    padded = np.pad(np.asarray(waveform, np.float64), (0, width))
    frames = np.lib.stride_tricks.sliding_window_view(padded, width)[::hop][: max(1, len(waveform) // hop)]
    power = np.abs(np.fft.rfft(frames * np.hanning(width), axis=1)) ** 2
    top = min(_RANGE_HZ[1], sample_rate / 2)
    edges = np.geomspace(_RANGE_HZ[0], top, _N_BANDS + 1) / sample_rate * width
    bins = np.arange(power.shape[1])
    bands = np.stack(
        [
            power[:, (bins >= np.floor(a)) & (bins < max(np.ceil(b), np.floor(a) + 1))].sum(axis=1)
            for a, b in pairwise(edges)
        ],
        axis=1,
    )
    level = 10 * np.log10(np.maximum(bands, 1e-12))
    level = np.maximum(level, level.max() - _FLOOR_DB)
    centred: Float = level - level.mean(axis=0)
    return centred


def aligned_sample(source: Waveform, sample: int, target: Waveform, sample_rate: int) -> int:
    """The sample of `target` that corresponds to a sample of `source`; both say the same words."""
    one, two = band_energies(source, sample_rate), band_energies(target, sample_rate)
    distance = np.sqrt(np.maximum((one**2).sum(1)[:, None] + (two**2).sum(1)[None] - 2 * one @ two.T, 0))
    n, m = distance.shape
    total = np.full((n + 1, m + 1), np.inf)
    total[0, 0] = 0
    for i in range(1, n + 1):
        above = np.minimum(total[i - 1, 1:], total[i - 1, :-1]) + distance[i - 1]
        # total[i, j] = min(above[j], total[i, j-1] + distance[j]), as a running minimum over sums from the left
        sums = np.cumsum(distance[i - 1])
        total[i, 1:] = np.minimum.accumulate(above - sums) + sums
    wanted = min(n, 1 + round(sample / sample_rate / _FRAME_S))
    i, j = n, m
    while i > wanted and j > 1:
        steps = ((i - 1, j - 1), (i - 1, j), (i, j - 1))
        i, j = min(steps, key=lambda step: float(total[step]))
    return min(len(target) - 1, int((j - 1) * _FRAME_S * sample_rate))
