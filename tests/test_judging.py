"""Judging, on constructed audio with judges and codecs that need no weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from judging_world import (
    RATE,
    ConstantVocoder,
    Naturalness,
    PCMVocoder,
    World,
    continuation,
    judge_model,
    level_items,
    noise,
    swapped,
)

from spokeneval import judging
from spokeneval.errors import ArtefactError
from spokeneval.judges.trivial import LongTermSpectrum, RMSLevel
from spokeneval.tables import EMBEDDINGS, JUDGING, PAIRS


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path, level_items())


# ---------------------------------------------------------------- verdicts


def test_items_that_differ_in_level_are_heard_by_the_level_judge_and_not_by_the_spectrum(world: World) -> None:
    level = judging.judge_prompts(world.pairs, world.references(RMSLevel()))
    spectrum = judging.judge_prompts(world.pairs, world.references(LongTermSpectrum(), "spectrum"))
    assert level["verdict"].to_list() == [1.0] * 12
    assert set(level["source"]) == {"prompt"}
    assert 0.1 < spectrum["verdict"].mean() < 0.9  # type: ignore[operator]
    assert level.columns == JUDGING.arrow.names


def test_swapped_references_flip_every_verdict_and_margin(world: World) -> None:
    references = world.references(LongTermSpectrum())
    right = judging.judge_prompts(world.pairs, references)
    wrong = judging.judge_prompts(swapped(world.pairs), references)
    assert (right["verdict"] + wrong["verdict"]).to_list() == [1.0] * 12
    assert (right["margin"] + wrong["margin"]).to_list() == [0.0] * 12


def test_equal_references_tie_exactly(tmp_path: Path) -> None:
    same = noise(1)
    world = World(tmp_path, [(noise(0), same, same)])
    row = judging.judge_prompts(world.pairs, world.references(LongTermSpectrum())).row(0, named=True)
    assert (row["verdict"], row["margin"], row["status"]) == (0.5, 0.0, "ok")


def test_cosine_and_margin_by_hand() -> None:
    def embedding(audio_id: str, vector: list[float]) -> dict[str, Any]:
        return {
            "audio_id": audio_id,
            "embedding": vector,
            "score": None,
            "seconds": 1.0,
            "status": "ok",
            "reason": None,
        }

    references = pl.DataFrame(
        pl.from_arrow(EMBEDDINGS.from_rows([embedding("s", [3, 4]), embedding("p", [0, 2]), embedding("n", [-4, 3])]))
    )
    item = dict.fromkeys(PAIRS.arrow.names) | {"task": "t", "item_id": "i", "index": 0, "status": "ok"}
    item |= {"prompt": "s", "continuation_positive": "p", "continuation_negative": "n"}
    row = judging.judge_prompts(pl.DataFrame([item]), references).row(0, named=True)
    assert row["cos_positive"] == pytest.approx(0.8)
    assert row["cos_negative"] == 0.0
    assert row["margin"] == pytest.approx(0.8)
    assert row["verdict"] == 1.0


@given(seed=st.integers(0, 1000), n=st.integers(2, 40), d=st.integers(1, 300))
@settings(max_examples=30, deadline=None)
def test_cosines_do_not_depend_on_the_other_rows(seed: int, n: int, d: int) -> None:
    rng = np.random.default_rng(seed)
    a, b = rng.standard_normal((2, n, d))
    a /= np.linalg.norm(a, axis=1, keepdims=True)
    b /= np.linalg.norm(b, axis=1, keepdims=True)
    together = judging._cosine(a, b)
    alone = np.concatenate([judging._cosine(a[k : k + 1], b[k : k + 1]) for k in range(n)])
    np.testing.assert_array_equal(together, alone)
    assert (np.abs(together) <= 1).all()
    np.testing.assert_array_equal(judging._cosine(a, a), np.ones(n, np.float32))


# ---------------------------------------------------------------- ceilings


def test_an_identity_codec_has_self_ceiling_100_and_the_attribute_ceiling_of_the_qualification(world: World) -> None:
    judge = LongTermSpectrum()
    references = world.references(judge)
    trips = judging.judge_round_trips(world.pairs, world.round_trips(judge, PCMVocoder(), "trips"), references)
    own = trips.filter(pl.col("source") == "positive_round_trip")
    attribute = trips.filter(pl.col("source") == "prompt_round_trip")
    qualification = judging.judge_prompts(world.pairs, references)
    assert own["verdict"].to_list() == [1.0] * 12
    assert own["cos_positive"].to_list() == [1.0] * 12
    same = ["task", "item_id", "cos_positive", "cos_negative", "margin", "verdict"]
    assert attribute.select(same).equals(qualification.select(same))
    assert 0 < qualification["verdict"].sum() < 12


def test_a_vocoder_without_a_rate_of_its_own_is_heard_at_the_tokenizers(world: World) -> None:
    class OwnDecoder(PCMVocoder):
        sample_rate = None

    judge = LongTermSpectrum()
    trips = world.round_trips(judge, OwnDecoder(), "own")
    assert trips.equals(world.round_trips(judge, PCMVocoder(), "trips"))


def test_a_codec_with_one_waveform_scores_half_at_a_balanced_swap(world: World) -> None:
    mirrored = swapped(world.pairs).with_columns(pl.col("index") + 12, item_id=pl.col("item_id") + "-mirrored")
    world.pairs = pl.concat([world.pairs, mirrored])
    judge = RMSLevel()
    trips = world.round_trips(judge, ConstantVocoder(), "trips")
    rows = judging.judge_round_trips(world.pairs, trips, world.references(judge))
    for source in ("prompt_round_trip", "positive_round_trip"):
        verdicts = rows.filter(pl.col("source") == source)["verdict"]
        assert len(verdicts) == 24
        assert verdicts.mean() == 0.5


def test_a_clip_that_the_tokenizer_or_vocoder_refused_fails_alone(world: World) -> None:
    tokens = world.tokens()
    first, second = world.pairs["prompt"][0], world.pairs["prompt"][1]
    tokens = tokens.with_columns(
        status=pl.when(pl.col("clip_id") == first).then(pl.lit("failed")).otherwise("status"),
        reason=pl.when(pl.col("clip_id") == first).then(pl.lit("no frames")).otherwise("reason"),
        codes=pl.when(pl.col("clip_id") == second).then(pl.lit([], pl.List(pl.Int32))).otherwise("codes"),
    )
    trips = world.round_trips(RMSLevel(), PCMVocoder(), "trips", tokens)
    assert (len(trips), trips.filter(pl.col("status") == "failed").height) == (24, 2)
    rows = judging.judge_round_trips(world.pairs, trips, world.references(RMSLevel()))
    failed = rows.filter(pl.col("status") == "failed")
    assert set(failed["reason"]) == {
        "prompt_round_trip: no frames",
        "prompt_round_trip: no codes to decode",
    }
    assert failed["verdict"].null_count() == 2
    assert rows.filter(pl.col("status") == "ok")["verdict"].null_count() == 0


@pytest.mark.parametrize(("kept", "status"), [(0.4, "too_short"), (0.0, "empty"), (-1.0, "silent")])
def test_a_round_trip_that_cannot_be_used_is_wrong_as_a_continuation_is(world: World, kept: float, status: str) -> None:
    class Losing(PCMVocoder):
        def decode(self, codes: Any, tokenizer: Any) -> Any:
            waveform = super().decode(codes, tokenizer)
            return waveform * 0 if kept < 0 else waveform[: round(kept * RATE)]

    trips = world.round_trips(RMSLevel(), Losing(), "losing")
    rows = judging.judge_round_trips(world.pairs, trips, world.references(RMSLevel()))
    assert set(rows.select("status", "audio_status", "verdict").iter_rows()) == {("ok", status, 0.0)}
    natural = world.round_trips(Naturalness(), Losing(), "losing naturally")
    scores = judging.judge_round_trips(world.pairs, natural, world.references(Naturalness(), "naturalness"))
    assert set(scores.select("status", "audio_status", "score").iter_rows()) == {("ok", status, None)}


# ---------------------------------------------------------------- continuations


def test_models_that_keep_or_lose_the_level_are_told_apart(world: World) -> None:
    keeps = judge_model(world, RMSLevel(), [continuation(world, k, noise(100 + k, -30.0 + k)) for k in range(12)])
    model = keeps.filter(pl.col("source") == "model")
    assert model["verdict"].to_list() == [1.0] * 12
    floor = keeps.filter(pl.col("source") == "other_item")
    assert len(floor) == 12
    assert floor["margin"].mean() < model["margin"].mean()  # type: ignore[operator]


def test_what_cannot_be_used_is_wrong_and_what_failed_is_no_verdict(world: World) -> None:
    rows = [continuation(world, k, noise(100 + k, -30.0 + k)) for k in range(12)]
    for k, status in enumerate(["empty", "silent", "too_short", "failed"]):
        rows[k] = continuation(world, k, None, status)
    rows[4]["status"] = "clipped"
    found = judge_model(world, RMSLevel(), rows).filter(pl.col("source") == "model")
    by_item = {row["item_id"]: row for row in found.iter_rows(named=True)}
    for k, status in enumerate(["empty", "silent", "too_short"]):
        row = by_item[f"level-{k}"]
        assert (row["verdict"], row["margin"], row["status"], row["audio_status"]) == (0.0, None, "ok", status)
    failed = by_item["level-3"]
    assert (failed["verdict"], failed["status"], failed["reason"]) == (None, "failed", "it is failed")
    assert (by_item["level-4"]["verdict"], by_item["level-4"]["audio_status"]) == (1.0, "clipped")


def test_a_reference_that_the_judge_refuses_fails_its_items_with_the_reason(tmp_path: Path) -> None:
    items = [(noise(0), noise(1), noise(2)), (noise(3), np.zeros(8000, np.float32), noise(5))]
    quiet = World(tmp_path, items)
    rows = judging.judge_prompts(quiet.pairs, quiet.references(RMSLevel()))
    assert rows["status"].to_list() == ["ok", "failed"]
    assert rows["reason"][1] == "right continuation: silent: RMS 0.0e+00, below 1e-05"


def test_every_sample_is_judged_and_the_order_of_rows_means_nothing(world: World) -> None:
    rows = [continuation(world, k, noise(200 + 10 * k + s, -30.0 + k), sample=s) for k in range(12) for s in range(3)]
    found = judge_model(world, RMSLevel(), rows)
    again = judge_model(world, RMSLevel(), rows[::-1])
    assert len(found) == 12 * 3 * 2
    assert found.equals(again)


def test_the_floor_never_takes_an_items_own_prompt(world: World) -> None:
    items = judging.judgeable(world.pairs)
    found = judging.other_items(items, 0)
    assert all(other is not None and other["prompt"] != item["prompt"] for item, other in found)
    assert len({other["item_id"] for _, other in found if other}) == 12
    assert found == judging.other_items(items[::-1], 0)
    assert found != judging.other_items(items, 1)
    twin = [item | {"prompt": "same"} for item in items]
    assert all(other is None for _, other in judging.other_items(twin, 0))


def test_an_item_alone_in_its_task_has_a_failed_floor(tmp_path: Path) -> None:
    world = World(tmp_path, [(noise(0), noise(1), noise(2))])
    found = judge_model(world, RMSLevel(), [continuation(world, 0, noise(3))])
    floor = found.filter(pl.col("source") == "other_item").row(0, named=True)
    assert (floor["status"], floor["verdict"]) == ("failed", None)
    assert "no other item" in floor["reason"]


def test_missing_continuations_are_an_error_that_names_an_item(world: World) -> None:
    with pytest.raises(ArtefactError, match=r"lack 11 items, e\.g\. 'level-1'"):
        judge_model(world, RMSLevel(), [continuation(world, 0, noise(3))])


def test_failed_items_and_items_without_prompt_have_no_rows(world: World) -> None:
    pairs = world.pairs.with_columns(
        status=pl.when(pl.col("index") == 0).then(pl.lit("failed")).otherwise("status"),
        prompt=pl.when(pl.col("index") == 1).then(None).otherwise("prompt"),
    )
    rows = judging.judge_prompts(pairs, world.references(RMSLevel()))
    assert len(rows) == 10


def test_a_naturalness_judge_gives_scores_and_no_verdicts(world: World) -> None:
    rows = [continuation(world, k, noise(100 + k, seconds=1.0)) for k in range(11)]
    rows.append(continuation(world, 11, None, "silent"))
    found = judge_model(world, Naturalness(), rows)
    assert set(found["source"]) == {"model"}
    assert found["verdict"].null_count() == 12
    assert sorted(found["score"].to_list(), key=str) == [2.0] * 11 + [None]
    prompts = judging.judge_prompts(world.pairs, world.references(Naturalness()))
    assert prompts["score"].to_list() == [1.5] * 12


def test_embeddings_of_another_judge_are_refused(world: World) -> None:
    level = world.references(RMSLevel(), "level")
    with pytest.raises(ArtefactError, match="not of one judge"):
        judging.judge_round_trips(world.pairs, level, world.references(LongTermSpectrum(), "spectrum"))
    with pytest.raises(ArtefactError, match="lacks audio"):
        judging.judge_prompts(world.pairs, level.head(3))
