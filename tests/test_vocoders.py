"""Vocoders: as long as the frames say, the same for the same codes, and at the right pitch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from test_tokenizers_mel_rvq import noise, tone, write_codebook
from transformers import SpeechT5HifiGan, SpeechT5HifiGanConfig

from spokeneval.errors import ConfigError, ItemError
from spokeneval.tokenizers import mel
from spokeneval.tokenizers.base import Codes, Tokenizer, TokenizerInfo
from spokeneval.tokenizers.mel_rvq import MelRVQ
from spokeneval.vocoders import hifigan
from spokeneval.vocoders.griffin_lim import GriffinLim
from spokeneval.vocoders.hifigan import HiFiGAN

SMALL = {
    "upsample_initial_channel": 32,
    "resblock_kernel_sizes": [3],
    "resblock_dilation_sizes": [[1, 3]],
}


@pytest.fixture
def tokenizer(tmp_path: Path) -> MelRVQ:
    return MelRVQ(write_codebook(tmp_path / "codebook.safetensors"))


@pytest.fixture
def small_generator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, SpeechT5HifiGan]:
    """A small random generator, and its checkpoint under the published names with weight normalisation."""
    monkeypatch.setattr(hifigan, "_GENERATOR", hifigan._GENERATOR | SMALL)
    torch.manual_seed(0)
    generator = SpeechT5HifiGan(SpeechT5HifiGanConfig(**hifigan._GENERATOR)).eval()
    published = {}
    for name, values in generator.state_dict().items():
        name = name.replace("upsampler.", "ups.")
        if name.endswith("weight"):
            norm = values.flatten(1).norm(dim=1).reshape(-1, *[1] * (values.ndim - 1))
            published[f"{name}_g"] = norm
            published[f"{name}_v"] = values * 3.0  # only the direction counts
        elif name not in {"mean", "scale"}:
            published[name] = values
    torch.save({"generator": published}, tmp_path / "generator.pth.tar")
    return tmp_path / "generator.pth.tar", generator


def codes_of(n_frames: int, seed: int = 0) -> Codes:
    return Codes(np.random.default_rng(seed).integers(0, 4, (n_frames, 2), dtype=np.int32), None)


def loudest_hertz(waveform: NDArray[np.float32]) -> float:
    spectrum = np.abs(np.fft.rfft(waveform * np.hanning(len(waveform))))
    return float(spectrum.argmax() * mel.SAMPLE_RATE / len(waveform))


@pytest.mark.parametrize("n_frames", [1, 2, 3, 43])
def test_griffin_lim_gives_frames_times_hop_samples(tokenizer: MelRVQ, n_frames: int) -> None:
    waveform = GriffinLim(iterations=2).decode(codes_of(n_frames), tokenizer)
    assert waveform.shape == (n_frames * tokenizer.info.hop_samples,)
    assert waveform.dtype == np.float32
    assert np.isfinite(waveform).all()


def test_griffin_lim_gives_the_same_waveform_for_the_same_codes(tokenizer: MelRVQ) -> None:
    vocoder, codes = GriffinLim(iterations=3), codes_of(20)
    first = vocoder.decode(codes, tokenizer)
    torch.manual_seed(99)
    vocoder.decode(codes_of(11, seed=1), tokenizer)
    np.testing.assert_array_equal(vocoder.decode(codes, tokenizer), first)


def test_griffin_lim_does_not_touch_the_global_seed(tokenizer: MelRVQ) -> None:
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    GriffinLim(iterations=1).decode(codes_of(5), tokenizer)
    assert torch.rand(1) == expected


@pytest.mark.parametrize("hertz", [200.0, 440.0, 1000.0])
def test_griffin_lim_keeps_the_pitch_of_a_tone(hertz: float) -> None:
    copy = GriffinLim().invert(mel.log_mel(tone(22_050, hertz)))
    assert loudest_hertz(copy) == pytest.approx(hertz, abs=60)  # about the width of a band


def test_griffin_lim_keeps_events_in_their_place() -> None:
    burst = np.zeros(256 * 40, np.float32)
    burst[5000:5400] = noise(400) * 3
    copy = GriffinLim().invert(mel.log_mel(burst))
    where = np.average(np.arange(len(copy)), weights=copy.astype(np.float64) ** 2)
    assert where == pytest.approx(5200, abs=100)


def test_griffin_lim_comes_nearer_with_more_iterations() -> None:
    frames = mel.log_mel(tone(11_025, 300.0) + noise(11_025))

    def distance(iterations: int) -> float:
        return float(np.abs(mel.log_mel(GriffinLim(iterations).invert(frames)) - frames).mean())

    assert distance(32) < distance(1)


class Units:
    """A tokenizer whose codes stand for no mel frames."""

    info = TokenizerInfo(16_000, 320, (10,), deduplicated=True, causal=False)

    def encode(self, waveform: NDArray[np.float32]) -> Codes:
        raise NotImplementedError


def test_codes_that_are_no_mel_are_refused() -> None:
    units: Tokenizer = Units()
    with pytest.raises(ConfigError, match="cannot decode the codes of Units"):
        GriffinLim().decode(codes_of(3), units)


def test_nothing_to_decode_is_an_items_error(tokenizer: MelRVQ) -> None:
    with pytest.raises(ItemError, match="no codes"):
        GriffinLim().decode(codes_of(0), tokenizer)


@pytest.mark.parametrize("n_frames", [1, 7])
def test_hifigan_gives_frames_times_hop_samples_of_its_generator(
    small_generator: tuple[Path, SpeechT5HifiGan], tokenizer: MelRVQ, n_frames: int
) -> None:
    path, generator = small_generator
    codes = codes_of(n_frames)
    waveform = HiFiGAN(path).decode(codes, tokenizer)
    assert waveform.shape == (n_frames * 512,)
    with torch.inference_mode():
        expected = generator(torch.from_numpy(tokenizer.to_log_mel(codes))).numpy()
    # folding the weight normalisation gives the generator's own weights
    np.testing.assert_allclose(waveform[: len(expected)], expected[: len(waveform)], atol=1e-5)


def test_a_missing_checkpoint_says_how_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere: no such file; .*--assets hifigan"):
        HiFiGAN(tmp_path / "nowhere")


@pytest.mark.parametrize("content", [{"discriminator": {}}, {"generator": {"conv_pre.bias": torch.zeros(3)}}])
def test_another_checkpoint_is_refused(tmp_path: Path, content: dict[str, object]) -> None:
    torch.save(content, tmp_path / "other.pth.tar")
    with pytest.raises(ConfigError, match=r"other\.pth\.tar: is not the checkpoint of a universal HiFi-GAN"):
        HiFiGAN(tmp_path / "other.pth.tar")


def test_a_file_with_pickled_code_is_refused(tmp_path: Path) -> None:
    torch.save({"generator": Path("/")}, tmp_path / "code.pth.tar")
    with pytest.raises(ConfigError, match="is not the checkpoint"):
        HiFiGAN(tmp_path / "code.pth.tar")


def test_a_damaged_checkpoint_is_refused(tmp_path: Path) -> None:
    (tmp_path / "cut.pth.tar").write_bytes(b"PK\3\4 but not much more")
    with pytest.raises(ConfigError, match="is not the checkpoint"):
        HiFiGAN(tmp_path / "cut.pth.tar")
