"""Codecs: transformers' own codes, whole frames only, causal where they say so, and nothing from the clip before."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soxr
import torch
from tiny_codecs import N_CODES, N_ENCODEC, N_MIMI, clip, saved, small_encodec, small_mimi

from spokeneval.audio import clip_from_pcm, to_pcm
from spokeneval.config.block import OF_THE_ORIGIN
from spokeneval.config.blocks import BLOCKS
from spokeneval.errors import ConfigError, ItemError
from spokeneval.registry import TOKENIZERS, VOCODERS
from spokeneval.tokenizers.codec import Codec
from spokeneval.tokenizers.encodec import Encodec
from spokeneval.tokenizers.mimi import Mimi
from spokeneval.tokens import encode_clip

Make = Callable[..., Codec]
FAMILIES = pytest.mark.parametrize("family", ["mimi", "encodec"])


@pytest.fixture(scope="module")
def mimi(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(small_mimi(), tmp_path_factory.mktemp("mimi"))


@pytest.fixture(scope="module")
def encodec(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(small_encodec(), tmp_path_factory.mktemp("encodec"))


@pytest.fixture(scope="module")
def make(mimi: Path, encodec: Path) -> Make:
    folders = {"mimi": (Mimi, mimi), "encodec": (Encodec, encodec)}

    def of(family: str, n_codebooks: int = 4, **options: Any) -> Codec:
        kind, folder = folders[family]
        return kind(folder, n_codebooks, **options)

    return of


def test_info_is_that_of_the_checkpoint(make: Make) -> None:
    info = make("mimi").info
    assert (info.sample_rate, info.hop_samples, info.frame_rate) == (24_000, 1_920, 12.5)
    assert (info.codebook_sizes, info.deduplicated, info.causal) == ((N_CODES,) * 4, False, True)
    info = make("encodec", 3).info
    assert (info.sample_rate, info.hop_samples, info.frame_rate) == (24_000, 320, 75.0)
    assert (info.codebook_sizes, info.deduplicated, info.causal) == ((N_CODES,) * 3, False, True)


@FAMILIES
def test_every_started_frame_counts(make: Make, family: str) -> None:
    codec = make(family)
    hop = codec.info.hop_samples
    for n_samples in (1, 2, hop - 1, hop, hop + 1, 10 * hop - 1, 10 * hop, 10 * hop + 1):
        codes = codec.encode(clip(n_samples))
        assert codes.codes.shape == (-(-n_samples // hop), 4)
        assert codes.codes.dtype == np.int32
        assert codes.durations is None
        assert 0 <= codes.codes.min() <= codes.codes.max() < N_CODES


def test_mimis_codes_are_those_of_transformers(mimi: Path, make: Make) -> None:
    samples = torch.from_numpy(clip(20_000))
    with torch.inference_mode():
        expected = small_mimi().encode(samples[None, None], num_quantizers=4).audio_codes[0].T
    assert len(np.unique(expected)) > 20
    np.testing.assert_array_equal(make("mimi").encode(samples.numpy()).codes, expected)


def test_encodecs_codes_are_those_of_transformers(make: Make) -> None:
    samples = torch.from_numpy(clip(10_000))
    with torch.inference_mode():
        expected = small_encodec().encode(samples[None, None], bandwidth=1.8).audio_codes[0, 0].T
    assert len(np.unique(expected)) > 20
    np.testing.assert_array_equal(make("encodec").encode(samples.numpy()).codes, expected)


@pytest.mark.parametrize(("family", "n_most"), [("mimi", N_MIMI), ("encodec", N_ENCODEC)])
def test_the_first_codebooks_are_the_same_however_many_are_asked_for(make: Make, family: str, n_most: int) -> None:
    samples = clip(30_000)
    every = make(family, n_most).encode(samples).codes
    for n in range(1, n_most):
        np.testing.assert_array_equal(make(family, n).encode(samples).codes, every[:, :n])


@pytest.mark.parametrize(("n_codebooks", "bandwidth"), [(1, 0.9), (2, 0.9), (3, 1.8), (4, 1.8), (5, 3.6), (8, 3.6)])
def test_encodec_is_asked_for_the_lowest_bandwidth_that_has_enough(
    encodec: Path, n_codebooks: int, bandwidth: float
) -> None:
    assert Encodec(encodec, n_codebooks)._bandwidth == bandwidth


@pytest.mark.parametrize(("family", "n_least_frames"), [("mimi", 1), ("encodec", 7)])
@pytest.mark.parametrize("off", [0, 1, 77])
def test_a_causal_codec_gives_equal_codes_for_all_whole_frames_before_a_change(
    make: Make, family: str, n_least_frames: int, off: int
) -> None:
    codec = make(family)
    assert codec.info.causal
    hop = codec.info.hop_samples
    for n_frames in (n_least_frames, n_least_frames + 1, n_least_frames + 5):
        cut = n_frames * hop + off
        one, other = clip(cut + 6 * hop), clip(cut + 6 * hop)
        other[cut:] = clip(6 * hop, seed=1)
        first, second = codec.encode(one).codes, codec.encode(other).codes
        np.testing.assert_array_equal(first[:n_frames], second[:n_frames])
        assert (first[n_frames + 1 :] != second[n_frames + 1 :]).any()
        # a prompt that is its own file: whole frames are those of the clip
        np.testing.assert_array_equal(codec.encode(one[:cut]).codes[:n_frames], first[:n_frames])


def test_what_encodec_sees_ahead_at_the_beginning_is_as_documented() -> None:
    encoder = small_encodec().encoder
    samples = torch.from_numpy(clip(320 * 20))[None, None]
    seen = {}
    with torch.inference_mode():
        whole = encoder(samples)
        for cut in range(1, 12):
            changed = samples.clone()
            changed[..., cut * 320 :] = torch.from_numpy(clip(320 * (20 - cut), seed=1))
            differs = (encoder(changed) - whole).abs().amax(dim=(0, 1)) > 0
            seen[cut] = torch.nonzero(differs[:cut]).flatten().tolist()
    ahead = {1: [0], 2: [0, 1], 3: [0, 1, 2], 4: [0, 1, 2], 5: [0, 1], 6: [0]}
    assert seen == {cut: ahead.get(cut, []) for cut in range(1, 12)}


def test_an_encodec_that_is_not_causal_says_so(tmp_path: Path) -> None:
    codec = Encodec(saved(small_encodec(use_causal_conv=False), tmp_path), 4)
    assert not codec.info.causal
    one, other = clip(320 * 30), clip(320 * 30)
    other[320 * 20 :] = clip(320 * 10, seed=1)
    assert (codec.encode(one).codes[:20] != codec.encode(other).codes[:20]).any()


@FAMILIES
def test_codes_do_not_depend_on_what_was_encoded_or_decoded_before(make: Make, family: str) -> None:
    codec = make(family)
    first = codec.encode(clip(9_000, 3))
    codec.decode(codec.encode(clip(30_000, 4)))
    np.testing.assert_array_equal(codec.encode(clip(9_000, 3)).codes, first.codes)
    np.testing.assert_array_equal(make(family).encode(clip(9_000, 3)).codes, first.codes)


def test_a_checkpoint_that_asks_for_streaming_keeps_nothing_either(tmp_path: Path, make: Make) -> None:
    codec = Mimi(saved(small_mimi(use_streaming=True), tmp_path), 4)
    for _ in range(2):
        np.testing.assert_array_equal(codec.encode(clip(9_000)).codes, make("mimi").encode(clip(9_000)).codes)


@pytest.mark.parametrize(("max_s", "n_samples"), [(0.5, 12_000), (0.29, 6_960), (20, 30_000)])
@FAMILIES
def test_only_the_first_seconds_are_encoded(make: Make, family: str, max_s: float, n_samples: int) -> None:
    samples = clip(30_000)
    found = make(family, max_s=max_s).encode(samples)
    np.testing.assert_array_equal(found.codes, make(family).encode(samples[:n_samples]).codes)


@pytest.mark.parametrize(("resampler", "quality"), [("soxr_vhq", "VHQ"), ("soxr_hq", "HQ")])
@FAMILIES
def test_clips_are_resampled_as_the_tokenizer_says(make: Make, family: str, resampler: str, quality: str) -> None:
    stored = clip_from_pcm(to_pcm(clip(16_001) / 4, "PCM_16"), 16_000)
    codec = make(family, resampler=resampler)
    assert codec.info.resampler == resampler
    heard = []
    encode = codec.encode
    codec.encode = lambda waveform: heard.append(waveform) or encode(waveform)
    row = encode_clip(codec, stored.clip_id, stored.flac)
    expected = soxr.resample(
        to_pcm(clip(16_001) / 4, "PCM_16").astype(np.float32) / 2**15, 16_000, 24_000, quality=quality
    )
    np.testing.assert_array_equal(heard[0], expected)
    np.testing.assert_array_equal(row["codes"], encode(expected).codes.reshape(-1))


@FAMILIES
def test_sound_of_codes_is_exactly_frames_times_hop(make: Make, family: str) -> None:
    codec = make(family)
    for n_frames in (1, 2, 9):
        codes = codec.encode(clip(n_frames * codec.info.hop_samples))
        waveform = codec.decode(codes)
        assert waveform.shape == (n_frames * codec.info.hop_samples,)
        assert waveform.dtype == np.float32
        assert np.isfinite(waveform).all()
        assert waveform.std() > 0


@FAMILIES
def test_nothing_to_encode_or_decode_is_an_items_error(make: Make, family: str) -> None:
    codec = make(family)
    with pytest.raises(ItemError, match="no samples to encode"):
        codec.encode(clip(0))
    with pytest.raises(ItemError, match="no codes to decode"):
        codec.decode(codec.encode(clip(10)).take(np.zeros(0, int)))


@pytest.mark.parametrize(
    ("family", "n", "most"), [("mimi", 0, 6), ("mimi", 7, 6), ("encodec", 0, 8), ("encodec", 9, 8)]
)
def test_more_codebooks_than_there_are_are_refused(make: Make, family: str, n: int, most: int) -> None:
    with pytest.raises(ConfigError, match=f"n_codebooks is {n}; expected 1 to {most}"):
        make(family, n)


@pytest.mark.parametrize(
    "other",
    [
        {
            "audio_channels": 2,
            "chunk_length_s": 1.0,
            "overlap": 0.01,
            "normalize": True,
            "norm_type": "time_group_norm",
        },
        {"normalize": True},
        {"chunk_length_s": 1.0, "overlap": 0.01},
    ],
)
def test_the_stereo_and_chunked_encodec_is_refused(tmp_path: Path, other: dict[str, Any]) -> None:
    folder = saved(small_encodec(**other), tmp_path)
    with pytest.raises(ConfigError, match="expected the 24 kHz model: 1 channel, no chunks, no normalisation"):
        Encodec(folder, 2)


def test_one_codec_is_not_taken_for_another(mimi: Path, encodec: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="holds a model of type 'encodec'; expected 'mimi'"):
        Mimi(encodec, 4)
    with pytest.raises(ConfigError, match="holds a model of type 'mimi'; expected 'encodec'"):
        Encodec(mimi, 4)
    with pytest.raises(ConfigError, match="does not exist; expected a folder with"):
        Mimi(tmp_path / "nowhere", 4)


def test_a_codec_whose_weights_are_not_whole_is_refused(tmp_path: Path) -> None:
    model = small_mimi()
    state = {name: values.contiguous() for name, values in model.state_dict().items() if "downsample" not in name}
    model.save_pretrained(tmp_path, state_dict=state)
    with pytest.raises(ConfigError, match="the weights lack 1 tensors of the mimi"):
        Mimi(tmp_path, 4)


@pytest.mark.parametrize(
    ("section", "kind"),
    [("tokenizers", kind) for kind in ("hubert_kmeans", "mimi", "encodec", "speech_tokenizer")]
    + [("vocoders", kind) for kind in ("codec", "unit_hifigan")],
)
def test_the_keys_of_a_block_are_the_arguments_of_its_family(section: str, kind: str) -> None:
    fields = BLOCKS[section][kind].model_fields
    families = {"tokenizers": TOKENIZERS, "vocoders": VOCODERS}
    arguments = inspect.signature(families[section].load(kind)).parameters
    assert set(fields) - {"kind", "revision", *OF_THE_ORIGIN} == set(arguments)
    defaults = {name: field.default for name, field in fields.items() if name in arguments and not field.is_required()}
    assert defaults == {name: a.default for name, a in arguments.items() if a.default is not inspect.Parameter.empty}
