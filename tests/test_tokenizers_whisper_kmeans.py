"""Semantic tokens: the encoder agrees with the one of transformers, units keep their durations."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.numpy import save_file
from transformers import WhisperConfig, WhisperFeatureExtractor, WhisperModel

from spokeneval.errors import ConfigError, ItemError
from spokeneval.tokenizers.ctranslate2 import WhisperEncoder, read_arrays
from spokeneval.tokenizers.whisper_kmeans import WhisperKMeans

N_FRAMES = 50
SIZE = 128


def speech_like(n_samples: int, seed: int = 0) -> NDArray[np.float32]:
    """Noise whose spectrum changes every 100 ms."""
    rng = np.random.default_rng(seed)
    parts = [
        np.convolve(rng.standard_normal(1600), rng.standard_normal(8), "same") for _ in range(n_samples // 1600 + 1)
    ]
    return (0.05 * np.concatenate(parts)[:n_samples]).astype(np.float32)


def write_ct2(path: Path, arrays: dict[str, NDArray[Any]], aliases: dict[str, str], version: int = 6) -> None:
    """The binary model of CTranslate2, as its converter writes it."""

    def string(text: str) -> bytes:
        return struct.pack("<H", len(text) + 1) + text.encode() + b"\0"

    kinds = {np.dtype("<f4"): 0, np.dtype("i1"): 1, np.dtype("<i2"): 2, np.dtype("<i4"): 3, np.dtype("<f2"): 4}
    out = struct.pack("<I", version) + string("WhisperSpec") + struct.pack("<II", 3, len(arrays))
    for name, values in arrays.items():
        out += string(name) + struct.pack("<B", values.ndim) + struct.pack(f"<{values.ndim}I", *values.shape)
        out += struct.pack("<BI", kinds[values.dtype], values.nbytes) + values.tobytes()
    out += struct.pack("<I", len(aliases)) + b"".join(string(a) + string(b) for a, b in aliases.items())
    path.write_bytes(out)


@pytest.fixture(scope="module")
def reference() -> WhisperModel:
    """A small random Whisper whose positions are those of one second, so that it needs no padding."""
    torch.manual_seed(0)
    encoder = {"encoder_layers": 2, "encoder_attention_heads": 2, "encoder_ffn_dim": 96, "num_mel_bins": 80}
    decoder = {"decoder_layers": 1, "decoder_attention_heads": 2, "decoder_ffn_dim": 32, "vocab_size": 32}
    marks = {"pad_token_id": 0, "bos_token_id": 0, "eos_token_id": 0, "decoder_start_token_id": 0}
    config = WhisperConfig(d_model=SIZE, max_source_positions=N_FRAMES, **encoder, **decoder, **marks)
    model = WhisperModel(config).eval()
    for values in model.encoder.parameters():  # biases and norms start at 0 and 1, which would hide mistakes
        values.data += 0.05 * torch.randn_like(values)
    return model


@pytest.fixture(scope="module")
def folder(reference: WhisperModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    weights = {name: values.numpy().astype("<f4") for name, values in reference.encoder.state_dict().items()}
    arrays = {"encoder/position_encodings/encodings": weights["embed_positions.weight"]}
    for conv in ("conv1", "conv2"):
        arrays |= {f"encoder/{conv}/{kind}": weights[f"{conv}.{kind}"] for kind in ("weight", "bias")}
    for i in range(2):
        source, target = f"layers.{i}.", f"encoder/layer_{i}/"
        heads = [f"{source}self_attn.{name}_proj" for name in "qkv"]
        arrays[f"{target}self_attention/linear_0/weight"] = np.concatenate([weights[f"{h}.weight"] for h in heads])
        biases = [weights.get(f"{h}.bias", np.zeros(SIZE, "<f4")) for h in heads]
        arrays[f"{target}self_attention/linear_0/bias"] = np.concatenate(biases)
        linears = {"self_attn.out_proj": "self_attention/linear_1", "fc1": "ffn/linear_0", "fc2": "ffn/linear_1"}
        for theirs, ours in linears.items():
            arrays |= {f"{target}{ours}/{kind}": weights[f"{source}{theirs}.{kind}"] for kind in ("weight", "bias")}
        norms = {"self_attn_layer_norm": "self_attention/layer_norm", "final_layer_norm": "ffn/layer_norm"}
        for theirs, ours in norms.items():
            arrays[f"{target}{ours}/gamma"] = weights[f"{source}{theirs}.weight"]
            arrays[f"{target}{ours}/beta"] = weights[f"{source}{theirs}.bias"]
    path = tmp_path_factory.mktemp("whisper")
    write_ct2(path / "model.bin", arrays, {"encoder/alias": "encoder/conv1/bias"})
    return path


@pytest.fixture
def tokenizer(folder: Path, tmp_path: Path) -> WhisperKMeans:
    features = WhisperEncoder(folder, 2)(speech_like(16_000)).numpy()
    save_file({"centroids": features[::5].copy()}, tmp_path / "units.safetensors")
    return WhisperKMeans(folder, tmp_path / "units.safetensors", layer=2)


@pytest.mark.parametrize("n_layers", [1, 2])
def test_features_are_those_of_transformers(reference: WhisperModel, folder: Path, n_layers: int) -> None:
    clip = speech_like(16_000)
    extractor = WhisperFeatureExtractor(chunk_length=1)
    inputs = extractor(clip, sampling_rate=16_000, return_tensors="pt").input_features
    ours = WhisperEncoder(folder, n_layers)(clip)
    assert ours.shape == (N_FRAMES, SIZE)
    with torch.inference_mode():
        hidden = reference.encoder(inputs, output_hidden_states=True).hidden_states
        if n_layers == 2:  # transformers gives the last layer after the final norm only
            ours = reference.encoder.layer_norm(ours)
    expected = hidden[n_layers][0]
    torch.testing.assert_close(ours, expected, atol=2e-4, rtol=1e-3)


def test_durations_sum_to_the_frames_of_the_clip(tokenizer: WhisperKMeans) -> None:
    for n_samples in (640, 1000, 8000, 16_000):
        codes = tokenizer.encode(speech_like(n_samples))
        assert codes.durations is not None
        assert codes.n_frames == n_samples // 320
        assert codes.codes.shape == (len(codes.durations), 1)
        assert (codes.durations >= 1).all()
        assert (codes.codes[1:] != codes.codes[:-1]).all()


def test_codes_are_the_same_each_time(tokenizer: WhisperKMeans) -> None:
    clip = speech_like(9000, seed=4)
    first = tokenizer.encode(clip)
    tokenizer.encode(speech_like(12_000, seed=5))
    again = tokenizer.encode(clip)
    np.testing.assert_array_equal(first.codes, again.codes)
    np.testing.assert_array_equal(first.durations, again.durations)


def test_samples_beyond_the_last_whole_frame_do_not_count(tokenizer: WhisperKMeans) -> None:
    clip = speech_like(3200 + 319)
    np.testing.assert_array_equal(tokenizer.encode(clip).codes, tokenizer.encode(clip[:3200]).codes)


def test_info_says_what_the_units_are(tokenizer: WhisperKMeans) -> None:
    assert tokenizer.info.frame_rate == 50.0
    assert tokenizer.info.codebook_sizes == (10,)
    assert tokenizer.info.deduplicated
    assert not tokenizer.info.causal


@pytest.mark.parametrize(("n_samples", "message"), [(639, "too short .* 639 samples"), (16_320, r"too long .* 1\.0 s")])
def test_clips_that_do_not_fit_are_items_errors(tokenizer: WhisperKMeans, n_samples: int, message: str) -> None:
    with pytest.raises(ItemError, match=message):
        tokenizer.encode(speech_like(n_samples))


def test_centroids_of_another_encoder_are_refused(folder: Path, tmp_path: Path) -> None:
    save_file({"centroids": np.zeros((5, 7), np.float32)}, tmp_path / "units.safetensors")
    with pytest.raises(ConfigError, match=r"centroids of size 7, but the encoder .* gives 128"):
        WhisperKMeans(folder, tmp_path / "units.safetensors", layer=1)


def test_a_layer_that_the_encoder_does_not_have_is_refused(folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"model\.bin: expected a Whisper encoder of at least 3 layers, found 2"):
        WhisperEncoder(folder, 3)


def test_aliases_and_half_precision_are_read(tmp_path: Path) -> None:
    values = np.array([[1.5, -2.0]], "<f2")
    write_ct2(tmp_path / "model.bin", {"a": values, "b": np.array(3, "<i4")}, {"c": "a"})
    arrays = read_arrays(tmp_path / "model.bin")
    np.testing.assert_array_equal(arrays["c"], values)
    assert arrays["b"].shape == ()


def test_a_missing_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"model\.bin: no such file"):
        WhisperEncoder(tmp_path, 1)


def test_another_version_is_refused(tmp_path: Path) -> None:
    write_ct2(tmp_path / "model.bin", {}, {}, version=5)
    with pytest.raises(ConfigError, match="binary version 6, found 5"):
        read_arrays(tmp_path / "model.bin")


def test_a_cut_off_model_is_refused(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "model.bin").write_bytes((folder / "model.bin").read_bytes()[:-5000])
    with pytest.raises(ConfigError, match="is not a whole CTranslate2 model"):
        read_arrays(tmp_path / "model.bin")
