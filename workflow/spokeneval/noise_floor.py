"""Noise like that behind the speech of a prompt, for datasets that do not know their noise.

Conventions
-----------
- Estimated from the prompt alone, as a model would have to: nothing of either continuation enters. Baseline: it keeps
  the background and says nothing. Waveforms are float32, mono; the noise may exceed [-1, 1], as `make_clip` expects.
- Noise floor: power per frequency in frames of 32 ms (Hann, every 8 ms), averaged over 5 frames (64 ms); of these, per
  frequency, the 10th percentile over the prompt: speech is sparse in time and frequency, and leaves gaps. This is
  minimum statistics (R. Martin, IEEE Trans. Speech Audio Process. 9(5), 2001) with a low percentile in place of the
  minimum (as V. Stahl, A. Fischer and R. Bippus, ICASSP 2000), which depends less on the length.
- Bias: a low percentile lies below the mean. The averaged power of stationary Gaussian noise is about gamma
  distributed, its shape the equivalent number of independent frames (P. D. Welch, IEEE Trans. Audio Electroacoust.
  15(2), 1967); the percentile is divided by that of such a distribution of mean 1 (0.358: 4.5 dB are added).
- The noise has the power of the floor at every frequency (linear between those of the frames) and phases drawn from
  Philox, keyed by a name such as the clip_id: the same name gives the same noise, whatever else is made.
- What it cannot do. Noise that comes and goes (typing, drums, voices) keeps its steady part only: on 50 prompts in
  known noise the level was within 0.5 dB on average for air and hum, 7 to 10 dB low for music and machines, 19 dB for
  typing. Speech in the way makes the floor too high: by 1.5 dB where bursts hide 30 % of the time, 2.5 dB at 50 %,
  8 dB at 70 %. A tone comes out as a band some 60 Hz wide, reverberation is not kept.
"""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray
from scipy.stats import gamma

from spokeneval.audio import Waveform
from spokeneval.errors import ItemError

FRAME_S = 0.032
HOP_S = 0.008
AVERAGED_FRAMES = 5
PERCENTILE = 10.0
SHORTEST_S = 0.25

Floats = NDArray[np.float64]


def noise_floor(prompt: Waveform, sample_rate: int) -> tuple[Floats, Floats]:
    """(n_frequencies,) Hz, and the power at each: its mean over 0 .. Nyquist is the mean square of the noise.

    prompt: (n_samples,) in [-1, 1]. Raises ItemError where it is shorter than 0.25 s, or where a tenth of it or more
    is digital silence, as of gated or synthesised speech: there is no noise to be matched.
    """
    if len(prompt) < SHORTEST_S * sample_rate:
        raise ItemError(
            f"no noise floor: the prompt lasts {len(prompt) / sample_rate:.3f} s; expected {SHORTEST_S} s or more"
        )
    n_frame, hop = round(FRAME_S * sample_rate), max(1, round(HOP_S * sample_rate))
    # Periodic, and without the zero that it would begin with.
    window = np.sin(np.pi * (np.arange(n_frame) + 0.5) / n_frame) ** 2
    frames = np.lib.stride_tricks.sliding_window_view(prompt.astype(np.float64), n_frame)[::hop]
    power = np.square(np.abs(np.fft.rfft(frames * window, axis=1))) / np.sum(window**2)
    averaged = np.lib.stride_tricks.sliding_window_view(power, AVERAGED_FRAMES, axis=0).mean(axis=-1)
    low: Floats = np.percentile(averaged, PERCENTILE, axis=0) / _percentile_of_unit_mean(window, hop)
    if not low.any():
        raise ItemError("no noise floor: a tenth of the prompt or more is digital silence")
    frequencies: Floats = np.fft.rfftfreq(n_frame, 1 / sample_rate).astype(np.float64)
    return frequencies, low


def matched_noise(prompt: Waveform, sample_rate: int, n_samples: int, key: str) -> Waveform:
    """(n_samples,) stationary noise with the spectrum and the level of the prompt's noise floor.

    key: what names the draw of the phases, such as the prompt's clip_id. Raises ItemError as `noise_floor` does.
    """
    if n_samples < 1:
        raise ValueError(f"n_samples {n_samples}: expected at least 1")
    frequencies, floor = noise_floor(prompt, sample_rate)
    n_even = n_samples + n_samples % 2
    power = np.interp(np.fft.rfftfreq(n_even, 1 / sample_rate), frequencies, floor)
    power[0] = 0.0  # no constant offset
    spectrum = np.sqrt(n_even * power) * np.exp(2j * np.pi * _uniform(key, len(power)))
    spectrum[-1] = np.sqrt(n_even * power[-1])  # Nyquist is real
    noise: Waveform = np.fft.irfft(spectrum, n_even)[:n_samples].astype(np.float32)
    return noise


def _percentile_of_unit_mean(window: Floats, hop: int) -> float:
    """What the percentile of the averaged power of stationary noise of mean power 1 is expected to be."""
    shared = [
        (float(window[: len(window) - lag * hop] @ window[lag * hop :]) / float(window @ window)) ** 2
        if lag * hop < len(window)
        else 0.0
        for lag in range(AVERAGED_FRAMES)
    ]
    lags = np.abs(np.subtract.outer(np.arange(AVERAGED_FRAMES), np.arange(AVERAGED_FRAMES)))
    variance = float(np.mean(np.take(shared, lags)))
    return float(gamma.ppf(PERCENTILE / 100, 1 / variance, scale=variance))


def _uniform(key: str, n: int) -> Floats:
    """(n,) in (0, 1) from the raw bits of Philox, so that the numbers are fixed by the key alone."""
    digest = hashlib.blake2b(f"matched_noise/{key}".encode(), digest_size=16).digest()
    generator = np.random.Philox(key=np.frombuffer(digest, dtype="<u8").astype(np.uint64))
    bits = np.asarray(generator.random_raw(n), np.uint64) >> np.uint64(12)
    return (bits.astype(np.float64) + 0.5) * 2.0**-52
