"""Round trips are decoded once, kept as they sound, and heard as by a judge that decodes for itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from judging_world import RATE, Counting, PCMTokenizer, PCMVocoder, World, level_items, noise, table
from numpy.typing import NDArray

from spokeneval import embeddings as emb
from spokeneval import judging
from spokeneval.audio import decode_flac, make_clip, resample
from spokeneval.errors import ArtefactError
from spokeneval.judges.trivial import LongTermSpectrum, RMSLevel
from spokeneval.round_trips import decode_round_trips, heard_round_trips, round_trip_ids
from spokeneval.store import PartStore
from spokeneval.tables import ROUND_TRIPS
from spokeneval.tokens import iterate_codes


class Muffled(PCMVocoder):
    """Loses the high half of the band, half of the rate, and counts what it decodes."""

    sample_rate = RATE // 2

    def __init__(self, stop_after: int | None = None) -> None:
        self.n_decoded, self.stop_after = 0, stop_after

    def decode(self, codes: Any, tokenizer: Any) -> NDArray[np.float32]:
        if self.n_decoded == self.stop_after:
            raise OSError("killed")
        self.n_decoded += 1
        heard = super().decode(codes, tokenizer)
        return np.float32(1.7) * (heard[::2] + heard[1::2]) / 2


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path, level_items())


def test_cosines_are_those_of_a_judge_that_decodes_for_itself(world: World) -> None:
    judge, vocoder, tokens = LongTermSpectrum(), Muffled(), world.tokens()
    wanted = round_trip_ids(world.pairs, tokens["clip_id"])
    own: dict[str, Any] = {}
    for clip_id, codes in iterate_codes(tokens.filter(pl.col("clip_id").is_in(wanted)), PCMTokenizer.info):
        sound, rate = decode_flac(make_clip(vocoder.decode(codes, None), RATE // 2, "PCM_24").flac)
        own[clip_id] = judge.embed([resample(sound, rate, judge.sample_rate)])[0]
    heard = world.round_trips(judge, vocoder, "muffled")
    assert heard["audio_id"].to_list() == wanted == sorted(own)
    for audio_id, embedding in heard.select("audio_id", "embedding").iter_rows():
        np.testing.assert_array_equal(np.float32(embedding), own[audio_id])
    references = world.references(judge)
    vector_of = dict(references.select("audio_id", "embedding").iter_rows())
    rows = judging.judge_round_trips(world.pairs, heard, references)
    item = world.pairs.row(3, named=True)
    row = rows.row(by_predicate=(pl.col("item_id") == item["item_id"]) & (pl.col("source") == "prompt_round_trip"))
    a, b = (np.asarray(v, np.float64) for v in (own[item["prompt"]], vector_of[item["continuation_positive"]]))
    cosine = float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))
    assert row[rows.columns.index("cos_positive")] == pytest.approx(cosine, abs=1e-7)


def test_a_second_judge_decodes_nothing_and_equal_sounds_are_heard_once(world: World) -> None:
    vocoder = Muffled()
    world.round_trips(RMSLevel(), vocoder, "one")
    made = world.decoded(vocoder, "one")
    assert vocoder.n_decoded == len(made) == 24
    judge, store = Counting(), world.store("two")
    emb.embed_audio(judge, emb.continuation_audio([made, made]), store)
    assert (judge.n_heard, vocoder.n_decoded) == (24, 24)


def test_a_codec_that_changes_nothing_gives_the_clips_themselves(world: World) -> None:
    made = world.decoded(PCMVocoder(), "same")
    assert made["pcm_sha256"].to_list() == made["clip_id"].to_list()
    assert set(made.select("status", "reason", "sample_rate").iter_rows()) == {("ok", None, RATE)}
    lengths = world.n_samples()
    assert made["n_samples"].to_list() == [lengths[clip] for clip in made["clip_id"]]


def test_a_killed_job_goes_on_where_it_was(world: World) -> None:
    tokens = world.tokens()
    store, whole = (PartStore(world.folder, name, "0" * 64, ROUND_TRIPS) for name in ("killed", "whole"))
    with pytest.raises(OSError, match="killed"):
        decode_round_trips(PCMTokenizer(), Muffled(stop_after=20), world.pairs, tokens, store, batch=8)
    again = Muffled()
    done = decode_round_trips(PCMTokenizer(), again, world.pairs, tokens, store, batch=8)
    assert tuple(done) == (8, 0, 16)
    assert again.n_decoded == 8
    decode_round_trips(PCMTokenizer(), Muffled(), world.pairs, tokens, whole)
    keys = [(clip,) for clip in round_trip_ids(world.pairs, tokens["clip_id"])]
    parts, at_once = (pl.DataFrame(pl.from_arrow(s.collect(keys))).sort("clip_id") for s in (store, whole))
    assert parts.equals(at_once)


@pytest.mark.parametrize(("kept", "status"), [(0.4, "too_short"), (0.0, "empty"), (-1.0, "silent"), (9.0, "failed")])
def test_what_cannot_be_heard_says_so_and_no_judge_hears_it(world: World, kept: float, status: str) -> None:
    class Losing(PCMVocoder):
        def decode(self, codes: Any, tokenizer: Any) -> NDArray[np.float32]:
            waveform = super().decode(codes, tokenizer)
            if kept > 1:
                return waveform * np.float32(np.nan)
            return waveform * 0 if kept < 0 else waveform[: round(kept * RATE)]

    made = world.decoded(Losing(), "losing")
    assert set(made["status"]) == {status}
    assert made["audio"].null_count() == (24 if status in ("empty", "failed") else 0)
    judge = Counting()
    heard = world.round_trips(judge, Losing(), "losing")
    assert judge.n_heard == 0
    reason = heard["reason"][0]
    assert reason == ("the vocoder gave 8000 NaN or infinite samples" if status == "failed" else reason)
    assert reason.startswith("the vocoder" if status == "failed" else f"the codec's sound is {status}: ")
    assert set(heard["audio_status"]) == {None if status == "failed" else status}


def test_round_trips_that_are_missing_are_named(world: World) -> None:
    made = world.decoded(PCMVocoder(), "some")
    store = world.store("some")
    emb.embed_audio(RMSLevel(), emb.continuation_audio([made]), store)
    heard = table(store, emb.judged_ids(made))
    with pytest.raises(ArtefactError, match=r"lacks clip .*'round_trip_audio'"):
        heard_round_trips(made["clip_id"], made.head(3), heard)
    with pytest.raises(ArtefactError, match="the embeddings lack the round trip"):
        heard_round_trips(made["clip_id"], made, heard.head(3))
    with pytest.raises(ArtefactError, match="the tokens table lacks 1 of 24 clips"):
        world.decoded(PCMVocoder(), "few", world.tokens().filter(pl.col("clip_id") != world.pairs["prompt"][0]))


def test_a_round_trip_of_a_short_tone_is_the_sound_that_was_decoded(tmp_path: Path) -> None:
    world = World(tmp_path, [(noise(0), noise(1), noise(2))])
    made = world.decoded(Muffled(), "tone").filter(pl.col("clip_id") == world.pairs["prompt"][0])
    sound, rate = decode_flac(made["audio"][0]["bytes"])
    codes = PCMTokenizer().encode(decode_flac(world.audio[world.pairs["prompt"][0]].flac)[0])
    assert rate == RATE // 2
    np.testing.assert_allclose(sound, Muffled().decode(codes, None), atol=2**-24)
