"""The unit vocoder with predicted durations: what is heard is the described computation, by the units alone."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file
from scipy.special import erf

from spokeneval.continuations import decode_new
from spokeneval.errors import ConfigError, ItemError
from spokeneval.tokenizers.base import Codes, TokenizerInfo
from spokeneval.vocoders.griffin_lim import GriffinLim
from spokeneval.vocoders.unit_mel import UnitMel
from spokeneval.vocoders.unit_mel_network import Shape, UnitMelNetwork, read_network, regulate, write_network

SHAPE = Shape(
    n_units=12,
    sample_rate=16_000,
    hop_samples=320,
    width=8,
    duration_width=6,
    kernel=3,
    n_unit_layers=1,
    mel_dilations=(1, 2),
)

Tensors = dict[str, NDArray[np.float64]]


class Units:
    def __init__(self, n_units: int = 12, deduplicated: bool = True, n_codebooks: int = 1, hop: int = 320) -> None:
        self.info = TokenizerInfo(16_000, hop, (n_units,) * n_codebooks, deduplicated, causal=False)

    def encode(self, waveform: NDArray[np.float32]) -> Codes:
        raise NotImplementedError


def written(folder: Path) -> tuple[Path, Path]:
    """A network of seeded random weights whose durations differ and whose mel is that of quiet sound."""
    torch.manual_seed(0)
    network = UnitMelNetwork(SHAPE)
    with torch.no_grad():
        network.duration_out.weight.mul_(3.0)
        network.duration_out.bias.fill_(1.2)
        network.mel_out.bias.fill_(-3.0)
    write_network(folder, network)
    return folder / "model.safetensors", folder / "config.json"


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    return written(tmp_path)


def units_of(n: int, seed: int = 0) -> NDArray[np.int32]:
    return np.random.default_rng(seed).integers(0, SHAPE.n_units, n, dtype=np.int32)


def codes_of(units: NDArray[np.int32], frames: int = 1) -> Codes:
    return Codes(units[:, None], np.full(len(units), frames, np.int32))


# ------------------------------------------------------------------ the computation, in plain numpy


def normed(x: NDArray[np.float64], of: Tensors, name: str) -> NDArray[np.float64]:
    centred = x - x.mean(axis=1, keepdims=True)
    return centred / np.sqrt(x.var(axis=1, keepdims=True) + 1e-5) * of[f"{name}.weight"] + of[f"{name}.bias"]


def linear(x: NDArray[np.float64], of: Tensors, name: str) -> NDArray[np.float64]:
    return x @ of[f"{name}.weight"].T + of[f"{name}.bias"]


def layer(x: NDArray[np.float64], of: Tensors, name: str, dilation: int = 1) -> NDArray[np.float64]:
    inner = normed(x, of, f"{name}.norm")
    inner = inner * 0.5 * (1 + erf(inner / np.sqrt(2)))
    weight, out = of[f"{name}.convolution.weight"], np.tile(of[f"{name}.convolution.bias"], (len(x), 1))
    for tap in range(weight.shape[2]):
        for t in range(len(x)):
            source = t + (tap - weight.shape[2] // 2) * dilation
            if 0 <= source < len(x):
                out[t] += weight[:, :, tap] @ inner[source]
    return x + out


def plain_durations(of: Tensors, units: NDArray[np.int32]) -> list[int]:
    x = linear(of["embedding.weight"][units], of, "duration_in")
    for i in range(2):
        x = layer(x, of, f"duration_layers.{i}")
    return [max(1, round(float(np.exp(value) - 1))) for value in linear(x, of, "duration_out")[:, 0]]


def plain_log_mel(of: Tensors, units: NDArray[np.int32], durations: list[int]) -> NDArray[np.float64]:
    x = of["embedding.weight"][units]
    for i in range(SHAPE.n_unit_layers):
        x = layer(x, of, f"unit_layers.{i}")
    ends = np.cumsum(durations) / 50.0
    rows, places = [], []
    for t in range(max(1, int(ends[-1] * 22_050 / 256 + 1e-9))):
        centre = (256 * t + 128) / 22_050
        unit = next((i for i, end in enumerate(ends) if centre < end), len(units) - 1)
        rows.append(x[unit])
        places.append([(centre - ends[unit]) * 50 / durations[unit] + 1, np.log(1 + durations[unit])])
    y = np.array(rows) + linear(np.array(places), of, "place")
    for i, dilation in enumerate(SHAPE.mel_dilations):
        y = layer(y, of, f"mel_layers.{i}", dilation)
    return linear(normed(y, of, "norm"), of, "mel_out")


@pytest.mark.parametrize("n_units", [1, 2, 40])
def test_sound_is_the_described_computation(files: tuple[Path, Path], n_units: int) -> None:
    of = {name: values.astype(np.float64) for name, values in load_file(files[0]).items()}
    units, network = units_of(n_units), read_network(*files)
    durations = plain_durations(of, units)
    assert network.durations(torch.from_numpy(units.astype(np.int64))).tolist() == durations
    expected = plain_log_mel(of, units, durations)
    found = network.log_mel(torch.from_numpy(units.astype(np.int64)), torch.tensor(durations)).numpy()
    np.testing.assert_allclose(found, expected, atol=1e-4)
    waveform = UnitMel(*files, iterations=3).decode(codes_of(units), Units())
    assert waveform.dtype == np.float32
    assert waveform.std() > 1e-3
    np.testing.assert_array_equal(waveform, GriffinLim(3).invert(found))


def test_sound_lasts_as_long_as_the_predicted_durations(files: tuple[Path, Path]) -> None:
    units = units_of(40)
    durations = read_network(*files).durations(torch.from_numpy(units.astype(np.int64)))
    assert len(durations.unique()) > 2
    assert int(durations.min()) >= 1
    vocoder = UnitMel(*files, iterations=1)
    n_samples = 256 * (int(durations.sum()) * 441 // 256)  # a frame of 20 ms is 441 samples at 22,050 Hz
    assert vocoder.decode(codes_of(units), Units()).shape == (n_samples,)
    assert vocoder.decode(codes_of(units, frames=9), Units()).shape == (n_samples,)  # told durations are not read


def test_a_mel_frame_takes_the_unit_at_its_centre() -> None:
    # units of 1, 2 and 1 frames end at 441, 1323 and 1764 samples; centres at 128, 384, 640, 896, 1152, 1408
    unit, passed = regulate(torch.tensor([1, 2, 1]), SHAPE)
    assert unit.tolist() == [0, 0, 1, 1, 1, 2]
    assert passed.tolist() == pytest.approx([128 / 441, 384 / 441, 199 / 882, 455 / 882, 711 / 882, 85 / 441], abs=1e-6)


def test_the_same_units_give_the_same_sound_and_no_random_state_is_touched(files: tuple[Path, Path]) -> None:
    torch.manual_seed(4)
    np.random.seed(4)  # noqa: NPY002  the global state is what must not change
    before, numpy_before = torch.get_rng_state(), np.random.get_state()[1]  # noqa: NPY002
    vocoder = UnitMel(*files, iterations=4)
    first = vocoder.decode(codes_of(units_of(9)), Units())
    vocoder.decode(codes_of(units_of(30, seed=1)), Units())
    torch.testing.assert_close(torch.get_rng_state(), before)
    np.testing.assert_array_equal(np.random.get_state()[1], numpy_before)  # noqa: NPY002
    torch.manual_seed(9)
    np.testing.assert_array_equal(vocoder.decode(codes_of(units_of(9)), Units()), first)
    np.testing.assert_array_equal(UnitMel(*files, iterations=4).decode(codes_of(units_of(9)), Units()), first)


def test_a_continuation_is_decoded_alone(files: tuple[Path, Path]) -> None:
    vocoder = UnitMel(*files, iterations=2)
    prompt, new = codes_of(units_of(9)), codes_of(units_of(7, seed=1))
    np.testing.assert_array_equal(decode_new(prompt, new, Units(), vocoder), vocoder.decode(new, Units()))


def test_nothing_to_decode_is_an_items_error(files: tuple[Path, Path]) -> None:
    with pytest.raises(ItemError, match="no codes to decode"):
        UnitMel(*files).decode(codes_of(units_of(0)), Units())


@pytest.mark.parametrize("other", [Units(13), Units(11), Units(deduplicated=False), Units(n_codebooks=2)])
def test_other_units_are_refused(files: tuple[Path, Path], other: Units) -> None:
    with pytest.raises(ConfigError, match="expected one codebook of 12 units, de-duplicated"):
        UnitMel(*files).decode(codes_of(units_of(3) % 5), other)


def test_units_of_another_frame_rate_are_refused(files: tuple[Path, Path]) -> None:
    with pytest.raises(ConfigError, match="the tokenizer has 25 frames a second; expected 50"):
        UnitMel(*files).decode(codes_of(units_of(3)), Units(hop=640))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n_units": 13}, r"model\.safetensors: does not hold the weights .*size mismatch for embedding"),
        ({"mel_dilations": [1]}, r"does not hold the weights .*[Uu]nexpected key"),
        ({"mel_dilations": 2}, "expected positive whole numbers, mel_dilations a list of them"),
        ({"mel_dilations": [1, 0]}, "expected positive whole numbers"),
        ({"width": "wide"}, "expected positive whole numbers"),
        ({"kernel": 4}, "kernel odd"),
        ({"colour": 1}, "has the keys .*colour.*; expected n_units, sample_rate"),
    ],
)
def test_another_network_is_refused(files: tuple[Path, Path], change: dict[str, Any], message: str) -> None:
    files[1].write_text(json.dumps(asdict(SHAPE) | change))
    with pytest.raises(ConfigError, match=message):
        UnitMel(*files)


def test_missing_and_broken_files_are_named(files: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.safetensors: no such file"):
        UnitMel(tmp_path / "nowhere.safetensors", files[1])
    with pytest.raises(ConfigError, match=r"nowhere\.json: cannot be read as JSON"):
        UnitMel(files[0], tmp_path / "nowhere.json")
    save_file({"other": np.zeros(3, np.float32)}, files[0])
    with pytest.raises(ConfigError, match=r"model\.safetensors: does not hold the weights"):
        UnitMel(*files)
    files[0].write_bytes(b"not safetensors")
    with pytest.raises(ConfigError, match=r"model\.safetensors: does not hold the weights"):
        UnitMel(*files)
