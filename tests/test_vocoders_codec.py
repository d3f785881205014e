"""The codec's own decoder: at the codec's rate, as long as the frames say, cut where the prompt ends."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from test_continuations import Echo, dataset
from tiny_codecs import clip, saved, small_encodec, small_mimi

from spokeneval.audio import decode_flac
from spokeneval.continuations import continue_dataset, decode_new, n_new_frames
from spokeneval.errors import ConfigError, ItemError
from spokeneval.models.base import Decoding
from spokeneval.store import PartStore
from spokeneval.tables import CONTINUATIONS
from spokeneval.tokenizers.base import Codes, TokenizerInfo
from spokeneval.tokenizers.codec import Codec
from spokeneval.tokenizers.encodec import Encodec
from spokeneval.tokenizers.mimi import Mimi
from spokeneval.vocoders.base import Vocoder, sample_rate_of
from spokeneval.vocoders.codec import OwnDecoder


@pytest.fixture(scope="module", params=["mimi", "encodec"])
def codec(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Codec:
    folder = tmp_path_factory.mktemp("codec")
    if request.param == "mimi":
        return Mimi(saved(small_mimi(), folder), 4)
    return Encodec(saved(small_encodec(), folder), 4)


def join(prompt: Codes, new: Codes) -> Codes:
    return Codes(np.concatenate([prompt.codes, new.codes]), None)


def test_the_sound_is_the_codecs_own_and_exactly_as_long_as_its_frames(codec: Codec) -> None:
    for n_frames in (1, 2, 11):
        codes = codec.encode(clip(n_frames * codec.info.hop_samples))
        waveform = OwnDecoder().decode(codes, codec)
        assert waveform.shape == (n_frames * codec.info.hop_samples,)
        np.testing.assert_array_equal(waveform, codec.decode(codes))


def test_its_rate_is_the_tokenizers(codec: Codec) -> None:
    vocoder: Vocoder = OwnDecoder()
    assert vocoder.sample_rate is None
    assert sample_rate_of(vocoder, codec.info) == 24_000


def test_a_continuation_is_what_follows_the_prompts_frames_in_the_sound_of_both(codec: Codec) -> None:
    hop = codec.info.hop_samples
    prompt, new = codec.encode(clip(9 * hop)), codec.encode(clip(4 * hop, seed=1))
    waveform = decode_new(prompt, new, codec, OwnDecoder())
    assert waveform.shape == (4 * hop,)
    np.testing.assert_array_equal(waveform, codec.decode(join(prompt, new))[9 * hop :])
    assert not np.allclose(waveform, codec.decode(new), atol=1e-6)  # the decoder remembers the prompt


def test_continuations_are_stored_at_the_codecs_rate(codec: Codec, tmp_path: Path) -> None:
    pairs, tokens = dataset(2, codec.info)
    store = PartStore(tmp_path / "store", "continuations", "identity", CONTINUATIONS)
    done = continue_dataset(Echo(), codec, OwnDecoder(), pairs, tokens, store, Decoding(new_s=0.6))
    rows = store.collect(done.keys).to_pylist()
    assert len(rows) == 2
    n_samples = n_new_frames(0.6, codec.info) * codec.info.hop_samples
    for row in rows:
        waveform, rate = decode_flac(row["audio"]["bytes"])
        assert (row["sample_rate"], rate, row["n_samples"], len(waveform)) == (24_000, 24_000, n_samples, n_samples)


def test_sound_does_not_depend_on_what_was_decoded_before(codec: Codec) -> None:
    codes = codec.encode(clip(20_000))
    first = OwnDecoder().decode(codes, codec)
    OwnDecoder().decode(codec.encode(clip(9_000, seed=1)), codec)
    np.testing.assert_array_equal(OwnDecoder().decode(codes, codec), first)


def test_nothing_to_decode_is_an_items_error(codec: Codec) -> None:
    with pytest.raises(ItemError, match="no codes to decode"):
        OwnDecoder().decode(Codes(np.zeros((0, 4), np.int32), None), codec)


class Units:
    """A tokenizer without a decoder."""

    info = TokenizerInfo(16_000, 320, (10,), deduplicated=True, causal=False)

    def encode(self, waveform: NDArray[np.float32]) -> Codes:
        raise NotImplementedError


def test_a_tokenizer_without_a_decoder_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"Units has no decoder of its own; expected a codec \(mimi, encodec"):
        OwnDecoder().decode(Codes(np.zeros((3, 1), np.int32), None), Units())
