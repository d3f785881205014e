"""Acoustic tokens: what the codes are, where they lie, and what stands in a codebook file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from safetensors.numpy import save_file

from spokeneval.errors import ConfigError, ItemError
from spokeneval.tokenizers import mel
from spokeneval.tokenizers.base import Codes
from spokeneval.tokenizers.codebook import nearest
from spokeneval.tokenizers.mel_rvq import VECTOR_SIZE, MelRVQ, stacked_mel


def tone(n_samples: int, hertz: float = 440.0, level: float = 0.2) -> NDArray[np.float32]:
    return (level * np.sin(2 * np.pi * hertz * np.arange(n_samples) / mel.SAMPLE_RATE)).astype(np.float32)


def noise(n_samples: int, seed: int = 0) -> NDArray[np.float32]:
    return (0.1 * np.random.default_rng(seed).standard_normal(n_samples)).astype(np.float32)


def write_codebook(path: Path, seed: int = 0, n_stages: int = 2, n_codes: int = 4) -> Path:
    rng = np.random.default_rng(seed)
    mean = np.full(VECTOR_SIZE, -3.0, np.float32)
    save_file({"mean": mean, "codebooks": rng.normal(size=(n_stages, n_codes, VECTOR_SIZE)).astype(np.float32)}, path)
    return path


@pytest.fixture
def tokenizer(tmp_path: Path) -> MelRVQ:
    return MelRVQ(write_codebook(tmp_path / "codebook.safetensors"))


def test_info_is_read_off_the_codebook(tokenizer: MelRVQ) -> None:
    assert tokenizer.info.codebook_sizes == (4, 4)
    assert tokenizer.info.frame_rate == pytest.approx(43.066, abs=1e-3)
    assert not tokenizer.info.deduplicated
    assert not tokenizer.info.causal


@pytest.mark.parametrize(("n_samples", "n_frames"), [(512, 1), (1023, 1), (1024, 2), (22_050, 43)])
def test_a_frame_is_512_samples_and_the_rest_is_dropped(tokenizer: MelRVQ, n_samples: int, n_frames: int) -> None:
    codes = tokenizer.encode(noise(n_samples))
    assert codes.codes.shape == (n_frames, 2)
    assert codes.codes.dtype == np.int32
    assert codes.durations is None


def test_a_clip_shorter_than_a_frame_is_refused_with_both_lengths(tokenizer: MelRVQ) -> None:
    with pytest.raises(ItemError, match=r"511 samples at 22050 Hz, one frame needs 512 \(23 ms\)"):
        tokenizer.encode(noise(511))


def test_codes_do_not_depend_on_level_or_on_what_was_encoded_before(tokenizer: MelRVQ) -> None:
    clip = noise(8000, seed=1)
    alone = tokenizer.encode(clip).codes
    tokenizer.encode(noise(9000, seed=2))
    np.testing.assert_array_equal(tokenizer.encode(clip).codes, alone)
    # a factor of two is exact in floating point
    np.testing.assert_array_equal(tokenizer.encode(clip * np.float32(0.5)).codes, alone)


def test_silence_has_codes(tokenizer: MelRVQ) -> None:
    codes = tokenizer.encode(np.zeros(2048, np.float32)).codes
    assert len(np.unique(codes, axis=0)) == 1


def test_stages_quantise_what_the_stages_before_left(tmp_path: Path) -> None:
    # by hand: mean 0, stage one {0, 10}, stage two {-1, 0, 2} in every dimension
    stages = np.stack([np.full((3, VECTOR_SIZE), v, np.float32) for v in (0.0, 0.0)])
    stages[0] = np.array([0, 10, 100])[:, None]
    stages[1] = np.array([-1, 0, 2])[:, None]
    save_file({"mean": np.zeros(VECTOR_SIZE, np.float32), "codebooks": stages}, tmp_path / "c.safetensors")
    tokenizer = MelRVQ(tmp_path / "c.safetensors")
    vectors = np.array([9.2, 0.1, 11.8], np.float32)[:, None].repeat(VECTOR_SIZE, axis=1)
    codes = tokenizer.quantise(vectors)
    assert codes.tolist() == [[1, 0], [0, 1], [1, 2]]
    decoded = tokenizer.to_log_mel(Codes(codes, None))
    assert decoded.shape == (6, 80)
    assert decoded[::2, 0].tolist() == [9.0, 0.0, 12.0]


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=20))
def test_mel_of_codes_is_the_mean_and_the_chosen_centroids(
    tmp_path_factory: pytest.TempPathFactory, pairs: list
) -> None:
    path = write_codebook(tmp_path_factory.mktemp("codebook") / "c.safetensors", seed=3)
    tokenizer = MelRVQ(path)
    codes = np.array(pairs, np.int32)
    got = tokenizer.to_log_mel(Codes(codes, None)).reshape(-1, VECTOR_SIZE)
    stages = tokenizer._stages
    for row, (first, second) in zip(got, pairs, strict=True):
        np.testing.assert_allclose(row, -3.0 + stages[0][first] + stages[1][second], atol=1e-6)


def test_nothing_to_decode_is_an_items_error(tokenizer: MelRVQ) -> None:
    with pytest.raises(ItemError, match="no codes"):
        tokenizer.to_log_mel(Codes(np.zeros((0, 2), np.int32), None))


def test_nearest_is_the_lowest_index_where_two_are_equally_near() -> None:
    centroids = np.array([[1.0], [-1.0], [1.0]], np.float32)
    assert nearest(np.array([[0.0], [0.9], [-5.0]], np.float32), centroids).tolist() == [0, 0, 1]


def test_nearest_does_not_depend_on_how_many_vectors_are_given() -> None:
    rng = np.random.default_rng(0)
    vectors, centroids = (rng.normal(size=(n, 160)).astype(np.float32) for n in (200, 256))
    together = nearest(vectors, centroids)
    assert [int(nearest(v[None], centroids)[0]) for v in vectors] == together.tolist()


def test_log_mel_peaks_in_the_band_of_a_tone() -> None:
    frames = mel.log_mel(tone(22_050, hertz=1000.0))
    assert frames.shape == (86, 80)
    # Slaney: 1000 Hz is mel 15 of 45.2 at 8000 Hz; band b is centred on (b + 1) * 45.2 / 81
    assert abs(int(np.median(frames.argmax(axis=1))) - (15 / 45.245 * 81 - 1)) <= 1
    assert frames.min() >= mel.FLOOR


def test_frame_t_is_centred_on_sample_256_t_plus_128() -> None:
    click = np.zeros(256 * 21, np.float32)
    click[256 * 10 + 128] = 1.0
    energy = np.exp(mel.log_mel(click, floor=-20.0)).sum(axis=1)
    assert int(energy.argmax()) == 10
    np.testing.assert_allclose(energy[9], energy[11], rtol=1e-3)


def test_level_is_normalised_to_rms_a_tenth_unless_the_peak_forbids() -> None:
    steady = mel.normalise_level(tone(4000, level=0.9))
    assert np.sqrt(np.mean(steady**2)) == pytest.approx(0.1, rel=1e-4)
    spike = np.zeros(4000, np.float32)
    spike[7] = 0.01
    assert mel.normalise_level(spike).max() == pytest.approx(0.95)


def test_odd_mel_frames_are_dropped_and_two_are_stacked() -> None:
    clip = noise(256 * 5)
    np.testing.assert_array_equal(stacked_mel(clip), mel.log_mel(clip)[:4].reshape(2, 160))


def test_a_missing_codebook_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.safetensors: no such codebook; .* mean, codebooks"):
        MelRVQ(tmp_path / "nowhere.safetensors")


def test_a_damaged_codebook_is_named(tmp_path: Path) -> None:
    path = write_codebook(tmp_path / "c.safetensors")
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(ConfigError, match=r"c\.safetensors: cannot be read as safetensors"):
        MelRVQ(path)


def test_a_codebook_of_another_kind_says_what_it_holds(tmp_path: Path) -> None:
    save_file({"centroids": np.zeros((5, 8), np.float32)}, tmp_path / "c.safetensors")
    with pytest.raises(ConfigError, match=r"expected tensors mean, codebooks, found centroids"):
        MelRVQ(tmp_path / "c.safetensors")


def test_a_codebook_of_another_shape_says_both_shapes(tmp_path: Path) -> None:
    save_file(
        {"mean": np.zeros(80, np.float32), "codebooks": np.zeros((2, 4, 80), np.float32)}, tmp_path / "c.safetensors"
    )
    with pytest.raises(ConfigError, match=r"expected mean of shape \(160\), found \(80,\)"):
        MelRVQ(tmp_path / "c.safetensors")
