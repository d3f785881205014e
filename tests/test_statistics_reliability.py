"""Noise of system means, ceilings, and an interval that covers what it names.

All studies here are simulated: systems with known expected values, items and listeners with known variances.
SPOKENEVAL_SIMULATIONS sets how many studies a coverage is measured on.
"""

from __future__ import annotations

import csv
import math
import os
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from correlation_simulation import Study, coverage, percentile_coverage, simulate

from spokeneval.errors import SpokenevalError
from spokeneval.statistics.noise import centred_trace, item_means, rating_means, reliability, shared_noise
from spokeneval.statistics.reliability import (
    TOO_NOISY,
    expected_correlation,
    krippendorff_alpha,
    split_half,
)

N_STUDIES = int(os.environ.get("SPOKENEVAL_SIMULATIONS", "250"))
SHARED = Path(os.environ.get("SPOKENEVAL_SHARED_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))


@pytest.mark.parametrize(
    "how",
    [
        {"r": 0.66},
        {"r": 0.93},
        {"r": 0.97},
        {"r": 0.9, "n_items": 50},
        {"r": 0.8, "crossed": True, "interaction": 0.25},
        {"r": 0.9, "n_systems": 5},
    ],
    ids=str,
)
def test_the_interval_covers_the_named_estimand(how: dict[str, float]) -> None:
    covered, n = coverage(20, N_STUDIES, **how)
    assert n >= 0.3 * N_STUDIES
    slack = 2 * math.sqrt(0.05 * 0.95 / n)
    assert 0.93 - slack <= covered <= 0.97 + slack


def test_a_plain_percentile_bootstrap_does_not_cover() -> None:
    assert percentile_coverage(3, 80, r=0.97) < 0.75


def test_noise_covariance_is_what_repeated_studies_scatter() -> None:
    rng = np.random.default_rng(5)
    u = np.random.default_rng(0)
    scatter, told = [], []
    for _ in range(300):
        study = simulate(np.random.default_rng(1), 0.8)
        noise = rng.normal(0, 0.5, (1, 50, 1)) + rng.normal(0, 0.4, (9, 50, 1)) + rng.normal(0, 0.7, (9, 50, 5))
        by_listener = rng.normal(0, 0.3, (9, 60))[:, study.listener]
        _, y = study._replace(ratings=3 + noise + by_listener + u.normal(0, 0, (9, 1, 1))).means()
        scatter.append(y.mean - y.mean.mean())
        told.append(centred_trace(y.covariance))
    assert np.mean(told) == pytest.approx(np.var(scatter, axis=0).sum(), rel=0.08)


def test_reliability_recovers_the_planted_signal() -> None:
    """Signal variance .5^2 * 9 / 8 over the sampled systems; noise (.4^2 + .74 / 5) / 50."""
    rng = np.random.default_rng(6)
    found = [reliability(simulate(rng, 0.8, interaction=0.0).means()[1]) for _ in range(200)]
    assert np.mean([f.signal_variance for f in found]) == pytest.approx(0.25 * 9 / 8, rel=0.02)
    noise = (0.16 + 0.49 / 5) / 50
    assert np.mean([f.noise_variance for f in found]) == pytest.approx(noise, rel=0.25)


def test_item_noise_by_hand() -> None:
    """Verdicts 1, 0 of each: influence +-1/4, variance 2 / (2 - 1) * 2 / 16 = 1/4, opposite systems covary
    negatively."""
    found = item_means([[1, 0], [0, 1], [1, 1]], ["a", "b", "c"], ["i", "j"])
    expected = np.array([[0.25, -0.25, 0], [-0.25, 0.25, 0], [0, 0, 0]])
    np.testing.assert_allclose(found.covariance, expected)
    np.testing.assert_allclose(found.mean, [0.5, 0.5, 1])
    assert found.noise_df == 1
    other = item_means([[1, 0], [0, 1], [1, 1]], ["a", "b", "c"], ["i", "k"])
    np.testing.assert_allclose(shared_noise(found, found), expected)
    assert abs(shared_noise(found, other)[0, 0]) == pytest.approx(0.125)
    assert not shared_noise(found, item_means([[1, 0]] * 3, ["a", "b", "c"], ["x", "y"])).any()


def test_a_strict_listener_and_an_easy_item_cancel() -> None:
    scores = np.add.outer(np.array([0.0, 1, 2]), np.add.outer([0.0, 5, 1, 2], [0.0, -3])).ravel()
    s, i, v = (a.ravel() for a in np.meshgrid(list("abc"), list("ijkl"), list("vw"), indexing="ij"))
    found = rating_means(scores, s, i, v)
    assert found.covariance[0, 0] > 0
    assert reliability(found).value == pytest.approx(1)


def test_clustered_items_carry_more_noise() -> None:
    rng = np.random.default_rng(0)
    verdicts = np.repeat(rng.integers(0, 2, (4, 20)), 10, axis=1).astype(float)
    items = [f"i{k}" for k in range(200)]
    plain = item_means(verdicts, list("abcd"), items)
    clustered = item_means(verdicts, list("abcd"), items, clusters=np.repeat(np.arange(20), 10).tolist())
    ratio = np.diag(clustered.covariance) / np.diag(plain.covariance)
    np.testing.assert_allclose(ratio, 10 * (20 / 19) / (200 / 199))


def test_noisy_axes_get_no_interval() -> None:
    study = simulate(np.random.default_rng(4), 0.9)
    few = Study(study.metric[:, :12], study.ratings[:, :12], study.listener[:12], study.true_r)
    found = expected_correlation(*few.means(), seed=0)
    assert found.reliability_x < 0.8
    assert math.isnan(found.low)
    assert TOO_NOISY in (found.reason or "")
    assert not math.isnan(found.observed)


def test_corrected_r_exceeds_the_observed_one_and_repeats() -> None:
    x, y = simulate(np.random.default_rng(4), 0.9, n_items=80).means()
    found = expected_correlation(x, y, seed=1)
    assert found.observed < found.corrected
    assert found.observed < found.disattenuated
    assert found.disattenuated == pytest.approx(found.observed / math.sqrt(found.reliability_x * found.reliability_y))
    assert found.low < found.corrected
    assert found.high <= 1
    assert found == expected_correlation(x, y, seed=1)


def test_constant_sides_few_systems_and_unlike_systems() -> None:
    x, y = simulate(np.random.default_rng(4), 0.9).means()
    flat = item_means(np.ones((9, 3)), list(x.systems), ["i", "j", "k"])
    assert "same for all systems" in (expected_correlation(flat, y).reason or "")
    with pytest.raises(SpokenevalError, match="different systems"):
        expected_correlation(item_means(np.eye(9), list("abcdefghi"), list("abcdefghi")), y)
    with pytest.raises(SpokenevalError, match="without any value: b"):
        item_means([[1, 0], [math.nan, math.nan]], ["a", "b"], ["i", "j"])
    with pytest.raises(SpokenevalError, match="noise of 1 items"):
        item_means([[1], [0]], ["a", "b"], ["i"])


def test_split_half_by_hand_and_by_the_planted_reliability() -> None:
    """Two listeners: one split. Means 1, 2, 3 against 1, 3, 2: r = .5, corrected 2/3."""
    found = split_half([1, 2, 3, 1, 3, 2], list("abcabc"), list("vvvwww"), n_splits=20, seed=0)
    assert found.half == pytest.approx(0.5)
    assert found.value == pytest.approx(2 / 3)
    rng = np.random.default_rng(0)
    true = rng.normal(size=40)
    scores = true[:, None] + rng.normal(0, 3, (40, 30))
    s, v = np.repeat(np.arange(40), 30), np.tile(np.arange(30), 40)
    planted = split_half(scores.ravel(), s, v, n_splits=200, seed=0)
    assert planted.value == pytest.approx(true.var() / (true.var() + 9 / 30), abs=0.06)


def test_split_half_counts_splits_that_lack_a_system() -> None:
    found = split_half([1, 2, 3, 1, 2.5, 2, 3], list("abcabac"), list("vvvwwxx"), n_splits=100, seed=0)
    assert found.n_left_out > 0
    assert "at least 3" in (split_half([1, 2], ["a", "b"], ["v", "w"]).reason or "")


def test_alpha_by_krippendorffs_own_example() -> None:
    """Krippendorff 2011, 'Computing Krippendorff's alpha-reliability': C, reliability data with four observers."""
    pytest.importorskip("krippendorff")
    nan = math.nan
    data = np.array(
        [
            [1, 2, 3, 3, 2, 1, 4, 1, 2, nan, nan, nan],
            [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, nan, 3],
            [nan, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, nan],
            [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, nan],
        ]
    )
    listener, clip = np.nonzero(~np.isnan(data))
    scores = data[listener, clip]
    expected: tuple[tuple[Literal["nominal", "ordinal", "interval", "ratio"], float], ...] = (
        ("nominal", 0.743),
        ("ordinal", 0.815),
        ("interval", 0.849),
        ("ratio", 0.797),
    )
    for level, alpha in expected:
        assert krippendorff_alpha(scores, clip, listener, level) == pytest.approx(alpha, abs=5e-4)


def test_alpha_without_disagreement_to_measure_and_with_double_votes() -> None:
    assert math.isnan(krippendorff_alpha([3, 3], ["c", "c"], ["v", "w"]))
    assert math.isnan(krippendorff_alpha([3, 4], ["c", "d"], ["v", "w"]))
    with pytest.raises(SpokenevalError, match="twice"):
        krippendorff_alpha([3, 4], ["c", "c"], ["v", "v"])


def test_real_votes_of_the_voice_conversion_challenge() -> None:
    folder = SHARED / "vcc2018"
    if not folder.is_dir():
        pytest.skip(f"no {folder}: set SPOKENEVAL_SHARED_DATA")
    pytest.importorskip("krippendorff")
    with open(folder / "ratings.csv", encoding="utf-8", newline="") as file:
        votes = list(csv.DictReader(file))
    wav = np.array([v["WAV_PATH"] for v in votes])
    score = np.array([float(v["MOS"]) for v in votes])
    listener = np.array([v["JUDGE"].strip() for v in votes])
    parts = [w.removesuffix(".wav").split("_") for w in wav]
    system = np.array([f"{p[-1]}_{p[0]}" for p in parts])
    item = np.array(["_".join(p[1:-1]) for p in parts])
    with open(folder / "published_system_mos.csv", encoding="utf-8", newline="") as file:
        published = {row["system_ID"]: float(row["mean"]) for row in csv.DictReader(file)}
    means = rating_means(score, system, item, listener)
    theirs = np.array([published[name] for name in means.systems])
    assert len(theirs) == 38
    assert np.corrcoef(theirs, means.mean)[0, 1] >= 0.999
    assert np.abs(theirs - means.mean).max() < 0.06
    halves = split_half(score, system, listener, n_splits=200, seed=0)
    assert halves.value == pytest.approx(0.992, abs=0.001)
    assert reliability(means).value == pytest.approx(0.991, abs=0.002)
    assert krippendorff_alpha(score, wav, listener) == pytest.approx(0.279, abs=0.001)
