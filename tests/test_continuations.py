"""The continuations stage: prompts alone, cut off exactly, every status, and safe against a kill."""

import numpy as np
import polars as pl
import pytest
import torch
from test_likelihood import dataset
from tiny_models import CODEBOOKS, UNITS, random_codes, random_model, save

from spokeneval.audio import decode_flac
from spokeneval.continuations import continue_dataset, decode_new, n_new_frames, needed, status_of, write
from spokeneval.errors import ArtefactError, ItemError
from spokeneval.models.base import Decoding
from spokeneval.models.causal_lm import CausalUnitLM
from spokeneval.store import PartStore
from spokeneval.tables import CONTINUATIONS, FAILED, OK, read_table
from spokeneval.tokenizers.base import Codes, TokenizerInfo

torch.set_num_threads(1)


class Tokenizer:
    def __init__(self, info=CODEBOOKS):
        self.info = info


class Tones:
    """Samples tell the code of codebook 0 (a tenth of it) and, by a ramp over the whole string, the place."""

    def __init__(self, sample_rate=1000, history_s=None):
        self.sample_rate = sample_rate
        self.history_s = history_s
        self.heard = []

    def decode(self, codes, tokenizer):
        self.heard.append(codes)
        samples = np.repeat(codes.codes[:, 0] / 10 + 0.01, 100 * self.sample_rate // 1000)
        return (samples + np.arange(len(samples)) * 1e-5).astype(np.float32)


class Silent(Tones):
    def decode(self, codes, tokenizer):
        return super().decode(codes, tokenizer) * 0


class Echo:
    """A model that says its prompt's last frame again and again, one code further each time it is another sample."""

    def __init__(self, n_frames=None):
        self.n_frames, self.batches = n_frames, []

    def continue_(self, prompts, n_frames, decoding, sample_index):
        self.batches.append([prompt.clip_id for prompt in prompts])
        n = n_frames if self.n_frames is None else self.n_frames
        return [Codes(np.repeat((p.codes.codes[-1:] + sample_index) % 5, n, 0), None) for p in prompts]


@pytest.fixture
def store(tmp_path):
    return PartStore(tmp_path / "store", "continuations", "identity", CONTINUATIONS)


def run(model, store, n_items=4, vocoder=None, decoding=None, info=CODEBOOKS, **options):
    pairs, tokens = dataset(n_items, info)
    decoding = decoding or Decoding(new_s=1.0)
    done = continue_dataset(model, Tokenizer(info), vocoder or Tones(), pairs, tokens, store, decoding, **options)
    return done, pl.DataFrame(store.collect(done.keys)).sort(CONTINUATIONS.key), tokens


@pytest.mark.parametrize(
    ("new_s", "rate", "hop", "expected"),
    [(2.0, 22050, 512, 87), (0.2, 1000, 40, 5), (0.3, 1000, 100, 3), (2.0, 16000, 320, 100), (0.01, 1000, 100, 1)],
)
def test_new_frames_cover_the_seconds_asked_for(new_s, rate, hop, expected):
    assert n_new_frames(new_s, TokenizerInfo(rate, hop, (2,), False, True)) == expected


def test_a_prompt_is_continued_once_however_many_items_begin_with_it():
    pairs, _ = dataset(3)
    pairs = pairs.with_columns(prompt=pl.Series(["a", "a", "b"]), status=pl.Series([OK, OK, FAILED]))
    assert needed(pairs, 2) == [("a", 0), ("a", 1)]
    alignment, _ = dataset(2, with_prompt=False)
    assert needed(alignment.with_columns(prompt=pl.lit(None, pl.String)), 1) == []


def test_a_row_is_the_continuation_alone(store):
    done, rows, tokens = run(Echo(), store)
    assert done.n_by_status == {OK: 4}
    row = rows.filter(pl.col("clip_id") == "prompt2").row(0, named=True)
    prompt = tokens["prompt2"].codes
    waveform, rate = decode_flac(row["audio"]["bytes"])
    assert (rate, len(waveform), row["sample_rate"], row["n_samples"]) == (1000, 1000, 1000, 1000)
    # The ramp goes on from where the prompt's 800 samples end: both were decoded together.
    np.testing.assert_allclose(waveform, prompt[-1, 0] / 10 + 0.01 + np.arange(800, 1800) * 1e-5, atol=2**-15)
    assert row["codes"] == np.repeat(prompt[-1:], 10, 0).ravel().tolist()
    assert row["prompt_codes"] == prompt.ravel().tolist()
    assert (row["seed"], row["durations"], row["reason"]) == (0, None, None)
    # Echo holds one frame for a second: too short to stand still.
    assert (row["seconds"], row["flags"]) == (1.0, [])
    assert len(row["pcm_sha256"]) == 64
    assert not row["audio"]["path"].startswith("/")


def test_a_vocoder_of_another_rate_is_cut_at_the_same_time():
    prompt, new = random_codes(CODEBOOKS, 8, 0), random_codes(CODEBOOKS, 5, 1)
    for rate in (1000, 2000, 500):
        assert len(decode_new(prompt, new, Tokenizer(), Tones(rate))) == 5 * rate // 10


def test_only_the_history_that_the_vocoder_asks_for_is_decoded_with_the_continuation():
    prompt, new = random_codes(CODEBOOKS, 8, 0), random_codes(CODEBOOKS, 5, 1)
    for history_s, n_history in ((None, 8), (0.3, 3), (0.25, 3), (5.0, 8), (0.0, 0)):
        vocoder = Tones(1000, history_s)
        assert len(decode_new(prompt, new, Tokenizer(), vocoder)) == 500
        expected = np.concatenate([prompt.codes[8 - n_history :], new.codes])
        np.testing.assert_array_equal(vocoder.heard[0].codes, expected)


def test_deduplicated_units_are_decoded_without_their_prompt(store, tmp_path):
    vocoder = Tones()
    lm = CausalUnitLM(save(random_model("gpt2"), tmp_path / "lm"), UNITS)
    done, rows, _ = run(lm, store, 2, vocoder, info=UNITS)
    assert done.n_by_status.get(FAILED) is None
    for heard, row in zip(sorted(len(codes.codes) for codes in vocoder.heard), rows.iter_rows(named=True), strict=True):
        assert 0 < heard < 10
        assert row["durations"] is None
        assert len(row["codes"]) in {len(codes.codes) for codes in vocoder.heard}


def test_neither_positive_nor_negative_is_read(store):
    class Guarded(dict):
        def __getitem__(self, name):
            assert name.startswith("prompt"), f"{name} was read"
            return super().__getitem__(name)

    pairs, tokens = dataset(3)
    continue_dataset(Echo(), Tokenizer(), Tones(), pairs, Guarded(tokens), store, Decoding(new_s=1.0))


def test_real_models_say_the_same_in_any_batch(tmp_path):
    path = save(random_model("llama"), tmp_path / "lm")
    said = []
    for batch_size in (1, 3):
        store = PartStore(tmp_path / f"{batch_size}", "continuations", "identity", CONTINUATIONS)
        decoding = Decoding(new_s=0.8, samples_per_item=2)
        _, rows, _ = run(CausalUnitLM(path, CODEBOOKS), store, decoding=decoding, batch_size=batch_size)
        said.append(rows)
    assert said[0].equals(said[1])
    assert said[0]["pcm_sha256"].n_unique() == 8


def test_more_samples_add_rows_and_change_none(store):
    done, before, _ = run(Echo(), store)
    model = Echo()
    again, after, _ = run(model, store, decoding=Decoding(new_s=1.0, samples_per_item=3))
    assert (again.n_generated, again.n_reused) == (8, 4)
    assert before.equals(after.filter(pl.col("sample_index") == 0))
    assert sorted(name for batch in model.batches for name in batch) == sorted([*(key[0] for key in done.keys)] * 2)


def test_a_killed_run_goes_on_and_ends_with_the_same_bytes(tmp_path):
    path = save(random_model("opt"), tmp_path / "lm")
    written = []
    for killed in (False, True):
        store = PartStore(tmp_path / f"store{killed}", "continuations", "identity", CONTINUATIONS)
        if killed:
            vocoder = Tones()
            decode = vocoder.decode

            def dying(codes, tokenizer, vocoder=vocoder, decode=decode):
                if len(vocoder.heard) == 3:
                    raise KeyboardInterrupt
                return decode(codes, tokenizer)

            vocoder.decode = dying
            with pytest.raises(KeyboardInterrupt):
                run(CausalUnitLM(path, CODEBOOKS), store, vocoder=vocoder, batch_size=2)
            assert len(store.done()) == 2
        done, *_ = run(CausalUnitLM(path, CODEBOOKS), store, batch_size=2)
        table = tmp_path / f"{killed}.parquet"
        write(table, store, done.keys, "tiny", CODEBOOKS)
        written.append(table.read_bytes())
    assert written[0] == written[1]
    assert read_table(tmp_path / "True.parquet", CONTINUATIONS, "identity").height == 4


# ------------------------------------------------------------ statuses


def test_statuses_by_hand():
    tone = (0.5 * np.sin(np.arange(1000))).astype(np.float32)
    assert status_of(tone, 1000) == (OK, None)
    assert status_of(tone[:0], 1000)[0] == "empty"
    assert status_of(tone[:499], 1000) == ("too_short", "0.499 s; expected 0.5 s or more")
    assert status_of(tone[:500], 1000)[0] == OK
    assert status_of(tone * 1e-4, 1000) == ("silent", "RMS 3.5e-05; expected 1e-04 or more")
    loud = tone.copy()
    loud[:10] = 1.2
    assert status_of(loud, 1000)[0] == OK  # 1 % is not more than 1 %
    loud[:11] = -1.2
    assert status_of(loud, 1000) == ("clipped", "1.1 % of samples at or above full scale")


def test_a_model_that_says_nothing_is_empty_and_has_no_audio(store):
    done, rows, _ = run(Echo(n_frames=0), store)
    assert done.n_by_status == {"empty": 4}
    assert rows["audio"].null_count() == 4
    assert rows["codes"].to_list() == [[]] * 4


def test_continuations_that_stand_still_or_say_their_prompt_again_are_flagged(tmp_path):
    class Parrot(Echo):
        def continue_(self, prompts, n_frames, decoding, sample_index):
            return [Codes(prompt.codes.codes[-n_frames:], None) for prompt in prompts]

    class Loud(Tones):
        def decode(self, codes, tokenizer):
            return super().decode(codes, tokenizer) * 0 + np.float32(2.0)

    for name, model, vocoder, expected in (
        ("still", Echo(), Tones(), ["loops"]),
        ("parrot", Parrot(), Tones(), ["repeats_prompt"]),
        ("clipped", Parrot(), Loud(), ["repeats_prompt"]),
        ("nothing", Echo(n_frames=0), Tones(), None),
        ("silent", Echo(), Silent(), None),
    ):
        store = PartStore(tmp_path / name, "continuations", "identity", CONTINUATIONS)
        _, rows, _ = run(model, store, vocoder=vocoder, decoding=Decoding(new_s=1.5))
        assert rows["flags"].to_list() == [expected] * 4, name


def test_a_clipped_continuation_keeps_its_audio_scaled_to_fit(store):
    class Loud(Tones):
        def decode(self, codes, tokenizer):
            return super().decode(codes, tokenizer) * 0 + np.float32(2.0)

    done, rows, _ = run(Echo(), store, vocoder=Loud())
    assert done.n_by_status == {"clipped": 4}
    assert np.abs(decode_flac(rows["audio"][0]["bytes"])[0]).max() <= 1


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_sound_that_is_not_finite_fails(store, value):
    class Broken(Tones):
        def decode(self, codes, tokenizer):
            waveform = super().decode(codes, tokenizer)
            waveform[-3] = value
            return waveform

    done, rows, _ = run(Echo(), store, vocoder=Broken())
    assert done.n_by_status == {FAILED: 4}
    assert set(rows["reason"]) == {"the vocoder gave 1 NaN or infinite samples"}
    assert rows["audio"].null_count() == 4


def test_a_prompt_that_fails_does_not_take_others_with_it(store):
    class Picky(Echo):
        def continue_(self, prompts, n_frames, decoding, sample_index):
            if any(prompt.clip_id == "prompt1" for prompt in prompts):
                raise ItemError("77 ids, but the context has room for 64")
            return super().continue_(prompts, n_frames, decoding, sample_index)

    pairs, tokens = dataset(5)
    tokens["prompt3"] = ItemError("too short for one frame")
    done = continue_dataset(Picky(), Tokenizer(), Tones(), pairs, tokens, store, Decoding(new_s=1.0))
    rows = pl.DataFrame(store.collect(done.keys))
    assert done.n_by_status == {OK: 3, FAILED: 2}
    assert dict(rows.filter(pl.col("status") == FAILED).select("clip_id", "reason").iter_rows()) == {
        "prompt1": "77 ids, but the context has room for 64",
        "prompt3": "the prompt has no codes: too short for one frame",
    }
    again = continue_dataset(Picky(), Tokenizer(), Tones(), pairs, tokens, store, Decoding(new_s=1.0))
    assert (again.n_generated, again.n_reused) == (0, 5)


def test_a_vocoder_that_has_nothing_to_decode_fails_one_prompt(store):
    class Picky(Tones):
        def decode(self, codes, tokenizer):
            if len(self.heard) == 1:
                self.heard.append(codes)
                raise ItemError("nothing to decode")
            return super().decode(codes, tokenizer)

    done, _, _ = run(Echo(), store, vocoder=Picky())
    assert done.n_by_status == {OK: 3, FAILED: 1}


def test_out_of_memory_halves_the_batch(store):
    class Small(Echo):
        def continue_(self, prompts, n_frames, decoding, sample_index):
            if len(prompts) > 1:
                raise RuntimeError("CUDA out of memory")
            return super().continue_(prompts, n_frames, decoding, sample_index)

    done, _, _ = run(Small(), store)
    assert done.n_by_status == {OK: 4}


def test_progress_counts_every_continuation(store):
    told = []
    run(Echo(), store, decoding=Decoding(new_s=1.0, samples_per_item=2), batch_size=3, progress=told.append)
    assert sum(told) == 8
    told.clear()
    run(Echo(), store, decoding=Decoding(new_s=1.0, samples_per_item=2), progress=told.append)
    assert told[0] == 8


def test_tokens_of_another_dataset_are_refused(store):
    pairs, tokens = dataset(2)
    del tokens["prompt1"]
    with pytest.raises(ArtefactError, match=r"the tokens table lacks 1 prompts, e\.g\. prompt1"):
        continue_dataset(Echo(), Tokenizer(), Tones(), pairs, tokens, store, Decoding())
