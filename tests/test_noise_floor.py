"""Noise matched to a prompt: its colour and level are those of the noise behind the speech, and of nothing else."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from spokeneval.errors import ItemError
from spokeneval.noise_floor import matched_noise, noise_floor

RATE = 16000
OCTAVES_HZ = (125, 250, 500, 1000, 2000, 4000)


def coloured(slope: float, n_samples: int, seed: int) -> NDArray[np.float32]:
    """Gaussian noise whose power falls with the frequency to this exponent, at -40 dB RMS."""
    spectrum = np.fft.rfft(np.random.default_rng(seed).standard_normal(n_samples))
    spectrum *= np.maximum(np.fft.rfftfreq(n_samples), 1e-3) ** (-slope / 2)
    noise = np.fft.irfft(spectrum, n_samples)
    return (0.01 * noise / noise.std()).astype(np.float32)


def bursts(n_samples: int, seed: int, share: float) -> NDArray[np.float32]:
    """Voiced syllables at -20 dB RMS, four a second, sounding this share of the time."""
    rng, time = np.random.default_rng(seed), np.arange(n_samples) / RATE
    phase = 2 * np.pi * np.cumsum(120 + 30 * np.sin(2 * np.pi * 0.7 * time)) / RATE
    voice = sum(np.sin(k * phase + rng.uniform(0, 6.28)) / k**0.7 for k in range(1, 40))
    return (0.1 * voice / np.std(voice) * (time % 0.25 < 0.25 * share)).astype(np.float32)


def octaves_db(waveform: NDArray[np.float32]) -> NDArray[np.float64]:
    """Mean square in each octave, dB re full scale."""
    power = 2 * np.abs(np.fft.rfft(waveform.astype(np.float64))) ** 2 / len(waveform) ** 2
    frequencies = np.fft.rfftfreq(len(waveform), 1 / RATE)
    return np.array([10 * np.log10(power[(frequencies >= f) & (frequencies < 2 * f)].sum()) for f in OCTAVES_HZ])


def level_db(waveform: NDArray[np.float32]) -> float:
    return 10 * float(np.log10(np.mean(waveform.astype(np.float64) ** 2)))


@pytest.mark.parametrize("slope", [0.0, 1.0, 2.0])
class TestStationaryNoise:
    def test_has_the_colour_and_level_of_the_planted_noise(self, slope: float) -> None:
        found = np.array(
            [
                octaves_db(matched_noise(coloured(slope, 2 * RATE, seed), RATE, 24000, "x"))
                - octaves_db(coloured(slope, 16 * RATE, seed + 100))
                for seed in range(5)
            ]
        )
        assert np.abs(found.mean(axis=0)).max() < 1.0
        assert np.abs(found).max() < 3.0

    def test_is_found_behind_bursts_of_speech_that_are_louder_by_20_db(self, slope: float) -> None:
        found = np.array(
            [
                octaves_db(
                    matched_noise(
                        coloured(slope, 2 * RATE, seed) + bursts(2 * RATE, seed, share=0.4), RATE, 24000, f"clip {seed}"
                    )
                )
                - octaves_db(coloured(slope, 16 * RATE, seed + 100))
                for seed in range(5)
            ]
        )
        assert np.abs(found).max() < 5.0
        assert 0.0 < found.mean() < 3.0  # too high, as the module says


class TestTheWaveform:
    def test_is_as_long_as_asked_for_whatever_the_prompt(self) -> None:
        prompt = coloured(1, RATE, 0)
        for n_samples in (1, 2, 15999, 16001, 48000):
            noise = matched_noise(prompt, RATE, n_samples, "x")
            assert noise.shape == (n_samples,)
            assert noise.dtype == np.float32
        assert level_db(matched_noise(prompt, RATE, 48000, "x")) == pytest.approx(level_db(prompt), abs=1.0)

    def test_depends_on_prompt_and_key_alone(self) -> None:
        prompt = coloured(1, RATE, 0)
        one = matched_noise(prompt, RATE, 8000, "a")
        np.random.default_rng(5).random(100)
        assert one.tobytes() == matched_noise(prompt.copy(), RATE, 8000, "a").tobytes()
        other = matched_noise(prompt, RATE, 8000, "b")
        assert abs(np.corrcoef(one, other)[0, 1]) < 0.1
        assert level_db(other) == pytest.approx(level_db(one), abs=1e-3)

    def test_follows_the_level_of_the_prompt(self) -> None:
        prompt = coloured(1, RATE, 0)
        one, louder = (matched_noise(gain * prompt, RATE, 8000, "a") for gain in (np.float32(1), np.float32(4)))
        np.testing.assert_allclose(louder, 4 * one, rtol=1e-4, atol=1e-7)

    def test_holds_none_of_the_prompts_speech(self) -> None:
        prompt = coloured(0, 2 * RATE, 0) + bursts(2 * RATE, 0, share=0.4)
        noise = matched_noise(prompt, RATE, 2 * RATE, "x")
        envelope = np.square(noise).reshape(-1, 500).mean(axis=1)
        assert envelope.max() < 2 * envelope.min()  # bursts would stand out by 20 dB
        assert abs(np.corrcoef(noise, prompt)[0, 1]) < 0.05

    def test_is_the_same_at_other_rates(self) -> None:
        for rate in (8000, 22050, 44100):
            noise = (0.02 * np.random.default_rng(rate).standard_normal(2 * rate)).astype(np.float32)
            assert level_db(matched_noise(noise, rate, rate, "x")) == pytest.approx(level_db(noise), abs=0.8)


class TestTheFloor:
    def test_of_white_noise_is_its_mean_square_at_every_frequency(self) -> None:
        prompt = (0.1 * np.random.default_rng(0).standard_normal(60 * RATE)).astype(np.float32)
        frequencies, power = noise_floor(prompt, RATE)
        assert frequencies[-1] == RATE / 2
        np.testing.assert_allclose(10 * np.log10(power[2:-2] / 0.01), 0, atol=0.6)

    def test_of_silence_is_an_error_of_the_item(self) -> None:
        with pytest.raises(ItemError, match="a tenth of the prompt or more is digital silence"):
            matched_noise(np.zeros(RATE, np.float32), RATE, 8000, "x")
        gated = coloured(0, RATE, 0) * (np.arange(RATE) % 8000 < 6000)
        with pytest.raises(ItemError, match="digital silence"):
            matched_noise(gated.astype(np.float32), RATE, 8000, "x")

    def test_of_a_prompt_that_is_too_short_is_an_error_of_the_item(self) -> None:
        with pytest.raises(ItemError, match=r"the prompt lasts 0\.200 s; expected 0\.25 s or more"):
            matched_noise(coloured(0, 3200, 0), RATE, 8000, "x")
