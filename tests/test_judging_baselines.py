"""Third clips, baselines and flags: what stands beside a model's share, on constructed audio."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from judging_world import RATE, PCMVocoder, World, continuation, judge_model, level_items, noise, table

from spokeneval import embeddings as emb
from spokeneval import judging
from spokeneval.audio import decode_flac
from spokeneval.baselines import COPY, NOISE_MATCHED, baselines
from spokeneval.errors import ItemError
from spokeneval.judges.trivial import LongTermSpectrum, RMSLevel


def _judged(world: World, judge: Any, source: str) -> pl.DataFrame:
    of_source = [b for b in baselines(world.pairs, [world.clips()], world.n_samples()) if b.source == source]
    store = world.store(source)
    made = [b.audio for b in of_source if not isinstance(b.audio, ItemError)]
    emb.embed_audio(judge, made, store)
    named = {(b.task, b.item_id): b.audio if isinstance(b.audio, ItemError) else b.audio[0] for b in of_source}
    heard = table(store, sorted({audio_id for audio_id, _ in made}))
    return judging.judge_baseline(source, world.pairs, named, heard, world.references(judge))


def _waveform(world: World, source: str) -> np.ndarray:
    (found,) = (b.audio for b in baselines(world.pairs, [world.clips()], world.n_samples()) if b.source == source)
    assert not isinstance(found, ItemError)
    return emb.checked_waveform(*found)[0]


def test_the_copy_baseline_repeats_the_end_of_the_prompt(tmp_path: Path) -> None:
    prompt = np.r_[noise(0, -50.0, 1.0), noise(1, -20.0, 1.0)]
    world = World(tmp_path, [(prompt, noise(2, -20.0, 2.5), noise(3, -40.0, 2.5))])
    end = decode_flac(world.audio[world.pairs["prompt"][0]].flac)[0][RATE:]
    np.testing.assert_array_equal(_waveform(world, COPY), np.r_[end, end, end[: RATE // 2]])
    rows = _judged(world, RMSLevel(), COPY)
    assert (rows["source"][0], rows["verdict"][0]) == ("copy", 1.0)


def test_the_noise_of_an_item_that_knows_it_is_that_clip(tmp_path: Path) -> None:
    own = noise(4, -33.0)
    world = World(tmp_path, [(noise(0), noise(1, -33.0), noise(2, -20.0), None, own)])
    np.testing.assert_array_equal(_waveform(world, NOISE_MATCHED), decode_flac(_flac(world, "noise_only"))[0])
    rows = _judged(world, RMSLevel(), NOISE_MATCHED)
    assert (rows["source"][0], rows["verdict"][0]) == ("noise_matched", 1.0)


def _flac(world: World, role: str) -> bytes:
    return world.audio[world.pairs[role][0]].flac


def test_other_noise_is_as_loud_as_the_prompts_and_as_long_as_the_right_continuation(tmp_path: Path) -> None:
    """A prompt that is nothing but noise at -30 dB: what is made has that level, within what 1 s can tell."""
    world = World(tmp_path, [(noise(0, -30.0, 1.0), noise(1, -30.0, 2.0), noise(2, -10.0, 2.0))])
    made = _waveform(world, NOISE_MATCHED)
    assert len(made) == 2 * RATE
    assert 20 * np.log10(np.sqrt(np.mean(made.astype(np.float64) ** 2))) == pytest.approx(-30.0, abs=1.0)
    np.testing.assert_array_equal(made, _waveform(world, NOISE_MATCHED))
    assert _judged(world, RMSLevel(), NOISE_MATCHED)["verdict"].to_list() == [1.0]


def test_a_prompt_without_noise_floor_has_a_row_with_the_reason(tmp_path: Path) -> None:
    gated = np.r_[noise(0, -20.0, 0.5), np.zeros(RATE // 2, np.float32)]
    items = [(gated, noise(1), noise(2)), (noise(3), noise(4), noise(5, -40.0))]
    rows = _judged(World(tmp_path, items), RMSLevel(), NOISE_MATCHED)
    assert rows["status"].to_list() == ["failed", "ok"]
    assert "no noise floor" in rows["reason"][0]
    assert rows["verdict"][0] is None


def test_items_with_one_prompt_each_have_their_baselines(tmp_path: Path) -> None:
    prompt = noise(0)
    world = World(tmp_path, [(prompt, noise(1, seconds=0.5), noise(2)), (prompt, noise(3, seconds=0.7), noise(4))])
    found = [(b.source, b.item_id) for b in baselines(world.pairs, [world.clips()], world.n_samples())]
    assert sorted(found) == [(s, f"level-{k}") for s in (COPY, NOISE_MATCHED) for k in range(2)]


# ---------------------------------------------------------------- third clips


@pytest.fixture
def thirds(tmp_path: Path) -> World:
    """The third clip has the level of the right continuation; the last item knows none."""
    items = [(*item, noise(500 + k, -30.0 + k)) for k, item in enumerate(level_items())]
    return World(tmp_path, [*items[:-1], items[-1][:3]])


def test_third_clips_are_judged_in_the_prompts_place_where_they_are_known(thirds: World) -> None:
    references = thirds.references(RMSLevel())
    assert len(references) == 12 * 3 + 11
    rows = judging.judge_prompts(thirds.pairs, references)
    by_third = rows.filter(pl.col("source") == "same_attribute")
    assert by_third["verdict"].to_list() == [1.0] * 11
    assert set(by_third["item_id"]) == {f"level-{k}" for k in range(11)}
    assert rows.filter(pl.col("source") == "prompt").height == 12


def test_an_identity_codec_has_the_third_clips_ceiling_of_the_third_clips_qualification(thirds: World) -> None:
    judge = LongTermSpectrum()
    references = thirds.references(judge)
    trips = judging.judge_round_trips(thirds.pairs, thirds.round_trips(judge, PCMVocoder(), "trips"), references)
    same = ["task", "item_id", "cos_positive", "cos_negative", "margin", "verdict"]
    ceiling = trips.filter(pl.col("source") == "same_attribute_round_trip").select(same)
    own = judging.judge_prompts(thirds.pairs, references).filter(pl.col("source") == "same_attribute").select(same)
    assert ceiling.equals(own)
    assert len(own) == 11


def test_third_clips_without_codes_have_no_ceiling_and_fail_nothing(thirds: World) -> None:
    third = thirds.pairs["same_attribute"].to_list()
    tokens = thirds.tokens().filter(~pl.col("clip_id").is_in([clip for clip in third[:4] if clip]))
    trips = thirds.round_trips(RMSLevel(), PCMVocoder(), "some", tokens)
    assert len(trips) == 12 * 2 + 7
    rows = judging.judge_round_trips(thirds.pairs, trips, thirds.references(RMSLevel()))
    assert rows.filter(pl.col("source") == "same_attribute_round_trip").height == 7
    assert set(rows["status"]) == {"ok"}


# ---------------------------------------------------------------- flags


def test_flags_go_with_the_rows_and_change_no_verdict(tmp_path: Path) -> None:
    world = World(tmp_path, level_items())
    rows = [continuation(world, k, noise(100 + k, -30.0 + k)) for k in range(12)]
    plain = judge_model(world, RMSLevel(), rows)
    flagged = [row | {"flags": ["loops", "repeats_prompt"] if k == 3 else []} for k, row in enumerate(rows)]
    found = judge_model(world, RMSLevel(), flagged)
    assert found.drop("flags").equals(plain.drop("flags"))
    model = found.filter(pl.col("source") == "model")
    assert {r["item_id"]: r["flags"] for r in model.iter_rows(named=True) if r["flags"]} == {
        "level-3": ["loops", "repeats_prompt"]
    }
    assert plain["flags"].null_count() == len(plain)
