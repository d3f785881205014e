"""Speech in noise at a signal-to-noise ratio.

Conventions
-----------
- SNR in dB is 10 log10 of the energy of the speech over that of the noise, both as they are in the mixture, over the
  samples **after the transition**: there it is what was asked for, in both members of an item.
- Gains as SALMon's (arXiv 2409.07437): g^2 = 10^(-snr/10) Es/En; speech gets 1/sqrt(1+g^2), noise g/sqrt(1+g^2).
  The noise is first brought to the speech's energy (Es = En), so that speech and mixture have the same gain whatever
  the noise.
- One gain for a noise from the beginning of a clip to its end: it does not step at the transition.
- A noise shorter than a clip is looped, with a short cross-fade at the seam; the offset is drawn.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from spokeneval.audio import Waveform
from spokeneval.datasets.splicing import Float, energy, fade_in
from spokeneval.errors import ItemError

SNR_BANDS_DB: tuple[tuple[float, float], ...] = ((0.01, 0.02), (0.1, 0.2), (1.0, 2.0), (5.0, 10.0))
"""The bands of SALMon, from which an item's SNR is drawn uniformly."""

_OFFSETS_TRIED = 16
_EVEN_DB = 3.0


class Gains(NamedTuple):
    speech: float
    noise: float


def snr_gains(speech_energy: float, noise_energy: float, snr_db: float) -> Gains:
    """SALMon's gains of speech and noise. Raises ItemError where either has no energy."""
    if speech_energy <= 0 or noise_energy <= 0:
        raise ItemError(f"no SNR can be set: the {'speech' if speech_energy <= 0 else 'noise'} is digital silence")
    g = float(np.sqrt(10 ** (-snr_db / 10) * speech_energy / noise_energy))
    return Gains(1 / float(np.sqrt(1 + g * g)), g / float(np.sqrt(1 + g * g)))


def looped(noise: Waveform, offset: int, n_samples: int, n_fade: int) -> Float:
    """(n_samples,) of an endless loop of the noise, from an offset on.

    At the seam the last n_fade samples of the noise fade into its first ones, so a round is n_fade samples shorter than
    the noise (which is not faded where it is shorter than 4 n_fade: then it is repeated as it is).
    """
    once = np.array(noise, np.float64)
    if 4 * n_fade <= len(once) and n_fade > 0:
        gains = fade_in(n_fade)
        seam = once[-n_fade:] * (1 - gains) + once[:n_fade] * gains
        once = np.concatenate([seam, once[n_fade:-n_fade]])
    return once[np.arange(offset, offset + n_samples) % len(once)]


def loop_length(n_noise: int, n_fade: int) -> int:
    """Samples of one round of a loop."""
    return n_noise - n_fade if 4 * n_fade <= n_noise else n_noise


def draw_segment(
    noise: Waveform, n_samples: int, transition: int, n_fade: int, rng: np.random.Generator
) -> tuple[Float, int, float]:
    """A stretch of noise, its offset, and how much louder (dB) it is after the transition than before it.

    Of up to 16 offsets the first with less than 3 dB between the two parts is taken, else the most even one.
    Raises ItemError where all have a part without any sound.
    """
    best: tuple[Float, int, float] | None = None
    for _ in range(_OFFSETS_TRIED):
        offset = int(rng.integers(len(noise)))
        segment = looped(noise, offset, n_samples, n_fade)
        before = energy(segment[:transition]) / transition
        after = energy(segment[transition:]) / (n_samples - transition)
        if min(before, after) <= 0:
            continue
        step_db = 10 * float(np.log10(after / before))
        if best is None or abs(step_db) < abs(best[2]):
            best = segment, offset, step_db
        if abs(step_db) < _EVEN_DB:
            break
    if best is None:
        raise ItemError("the noise is silent for longer than half of the clip, wherever it starts")
    return best


def draw_unused(
    noise: Waveform, used_from: int, n_used: int, n_samples: int, n_fade: int, rng: np.random.Generator
) -> tuple[Float, int, int]:
    """Another stretch of a looped noise, its offset, and how many samples of it are in the stretch that is used.

    used_from, n_used: offset and length of the used stretch. Of a noise that is long enough none is shared, and the
    offset is drawn; else what follows the used stretch is taken: it comes to its beginning first.
    Raises ItemError where there is no sound in it.
    """
    n_round = loop_length(len(noise), n_fade)
    n_free = max(0, n_round - n_used)
    n_shared = max(0, n_samples - n_free)
    for _ in range(_OFFSETS_TRIED):
        ahead = 0 if n_shared else int(rng.integers(n_free - n_samples + 1))
        offset = (used_from + n_used + ahead) % n_round
        segment = looped(noise, offset, n_samples, n_fade)
        if energy(segment) > 0:
            return segment, offset, n_shared
    raise ItemError("no other stretch of the noise has any sound")
