"""HiFi-GAN over units: the published layout is read, and what is heard is the published computation."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch.nn import functional

from spokeneval.continuations import decode_new
from spokeneval.errors import ConfigError, ItemError
from spokeneval.tokenizers.base import Codes, TokenizerInfo
from spokeneval.vocoders.unit_hifigan import UnitHiFiGAN

SIZE, N_UNITS = 8, 20
HOP = 5 * 4 * 2
ONE_VOICE: dict[str, Any] = {
    "resblock": "1",
    "upsample_rates": [5, 4, 2],
    "upsample_kernel_sizes": [11, 8, 4],
    "upsample_initial_channel": 16,
    "resblock_kernel_sizes": [3, 7],
    "resblock_dilation_sizes": [[1, 3, 5], [1, 3, 5]],
    "num_embeddings": N_UNITS,
    "embedding_dim": SIZE,
    "model_in_dim": SIZE,
    "dur_predictor_params": {
        "encoder_embed_dim": SIZE,
        "var_pred_hidden_dim": SIZE,
        "var_pred_kernel_size": 3,
        "var_pred_dropout": 0.5,
    },
    "sampling_rate": 16_000,
    "code_hop_size": HOP,
    "f0": False,
}
"""The keys of a published config.json, with small numbers."""
VOICES = ONE_VOICE | {"multispkr": True, "num_speakers": 3, "model_in_dim": 2 * SIZE}
STYLES = VOICES | {"multistyle": True, "num_styles": 4, "model_in_dim": 3 * SIZE}

Tensors = dict[str, torch.Tensor]


class Units:
    def __init__(self, n_units: int = N_UNITS, deduplicated: bool = True, n_codebooks: int = 1, hop: int = HOP) -> None:
        self.info = TokenizerInfo(16_000, hop, (n_units,) * n_codebooks, deduplicated, causal=False)

    def encode(self, waveform: NDArray[np.float32]) -> Codes:
        raise NotImplementedError


def published(config: dict[str, Any], normalised: bool = True) -> Tensors:
    """Random tensors under the published names."""
    torch.manual_seed(0)
    tensors: Tensors = {"dict.weight": torch.randn(config["num_embeddings"], SIZE)}
    if config.get("multispkr"):
        tensors["spkr.weight"] = torch.randn(config["num_speakers"], SIZE)
    if config.get("multistyle"):
        tensors["style.weight"] = torch.randn(config["num_styles"], SIZE)

    def add(name: str, *shape: int, n_out: int) -> None:
        weight = torch.randn(*shape) * (2 / (shape[1] * shape[2])) ** 0.5
        if normalised:
            tensors[f"{name}.weight_g"] = weight.flatten(1).norm(dim=1)[:, None, None]
            tensors[f"{name}.weight_v"] = weight * 3.0  # only the direction counts
        else:
            tensors[f"{name}.weight"] = weight
        tensors[f"{name}.bias"] = 0.1 * torch.randn(n_out)

    for conv in ("conv1.0", "conv2.0"):
        tensors[f"dur_predictor.{conv}.weight"] = 0.3 * torch.randn(SIZE, SIZE, 3)
        tensors[f"dur_predictor.{conv}.bias"] = 0.1 * torch.randn(SIZE)
    for norm in ("ln1", "ln2"):
        tensors[f"dur_predictor.{norm}.weight"] = 1 + 0.1 * torch.randn(SIZE)
        tensors[f"dur_predictor.{norm}.bias"] = 0.1 * torch.randn(SIZE)
    tensors["dur_predictor.proj.weight"] = 0.3 * torch.randn(1, SIZE)
    tensors["dur_predictor.proj.bias"] = torch.tensor([1.0])
    channels = config["upsample_initial_channel"]
    add("conv_pre", channels, config["model_in_dim"], 7, n_out=channels)
    for i, kernel in enumerate(config["upsample_kernel_sizes"]):
        add(f"ups.{i}", channels, channels // 2, kernel, n_out=channels // 2)
        channels //= 2
        for j, size in enumerate(config["resblock_kernel_sizes"]):
            for part in ("convs1", "convs2"):
                for d in range(3):
                    add(f"resblocks.{2 * i + j}.{part}.{d}", channels, channels, size, n_out=channels)
    add("conv_post", 1, channels, 7, n_out=1)
    return tensors


def written(folder: Path, config: dict[str, Any], tensors: Tensors | None = None) -> tuple[Path, Path]:
    weights, path = folder / "generator.pt", folder / "config.json"
    torch.save({"generator": published(config) if tensors is None else tensors}, weights)
    path.write_text(json.dumps(config))
    return weights, path


def plain_durations(tensors: Tensors, units: NDArray[Any]) -> torch.Tensor:
    def normalised(x: torch.Tensor, norm: str) -> torch.Tensor:
        weight, bias = (tensors[f"dur_predictor.{norm}.{kind}"] for kind in ("weight", "bias"))
        return functional.layer_norm(x.T, (SIZE,), weight, bias).T

    x = tensors["dict.weight"][torch.from_numpy(units)].T
    for conv, norm in (("conv1.0", "ln1"), ("conv2.0", "ln2")):
        weight, bias = (tensors[f"dur_predictor.{conv}.{kind}"] for kind in ("weight", "bias"))
        x = normalised(functional.conv1d(x[None], weight, bias, padding=1)[0].relu(), norm)
    log = functional.linear(x.T, tensors["dur_predictor.proj.weight"], tensors["dur_predictor.proj.bias"])[:, 0]
    return (log.exp() - 1).round().long().clamp(min=1)


def plain(tensors: Tensors, config: dict[str, Any], units: NDArray[Any], speaker: int = 0, style: int = 0) -> Any:
    """The published computation, step by step."""

    def of(name: str) -> tuple[torch.Tensor, torch.Tensor]:
        if f"{name}.weight" in tensors:
            return tensors[f"{name}.weight"], tensors[f"{name}.bias"]
        v, g = tensors[f"{name}.weight_v"], tensors[f"{name}.weight_g"]
        return v * g / v.flatten(1).norm(dim=1)[:, None, None], tensors[f"{name}.bias"]

    frames = torch.from_numpy(units).repeat_interleave(plain_durations(tensors, units))
    parts = [tensors["dict.weight"][frames].T]
    if config.get("multispkr"):
        parts.append(tensors["spkr.weight"][speaker][:, None].expand(-1, len(frames)))
    if config.get("multistyle"):
        parts.append(tensors["style.weight"][style][:, None].expand(-1, len(frames)))
    x = functional.conv1d(torch.cat(parts)[None], *of("conv_pre"), padding=3)
    for i, (rate, kernel) in enumerate(zip(config["upsample_rates"], config["upsample_kernel_sizes"], strict=True)):
        x = functional.conv_transpose1d(
            functional.leaky_relu(x, 0.1), *of(f"ups.{i}"), stride=rate, padding=(kernel - rate) // 2
        )
        sums = []
        for j, size in enumerate(config["resblock_kernel_sizes"]):
            y = x
            for d, dilation in enumerate(config["resblock_dilation_sizes"][j]):
                name = f"resblocks.{2 * i + j}"
                z = functional.leaky_relu(y, 0.1)
                z = functional.conv1d(
                    z, *of(f"{name}.convs1.{d}"), padding=(size - 1) * dilation // 2, dilation=dilation
                )
                z = functional.leaky_relu(z, 0.1)
                y = functional.conv1d(z, *of(f"{name}.convs2.{d}"), padding=(size - 1) // 2) + y
            sums.append(y)
        x = sum(sums) / len(sums)
    return functional.conv1d(functional.leaky_relu(x, 0.01), *of("conv_post"), padding=3).tanh()[0, 0].numpy()


def units_of(n: int, seed: int = 0) -> NDArray[np.int32]:
    return np.random.default_rng(seed).integers(0, N_UNITS, n, dtype=np.int32)


def codes_of(units: NDArray[np.int32]) -> Codes:
    return Codes(units[:, None], np.ones(len(units), np.int32))


@pytest.mark.parametrize("normalised", [True, False])
@pytest.mark.parametrize("n_units", [1, 2, 30])
def test_sound_is_the_published_computation(tmp_path: Path, n_units: int, normalised: bool) -> None:
    tensors = published(ONE_VOICE, normalised)
    vocoder = UnitHiFiGAN(*written(tmp_path, ONE_VOICE, tensors))
    units = units_of(n_units)
    waveform = vocoder.decode(codes_of(units), Units())
    assert waveform.dtype == np.float32
    assert waveform.std() > 0.01
    np.testing.assert_allclose(waveform, plain(tensors, ONE_VOICE, units), atol=2e-5)


def test_sound_lasts_as_long_as_the_durations_that_the_network_predicts(tmp_path: Path) -> None:
    tensors = published(ONE_VOICE)
    vocoder = UnitHiFiGAN(*written(tmp_path, ONE_VOICE, tensors))
    units = units_of(40)
    durations = plain_durations(tensors, units)
    assert len(durations.unique()) > 2
    assert int(durations.min()) == 1
    np.testing.assert_array_equal(vocoder._generator.durations(torch.from_numpy(units.astype(np.int64))), durations)
    assert vocoder.decode(codes_of(units), Units()).shape == (HOP * int(durations.sum()),)


@pytest.mark.parametrize(("config", "more"), [(VOICES, {"speaker": 2}), (STYLES, {"speaker": 1, "style": 3})])
def test_voice_and_style_are_the_ones_asked_for(tmp_path: Path, config: dict[str, Any], more: dict[str, int]) -> None:
    tensors = published(config)
    files, units = written(tmp_path, config, tensors), units_of(12)
    waveform = UnitHiFiGAN(*files, **more).decode(codes_of(units), Units())
    np.testing.assert_allclose(waveform, plain(tensors, config, units, **more), atol=2e-5)
    for key in more:
        other = UnitHiFiGAN(*files, **(more | {key: 0})).decode(codes_of(units), Units())
        assert not np.allclose(waveform, other, atol=1e-3)


def test_the_same_units_give_the_same_sound(tmp_path: Path) -> None:
    vocoder = UnitHiFiGAN(*written(tmp_path, ONE_VOICE))
    first = vocoder.decode(codes_of(units_of(9)), Units())
    torch.manual_seed(9)
    vocoder.decode(codes_of(units_of(30, seed=1)), Units())
    np.testing.assert_array_equal(vocoder.decode(codes_of(units_of(9)), Units()), first)


def test_a_continuation_is_decoded_alone(tmp_path: Path) -> None:
    vocoder = UnitHiFiGAN(*written(tmp_path, ONE_VOICE))
    prompt, new = codes_of(units_of(9)), codes_of(units_of(7, seed=1))
    np.testing.assert_array_equal(decode_new(prompt, new, Units(), vocoder), vocoder.decode(new, Units()))
    assert vocoder.sample_rate == 16_000


def test_nothing_to_decode_is_an_items_error(tmp_path: Path) -> None:
    with pytest.raises(ItemError, match="no codes to decode"):
        UnitHiFiGAN(*written(tmp_path, ONE_VOICE)).decode(codes_of(units_of(0)), Units())


@pytest.mark.parametrize("other", [Units(N_UNITS + 1), Units(deduplicated=False), Units(n_codebooks=2)])
def test_units_that_the_generator_does_not_say_are_refused(tmp_path: Path, other: Units) -> None:
    vocoder = UnitHiFiGAN(*written(tmp_path, ONE_VOICE))
    with pytest.raises(ConfigError, match="expected one codebook of at most 20 units, de-duplicated"):
        vocoder.decode(codes_of(units_of(3)), other)
    assert len(vocoder.decode(codes_of(units_of(3) % 5), Units(5))) > 0  # fewer units than it knows are said


def test_units_of_another_frame_rate_are_refused(tmp_path: Path) -> None:
    vocoder = UnitHiFiGAN(*written(tmp_path, ONE_VOICE))
    with pytest.raises(ConfigError, match="the tokenizer has 800 frames a second; expected 400"):
        vocoder.decode(codes_of(units_of(3)), Units(hop=HOP // 2))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"upsample_kernel_sizes": [11, 8, 6]}, r"generator\.pt: is not the checkpoint of the generator in .*\.json"),
        ({"upsample_rates": [5, 4, 4]}, "upsample_rates make 80 samples a frame, code_hop_size says 40"),
        ({"num_embeddings": 21}, "is not the checkpoint .*size mismatch for unit_embedding"),
        ({"multispkr": True, "model_in_dim": 2 * SIZE}, "is not the checkpoint .*speaker_embedding"),
        ({"upsample_rates": "fast"}, "describes no generator that can be built"),
        ({"dur_predictor_params": None}, "lacks dur_predictor_params; .* with predicted durations"),
        ({"f0": True}, "has f0; expected a generator that needs units"),
        ({"embedder_params": {"dim": 256}}, "has embedder_params"),
        ({"model_in_dim": 80}, "model_in_dim is 80; expected 8"),
        ({"dur_predictor_params": ONE_VOICE["dur_predictor_params"] | {"var_pred_hidden_dim": 9}}, "both widths"),
    ],
)
def test_another_network_is_refused(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    files = written(tmp_path, ONE_VOICE | change, published(ONE_VOICE))
    with pytest.raises(ConfigError, match=message):
        UnitHiFiGAN(*files, speaker=0 if "multispkr" in change else None)


def test_voices_that_the_configuration_does_not_know_of_are_refused(tmp_path: Path) -> None:
    tensors = published(ONE_VOICE) | {"spkr.weight": torch.zeros(3, SIZE)}
    with pytest.raises(ConfigError, match=r"size mismatch for speaker_embedding\.weight"):
        UnitHiFiGAN(*written(tmp_path, ONE_VOICE, tensors))


def test_a_voice_must_be_named_where_there_are_several_and_only_there(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    with pytest.raises(ConfigError, match="has but one speaker; leave `speaker` out"):
        UnitHiFiGAN(*written(tmp_path / "one", ONE_VOICE), speaker=0)
    for speaker in (None, 3, -1):
        with pytest.raises(ConfigError, match=f"`speaker` is {speaker}; the generator has 0 to 2, name one"):
            UnitHiFiGAN(*written(tmp_path, VOICES), speaker=speaker)
    with pytest.raises(ConfigError, match="`style` is None; the generator has 0 to 3, name one"):
        UnitHiFiGAN(*written(tmp_path, STYLES), speaker=0)


@pytest.mark.parametrize("content", [{"discriminator": {}}, {"generator": Path("/")}, [1]])
def test_another_file_is_refused(tmp_path: Path, content: Any) -> None:
    weights, config = written(tmp_path, ONE_VOICE)
    torch.save(content, weights)
    with pytest.raises(ConfigError, match=r"generator\.pt: is not the checkpoint"):
        UnitHiFiGAN(weights, config)
    with pytest.raises(ConfigError, match=r"nowhere\.pt: no such file"):
        UnitHiFiGAN(tmp_path / "nowhere.pt", config)
