"""HuBERT units: transformers' own hidden states, the published numbers of frames, and nothing from the clip before."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.numpy import save_file
from transformers import HubertConfig, HubertModel, Wav2Vec2Config, Wav2Vec2FeatureExtractor, Wav2Vec2Model

from spokeneval.errors import ConfigError, ItemError
from spokeneval.tokenizers.base import Codes
from spokeneval.tokenizers.codebook import nearest
from spokeneval.tokenizers.hubert_kmeans import HubertKMeans, receptive_field

SIZE = 16
N_LAYERS = 3
N_UNITS = 6
AT_50_HZ = {"conv_kernel": [10, 3, 3, 3, 3, 2, 2], "conv_stride": [5, 2, 2, 2, 2, 2, 2]}
AT_25_HZ = {"conv_kernel": [10, 3, 3, 3, 3, 2, 2, 2], "conv_stride": [5, 2, 2, 2, 2, 2, 2, 2]}
"""One more convolution: 400 + (2 - 1) * 320 = 720 samples are seen, 640 a frame."""


def clip(n_samples: int, seed: int = 0) -> NDArray[np.float32]:
    return (0.1 * np.random.default_rng(seed).standard_normal(n_samples)).astype(np.float32)


def small(convolutions: dict[str, list[int]], **more: Any) -> HubertModel:
    torch.manual_seed(0)
    sizes = {"hidden_size": SIZE, "intermediate_size": 24, "num_hidden_layers": N_LAYERS, "num_attention_heads": 2}
    positions = {"num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 2}
    n = len(convolutions["conv_kernel"])
    config = HubertConfig(conv_dim=[8] * n, num_feat_extract_layers=n, **sizes, **positions, **convolutions, **more)
    model = HubertModel(config).eval()
    for values in model.parameters():  # norms and biases start at 1 and 0, which would hide mistakes
        values.data += 0.1 * torch.randn_like(values)
    return model


@pytest.fixture(scope="module")
def slow(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, HubertModel]:
    """mHuBERT at 25 Hz, small and random."""
    model = small(AT_25_HZ)
    folder = tmp_path_factory.mktemp("mhubert")
    model.save_pretrained(folder)
    return folder, model


@pytest.fixture(scope="module")
def fast(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, HubertModel]:
    """HuBERT base at 50 Hz, small and random."""
    model = small(AT_50_HZ)
    folder = tmp_path_factory.mktemp("hubert")
    model.save_pretrained(folder)
    return folder, model


@pytest.fixture(scope="module")
def codebook(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("codebook") / "centroids.safetensors"
    save_file({"centroids": np.random.default_rng(1).standard_normal((N_UNITS, SIZE)).astype(np.float32)}, path)
    return path


@torch.inference_mode()
def hidden(model: HubertModel, samples: NDArray[np.float32], layer: int) -> NDArray[np.float32]:
    states = model(torch.from_numpy(samples)[None], output_hidden_states=True).hidden_states
    assert len(states) == N_LAYERS + 1
    found: NDArray[np.float32] = states[layer][0].numpy()
    return found


def equal(a: Codes, b: Codes) -> bool:
    same_codes = np.array_equal(a.codes, b.codes)
    return same_codes and (a.durations is b.durations is None or np.array_equal(a.durations, b.durations))


@pytest.mark.parametrize("n_samples", [719, 720, 1279, 1280, 1359, 1360, 1999, 2000, 16_000, 16_001, 31_999])
def test_mhubert_gives_the_published_number_of_frames(slow: Any, codebook: Path, n_samples: int) -> None:
    expected = {"textless": (n_samples - 720) // 640 + 1, "slamkit": n_samples // 640}
    for padding, n_frames in expected.items():
        tokenizer = HubertKMeans(slow[0], codebook, 2, padding=padding)
        if n_frames == 0:
            with pytest.raises(ItemError, match=r"too short for hubert_kmeans: 719 samples .* needs 720 \(45 ms\)"):
                tokenizer.encode(clip(n_samples))
        else:
            assert tokenizer.encode(clip(n_samples)).n_frames == n_frames


@pytest.mark.parametrize("n_samples", [400, 719, 720, 16_000, 16_079, 16_080])
def test_hubert_base_gives_the_published_number_of_frames(fast: Any, codebook: Path, n_samples: int) -> None:
    tokenizer = HubertKMeans(fast[0], codebook, 2)
    assert tokenizer.encode(clip(n_samples)).n_frames == (n_samples - 400) // 320 + 1
    assert HubertKMeans(fast[0], codebook, 2, padding="slamkit").encode(clip(n_samples)).n_frames == n_samples // 320


def test_slamkits_padding_is_forty_zeros_at_each_end(slow: Any, codebook: Path) -> None:
    samples = clip(8000)
    tokenizer = HubertKMeans(slow[0], codebook, 2, padding="slamkit")
    np.testing.assert_array_equal(tokenizer.features(samples), hidden(slow[1], np.pad(samples, 40), 2))
    with pytest.raises(ItemError, match="639 samples at 16000 Hz, one frame needs 640"):
        tokenizer.encode(clip(639))


@pytest.mark.parametrize(("convolutions", "samples", "hop"), [(AT_50_HZ, 400, 320), (AT_25_HZ, 720, 640)])
def test_hop_and_receptive_field_are_those_of_the_convolutions(
    fast: Any, slow: Any, codebook: Path, convolutions: dict[str, list[int]], samples: int, hop: int
) -> None:
    assert receptive_field(HubertConfig(**convolutions, conv_dim=[8] * len(convolutions["conv_kernel"]))) == samples
    info = HubertKMeans((fast if hop == 320 else slow)[0], codebook, 1).info
    assert (info.sample_rate, info.hop_samples, info.frame_rate) == (16_000, hop, 16_000 / hop)
    assert (info.codebook_sizes, info.deduplicated, info.causal) == ((N_UNITS,), True, False)


@pytest.mark.parametrize("layer", [1, 2, 3])
def test_features_are_the_hidden_states_of_transformers_to_the_bit(fast: Any, codebook: Path, layer: int) -> None:
    samples = clip(8000)
    tokenizer = HubertKMeans(fast[0], codebook, layer)
    np.testing.assert_array_equal(tokenizer.features(samples), hidden(fast[1], samples, layer))


@pytest.mark.parametrize("layer", [1, 2, 3])
def test_so_they_are_where_layers_are_normalised_before(tmp_path: Path, codebook: Path, layer: int) -> None:
    model = small(AT_50_HZ, do_stable_layer_norm=True, feat_extract_norm="layer", conv_bias=True)
    model.save_pretrained(tmp_path)
    samples = clip(4000)
    expected = hidden(model, samples, layer)
    np.testing.assert_array_equal(HubertKMeans(tmp_path, codebook, layer).features(samples), expected)
    with torch.inference_mode():
        last = model(torch.from_numpy(samples)[None]).last_hidden_state[0].numpy()
    assert not np.allclose(expected, last)  # the final norm is no layer's output


def test_only_the_layers_up_to_the_one_asked_for_are_kept(fast: Any, codebook: Path) -> None:
    assert len(HubertKMeans(fast[0], codebook, 2)._model.encoder.layers) == 2


def test_units_are_the_nearest_centroids_with_their_runs_merged(fast: Any, codebook: Path) -> None:
    samples = clip(16_000)
    plain = HubertKMeans(fast[0], codebook, 2, deduplicate=False).encode(samples)
    tokenizer = HubertKMeans(fast[0], codebook, 2)
    expected = nearest(hidden(fast[1], samples, 2), tokenizer._centroids)
    assert len(set(expected.tolist())) > 1
    np.testing.assert_array_equal(plain.codes[:, 0], expected)
    assert plain.durations is None
    merged = tokenizer.encode(samples)
    assert merged.durations is not None
    assert (merged.codes[1:] != merged.codes[:-1]).all()
    np.testing.assert_array_equal(np.repeat(merged.codes[:, 0], merged.durations), expected)


def test_codes_do_not_depend_on_what_was_encoded_before(slow: Any, codebook: Path) -> None:
    tokenizer = HubertKMeans(slow[0], codebook, 2)
    first = tokenizer.encode(clip(9000, 3))
    tokenizer.encode(clip(30_000, 4))
    assert equal(tokenizer.encode(clip(9000, 3)), first)
    assert equal(HubertKMeans(slow[0], codebook, 2).encode(clip(9000, 3)), first)


def test_the_folder_says_how_the_waveform_is_prepared(fast: Any, codebook: Path, tmp_path: Path) -> None:
    fast[1].save_pretrained(tmp_path)
    extractor = Wav2Vec2FeatureExtractor(sampling_rate=8_000, do_normalize=True)
    extractor.save_pretrained(tmp_path)
    tokenizer = HubertKMeans(tmp_path, codebook, 1)
    samples = clip(4000) + np.float32(0.3)
    # As textless has it: a layer norm over the clip. transformers' extractor divides by another epsilon.
    prepared = ((samples - samples.mean()) / np.sqrt(samples.var() + 1e-5)).astype(np.float32)
    assert tokenizer.info.sample_rate == 8_000
    np.testing.assert_allclose(tokenizer.features(samples), hidden(fast[1], prepared, 1), atol=1e-4)
    assert not np.allclose(tokenizer.features(samples), hidden(fast[1], samples, 1), atol=1e-3)


def test_slamkit_takes_the_waveform_as_it_is_whatever_the_folder_says(
    fast: Any, codebook: Path, tmp_path: Path
) -> None:
    fast[1].save_pretrained(tmp_path)
    Wav2Vec2FeatureExtractor(do_normalize=True).save_pretrained(tmp_path)
    samples = clip(4000) + np.float32(0.3)
    found = HubertKMeans(tmp_path, codebook, 1, padding="slamkit").features(samples)
    np.testing.assert_array_equal(found, hidden(fast[1], np.pad(samples, (40, 40)), 1))


def test_a_folder_that_says_nothing_is_not_normalised(fast: Any, codebook: Path, tmp_path: Path) -> None:
    fast[1].save_pretrained(tmp_path)
    (tmp_path / "preprocessor_config.json").write_text(json.dumps({"sampling_rate": 16_000}))
    samples = clip(4000) + np.float32(0.3)
    np.testing.assert_array_equal(HubertKMeans(tmp_path, codebook, 1).features(samples), hidden(fast[1], samples, 1))


@pytest.mark.parametrize("layer", [0, 4, -1])
def test_a_layer_that_is_not_there_is_refused(fast: Any, codebook: Path, layer: int) -> None:
    with pytest.raises(ConfigError, match=f"layer {layer} is asked for, the encoder has 1 to 3"):
        HubertKMeans(fast[0], codebook, layer)


def test_centroids_of_another_encoder_are_refused(fast: Any, tmp_path: Path) -> None:
    save_file({"centroids": np.zeros((5, 7), np.float32)}, tmp_path / "units.safetensors")
    with pytest.raises(ConfigError, match=r"centroids of size 7, but the encoder .* gives 16"):
        HubertKMeans(fast[0], tmp_path / "units.safetensors", 1)


def test_another_kind_of_encoder_is_refused(codebook: Path, tmp_path: Path) -> None:
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    positions = {"num_conv_pos_embeddings": 4, "num_conv_pos_embedding_groups": 2}
    Wav2Vec2Model(Wav2Vec2Config(**sizes, **positions, conv_dim=[8] * 7)).save_pretrained(tmp_path)
    with pytest.raises(ConfigError, match="holds a model of type 'wav2vec2'; expected 'hubert'"):
        HubertKMeans(tmp_path, codebook, 1)


def test_weights_that_lack_a_tensor_are_refused_but_for_what_training_alone_needs(
    fast: Any, codebook: Path, tmp_path: Path
) -> None:
    state = {name: values.contiguous() for name, values in fast[1].state_dict().items()}
    assert "masked_spec_embed" in state
    fast[1].save_pretrained(tmp_path, state_dict={k: v for k, v in state.items() if k != "masked_spec_embed"})
    np.testing.assert_array_equal(
        HubertKMeans(tmp_path, codebook, 1).features(clip(4000)), hidden(fast[1], clip(4000), 1)
    )
    left_out = "feature_projection.projection.weight"
    fast[1].save_pretrained(tmp_path, state_dict={k: v for k, v in state.items() if k != left_out})
    with pytest.raises(ConfigError, match=f"the weights lack 1 tensors of the hubert .* {left_out}"):
        HubertKMeans(tmp_path, codebook, 1)


def test_a_damaged_preprocessor_config_is_named(fast: Any, codebook: Path, tmp_path: Path) -> None:
    fast[1].save_pretrained(tmp_path)
    (tmp_path / "preprocessor_config.json").write_text("{")
    with pytest.raises(ConfigError, match=r"preprocessor_config\.json: cannot be read as JSON"):
        HubertKMeans(tmp_path, codebook, 1)
