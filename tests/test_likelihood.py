"""The likelihood stage: the right work, each sequence once, exact ties, failures as rows, and safe against a kill."""

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny_models import CODEBOOKS, UNITS, random_codes, random_model, save

from spokeneval.errors import ArtefactError, ItemError
from spokeneval.likelihood import codes_by_clip, cut_frame, needed, score_dataset, write
from spokeneval.models.base import LogProbs
from spokeneval.models.causal_lm import CausalUnitLM
from spokeneval.models.vocabulary import UnitVocabulary
from spokeneval.prefixes import PrefixIndex
from spokeneval.store import PartStore
from spokeneval.tables import FAILED, LIKELIHOOD, OK, TOKENS, read_metadata, read_table
from spokeneval.tokenizers.base import Codes, TokenizerInfo
from spokeneval.tokens import failed_row
from spokeneval.tokens import row_of as tokens_row

torch.set_num_threads(1)

N_PROMPT = 8
"""Frames of every prompt; with 100 samples a frame the transition is in frame 8, its first sample."""


class FakeLM:
    """Log-probabilities that depend on the ids before, plus noise of the batch, as rounding would be (but larger)."""

    streams = ("units",)

    def __init__(self, max_context=None, noise=0.0):
        self.vocabulary = UnitVocabulary.by_offset(CODEBOOKS.codebook_sizes, 1, 0, None)
        self.max_context, self.noise = max_context, noise
        self.batches = []

    def sequence(self, codes):
        return self.vocabulary.sequence(codes, None, self.max_context, "refuse")

    def kept(self, codes, cut):
        return self.vocabulary.sequence(codes, np.arange(cut, len(codes.codes)), self.max_context, "refuse")

    def logprobs(self, batch):
        self.batches.append([len(s.input_ids) for s in batch])
        rng = np.random.default_rng(len(self.batches))
        results = []
        for sequence in batch:
            values = -np.cumsum(sequence.input_ids[:-1] % 5) / 10 - sequence.target / 10
            values = (values + rng.normal(size=len(values)) * self.noise).astype(np.float32)
            results.append(LogProbs(values, values / 2))
        return results

    @property
    def n_forwarded(self):
        return sum(map(len, self.batches))


def dataset(n_items=4, info=CODEBOOKS, with_prompt=True):
    """Pairs whose members share their prompt's codes, as a causal tokenizer has them, and all of their codes."""
    tokens, rows = {}, []
    for i in range(n_items):
        prompt = random_codes(info, N_PROMPT, 100 + i)
        roles = {}
        for number, member in enumerate(("positive", "negative")):
            new = random_codes(info, 5 + i + number, 200 + 2 * i + number)
            durations = None if prompt.durations is None else np.concatenate([prompt.durations, new.durations])
            tokens[f"{member}{i}"] = Codes(np.concatenate([prompt.codes, new.codes]), durations)
            tokens[f"c_{member}{i}"] = new
            roles |= {member: f"{member}{i}", f"continuation_{member}": f"c_{member}{i}" if with_prompt else None}
        tokens[f"prompt{i}"] = prompt
        rows.append(
            {"item_id": f"i{i}", "status": OK, "sample_rate": 1000, "prompt": f"prompt{i}" if with_prompt else None,
             "transition": prompt.n_frames * 100 if with_prompt else None, **roles}
        )  # fmt: skip
    return pl.DataFrame(rows), tokens


@pytest.fixture
def store(tmp_path):
    return PartStore(tmp_path / "store", "likelihood", "identity", LIKELIHOOD)


def frame_of(store, keys):
    return pl.DataFrame(store.collect(keys)).sort(LIKELIHOOD.key)


def row_of(store, *key):
    return pl.DataFrame(store.collect([key])).row(0, named=True)


# ------------------------------------------------------------ which work


@pytest.mark.parametrize(
    ("transition", "rate", "tokenizer_rate", "hop", "expected"),
    [
        (0, 16000, 24000, 1920, 0),
        (1279, 16000, 24000, 1920, 0),  # 1279 / 16000 s < 0.08 s, the end of frame 0
        (1280, 16000, 24000, 1920, 1),  # a frame that ends exactly at the transition is before it
        (16000, 16000, 22050, 512, 43),  # 22050 / 512 = 43.07
        (44100 * 2, 44100, 16000, 320, 100),
    ],
)
def test_the_cut_is_in_the_frame_that_ends_after_the_transition(transition, rate, tokenizer_rate, hop, expected):
    assert cut_frame(transition, rate, TokenizerInfo(tokenizer_rate, hop, (2,), False, True)) == expected


@given(
    transition=st.integers(0, 10**7),
    rate=st.integers(1000, 96000),
    own=st.integers(1000, 96000),
    hop=st.integers(1, 4000),
)
def test_the_cut_is_exact_in_integers(transition, rate, own, hop):
    f = cut_frame(transition, rate, TokenizerInfo(own, hop, (2,), False, True))
    assert (f + 1) * hop * rate > transition * own
    assert f * hop * rate <= transition * own


def test_every_clip_of_a_usable_item_is_needed_once():
    pairs, _ = dataset(2)
    pairs = pairs.with_columns(negative=pl.lit("negative0"))  # shared by both items
    keys = needed(pairs, CODEBOOKS, ("full", "kept"))
    full = {key[0] for key in keys if key[1] == "full"}
    assert full == {
        "positive0", "positive1", "negative0",
        "c_positive0", "c_positive1", "c_negative0", "c_negative1",
    }  # fmt: skip
    assert [key for key in keys if key[1] == "kept"] == [
        (name, "kept", 8) for name in ("negative0", "positive0", "positive1")
    ]
    assert len(set(keys)) == len(keys)
    assert all(key[2] == -1 for key in keys if key[1] == "full")
    assert needed(pairs, CODEBOOKS, ("full",)) == [key for key in keys if key[1] == "full"]


def test_failed_items_and_items_without_a_prompt():
    pairs, _ = dataset(2)
    failed = pairs.with_columns(status=pl.Series([OK, FAILED]))
    assert {key[0][-1] for key in needed(failed, CODEBOOKS, ("full", "kept"))} == {"0"}
    alignment, _ = dataset(1, with_prompt=False)
    assert needed(alignment, CODEBOOKS, ("full", "kept")) == [("negative0", "full", -1), ("positive0", "full", -1)]
    with pytest.raises(ValueError, match="unknown contexts"):
        needed(pairs, CODEBOOKS, ("retokenised",))


# ------------------------------------------------------------ how it is done


def test_rows_carry_values_and_where_they_lie(store):
    pairs, tokens = dataset(1)
    lm = FakeLM()
    done = score_dataset(lm, pairs, tokens, CODEBOOKS, store)
    assert (done.n_reused, done.n_failed, done.n_truncated) == (0, 0, 0)
    row = row_of(store, "positive0", "kept", 8)
    sequence = lm.kept(tokens["positive0"], 8)
    expected = FakeLM().logprobs([sequence])[0]
    np.testing.assert_array_equal(np.float32(row["logprob"]), expected.logprob)
    np.testing.assert_array_equal(np.float32(row["logprob_legal"]), expected.legal)
    for name in ("target", "kind", "stream", "codebook", "frame", "n_frames", "step"):
        np.testing.assert_array_equal(row[name], getattr(sequence, name))
    assert row["frame"][0] == 8
    assert (row["status"], row["reason"]) == (OK, None)


def test_equal_sequences_are_forwarded_once_and_tie(store):
    pairs, tokens = dataset(1)
    tokens["negative0"] = tokens["positive0"]
    lm = FakeLM(noise=0.1)
    done = score_dataset(lm, pairs, tokens, CODEBOOKS, store, max_batch_tokens=1)
    # One member; its continuation, which is also what is kept of either member; the other continuation.
    assert done.n_forwarded == lm.n_forwarded == 3
    assert row_of(store, "positive0", "full", -1)["logprob"] == row_of(store, "negative0", "full", -1)["logprob"]
    assert row_of(store, "positive0", "kept", 8)["logprob"] == row_of(store, "c_positive0", "full", -1)["logprob"]


@pytest.mark.parametrize("batch_tokens", [1, 60, 10_000])
def test_members_tie_exactly_before_they_differ_whatever_the_batch(store, batch_tokens):
    pairs, tokens = dataset(2)
    score_dataset(FakeLM(noise=0.1), pairs, tokens, CODEBOOKS, store, max_batch_tokens=batch_tokens)
    for i in range(2):
        positive, negative = (row_of(store, f"{name}{i}", "full", -1) for name in ("positive", "negative"))
        n_prompt = 2 * N_PROMPT
        assert positive["logprob"][:n_prompt] == negative["logprob"][:n_prompt]
        assert positive["logprob_legal"][:n_prompt] == negative["logprob_legal"][:n_prompt]
        assert positive["logprob"][n_prompt:] != negative["logprob"][n_prompt : len(positive["logprob"])]


@given(seed=st.integers(0, 500), bos=st.sampled_from([None, 0]))
def test_equal_contexts_have_equal_values_in_any_order(seed, bos):
    rng = np.random.default_rng(seed)
    vocabulary = UnitVocabulary.by_offset((2,), 1, bos, None)
    index, kept = PrefixIndex(), {}
    for _ in range(12):
        codes = Codes(rng.integers(0, 2, (rng.integers(2, 7), 1)).astype(np.int32), None)
        sequence = vocabulary.sequence(codes, None, None, "refuse")
        fresh = rng.normal(size=(2, len(sequence.index))).astype(np.float32)
        values = index.add(sequence, LogProbs(*fresh))
        found = index.find(sequence)
        assert found is not None
        np.testing.assert_array_equal(found.logprob, values.logprob)
        for place, at in enumerate(sequence.index):
            context = sequence.input_ids[: at + 1].tobytes()
            # What was had first for these ids is what everybody has; new contexts keep their own value.
            assert kept.setdefault(context, fresh[0][place]) == values.logprob[place]
            assert kept.setdefault(context + b"legal", fresh[1][place]) == values.legal[place]


def test_batches_stay_within_their_budget(store):
    pairs, tokens = dataset(6)
    lm = FakeLM()
    score_dataset(lm, pairs, tokens, CODEBOOKS, store, max_batch_tokens=100)
    assert max(len(batch) for batch in lm.batches) > 2
    assert all(len(batch) * max(batch) <= 100 for batch in lm.batches)


def test_progress_counts_every_row(store):
    pairs, tokens = dataset(3)
    told = []
    done = score_dataset(FakeLM(), pairs, tokens, CODEBOOKS, store, progress=told.append)
    assert sum(told) == len(done.keys) == 18
    told.clear()
    score_dataset(FakeLM(), pairs, tokens, CODEBOOKS, store, progress=told.append)
    assert told[0] == 18
    assert sum(told) == 18


# ------------------------------------------------------------ what is there already


def test_a_limited_run_is_reused_and_a_second_run_does_nothing(store):
    pairs, tokens = dataset(4)
    first = score_dataset(FakeLM(), pairs.head(2), tokens, CODEBOOKS, store)
    lm = FakeLM()
    second = score_dataset(lm, pairs, tokens, CODEBOOKS, store)
    assert second.n_reused == len(first.keys) == 12
    assert lm.n_forwarded == second.n_forwarded == 2 * 4  # kept ones are equal to continuations
    third = score_dataset(lm, pairs, tokens, CODEBOOKS, store)
    assert (third.n_forwarded, third.n_reused) == (0, 24)
    assert lm.n_forwarded == 8


def test_another_context_adds_its_rows_only(store):
    pairs, tokens = dataset(2)
    score_dataset(FakeLM(), pairs, tokens, CODEBOOKS, store, contexts=("full",))
    done = score_dataset(FakeLM(), pairs, tokens, CODEBOOKS, store)
    assert (len(done.keys), done.n_reused, done.n_forwarded) == (12, 8, 0)


def test_a_killed_run_goes_on_and_ends_with_the_same_bytes(tmp_path):
    path = save(random_model("llama"), tmp_path / "lm")
    pairs, tokens = dataset(5)
    tokens["positive2"] = ItemError("too short for one frame")
    written = []
    for killed in (False, True):
        store = PartStore(tmp_path / f"store{killed}", "likelihood", "identity", LIKELIHOOD)
        lm = CausalUnitLM(path, CODEBOOKS)
        if killed:
            score, n_calls = lm.logprobs, []

            def dying(batch, score=score, n_calls=n_calls):
                n_calls.append(len(batch))
                if len(n_calls) == 3:
                    raise KeyboardInterrupt
                return score(batch)

            lm.logprobs = dying
            with pytest.raises(KeyboardInterrupt):
                score_dataset(lm, pairs, tokens, CODEBOOKS, store, max_batch_tokens=150)
            assert len(list(store.folder.glob("*.parquet"))) == 3  # the failed rows, and two batches
            lm = CausalUnitLM(path, CODEBOOKS)
        done = score_dataset(lm, pairs, tokens, CODEBOOKS, store, max_batch_tokens=150)
        if killed:
            assert 0 < done.n_reused < len(done.keys)
        table = tmp_path / f"{killed}.parquet"
        write(table, store, done.keys, "tiny", lm, CODEBOOKS)
        written.append(table.read_bytes())
    assert written[0] == written[1]
    metadata = read_metadata(tmp_path / "True.parquet", LIKELIHOOD)
    assert metadata.identity == "identity"
    assert metadata.extra == {
        "tokenizer": CODEBOOKS.to_dict() | {"codebook_sizes": [7, 5], "codebook_names": []},
        "streams": ["units"],
        "model": "tiny",
    }
    assert read_table(tmp_path / "True.parquet", LIKELIHOOD).height == len(done.keys)


# ------------------------------------------------------------ what goes wrong


def test_clips_without_codes_and_clips_too_long_are_rows_with_a_reason(store):
    pairs, tokens = dataset(3)
    tokens["positive1"] = ItemError("too short for one frame (512 samples at 22050 Hz)")
    lm = FakeLM(max_context=2 * 15 + 1)
    done = score_dataset(lm, pairs, tokens, CODEBOOKS, store)
    failed = frame_of(store, done.keys).filter(pl.col("status") == FAILED)
    assert done.n_failed == failed.height == 3
    assert (
        dict(failed.filter(pl.col("context") == "full").select("clip_id", "reason").iter_rows())
        == {
            "positive1": "too short for one frame (512 samples at 22050 Hz)",
            "negative2": "33 ids, but the context has room for 31",
        }
        or failed.select("clip_id").to_series().to_list()
    )
    assert failed["logprob"].null_count() == 3
    again = score_dataset(lm, pairs, tokens, CODEBOOKS, store)
    assert (again.n_failed, again.n_forwarded, again.n_reused) == (3, 0, 18)


def test_a_poisoned_clip_fails_alone(store, tmp_path):
    lm = CausalUnitLM(
        save(random_model("gpt2", n_ids=14), tmp_path / "lm"), TokenizerInfo(1000, 100, (8, 5), False, True)
    )
    with torch.no_grad():
        lm.model.transformer.wte.weight[8] = torch.nan  # code 7 of codebook 0, which no clip has but one
        lm.model.lm_head.weight = torch.nn.Parameter(torch.randn(14, 16))
    pairs, tokens = dataset(4)
    spoiled = tokens["negative1"].codes.copy()
    spoiled[-1, 0] = 7
    tokens["negative1"] = Codes(spoiled, None)
    done = score_dataset(lm, pairs, tokens, CODEBOOKS, store)
    failed = frame_of(store, done.keys).filter(pl.col("status") == FAILED)
    assert done.n_failed == 2
    assert [row["clip_id"] for row in failed.iter_rows(named=True)] == ["negative1", "negative1"]  # full and kept
    assert all("is nan" in reason for reason in failed["reason"])
    scored = frame_of(store, done.keys).filter(pl.col("status") == OK)
    assert all(np.isfinite(values).all() for values in scored["logprob"].to_list())


def test_out_of_memory_halves_the_batch_and_alone_it_is_raised(store):
    pairs, tokens = dataset(4)

    class Small(FakeLM):
        room = 100

        def logprobs(self, batch):
            if len(batch) * max(len(s.input_ids) for s in batch) > self.room:
                raise RuntimeError("CUDA out of memory. Tried to allocate 20.00 MiB")
            return super().logprobs(batch)

    lm = Small()
    done = score_dataset(lm, pairs, tokens, CODEBOOKS, store)
    assert done.n_forwarded == 16
    assert done.n_failed == 0
    smaller = PartStore(store.root, "likelihood", "other", LIKELIHOOD)
    Small.room = 20
    with pytest.raises(RuntimeError, match="out of memory"):
        score_dataset(Small(), pairs, tokens, CODEBOOKS, smaller)
    assert smaller.done() == set()  # nothing is recorded: the next run tries again


def test_tokens_of_another_dataset_are_refused(store):
    pairs, tokens = dataset(2)
    del tokens["positive1"]
    with pytest.raises(ArtefactError, match=r"the tokens table lacks 1 clips, e\.g\. positive1"):
        score_dataset(FakeLM(), pairs, tokens, CODEBOOKS, store)


def test_truncated_clips_are_counted_and_seen_in_the_table(store, tmp_path):
    lm = CausalUnitLM(save(random_model("opt"), tmp_path / "lm"), CODEBOOKS, max_context=27, truncate="left")
    pairs, tokens = dataset(1)  # 13 and 14 frames; 13 fit
    done = score_dataset(lm, pairs, tokens, CODEBOOKS, store)
    assert done.n_truncated == 1
    assert row_of(store, "negative0", "full", -1)["frame"][0] == 1


def test_units_with_durations_are_scored_from_the_run_that_covers_the_cut(store, tmp_path):
    lm = CausalUnitLM(save(random_model("qwen2"), tmp_path / "lm"), UNITS)
    pairs, tokens = dataset(2, UNITS)
    done = score_dataset(lm, pairs, tokens, UNITS, store)
    assert done.n_failed == 0
    cut = tokens["prompt0"].n_frames
    row = row_of(store, "positive0", "kept", cut)
    assert row["frame"][0] == cut
    assert row["n_frames"] == tokens["c_positive0"].durations.tolist()


def test_a_tokens_table_becomes_codes_and_reasons():
    table = TOKENS.from_rows(
        [
            tokens_row("a", Codes(np.array([[1, 2], [3, 4]], np.int32), None)),
            failed_row("b", ItemError("too short")),
        ]
    )
    codes = codes_by_clip(pl.DataFrame(table), CODEBOOKS)
    assert codes["a"].codes.tolist() == [[1, 2], [3, 4]]
    assert isinstance(codes["b"], ItemError)


def test_scoring_and_evaluators_cut_at_the_same_frame():
    """Two functions, so that editing one stage does not change the other's identity; they must not part."""
    from spokeneval.evaluators import positions
    from spokeneval.likelihood import cut_frame
    from spokeneval.tokenizers.base import TokenizerInfo

    for rate, hop in ((24000, 1920), (16000, 320), (22050, 512)):
        info = TokenizerInfo(rate, hop, (8,), False, True)
        for transition in (0, 1, 319, 320, 321, 1279, 1280, 16000, 31999, 32000):
            for clip_rate in (8000, 16000, 44100):
                assert cut_frame(transition, clip_rate, info) == positions.cut_frame(transition, clip_rate, info)
