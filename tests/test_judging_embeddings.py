"""Embeddings: heard once, by content, whatever the order; refusals fail alone; changed audio is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from judging_world import RATE, Counting, World, continuation, level_items, noise, table
from numpy.typing import NDArray

from spokeneval import embeddings as emb
from spokeneval.audio import decode_flac, make_clip
from spokeneval.errors import ArtefactError
from spokeneval.judges.trivial import LongTermSpectrum, RMSLevel


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path, level_items())


def test_an_audio_is_heard_once_whoever_asks(world: World) -> None:
    judge, store = Counting(), world.store("shared")
    audio = list(emb.references(world.pairs, [world.clips()]))
    first = emb.embed_audio(judge, audio + audio, store)
    second = emb.embed_audio(judge, audio[::-1], store)
    assert (first.n_embedded, first.n_reused, second.n_embedded, second.n_reused) == (36, 0, 0, 36)
    assert judge.n_heard == 36


def test_order_and_batches_change_no_bit(world: World) -> None:
    audio = list(emb.references(world.pairs, [world.clips()]))
    ids = [audio_id for audio_id, _ in audio]
    one, many = world.store("one"), world.store("many")
    emb.embed_audio(LongTermSpectrum(), audio, one, batch=1)
    emb.embed_audio(LongTermSpectrum(), audio[::-1], many, batch=7)
    assert table(one, ids).equals(table(many, ids))


def test_an_item_that_the_judge_refuses_leaves_the_rest(world: World) -> None:
    loud = make_clip(noise(1, 0.0), RATE)
    audio = [*emb.references(world.pairs, [world.clips()]), (loud.clip_id, loud.flac)]
    store = world.store("refusing")
    counts = emb.embed_audio(Counting(refuse_above=0.9), audio, store, batch=50)
    assert counts.n_embedded == 37
    rows = table(store, [audio_id for audio_id, _ in audio])
    failed = rows.filter(pl.col("status") == "failed")
    assert loud.clip_id in failed["audio_id"].to_list()
    assert set(failed["reason"]) == {"too loud for me"}
    assert len(failed) == counts.n_failed < 20
    assert rows.filter(pl.col("status") == "ok")["embedding"].null_count() == 0


def test_a_killed_job_loses_one_batch_and_ends_with_the_same_table(world: World) -> None:
    audio = list(emb.references(world.pairs, [world.clips()]))
    ids = [audio_id for audio_id, _ in audio]
    store, whole = world.store("killed"), world.store("whole")
    with pytest.raises(OSError, match="killed"):
        emb.embed_audio(Counting(stop_after=20), audio, store, batch=10)
    again = Counting()
    counts = emb.embed_audio(again, audio, store, batch=10)
    emb.embed_audio(Counting(), audio, whole, batch=10)
    assert (again.n_heard, counts.n_reused) == (16, 20)
    assert table(store, ids).equals(table(whole, ids))


def test_stored_audio_that_was_changed_is_refused(world: World) -> None:
    row = continuation(world, 0, noise(1))
    other = make_clip(noise(2), RATE)
    with pytest.raises(ArtefactError, match="it was changed after it was stored"):
        emb.embed_audio(RMSLevel(), [(row["pcm_sha256"], other.flac)], world.store("changed"))
    with pytest.raises(ArtefactError, match="cannot be decoded"):
        emb.embed_audio(RMSLevel(), [(row["pcm_sha256"], b"fLaC" * 10)], world.store("changed"))


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24"])
def test_checked_waveforms_are_the_stored_samples(subtype: str) -> None:
    clip = make_clip(noise(4), 22_050, subtype)
    waveform, rate = emb.checked_waveform(clip.clip_id, clip.flac)
    np.testing.assert_array_equal(waveform, decode_flac(clip.flac)[0])
    assert rate == 22_050


def test_seconds_are_those_after_the_crop(world: World) -> None:
    clip = make_clip(noise(4, seconds=1.0), RATE)
    for crop_s, seconds in ((None, 1.0), (0.25, 0.25), (3.0, 1.0)):
        store = world.store(f"crop{crop_s}")
        emb.embed_audio(RMSLevel(crop_s), [(clip.clip_id, clip.flac)], store)
        assert table(store, [clip.clip_id])["seconds"].to_list() == [seconds]


def test_answers_without_direction_or_number_fail_that_audio(world: World) -> None:
    class Broken(RMSLevel):
        def __init__(self, value: float) -> None:
            super().__init__()
            self.value = value

        def embed(self, waveforms: Any) -> NDArray[np.float32]:
            return np.full((len(waveforms), 2), self.value, np.float32)

    clip = make_clip(noise(4), RATE)
    for value, reason in ((np.nan, "not finite"), (0.0, "no direction")):
        store = world.store(f"broken{value}")
        assert emb.embed_audio(Broken(value), [(clip.clip_id, clip.flac)], store).n_failed == 1
        assert reason in table(store, [clip.clip_id])["reason"][0]
