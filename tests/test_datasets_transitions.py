"""Finding the transition of a pair in its samples, by hand."""

from __future__ import annotations

import numpy as np
import pytest
from benchmark_layouts import RATE, noise, rooms

from spokeneval.datasets.transitions import first_difference, fit_gain_prefix, gap_label


def pcm(*samples: int) -> np.ndarray:
    return np.array(samples, np.int32)


@pytest.mark.parametrize(
    ("positive", "negative", "found"),
    [
        (pcm(1, 2, 3), pcm(1, 2, 4), 2),
        (pcm(1, 2, 3), pcm(9, 2, 3), 0),
        (pcm(1, 2, 3), pcm(1, 2, 3), None),
        (pcm(1, 2, 3), pcm(1, 2), None),
        (pcm(1, 5, 3), pcm(1, 2), 1),
    ],
)
def test_the_first_difference(positive: np.ndarray, negative: np.ndarray, found: int | None) -> None:
    assert first_difference(positive, negative) == found


@pytest.mark.parametrize("gain", [0.3, 1.0, 1.56, -0.5])
def test_a_gain_is_fitted_and_its_end_found(gain: float) -> None:
    positive, negative = (samples.astype(np.int32) for samples in rooms(1, gain))
    fit = fit_gain_prefix(positive, negative, "PCM_16")
    assert fit.gain == pytest.approx(gain, abs=1e-3)
    assert fit.explained > 0.999
    assert fit.departure == 2000


def test_rounding_alone_is_no_departure() -> None:
    positive = noise(20_000, 5).astype(np.int32)
    negative = np.rint(0.777 * positive).astype(np.int32)
    assert fit_gain_prefix(positive, negative, "PCM_16").departure is None
    assert fit_gain_prefix(positive * 256, negative * 256, "PCM_24").departure is None


def test_a_departure_of_a_few_steps_is_found() -> None:
    positive = noise(4000, 5).astype(np.int32)
    negative = positive.copy()
    negative[3000] += 5  # more than 2 * (1 + 1) steps
    negative[2000] += 3  # less
    assert fit_gain_prefix(positive, negative, "PCM_16").departure == 3000


def test_other_recordings_explain_nothing() -> None:
    fit = fit_gain_prefix(noise(4000, 1).astype(np.int32), noise(4000, 2).astype(np.int32), "PCM_16")
    assert fit.explained < 0.01
    assert fit.departure is not None
    assert fit.departure < 10


@pytest.mark.parametrize(("left", "right", "explained"), [(0, 0, 1.0), (0, 5, 0.0), (5, 0, 0.0)])
def test_silence_is_explained_by_silence_only(left: int, right: int, explained: float) -> None:
    positive, negative = np.full(100, left, np.int32), np.full(100, right, np.int32)
    assert fit_gain_prefix(positive, negative, "PCM_16").explained == explained


@pytest.mark.parametrize(
    ("other", "label"),
    [(1000, "none"), (1160, "within 10 ms"), (840, "within 10 ms"), (1161, "above 10 ms"), (None, "not found")],
)
def test_the_gap_between_two_transitions_in_words(other: int | None, label: str) -> None:
    assert gap_label(1000, other, RATE) == label
