"""SpeechTokenizer: its package is asked for in plain words, and its codes are laid out frame by frame.

The package is not among the requirements. Where it is installed, its own network runs, small and random; everywhere, a
module of the same interface, (codebooks, batch, frames), stands in for it.
"""

from __future__ import annotations

import importlib
import json
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_codecs import clip, small_encodec

from spokeneval.errors import ConfigError, ItemError
from spokeneval.tokenizers.speech_tokenizer import SpeechTokenizer

SETTINGS = {
    "n_filters": 4,
    "strides": [8, 5, 4, 2],
    "dimension": 16,
    "semantic_dimension": 12,
    "bidirectional": True,
    "dilation_base": 2,
    "residual_kernel_size": 3,
    "n_residual_layers": 1,
    "lstm_layers": 1,
    "activation": "ELU",
    "codebook_size": 64,
    "n_q": 8,
    "sample_rate": 16_000,
}
"""The keys of the published config.json that the network reads, with small numbers."""


class StandIn(torch.nn.Module):
    """The interface of the package's network, around a small codec that sees the whole clip."""

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__()
        assert config["strides"] == [8, 5, 4, 2]
        self.codec = small_encodec(use_causal_conv=False)

    def encode(self, x: torch.Tensor, n_q: int) -> torch.Tensor:
        codes: torch.Tensor = self.codec.encode(x, bandwidth=3.6).audio_codes[0].transpose(0, 1)[:n_q]
        return codes

    def decode(self, codes: torch.Tensor) -> torch.Tensor:
        waveform: torch.Tensor = self.codec.decode(codes.transpose(0, 1)[None], [None]).audio_values
        return waveform


@pytest.fixture(params=["stand-in", "package"])
def network(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The network that the adapter will load, with its random weights."""
    if request.param == "stand-in":
        module = types.ModuleType("speechtokenizer")
        module.SpeechTokenizer = StandIn
        monkeypatch.setitem(sys.modules, "speechtokenizer", module)
    else:
        try:
            module = importlib.import_module("speechtokenizer")
        except (ImportError, OSError) as error:
            pytest.skip(f"the package is not installed: {error}")
    torch.manual_seed(0)
    model = module.SpeechTokenizer(SETTINGS).eval()
    if request.param == "package":
        with torch.inference_mode():
            features = model.encoder(torch.from_numpy(clip(32_000))[None, None])[0].T
            for layer in model.quantizer.vq.layers:
                noise = torch.randn_like(layer._codebook.embed) * features.std(dim=0)
                layer._codebook.embed.copy_(noise + features.mean(dim=0) * (layer is model.quantizer.vq.layers[0]))
    return model


@pytest.fixture
def files(network: Any, tmp_path: Path) -> tuple[Path, Path]:
    (tmp_path / "config.json").write_text(json.dumps(SETTINGS))
    torch.save(network.state_dict(), tmp_path / "SpeechTokenizer.pt")
    return tmp_path / "config.json", tmp_path / "SpeechTokenizer.pt"


def test_codes_are_those_of_the_network_frame_by_frame(network: Any, files: tuple[Path, Path]) -> None:
    codec = SpeechTokenizer(*files, n_codebooks=3)
    assert (codec.info.sample_rate, codec.info.hop_samples, codec.info.frame_rate) == (16_000, 320, 50.0)
    assert (codec.info.codebook_sizes, codec.info.deduplicated, codec.info.causal) == ((64,) * 3, False, False)
    samples = clip(16_001)
    with torch.inference_mode():
        expected = network.encode(torch.from_numpy(samples)[None, None], n_q=8)
    found = codec.encode(samples)
    assert found.codes.shape == (51, 3)
    assert len(np.unique(found.codes[:, 0])) > 3
    np.testing.assert_array_equal(found.codes, expected[:3, 0].T)
    codec.decode(codec.encode(clip(9_000, 1)))
    np.testing.assert_array_equal(codec.encode(samples).codes, found.codes)


def test_a_later_change_reaches_earlier_codes_so_it_is_not_causal(network: Any, files: tuple[Path, Path]) -> None:
    codec = SpeechTokenizer(*files)
    one, other = clip(320 * 40), clip(320 * 40)
    other[320 * 30 :] = clip(320 * 10, seed=1)
    assert (codec.encode(one).codes[:30] != codec.encode(other).codes[:30]).any()


def test_sound_of_codes_is_exactly_frames_times_hop(network: Any, files: tuple[Path, Path]) -> None:
    codec = SpeechTokenizer(*files, n_codebooks=3)
    for n_frames in (1, 2, 9):
        codes = codec.encode(clip(n_frames * 320))
        waveform = codec.decode(codes)
        assert waveform.shape == (n_frames * 320,)
        with torch.inference_mode():
            expected = network.decode(torch.from_numpy(codes.codes.T.astype(np.int64))[:, None])[0, 0]
        np.testing.assert_array_equal(waveform, expected)
    with pytest.raises(ItemError, match="no codes to decode"):
        codec.decode(codes.take(np.zeros(0, int)))


def test_wrong_files_are_named(network: Any, files: tuple[Path, Path], tmp_path: Path) -> None:
    config, checkpoint = files
    with pytest.raises(ConfigError, match="n_codebooks is 9; expected 1 to 8"):
        SpeechTokenizer(config, checkpoint, 9)
    with pytest.raises(ConfigError, match=r"nowhere\.pt: no such file"):
        SpeechTokenizer(config, tmp_path / "nowhere.pt")
    torch.save({"generator": torch.zeros(1)}, tmp_path / "other.pt")
    with pytest.raises(ConfigError, match=r"other\.pt: is not the checkpoint of the network"):
        SpeechTokenizer(config, tmp_path / "other.pt")
    torch.save({"codec": Path("/")}, tmp_path / "code.pt")
    with pytest.raises(ConfigError, match=r"code\.pt: is not the checkpoint .*Weights only"):
        SpeechTokenizer(config, tmp_path / "code.pt")
    (tmp_path / "other.json").write_text("{}")
    with pytest.raises(ConfigError, match=r"other\.json: lacks codebook_size, n_q, sample_rate, strides"):
        SpeechTokenizer(tmp_path / "other.json", checkpoint)


def test_without_the_package_the_command_that_installs_it_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "speechtokenizer", None)
    (tmp_path / "config.json").write_text(json.dumps(SETTINGS))
    torch.save({}, tmp_path / "SpeechTokenizer.pt")
    with pytest.raises(ConfigError, match="pip install speechtokenizer beartype tensorboard"):
        SpeechTokenizer(tmp_path / "config.json", tmp_path / "SpeechTokenizer.pt")
