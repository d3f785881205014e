"""Does a continuation loop, or repeat its prompt verbatim?

Conventions
-----------
- Flags: `loops`, the continuation holds a stretch of REPEATED_S twice, without overlap, or stands still; and
  `repeats_prompt`, it holds a stretch of REPEATED_S of its prompt. Neither says that it is bad: both say where a score
  may come from without skill.
- Two measures. Where there are codes, on codes (`flags_of_codes`): stretches are equal where all codebooks of all their
  frames are. Where there is sound alone, on the waveform (`flags_of_sound`). They are never mixed: a model is flagged
  by one of them.
- Codes. A stretch is as many frames as cover REPEATED_S (at least MIN_DIFFERENT), and counts where MIN_DIFFERENT or
  more of its frames differ from one another, because equal pauses are no repetition. What is steadier than that for
  STEADY_S (one frame held, two or three in turn: silence, a hum) stands still, which is a loop for a listener.
  De-duplicated units last as long as the prompt's do on average.
- Waveform, at 16 kHz. Windows of REPEATED_S every HOP_S of the continuation are held against the prompt and against the
  continuation itself at every lag without overlap: they repeat where the normalised cross-correlation (absolute value,
  so neither gain nor polarity counts) reaches SAME. A repeated stretch of REPEATED_S + HOP_S holds a whole window and
  is found, wherever it lies, at another gain, and in noise of 20 dB SNR.
- Only windows within LOUD_DB of the level of the whole continuation count, so that what is heard in pauses (a hum, a
  drum loop below the speech) is none. A background that repeats exactly and is as loud as the speech, or stands alone,
  is one: it loops, and where the prompt has the same, it repeats the prompt.
- Measured on the demo's recordings of people, cut in half (the first half as the prompt): on the waveform, none of
  1,168 of 3 s or more was flagged; the largest correlation was 0.71 with itself and 0.76 with its other half. On codes
  of `mel_rvq` and of `whisper_kmeans`, none of 300. So at most 0.3 % and 1 % of real speech is flagged (95 %).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.fft import irfft, next_fast_len, rfft

from spokeneval.audio import Waveform, resample, rms
from spokeneval.tokenizers.base import Codes, TokenizerInfo

LOOPS, REPEATS_PROMPT = "loops", "repeats_prompt"

REPEATED_S = 0.5
"""Shortest stretch that is said twice."""
MIN_DIFFERENT = 4
"""Different frames in a stretch that says something."""
STEADY_S = 1.5
"""Shortest stretch that stands still."""

RATE = 16000
HOP_S = 0.125
SAME = 0.9
"""Normalised cross-correlation of two windows that are the same; noise of 20 dB SNR on one of them leaves 0.995."""
LOUD_DB = -6.0
FLOOR_RMS = 1e-4
"""A window below this level is silent and equal to nothing."""
_AT_ONCE = 16
"""Windows that are transformed at once."""

Ids = NDArray[np.int64]


def flags_of_codes(prompt: Codes, new: Codes, tokenizer: TokenizerInfo) -> list[str]:
    """The flags of a continuation by its codes, in alphabetical order; empty where nothing repeats.

    prompt, new: steps of (n_codebooks,) codes of the same tokenizer.
    """
    n_new = len(new.codes)
    if n_new == 0:
        return []
    both = np.concatenate([prompt.codes, new.codes])
    ids = np.unique(both, axis=0, return_inverse=True)[1].reshape(-1).astype(np.int64)
    said, heard = ids[len(prompt.codes) :], ids[: len(prompt.codes)]
    steps_per_s = tokenizer.frame_rate
    if prompt.durations is not None and prompt.n_frames:
        steps_per_s *= len(prompt.codes) / prompt.n_frames
    n, n_steady = (
        max(least, math.ceil(seconds * steps_per_s - 1e-9))
        for seconds, least in ((REPEATED_S, MIN_DIFFERENT), (STEADY_S, 3 * MIN_DIFFERENT))
    )
    found = []
    if _stands_still(said, n_steady) or _said_twice(said, n):
        found.append(LOOPS)
    if len(said) >= n and len(heard) >= n and not _stretches(said, n).keys().isdisjoint(_stretches(heard, n)):
        found.append(REPEATS_PROMPT)
    return found


def _stretches(ids: Ids, n: int) -> dict[bytes, list[int]]:
    """Every stretch of n that says something -> where it begins."""
    found: dict[bytes, list[int]] = {}
    for start in range(len(ids) - n + 1):
        stretch = ids[start : start + n]
        if len(np.unique(stretch)) >= MIN_DIFFERENT:
            found.setdefault(stretch.tobytes(), []).append(start)
    return found


def _said_twice(ids: Ids, n: int) -> bool:
    return any(starts[-1] - starts[0] >= n for starts in _stretches(ids, n).values())


def _stands_still(ids: Ids, n: int) -> bool:
    return any(len(np.unique(ids[i : i + n])) < MIN_DIFFERENT for i in range(len(ids) - n + 1))


def flags_of_sound(
    waveform: Waveform, sample_rate: int, prompt: Waveform | None = None, prompt_rate: int | None = None
) -> list[str]:
    """The flags of a continuation by its sound, in alphabetical order; empty where nothing repeats.

    waveform: (n_samples,) at sample_rate. prompt: (n_samples,) at prompt_rate; None where it is not here: `loops` alone
    is looked for.
    """
    said = _at_rate(waveform, sample_rate)
    windows, starts = _loud_windows(said)
    found = []
    if len(windows) and _largest(windows, said, starts) >= SAME:
        found.append(LOOPS)
    if prompt is not None and prompt_rate is not None and len(windows):
        heard = _at_rate(prompt, prompt_rate)
        if _largest(windows, heard, None) >= SAME:
            found.append(REPEATS_PROMPT)
    return found


def _at_rate(waveform: Waveform, sample_rate: int) -> Waveform:
    """At RATE, without a constant offset."""
    found = resample(waveform.astype(np.float32), sample_rate, RATE)
    return found - found.mean() if len(found) else found


def _loud_windows(waveform: Waveform) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """(n, REPEATED_S) windows that are loud enough to count, each of mean square 1, and where they begin."""
    n = round(REPEATED_S * RATE)
    starts = np.arange(0, max(0, len(waveform) - n + 1), round(HOP_S * RATE))
    least = max(FLOOR_RMS, rms(waveform) * 10 ** (LOUD_DB / 20))
    starts = np.array([start for start in starts if rms(waveform[start : start + n]) >= least], np.int64)
    windows = np.stack([waveform[start : start + n] for start in starts]) if len(starts) else np.zeros((0, n))
    norms = np.sqrt(np.mean(np.square(windows, dtype=np.float64), axis=1, keepdims=True))
    return (windows / norms).astype(np.float32), starts


def _largest(windows: NDArray[np.float32], waveform: Waveform, starts: NDArray[np.int64] | None) -> float:
    """The largest |normalised cross-correlation| of any window with any stretch of a waveform.

    starts: where each window lies in the waveform itself; stretches that overlap it are left out. None: another's.
    """
    n = windows.shape[1]
    n_lags = len(waveform) - n + 1
    if n_lags < 1:
        return 0.0
    size = next_fast_len(len(waveform) + n - 1, real=True)
    spectrum = rfft(waveform.astype(np.float32), size)
    energy = np.concatenate([[0.0], np.cumsum(np.square(waveform, dtype=np.float64))])
    level = np.sqrt(np.maximum(energy[n:] - energy[:-n], 0) / n)
    level[level < FLOOR_RMS] = np.inf
    largest = 0.0
    for first in range(0, len(windows), _AT_ONCE):
        part = windows[first : first + _AT_ONCE]
        products = irfft(spectrum * rfft(part, size).conj(), size)[:, :n_lags]
        correlation = np.abs(products) / (n * level)
        if starts is not None:
            for row, start in zip(correlation, starts[first : first + _AT_ONCE], strict=True):
                row[max(0, start - n + 1) : start + n] = 0
        largest = max(largest, float(correlation.max()))
    return largest
