"""Embeddings and judging, on constructed audio with judges and codecs that need no weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from spokeneval import embeddings as emb
from spokeneval import judging
from spokeneval.audio import Clip, make_clip
from spokeneval.errors import ArtefactError, ItemError
from spokeneval.judges.trivial import LongTermSpectrum, RMSLevel
from spokeneval.store import PartStore
from spokeneval.tables import CLIPS, CONTINUATIONS, EMBEDDINGS, JUDGING, PAIRS, TOKENS
from spokeneval.tokenizers.base import Codes, TokenizerInfo
from spokeneval.tokens import encode_clips

RATE = 16_000


def noise(seed: int, level_db: float = -20.0, seconds: float = 0.5) -> NDArray[np.float32]:
    white = np.random.default_rng(seed).standard_normal(round(seconds * RATE))
    return (white / np.sqrt(np.mean(white**2)) * 10 ** (level_db / 20)).astype(np.float32)


class Naturalness:
    sample_rate = RATE
    attribute = "naturalness"
    scale = (1.0, 5.0)

    def score(self, waveforms: list[NDArray[np.float32]]) -> NDArray[np.float32]:
        return np.array([1 + len(w) / RATE for w in waveforms], np.float32)


class Counting(RMSLevel):
    """The level judge; remembers how many waveforms it heard, and refuses the loud."""

    def __init__(self, refuse_above: float = 9.0, stop_after: int | None = None) -> None:
        super().__init__()
        self.n_heard, self.refuse_above, self.stop_after = 0, refuse_above, stop_after

    def embed(self, waveforms: Any) -> NDArray[np.float32]:
        if any(np.abs(w).max() > self.refuse_above for w in waveforms):
            raise ItemError("too loud for me")
        if self.stop_after is not None and self.n_heard >= self.stop_after:
            raise OSError("killed")
        self.n_heard += len(waveforms)
        return super().embed(waveforms)


class PCMTokenizer:
    """One code a sample: a codec that loses nothing."""

    info = TokenizerInfo(RATE, 1, (2**16,), False, True)

    def encode(self, waveform: NDArray[np.float32]) -> Codes:
        return Codes((np.rint(waveform * 2**15) + 2**15).astype(np.int32)[:, None], None)


class PCMVocoder:
    sample_rate = RATE

    def decode(self, codes: Codes, tokenizer: Any) -> NDArray[np.float32]:
        if len(codes.codes) == 0:
            raise ItemError("no codes to decode")
        return ((codes.codes[:, 0] - 2**15) / 2**15).astype(np.float32)


class ConstantVocoder(PCMVocoder):
    def decode(self, codes: Codes, tokenizer: Any) -> NDArray[np.float32]:
        return noise(99, -25.0)


class World:
    """Items with prompt, right and wrong continuation, each a waveform; tables and stores around them."""

    def __init__(self, folder: Path, items: list[tuple[Any, Any, Any]], task: str = "level") -> None:
        self.folder = folder
        self.audio: dict[str, Clip] = {}
        rows = []
        for k, waveforms in enumerate(items):
            ids = [self._add(w) for w in waveforms]
            rows.append(
                dict.fromkeys(PAIRS.arrow.names)
                | {"item_id": f"{task}-{k}", "task": task, "index": k, "cluster": f"c{k}", "fold": "ab"[k % 2]}
                | {"prompt": ids[0], "continuation_positive": ids[1], "continuation_negative": ids[2], "status": "ok"}
                | {"positive": "p", "negative": "n", "transition": 8000, "sample_rate": RATE}
                | {"labels": "{}", "sources": "{}"}
            )
        self.pairs = pl.DataFrame(pl.from_arrow(PAIRS.from_rows(rows)))

    def _add(self, waveform: NDArray[np.float32]) -> str:
        clip = make_clip(waveform, RATE)
        self.audio[clip.clip_id] = clip
        return clip.clip_id

    def store(self, name: str) -> PartStore:
        return PartStore(self.folder, name, "0" * 64, EMBEDDINGS)

    def clips(self) -> pl.DataFrame:
        rows = [
            {
                "clip_id": c.clip_id,
                "sample_rate": RATE,
                "n_samples": c.n_samples,
                "audio": {"bytes": c.flac, "path": "x.flac"},
                "subtype": c.subtype,
                "gain": c.gain,
                "note": "",
            }
            for c in self.audio.values()
        ]
        return pl.DataFrame(pl.from_arrow(CLIPS.from_rows(rows)))

    def n_samples(self) -> dict[str, int]:
        return {c.clip_id: c.n_samples for c in self.audio.values()}

    def tokens(self) -> pl.DataFrame:
        rows: list[dict[str, Any]] = []
        encode_clips(PCMTokenizer(), [(c.clip_id, c.flac) for c in self.audio.values()], rows.extend)
        return pl.DataFrame(pl.from_arrow(TOKENS.from_rows(rows)))

    def references(self, judge: Any, name: str = "references", batch: int = 32) -> pl.DataFrame:
        store = self.store(name)
        emb.embed_audio(judge, emb.references(self.pairs, [self.clips()]), store, batch)
        return table(store, emb.reference_ids(self.pairs))

    def round_trips(self, judge: Any, vocoder: Any, name: str) -> pl.DataFrame:
        store = self.store(name)
        emb.round_trips(judge, PCMTokenizer(), vocoder, self.pairs, self.tokens(), store)
        return table(store, emb.round_trip_ids(self.pairs))


def table(store: PartStore, ids: list[str]) -> pl.DataFrame:
    return pl.DataFrame(pl.from_arrow(store.collect([(i,) for i in ids]))).sort("audio_id")


def continuation(world: World, k: int, waveform: Any, status: str = "ok", sample: int = 0) -> dict[str, Any]:
    clip = None if waveform is None else make_clip(waveform, RATE)
    return dict.fromkeys(CONTINUATIONS.arrow.names) | {
        "clip_id": world.pairs["prompt"][k],
        "sample_index": sample,
        "seed": 0,
        "audio": None if clip is None else {"bytes": clip.flac, "path": "g.flac"},
        "sample_rate": RATE,
        "n_samples": 0 if clip is None else clip.n_samples,
        "pcm_sha256": None if clip is None else clip.clip_id,
        "status": status,
        "reason": None if status == "ok" else f"it is {status}",
    }


def judge_model(world: World, judge: Any, rows: list[dict[str, Any]], seed: int = 0) -> pl.DataFrame:
    continuations = pl.DataFrame(pl.from_arrow(CONTINUATIONS.from_rows(rows)))
    store = world.store("continuations")
    audio = list(emb.continuation_audio([continuations]))
    emb.embed_audio(judge, audio, store)
    found = table(store, [audio_id for audio_id, _ in audio])
    return judging.judge_continuations(world.pairs, continuations, found, world.references(judge), seed)


def swapped(pairs: pl.DataFrame) -> pl.DataFrame:
    return pairs.rename(
        {"continuation_positive": "continuation_negative", "continuation_negative": "continuation_positive"}
    ).select(pairs.columns)


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Twelve items; the right continuation has the prompt's level, the wrong one is 12 dB off, up or down in turn."""
    items = []
    for k in range(12):
        level = -30.0 + k
        other = level + (12.0 if k % 2 else -12.0)
        items.append((noise(3 * k, level), noise(3 * k + 1, level), noise(3 * k + 2, other)))
    return World(tmp_path, items)


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
    store = world.store("trips")
    counts = emb.round_trips(RMSLevel(), PCMTokenizer(), PCMVocoder(), world.pairs, tokens, store)
    assert (counts.n_embedded, counts.n_failed) == (24, 2)
    trips = table(store, emb.round_trip_ids(world.pairs))
    rows = judging.judge_round_trips(world.pairs, trips, world.references(RMSLevel()))
    failed = rows.filter(pl.col("status") == "failed")
    assert set(failed["reason"]) == {
        "prompt_round_trip: no frames",
        "prompt_round_trip: no codes to decode",
    }
    assert failed["verdict"].null_count() == 2
    assert rows.filter(pl.col("status") == "ok")["verdict"].null_count() == 0


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


def test_the_copy_baseline_repeats_the_end_of_the_prompt(tmp_path: Path) -> None:
    prompt = np.r_[noise(0, -50.0, 1.0), noise(1, -20.0, 1.0)]
    world = World(tmp_path, [(prompt, noise(2, -20.0, 2.5), noise(3, -40.0, 2.5))])
    found = list(emb.copies(world.pairs, [world.clips()], world.n_samples()))
    key, audio_id, flac = found[0]
    assert key == ("level", "level-0")
    heard, rate = emb.checked_waveform(audio_id, flac)
    end = emb.decode_flac(world.audio[world.pairs["prompt"][0]].flac)[0][RATE:]
    np.testing.assert_array_equal(heard, np.r_[end, end, end[: RATE // 2]])
    assert rate == RATE
    store = world.store("copies")
    emb.embed_audio(RMSLevel(), [(audio_id, flac)], store)
    references = world.references(RMSLevel())
    rows = judging.judge_copies(world.pairs, {key: audio_id}, table(store, [audio_id]), references)
    assert (rows["source"][0], rows["verdict"][0]) == ("copy", 1.0)


# ---------------------------------------------------------------- embeddings


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
    np.testing.assert_array_equal(waveform, emb.decode_flac(clip.flac)[0])
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


def test_embeddings_of_another_judge_are_refused(world: World) -> None:
    level = world.references(RMSLevel(), "level")
    with pytest.raises(ArtefactError, match="not of one judge"):
        judging.judge_round_trips(world.pairs, level, world.references(LongTermSpectrum(), "spectrum"))
    with pytest.raises(ArtefactError, match="lacks audio"):
        judging.judge_prompts(world.pairs, level.head(3))
