"""UTMOS with small random weights under the names of the published ones, against the network written out by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch.nn import functional

from spokeneval.errors import ConfigError, ItemError
from spokeneval.judges.utmos import FILE, UTMOS

RATE = 16_000
ENCODER = "feature_extractors.0.ssl_model."
WIDTH, HEADS, HIDDEN = 128, 2, 6
KERNELS = (10, 3, 3, 3, 3, 2, 2)
STRIDES = (5, 2, 2, 2, 2, 2, 2)
State = dict[str, torch.Tensor]


def small_weights() -> State:
    """Two layers of width 128; every weight and bias random, so that none can be left out unnoticed."""
    torch.manual_seed(0)
    shapes = {f"feature_extractor.conv_layers.{n}.0.weight": (8, 8 if n else 1, k) for n, k in enumerate(KERNELS)}
    shapes |= {
        "feature_extractor.conv_layers.0.2.weight": (8,),
        "feature_extractor.conv_layers.0.2.bias": (8,),
        "layer_norm.weight": (8,),
        "layer_norm.bias": (8,),
        "post_extract_proj.weight": (WIDTH, 8),
        "post_extract_proj.bias": (WIDTH,),
        "encoder.pos_conv.0.weight_g": (1, 1, 6),
        "encoder.pos_conv.0.weight_v": (WIDTH, WIDTH // 4, 6),
        "encoder.pos_conv.0.bias": (WIDTH,),
        "encoder.layer_norm.weight": (WIDTH,),
        "encoder.layer_norm.bias": (WIDTH,),
        "mask_emb": (WIDTH,),
    }
    for layer in range(2):
        inner = {f"self_attn.{name}_proj": (WIDTH, WIDTH) for name in "kvq"}
        inner |= {"self_attn.out_proj": (WIDTH, WIDTH), "fc1": (32, WIDTH), "fc2": (WIDTH, 32)}
        inner |= {"self_attn_layer_norm": (WIDTH,), "final_layer_norm": (WIDTH,)}
        for name, shape in inner.items():
            shapes[f"encoder.layers.{layer}.{name}.weight"] = shape
            shapes[f"encoder.layers.{layer}.{name}.bias"] = shape[:1]
    shapes = {ENCODER + name: shape for name, shape in shapes.items()}
    shapes |= {"feature_extractors.1.embedding.weight": (3, 4), "output_layers.0.judge_embedding.weight": (300, 5)}
    for direction in ("", "_reverse"):
        shapes[f"output_layers.0.decoder_rnn.weight_ih_l0{direction}"] = (4 * HIDDEN, WIDTH + 9)
        shapes[f"output_layers.0.decoder_rnn.weight_hh_l0{direction}"] = (4 * HIDDEN, HIDDEN)
        shapes[f"output_layers.0.decoder_rnn.bias_ih_l0{direction}"] = (4 * HIDDEN,)
        shapes[f"output_layers.0.decoder_rnn.bias_hh_l0{direction}"] = (4 * HIDDEN,)
    shapes |= {"output_layers.1.net.0.weight": (7, 2 * HIDDEN), "output_layers.1.net.0.bias": (7,)}
    shapes |= {"output_layers.1.net.3.weight": (1, 7), "output_layers.1.net.3.bias": (1,)}
    return {name: torch.randn(shape) * (0.3 if len(shape) < 3 else 0.5) for name, shape in shapes.items()}


def by_hand(state: State, waveform: NDArray[np.float32]) -> float:
    """The score by the paper's network, from functions alone."""
    w = {name.removeprefix(ENCODER): weight for name, weight in state.items()}

    def norm(x: torch.Tensor, name: str) -> torch.Tensor:
        return functional.layer_norm(x, x.shape[-1:], w[f"{name}.weight"], w[f"{name}.bias"])

    def linear(x: torch.Tensor, name: str) -> torch.Tensor:
        return functional.linear(x, w[f"{name}.weight"], w[f"{name}.bias"])

    x = torch.from_numpy(waveform)[None, None]
    for n, stride in enumerate(STRIDES):
        x = functional.conv1d(x, w[f"feature_extractor.conv_layers.{n}.0.weight"], stride=stride)
        if n == 0:
            name = "feature_extractor.conv_layers.0.2"
            x = functional.group_norm(x, 8, w[f"{name}.weight"], w[f"{name}.bias"])
        x = functional.gelu(x)
    x = linear(norm(x.transpose(1, 2), "layer_norm"), "post_extract_proj")
    v = w["encoder.pos_conv.0.weight_v"]
    kernel = w["encoder.pos_conv.0.weight_g"] * v / v.square().sum((0, 1), keepdim=True).sqrt()
    near = functional.conv1d(x.transpose(1, 2), kernel, w["encoder.pos_conv.0.bias"], padding=3, groups=4)[..., :-1]
    x = norm(x + functional.gelu(near).transpose(1, 2), "encoder.layer_norm")
    for layer in range(2):
        name = f"encoder.layers.{layer}"
        q, k, v = (
            linear(x, f"{name}.self_attn.{which}_proj").unflatten(2, (HEADS, -1)).transpose(1, 2) for which in "qkv"
        )
        weights = torch.softmax(q @ k.transpose(2, 3) / (WIDTH // HEADS) ** 0.5, dim=-1)
        x = norm(x + linear((weights @ v).transpose(1, 2).flatten(2), f"{name}.self_attn.out_proj"), f"{name}.self_attn_layer_norm")  # fmt: skip # noqa: E501
        x = norm(x + linear(functional.gelu(linear(x, f"{name}.fc1")), f"{name}.fc2"), f"{name}.final_layer_norm")
    domain = w["feature_extractors.1.embedding.weight"][0]
    listener = w["output_layers.0.judge_embedding.weight"][288]
    x = torch.cat([x, torch.cat([domain, listener]).expand(1, x.shape[1], 9)], dim=2)
    lstm = torch.nn.LSTM(WIDTH + 9, HIDDEN, batch_first=True, bidirectional=True)
    prefix = "output_layers.0.decoder_rnn."
    lstm.load_state_dict({name.removeprefix(prefix): v for name, v in w.items() if name.startswith(prefix)})
    inner = torch.relu(linear(lstm(x)[0], "output_layers.1.net.0"))
    return float(linear(inner, "output_layers.1.net.3").mean() * 2 + 3)


def noise(seed: int, seconds: float) -> NDArray[np.float32]:
    return (0.1 * np.random.default_rng(seed).standard_normal(round(seconds * RATE))).astype(np.float32)


CLIPS = [noise(0, 0.5), noise(1, 1.3), noise(2, 0.777)]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("utmos") / FILE
    torch.save(small_weights(), path)
    return path


def test_the_score_is_that_of_the_network_written_out(weights: Path) -> None:
    found = UTMOS(weights).score(CLIPS)
    with torch.no_grad():
        expected = [by_hand(small_weights(), clip) for clip in CLIPS]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)
    assert np.ptp(found) > 1e-3


def test_a_folder_is_as_good_as_its_file_and_each_clip_is_heard_alone(weights: Path) -> None:
    judge = UTMOS(weights.parent)
    together = judge.score(CLIPS)
    assert together.dtype == np.float32
    np.testing.assert_array_equal(judge.score(CLIPS[::-1])[::-1], together)
    np.testing.assert_array_equal(judge.score(CLIPS[1:2]), together[1:2])
    np.testing.assert_array_equal(UTMOS(weights, crop_s=0.5).score([CLIPS[1]]), judge.score([CLIPS[1][: RATE // 2]]))
    with pytest.raises(ItemError, match="silent"):
        judge.score([np.zeros(RATE, np.float32)])
    with pytest.raises(ItemError, match="too short"):
        judge.score([noise(0, 0.3)])


def test_with_sizes_as_published_it_gives_the_score_of_the_package(tmp_path: Path) -> None:
    package = pytest.importorskip("utmos_pytorch.utmos_torch")
    torch.manual_seed(0)
    torch.save(package.UTMOSModel().state_dict(), tmp_path / FILE)
    own = package.UTMOSScoreTorch(str(tmp_path / FILE))
    expected = [float(own.score(torch.from_numpy(clip))) for clip in CLIPS]
    np.testing.assert_allclose(UTMOS(tmp_path).score(CLIPS), expected, rtol=0, atol=2e-6)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda state: state.pop("output_layers.0.decoder_rnn.weight_ih_l0"), "no 'output_layers.0.decoder_rnn"),
        (lambda state: state.pop(f"{ENCODER}encoder.layers.1.fc2.bias"), "another network"),
        (lambda state: state.update(surprise=torch.zeros(1)), "another network"),
        (lambda state: state.pop(f"{ENCODER}post_extract_proj.weight"), "another network"),
        (
            lambda state: state.update({"output_layers.0.judge_embedding.weight": torch.zeros(100, 5)}),
            "fewer than 289 listeners",
        ),
        (lambda state: state.update(epoch=3), "not a table of weights"),
    ],
)
def test_other_weights_are_refused(change: object, match: str, tmp_path: Path) -> None:
    state = small_weights()
    change(state)  # type: ignore[operator]
    torch.save(state, tmp_path / "w.pt")
    with pytest.raises(ConfigError, match=match):
        UTMOS(tmp_path / "w.pt")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=rf"no weights at .*{FILE}"):
        UTMOS(tmp_path)
