"""Finding the transition of a pair in its samples.

Conventions
-----------
- Members are integer PCM, `(n_samples,)`; a transition is the first sample after what they share.
- Exact: the first sample that differs. It can lie a few samples after the real cut, where members agree by chance.
- Up to a gain: the members' first quarter is fitted by one gain (least squares), and the shared part ends at the first
  sample whose scaled residual is more than rounding both members to 16 bit explains. Needed where each half of a member
  was scaled to full level by itself: then no sample need be equal.
- A found transition agrees with another one where they are at most 10 ms apart.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Pcm = NDArray[np.int32]

TOLERANCE_S = 0.010

_ROUNDING_STEPS = 2.0
"""16-bit steps that one rounded member may be off; 0.5 by rounding alone, the rest for the error of the fitted gain."""


def first_difference(positive: Pcm, negative: Pcm) -> int | None:
    """The first sample that differs; None where one member is the beginning of the other, or they are equal."""
    shortest = min(len(positive), len(negative))
    different = np.flatnonzero(positive[:shortest] != negative[:shortest])
    return int(different[0]) if len(different) else None


@dataclass(frozen=True)
class GainFit:
    """negative = gain * positive, as far as it goes."""

    gain: float
    explained: float
    """Share of the energy of the negative's first quarter that the scaled positive explains, 0 to 1."""
    departure: int | None
    """First sample where it no longer holds; None where it holds to the end of the shorter member."""


def fit_gain_prefix(positive: Pcm, negative: Pcm, subtype: str) -> GainFit:
    """subtype: 'PCM_16' or 'PCM_24', what the integers are."""
    shortest = min(len(positive), len(negative))
    right, wrong = positive[:shortest].astype(np.float64), negative[:shortest].astype(np.float64)
    head = slice(0, max(1, shortest // 4))
    power, energy = float(right[head] @ right[head]), float(wrong[head] @ wrong[head])
    cross = float(right[head] @ wrong[head])
    gain = cross / power if power > 0 else 1.0
    explained = cross**2 / (power * energy) if power > 0 and energy > 0 else float(power == energy)
    step = 1 if subtype == "PCM_16" else 2**8
    allowed = _ROUNDING_STEPS * step * (1 + abs(gain))
    departed = np.flatnonzero(np.abs(wrong - gain * right) > allowed)
    return GainFit(gain, explained, int(departed[0]) if len(departed) else None)


def gap_label(transition: int, other: int | None, sample_rate: int) -> str:
    """How far another transition (samples) is from the one that is used, in words; None was not found."""
    if other is None:
        return "not found"
    gap = abs(other - transition)
    if gap == 0:
        return "none"
    return f"{'within' if gap <= TOLERANCE_S * sample_rate else 'above'} {1000 * TOLERANCE_S:g} ms"
