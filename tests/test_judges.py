"""Judges without weights, and what all judges share: crop, refusals, spectrograms, loading."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from spokeneval.errors import ConfigError, ItemError
from spokeneval.judges.aisfx import AiSFX
from spokeneval.judges.dnsmos import DNSMOS
from spokeneval.judges.intake import cropped, unit_mean, windows
from spokeneval.judges.mel import filters, power_spectrogram
from spokeneval.judges.resemblyzer import Resemblyzer
from spokeneval.judges.trivial import LongTermSpectrum, MeanLogMel, RMSLevel
from spokeneval.judges.voicefilter_lite import VoiceFilterLite

RATE = 16_000
WITH_WEIGHTS = [Resemblyzer, AiSFX, VoiceFilterLite, DNSMOS]
TRIVIAL = [RMSLevel, MeanLogMel, LongTermSpectrum]


def noise(seed: int, seconds: float = 1.0, level_db: float = -20.0, tilt: float = 0.0) -> NDArray[np.float32]:
    """Noise at a level in dB re full scale; tilt in (-1, 1) moves energy to low (> 0) or high (< 0) frequencies."""
    white = np.random.default_rng(seed).standard_normal(round(seconds * RATE))
    for k in range(1, len(white)):
        white[k] += tilt * white[k - 1]
    return (white / np.sqrt(np.mean(white**2)) * 10 ** (level_db / 20)).astype(np.float32)


def cosine(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    return float(a.astype(float) @ b.astype(float) / np.linalg.norm(a.astype(float)) / np.linalg.norm(b.astype(float)))


# ---------------------------------------------------------------- intake


@pytest.mark.parametrize(
    ("waveform", "match"),
    [
        (np.zeros(0, np.float32), "empty"),
        (np.zeros(RATE, np.float32), "silent: RMS 0.0e"),
        (noise(0, 1.0, -110.0), "silent"),
        (noise(0, 0.2), r"0\.20 s, at least 0\.40 s"),
        (np.r_[noise(0), np.float32("nan")], "1 NaN or infinite"),
    ],
)
def test_what_cannot_be_judged_is_refused_with_why(waveform: NDArray[np.float32], match: str) -> None:
    with pytest.raises(ItemError, match=match):
        cropped(waveform, RATE, None, 0.4)


def test_the_crop_keeps_the_beginning_and_is_refused_where_that_is_silent() -> None:
    late = np.r_[np.zeros(RATE, np.float32), noise(0)]
    assert len(cropped(noise(0, 2.0), RATE, 0.75, 0.4)) == 12_000
    assert len(cropped(late, RATE, None, 0.4)) == 2 * RATE
    with pytest.raises(ItemError, match="silent"):
        cropped(late, RATE, 1.0, 0.4)


@given(n_frames=st.integers(1, 400), length=st.integers(1, 160), hop=st.integers(1, 160))
@settings(max_examples=60, deadline=None)
def test_every_frame_is_in_a_window_and_none_is_invented(n_frames: int, length: int, hop: int) -> None:
    hop = min(hop, length)
    frames = np.arange(1, n_frames + 1, dtype=np.float32)[:, None]
    cut = windows(frames, length, hop)
    assert cut.shape[1:] == (length, 1)
    assert set(np.unique(cut)) - {0.0} == set(range(1, n_frames + 1))
    assert (0.0 in cut) == (n_frames < length)


def test_windows_that_cancel_have_no_direction() -> None:
    assert unit_mean(np.array([[3, 0], [0, 3]], np.float32)) == pytest.approx([2**-0.5] * 2)
    with pytest.raises(ItemError, match="no direction"):
        unit_mean(np.array([[1, 0], [-1, 0]], np.float32))


# ---------------------------------------------------------------- spectrograms


@pytest.mark.parametrize(
    ("n_fft", "length", "name", "centred"), [(400, 400, "hann", True), (512, 400, "hamming", False)]
)
def test_the_spectrogram_equals_torch_stft(n_fft: int, length: int, name: str, centred: bool) -> None:
    waveform = noise(1, 0.5)
    window = {"hann": torch.hann_window, "hamming": torch.hamming_window}[name](length)
    expected = torch.stft(
        torch.from_numpy(waveform),
        n_fft,
        160,
        length,
        window,
        center=centred,
        pad_mode="constant",
        return_complex=True,
    )
    found = power_spectrogram(waveform, n_fft, 160, length, name, centred)
    np.testing.assert_allclose(found, expected.abs().numpy().T ** 2, rtol=1e-3, atol=1e-5)


def test_a_tone_falls_into_the_band_around_it() -> None:
    tone = np.sin(2 * np.pi * 1000 * np.arange(RATE) / RATE).astype(np.float32)
    mel = power_spectrogram(tone, 512, 160, 512) @ filters(RATE, 512, 40, 0.0, 8000.0, "slaney", "slaney")
    peak = int(mel.mean(axis=0).argmax())
    centres = filters(RATE, 512, 40, 0.0, 8000.0, "slaney", "slaney").argmax(axis=0) * RATE / 512
    assert abs(centres[peak] - 1000) < 100


# ---------------------------------------------------------------- trivial judges


@given(a=st.floats(-60, -3), b=st.floats(-60, -3), c=st.floats(-60, -3))
@settings(max_examples=40, deadline=None)
def test_the_level_judge_orders_by_difference_of_level(a: float, b: float, c: float) -> None:
    levels = RMSLevel().embed([noise(0, 0.2, level) for level in (a, b, c)])
    if abs(abs(a - b) - abs(a - c)) > 0.5:
        assert (cosine(levels[0], levels[1]) > cosine(levels[0], levels[2])) == (abs(a - b) < abs(a - c))


def test_twelve_decibels_have_the_cosine_that_is_documented() -> None:
    quiet, loud = RMSLevel().embed([noise(0, 1.0, -32.0), noise(1, 1.0, -20.0)])
    assert cosine(quiet, loud) == pytest.approx(np.cos(0.12 * np.pi / 2), abs=1e-5)
    assert cosine(quiet, loud) == pytest.approx(0.982, abs=5e-4)


def test_the_long_term_spectrum_hears_shape_and_not_level() -> None:
    dark, dark_quiet, bright = LongTermSpectrum().embed(
        [noise(0, 1.0, -20, 0.9), noise(1, 1.0, -40, 0.9), noise(2, 1.0, -20, -0.5)]
    )
    assert cosine(dark, dark_quiet) > 0.99 > 0.5 > cosine(dark, bright)


def test_the_mean_log_mel_hears_level_too() -> None:
    loud, quiet, loud_again = MeanLogMel().embed([noise(0, 1.0, -10), noise(1, 1.0, -60), noise(2, 1.0, -10)])
    assert cosine(loud, loud_again) > cosine(loud, quiet)


@pytest.mark.parametrize("judge", TRIVIAL)
def test_a_judge_hears_each_waveform_alone(judge: type[RMSLevel]) -> None:
    waveforms = [noise(k, 0.3 + 0.1 * k, -20 - k) for k in range(4)]
    together = judge().embed(waveforms)
    assert together.dtype == np.float32
    assert together.shape == (4, judge.dimension)
    for waveform, row in zip(waveforms, together, strict=True):
        np.testing.assert_array_equal(judge().embed([waveform])[0], row)
    np.testing.assert_array_equal(judge().embed(waveforms[::-1]), together[::-1])


@pytest.mark.parametrize("judge", TRIVIAL)
def test_the_crop_is_heard_and_nothing_else(judge: type[RMSLevel]) -> None:
    waveform = noise(3, 1.0)
    np.testing.assert_array_equal(judge(crop_s=0.5).embed([waveform]), judge().embed([waveform[: RATE // 2]]))


# ---------------------------------------------------------------- loading


@pytest.mark.parametrize("judge", WITH_WEIGHTS)
def test_missing_weights_are_named(judge: type[Resemblyzer], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no weights at .*absent\.bin"):
        judge(tmp_path / "absent.bin")


@pytest.mark.parametrize("judge", WITH_WEIGHTS)
def test_a_file_that_is_no_network_is_refused(judge: type[Resemblyzer], tmp_path: Path) -> None:
    path = tmp_path / "weights.bin"
    path.write_bytes(b"this is not a network" * 100)
    with pytest.raises(ConfigError, match=r"weights\.bin is not a"):
        judge(path)


class _Planted:
    """Unpickling this writes a file: what a malicious checkpoint would do."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return open, (str(self.target), "w")


@pytest.mark.parametrize("judge", [Resemblyzer, AiSFX])
def test_code_in_a_checkpoint_is_not_run(judge: type[Resemblyzer], tmp_path: Path) -> None:
    target = tmp_path / "was_run"
    torch.save({"model_state": _Planted(target)}, tmp_path / "weights.pt")
    with pytest.raises(ConfigError, match="not a checkpoint of plain weights"):
        judge(tmp_path / "weights.pt")
    assert not target.exists()


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    torch.save({"model_state": {"lstm.weight": torch.zeros(3)}}, tmp_path / "weights.pt")
    with pytest.raises(ConfigError, match="holds another network"):
        Resemblyzer(tmp_path / "weights.pt")
    torch.save({"state": 1}, tmp_path / "other.pt")
    with pytest.raises(ConfigError, match="model_state"):
        Resemblyzer(tmp_path / "other.pt")
    with pytest.raises(ConfigError, match="not a pair of weights"):
        AiSFX(tmp_path / "other.pt")
