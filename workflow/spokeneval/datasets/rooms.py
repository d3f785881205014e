"""Simulated rooms.

Conventions
-----------
- A room is a shoe box with one absorption for all walls, set by Sabine's formula to a reverberation time; its impulse
  response comes from the image source method (pyroomacoustics, order at most 30, no randomness).
- The delay of the direct path is taken out, so that a room does not shift the speech, and the response has unit energy,
  so that a room is not known by its level.
- Speech in a room is 0.2 * (speech * response) + 0.8 * speech, as in SALMon, cut to the length of the speech: the
  reverberation beyond its end is dropped.
- Rooms come in four kinds whose reverberation times differ by about a factor of two from one to the next. Two rooms are
  "clearly different" where the longer reverberation time is at least 2.5 times the shorter.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np
from scipy.signal import fftconvolve

from spokeneval.datasets.splicing import Float, energy

WET = 0.2
CLEARLY_DIFFERENT = 2.5
_MAX_ORDER = 30
_ROOMS_PER_KIND_AND_FOLD = 2

_KINDS: dict[str, tuple[tuple[float, float, float], tuple[float, float]]] = {
    "booth": ((2.0, 1.7, 2.2), (0.12, 0.18)),
    "living-room": ((4.5, 3.6, 2.5), (0.35, 0.45)),
    "classroom": ((9.0, 6.5, 3.2), (0.70, 0.85)),
    "hall": ((19.0, 13.0, 7.0), (1.40, 1.80)),
}
"""kind -> (typical length, width, height in m, range of the reverberation time in s)."""


@dataclass(frozen=True)
class Room:
    name: str
    kind: str
    fold: str
    size_m: tuple[float, float, float]
    rt60_s: float
    """Reverberation time that Sabine's formula was given."""
    speaker_m: tuple[float, float, float]
    microphone_m: tuple[float, float, float]


def draw_rooms(rng: np.random.Generator) -> list[Room]:
    """The rooms of a dataset: two of each kind in each fold, with drawn sizes and positions."""
    rooms = []
    for kind, (size, (shortest, longest)) in _KINDS.items():
        for number in range(2 * _ROOMS_PER_KIND_AND_FOLD):
            length, width, height = (
                float(side * factor) for side, factor in zip(size, rng.uniform(0.9, 1.1, 3), strict=True)
            )
            near, far = rng.uniform(0.2, 0.35, 2), rng.uniform(0.6, 0.8, 2)
            rooms.append(
                Room(
                    f"{kind}-{number + 1}",
                    kind,
                    "ab"[number % 2],
                    (round(length, 2), round(width, 2), round(height, 2)),
                    round(float(rng.uniform(shortest, longest)), 3),
                    (round(length * float(near[0]), 2), round(width * float(near[1]), 2), 1.5),
                    (round(length * float(far[0]), 2), round(width * float(far[1]), 2), 1.3),
                )
            )
    return rooms


def different_pairs(rooms: list[Room], fold: str) -> list[tuple[Room, Room]]:
    """All pairs of rooms of a fold that are clearly different."""
    return [
        (one, two)
        for one, two in combinations([room for room in rooms if room.fold == fold], 2)
        if max(one.rt60_s, two.rt60_s) >= CLEARLY_DIFFERENT * min(one.rt60_s, two.rt60_s)
    ]


def impulse_response(room: Room, sample_rate: int) -> Float:
    """(n_samples,) unit energy; the direct path arrives at sample 0."""
    # Slow to import, and only this function needs it.
    import pyroomacoustics

    absorption, order = pyroomacoustics.inverse_sabine(room.rt60_s, room.size_m)
    box = pyroomacoustics.ShoeBox(
        room.size_m,
        fs=sample_rate,
        materials=pyroomacoustics.Material(absorption),
        max_order=min(order, _MAX_ORDER),
    )
    box.add_source(list(room.speaker_m))
    box.add_microphone(list(room.microphone_m))
    threads = pyroomacoustics.constants.get("num_threads")
    pyroomacoustics.constants.set("num_threads", 1)  # partial sums, and so the samples, depend on their number
    try:
        box.compute_rir()
    finally:
        pyroomacoustics.constants.set("num_threads", threads)
    response = np.asarray(box.rir[0][0], np.float64)
    distance_m = float(np.linalg.norm(np.subtract(room.speaker_m, room.microphone_m)))
    delay_s = distance_m / float(box.c)
    fractional_delay = int(pyroomacoustics.constants.get("frac_delay_length")) // 2
    response = response[round(delay_s * sample_rate) + fractional_delay :]
    unit: Float = response / np.sqrt(energy(response))
    return unit


def reverberate(speech: Float, response: Float) -> Float:
    """(n_samples,) of speech in a room, as long as the speech and in time with it."""
    wet: Float = fftconvolve(speech, response)[: len(speech)]
    mixed: Float = WET * wet + (1 - WET) * speech
    return mixed
