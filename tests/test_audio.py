"""Audio: any file is read the same way, stored without loss, and known by its samples."""

import io

import numpy as np
import pytest
import soundfile as sf
import soxr
from hypothesis import given
from hypothesis import strategies as st

from spokeneval import audio
from spokeneval.errors import ItemError

RATE = 16000


def tone(n=1600, hz=440.0, level=0.5):
    return (level * np.sin(2 * np.pi * hz * np.arange(n) / RATE)).astype(np.float32)


def write(path, samples, rate=RATE, **options):
    sf.write(path, samples, rate, **options)
    return path


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("a.wav", {"subtype": "PCM_16"}),
        ("a.wav", {"subtype": "PCM_24"}),
        ("a.wav", {"subtype": "FLOAT"}),
        ("a.flac", {}),
        ("a.ogg", {}),
        ("a.mp3", {}),
    ],
)
def test_every_format_is_read(tmp_path, name, options):
    read = audio.read_recording(write(tmp_path / name, tone(), **options))
    assert read.sample_rate == RATE
    assert abs(audio.rms(read.waveform) - audio.rms(tone())) < 0.02


def test_stereo_is_averaged_and_noted(tmp_path):
    stereo = np.stack([tone(), np.zeros(1600, np.float32)], axis=1)
    read = audio.read_recording(write(tmp_path / "s.wav", stereo, subtype="PCM_24"))
    assert read.note == "2 channels averaged"
    np.testing.assert_allclose(read.waveform, tone() / 2, atol=1e-6)


def test_a_24_bit_file_keeps_its_bits_and_a_16_bit_file_its_own(tmp_path):
    assert audio.read_recording(write(tmp_path / "a.wav", tone(), subtype="PCM_24")).subtype == "PCM_24"
    assert audio.read_recording(write(tmp_path / "b.wav", tone(), subtype="PCM_16")).subtype == "PCM_16"


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", r"bad\.wav: the file is empty \(0 bytes\)"), (b"not audio at all", r"bad\.wav: cannot be read as audio")],
)
def test_what_is_no_audio_is_named(tmp_path, content, message):
    (tmp_path / "bad.wav").write_bytes(content)
    with pytest.raises(ItemError, match=message):
        audio.read_recording(tmp_path / "bad.wav")


def test_missing_empty_and_nan_are_named(tmp_path):
    with pytest.raises(ItemError, match="no such audio file"):
        audio.read_recording(tmp_path / "none.wav")
    with pytest.raises(ItemError, match="holds no samples"):
        audio.read_recording(write(tmp_path / "e.wav", np.zeros(0, np.float32)))
    bad = tone()
    bad[3] = np.nan
    with pytest.raises(ItemError, match="1 NaN or infinite"):
        audio.read_recording(write(tmp_path / "n.wav", bad, subtype="FLOAT"))


def test_a_truncated_file_is_refused_or_read_as_far_as_it_goes(tmp_path):
    whole = write(tmp_path / "w.wav", tone(16000), subtype="PCM_16").read_bytes()
    (tmp_path / "cut.wav").write_bytes(whole[: len(whole) // 2])
    assert len(audio.read_recording(tmp_path / "cut.wav").waveform) < 8000
    (tmp_path / "head.wav").write_bytes(whole[:20])
    with pytest.raises(ItemError, match=r"head\.wav"):
        audio.read_recording(tmp_path / "head.wav")


@given(st.lists(st.integers(-(2**15), 2**15 - 1), min_size=1, max_size=300))
def test_16_bit_samples_survive_storage_exactly(samples):
    pcm = np.array(samples, np.int32)
    clip = audio.clip_from_pcm(pcm, RATE)
    waveform, rate = audio.decode_flac(clip.flac)
    assert rate == RATE
    np.testing.assert_array_equal(audio.to_pcm(waveform, "PCM_16"), pcm)


def test_identity_is_of_samples_and_rate_not_of_depth_or_encoder():
    pcm = audio.to_pcm(tone(), "PCM_16")
    a = audio.clip_from_pcm(pcm, RATE)
    assert a.clip_id == audio.clip_from_pcm(pcm * 256, RATE, "PCM_24").clip_id
    assert a.clip_id != audio.clip_from_pcm(pcm, 22050).clip_id
    assert a.clip_id != audio.clip_from_pcm(np.r_[pcm, 0], RATE).clip_id


def test_too_loud_audio_is_scaled_with_its_gain_recorded_and_never_clipped():
    clip = audio.make_clip(tone(level=1.3), RATE)
    assert 0.76 < clip.gain < 0.78
    waveform, _ = audio.decode_flac(clip.flac)
    np.testing.assert_allclose(waveform, tone(level=1.3) * clip.gain, atol=2e-5)
    assert audio.make_clip(tone(), RATE).gain == 1.0
    with pytest.raises(ValueError, match="do not fit PCM_16"):
        audio.to_pcm(tone(level=1.3), "PCM_16")


def test_resampling_keeps_the_tone_and_is_the_identity_at_equal_rates():
    wave = tone(16000)
    assert audio.resample(wave, RATE, RATE) is wave
    up = audio.resample(wave, RATE, 24000)
    assert abs(len(up) - 24000) <= 1
    peak = np.abs(np.fft.rfft(up)).argmax() * 24000 / len(up)
    assert abs(peak - 440) < 2


def test_soxr_hq_is_as_long_as_librosa_makes_it():
    """88,200 x (24000 / 44100) is 48000.00000000001 in floats: librosa makes one sample more, and Mimi one frame."""
    two_seconds = np.random.default_rng(0).standard_normal(88_200).astype(np.float32)
    assert len(audio.resample(two_seconds, 44_100, 24_000, "soxr_hq")) == 48_001
    assert len(audio.resample(two_seconds, 44_100, 24_000, "soxr_vhq")) == 48_000


@pytest.mark.parametrize(("resampler", "quality"), [("soxr_vhq", soxr.VHQ), ("soxr_hq", soxr.HQ)])
@pytest.mark.parametrize("rates", [(16000, 24000), (22050, 16000)])
def test_a_resampler_is_the_quality_of_soxr_that_it_names(resampler, quality, rates):
    noise = (0.1 * np.random.default_rng(0).standard_normal(5001)).astype(np.float32)
    expected = soxr.resample(noise, *rates, quality=quality)
    np.testing.assert_array_equal(audio.resample(noise, *rates, resampler), expected)
    # librosa's name for it, which soxr knows too
    np.testing.assert_array_equal(soxr.resample(noise, *rates, quality=resampler), expected)
    stored = audio.clip_from_pcm(audio.to_pcm(noise, "PCM_16"), rates[0])
    heard = soxr.resample(audio.decode_flac(stored.flac)[0], *rates, quality=quality)
    np.testing.assert_array_equal(audio.load_at(stored.flac, rates[1], resampler), heard)


def test_clips_are_resampled_at_the_highest_quality_unless_another_is_named():
    noise = (0.1 * np.random.default_rng(0).standard_normal(5001)).astype(np.float32)
    usual = audio.resample(noise, RATE, 24000)
    np.testing.assert_array_equal(usual, audio.resample(noise, RATE, 24000, "soxr_vhq"))
    assert not np.array_equal(usual, audio.resample(noise, RATE, 24000, "soxr_hq"))


def test_bytes_are_read_like_files():
    buffer = io.BytesIO()
    sf.write(buffer, tone(), RATE, format="WAV")
    assert audio.read_recording(buffer.getvalue(), "in memory").sample_rate == RATE


def test_a_peak_above_the_range_is_scaled_to_fit_whatever_it_is():
    peaks = np.random.default_rng(0).uniform(1.0, 4.0, 2000).astype(np.float32)
    for peak in peaks:
        clip = audio.make_clip(np.array([peak, -peak, 0.25], np.float32), 16_000, "PCM_24")
        samples, _ = audio.decode_flac(clip.flac)
        assert np.abs(samples).max() == pytest.approx(1.0, abs=2**-21)
