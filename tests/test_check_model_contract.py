"""Models that break the contract are caught, each by the check that is for it."""

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from frame_models import CODEC, random_csm, random_moshi, save_csm
from tiny_models import ARCHITECTURES, CODEBOOKS, UNITS, random_codes, random_model, save
from transformers import BertConfig, BertLMHeadModel

from spokeneval.check_model.continuation_contract import check_continuation
from spokeneval.check_model.drawing import draw
from spokeneval.check_model.items import fitting
from spokeneval.check_model.scoring_contract import check_scoring
from spokeneval.check_model.sequence_contract import check_sequences
from spokeneval.errors import ConfigError, ItemError
from spokeneval.models import causal_lm
from spokeneval.models.base import Decoding, LogProbs, Prompt
from spokeneval.models.causal_lm import CausalUnitLM
from spokeneval.models.csm import CSM
from spokeneval.models.moshi import Moshi
from spokeneval.models.scoring import score_rows
from spokeneval.tokenizers.base import Codes

torch.set_num_threads(1)

CLIPS = [random_codes(CODEBOOKS, n, n) for n in (12, 20, 9, 16, 25)]


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    return {name: save(random_model(name), folder / name) for name in ARCHITECTURES}


@pytest.fixture
def gpt2(paths):
    return paths["gpt2"]


def named(clips=CLIPS):
    return [(f"clip{i}", codes, codes.n_frames // 2) for i, codes in enumerate(clips)]


def check(lm, info=CODEBOOKS, clips=CLIPS, dtype="float32"):
    """All contracts of a model: names that are wrong, and all findings."""
    found = [*check_sequences(lm, named(clips)), *check_scoring(lm, info, named(clips), dtype, 4096)]
    return [finding.name for finding in found if finding.wrong], found


SUM = "a clip's sum is that of a plain float64 softmax over the model's logits"
NORMALISED = "over all legal codes at a place probabilities sum to 1"
AHEAD = "another last code changes no earlier value"
DEAF = "another code changes the value right after it"
BATCHES = "alone, in a batch and in reverse order values are the same"
ADDS_UP = "log p(clip) = log p(prompt) + log p(rest | prompt)"
PLACES = "every code is scored once, where it lies"
TARGETS = "the id that is scored is the id of the code"
DOUBLED = "no mark is doubled"
KEPT = "kept tokens keep their place"


# ------------------------------------------------------------ right models pass


@pytest.mark.parametrize("name", ARCHITECTURES)
@pytest.mark.parametrize("bos", [0, None])
def test_right_models_pass(paths, name, bos):
    lm = CausalUnitLM(paths[name], CODEBOOKS, bos=bos)
    wrong, found = check(lm)
    assert wrong == []
    assert {finding.outcome for finding in found} == {"ok"}


def test_units_an_eos_and_low_precision_pass(paths, tmp_path):
    clips = [random_codes(UNITS, n, n) for n in (12, 20, 9)]
    lm = CausalUnitLM(save(random_model("llama", n_ids=14), tmp_path), UNITS, eos=13)
    assert check(lm, UNITS, clips)[0] == []
    assert check(CausalUnitLM(paths["llama"], UNITS, dtype="bfloat16"), UNITS, clips, "bfloat16")[0] == []


def test_families_of_two_levels_with_delays_pass(tmp_path):
    random_moshi().save_pretrained(tmp_path / "moshi")
    models = [Moshi(tmp_path / "moshi", CODEC, silence_codes=[6, 2, 5])]
    models.append(CSM(save_csm(random_csm(), tmp_path / "csm"), CODEC, speaker=7))
    for lm in models:
        wrong, found = check(lm, CODEC, [random_codes(CODEC, n, n) for n in (12, 20, 9)])
        assert wrong == []
        assert {f.name for f in found if f.outcome == "not checked"} == {SUM, TARGETS, DOUBLED}


def test_codebooks_of_different_rates_pass(gpt2):
    info = dataclasses.replace(CODEBOOKS, asynchronous=True)
    clips = []
    for n in (12, 20, 9):
        rng = np.random.default_rng(n)
        books = np.arange(n) % 3 % 2
        starts = np.cumsum(books == 0) - 1
        units = rng.integers(0, np.array([7, 5])[books])[:, None].astype(np.int32)
        ones = np.ones(n, np.int32)
        clips.append(Codes(units, ones, books.astype(np.int8), starts.clip(0).astype(np.int32)))
    assert check(CausalUnitLM(gpt2, info), info, clips)[0] == []


# ------------------------------------------------------------ planted mistakes


class Shifted(CausalUnitLM):
    """Scores every id by the logits `late` places after the right ones."""

    late = 1

    def logprobs(self, batch):
        results = []
        for sequence in batch:
            with torch.inference_mode():
                logits = self.model(input_ids=torch.from_numpy(sequence.input_ids)[None]).logits[0]
            place = np.clip(sequence.index - 1 + self.late, 0, len(sequence.input_ids) - 1)
            target, book = torch.from_numpy(sequence.target), torch.from_numpy(sequence.codebook.astype(np.int64))
            full, legal = score_rows(logits[torch.from_numpy(place)], target, book, self.vocabulary)
            results.append(LogProbs(full.numpy(), legal.numpy()))
        return results


class ShiftedBack(Shifted):
    late = -1


def test_a_code_scored_after_it_has_been_seen_is_no_probability(gpt2):
    wrong, found = check(Shifted(gpt2, CODEBOOKS))
    assert SUM in wrong
    assert NORMALISED in wrong
    assert "score id i by the logits at i - 1" in next(f.detail for f in found if f.name == NORMALISED)


def test_a_code_scored_without_the_one_before_it_is_deaf(gpt2):
    wrong, _ = check(ShiftedBack(gpt2, CODEBOOKS))
    assert DEAF in wrong
    assert SUM in wrong
    assert NORMALISED not in wrong  # which is why both are checked


def test_a_shift_is_seen_in_families_that_do_not_show_their_logits(gpt2):
    for cls, name in ((Shifted, NORMALISED), (ShiftedBack, DEAF)):
        wrong, found = check(Opaque(cls(gpt2, CODEBOOKS)))
        assert name in wrong
        assert next(f.outcome for f in found if f.name == SUM) == "not checked"
    assert check(Opaque(CausalUnitLM(gpt2, CODEBOOKS)))[0] == []


class Opaque:
    """Another family: the contract and nothing else."""

    def __init__(self, lm):
        self.streams, self.sequence, self.kept, self.logprobs = lm.streams, lm.sequence, lm.kept, lm.logprobs


def test_a_model_that_looks_ahead_is_refused_at_load_and_seen_without_that(tmp_path, monkeypatch):
    config = BertConfig(
        vocab_size=13, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
        max_position_embeddings=64, initializer_range=0.6, is_decoder=False,
    )  # fmt: skip
    save(BertLMHeadModel(config), tmp_path)
    with pytest.raises(ConfigError, match="a later id changes earlier predictions"):
        CausalUnitLM(tmp_path, CODEBOOKS)
    monkeypatch.setattr(causal_lm, "check_causal", lambda *_: None)
    wrong, _ = check(CausalUnitLM(tmp_path, CODEBOOKS))
    assert {AHEAD, ADDS_UP} <= set(wrong)


def test_padding_that_is_seen_is_caught(gpt2):
    class PaddedLeft(CausalUnitLM):
        def logprobs(self, batch):
            longest = max(len(s.input_ids) for s in batch)
            moved = [
                dataclasses.replace(
                    s,
                    input_ids=np.concatenate([np.zeros(longest - len(s.input_ids), np.int64), s.input_ids]),
                    index=(s.index + longest - len(s.input_ids)).astype(np.int32),
                )
                for s in batch
            ]
            return super().logprobs(moved)

    assert check(PaddedLeft(gpt2, CODEBOOKS))[0] == [BATCHES]


def with_vocabulary(lm, **changes):
    lm.vocabulary = dataclasses.replace(lm.vocabulary, **changes)
    return lm


def test_a_doubled_bos_is_caught(gpt2):
    wrong, found = check(with_vocabulary(CausalUnitLM(gpt2, CODEBOOKS), prefix=(0, 0)))
    assert wrong == [DOUBLED]
    assert "[0, 0] is fed before the first code: id 0 stands there 2 times" in next(
        f.detail for f in found if f.name == DOUBLED
    )


class Altered(CausalUnitLM):
    """Changes what `sequence` gives."""

    def change(self, sequence):
        return sequence

    def sequence(self, codes):
        return self.change(super().sequence(codes))


def test_codes_that_are_lost_doubled_or_misplaced_are_caught(gpt2):
    columns = ("index", "kind", "stream", "codebook", "frame", "n_frames", "step")

    def taken(sequence, places):
        return dataclasses.replace(sequence, **{name: getattr(sequence, name)[places] for name in columns})

    changes = {
        "2 codes are never scored": lambda s: taken(s, np.arange(len(s.index)) > 1),
        "is scored 2 times": lambda s: dataclasses.replace(s, frame=np.where(s.frame == 1, 0, s.frame)),
        "where the clip has none": lambda s: dataclasses.replace(s, frame=s.frame + 1),
        "the tokenizer says 1": lambda s: dataclasses.replace(s, n_frames=s.n_frames * 2),
    }
    for text, change in changes.items():
        lm = Altered(gpt2, CODEBOOKS)
        lm.change = change
        found = check_sequences(lm, named())
        assert any(f.name == PLACES and f.wrong and text in f.detail for f in found), text


def test_ids_that_are_not_those_of_the_codes_are_caught(gpt2):
    class Off(CausalUnitLM):
        """Feeds the codes of the other codebook's neighbour: each code plus one, around."""

        def sequence(self, codes):
            moved = (codes.codes + 1) % np.array([7, 5], np.int32)
            return super().sequence(codes._replace(codes=moved))

    found = {f.name: f for f in check_sequences(Off(gpt2, CODEBOOKS), named())}
    assert found[TARGETS].wrong
    assert "its code" in found[TARGETS].detail


def test_kept_tokens_that_begin_at_zero_again_are_caught(gpt2):
    class Restarts(CausalUnitLM):
        def kept(self, codes, cut_frame):
            return self.sequence(codes.take(np.arange(cut_frame, len(codes.codes))))

    assert check(Restarts(gpt2, CODEBOOKS))[0] == [KEPT]


def test_log_probabilities_in_bits_or_with_the_wrong_sign_are_caught(gpt2):
    class Scaled(CausalUnitLM):
        factor = 1 / np.log(2)

        def logprobs(self, batch):
            results = super().logprobs(batch)
            return [LogProbs(*(np.float32(self.factor) * values for values in result)) for result in results]

    assert {SUM, NORMALISED} <= set(check(Scaled(gpt2, CODEBOOKS))[0])
    negative = Scaled(gpt2, CODEBOOKS)
    negative.factor = -1
    assert "log-probabilities are finite, float32 and at most 0, one for each scored place" in check(negative)[0]


# ------------------------------------------------------------ continuations


TOKENIZER = SimpleNamespace(info=CODEBOOKS)


class Tone:
    """A vocoder of a wrong hop, if told so."""

    sample_rate, history_s = 1000, None

    def __init__(self, hop=100):
        self.hop = hop

    def decode(self, codes, tokenizer):
        return np.full(codes.n_frames * self.hop, 0.1, np.float32)


def continuation_findings(lm, vocoder=None, dtype="float32", device="cpu", decoding=None):
    prompts = [Prompt(f"clip{i}", codes.take(np.arange(6 + i))) for i, codes in enumerate(CLIPS)]
    found = check_continuation(
        lm, TOKENIZER, vocoder or Tone(), prompts, 4, decoding or Decoding(new_s=0.4), dtype, device
    )
    return {finding.name: finding for finding in found}


def test_right_continuations_pass_and_unheard_models_are_not_asked(gpt2):
    lm = CausalUnitLM(gpt2, CODEBOOKS)
    assert {f.outcome for f in continuation_findings(lm).values()} == {"ok"}
    unheard = check_continuation(lm, TOKENIZER, None, [], 4, Decoding(), "float32")
    assert {f.outcome for f in unheard} == {"not checked"}


def test_continuations_that_depend_on_their_batch_are_short_or_illegal_are_caught(gpt2):
    class Batchy(CausalUnitLM):
        def continue_(self, prompts, n_frames, decoding, sample_index):
            first = super().continue_(prompts, n_frames, decoding, sample_index)
            return [Codes((c.codes + i) % [7, 5], None) for i, c in enumerate(first)]

    class Short(CausalUnitLM):
        def continue_(self, prompts, n_frames, decoding, sample_index):
            return super().continue_(prompts, n_frames - 1, decoding, sample_index)

    class Illegal(CausalUnitLM):
        def continue_(self, prompts, n_frames, decoding, sample_index):
            return [c._replace(codes=c.codes + 7) for c in super().continue_(prompts, n_frames, decoding, sample_index)]

    assert continuation_findings(Batchy(gpt2, CODEBOOKS))["a continuation does not depend on its batch"].wrong
    length = "a continuation holds codes that there are, as many as asked for"
    assert "3 frames; asked for 4" in continuation_findings(Short(gpt2, CODEBOOKS))[length].detail
    assert continuation_findings(Illegal(gpt2, CODEBOOKS))[length].wrong


def test_where_rounding_may_tip_a_choice_the_share_that_diverges_is_reported(gpt2):
    class Rounding(CausalUnitLM):
        """The second prompt of a batch, another one in reverse order, comes out otherwise from the third step on."""

        def continue_(self, prompts, n_frames, decoding, sample_index):
            said = super().continue_(prompts, n_frames, decoding, sample_index)
            if len(said) > 1:
                said[1].codes[2:, 0] = (said[1].codes[2:, 0] + 1) % 7
            return said

    name = "a continuation does not depend on its batch"
    assert continuation_findings(Rounding(gpt2, CODEBOOKS))[name].wrong
    for dtype, device in (("bfloat16", "cpu"), ("float32", "cuda")):
        found = continuation_findings(Rounding(gpt2, CODEBOOKS), dtype=dtype, device=device)[name]
        assert found.outcome == "cannot tell"
        share = f"{dtype} on {device}: 2 of {len(CLIPS)} continuations ({200 / len(CLIPS):.0f} %) diverge between batch"
        assert found.detail.startswith(share)
        assert found.detail.endswith("sizes, the first at step 2 of 4")
    equal = continuation_findings(CausalUnitLM(gpt2, CODEBOOKS), dtype="float16")[name]
    assert (equal.outcome, "0 of" in equal.detail) == ("ok", True)


def test_a_continuation_that_may_end_is_checked_against_its_least_length(gpt2):
    class Early(CausalUnitLM):
        can_end = True

        def continue_(self, prompts, n_frames, decoding, sample_index, min_frames):
            n = min_frames - self.early
            return [Codes(c.codes[:n], None) for c in super().continue_(prompts, n_frames, decoding, sample_index)]

    lm = Early(gpt2, CODEBOOKS)
    decoding = Decoding(new_s=0.4, min_new_s=0.2)
    length = "a continuation holds codes that there are, as many as asked for"
    for lm.early, outcome in ((0, "ok"), (1, "wrong")):
        found = continuation_findings(lm, decoding=decoding)[length]
        assert (found.outcome, "2 to 4" in found.detail) == (outcome, True)


def test_sound_of_another_length_than_its_frames_is_caught(gpt2):
    lm = CausalUnitLM(gpt2, CODEBOOKS)
    assert "the vocoder's rate or hop" in continuation_findings(lm, Tone(hop=200))["a continuation can be heard"].detail


# ------------------------------------------------------------ what is looked at, and the drawing


def test_clips_are_cut_to_the_context(gpt2):
    lm = CausalUnitLM(gpt2, CODEBOOKS, max_context=31, truncate="left")
    cut = fitting(lm, random_codes(CODEBOOKS, 40, 0))
    np.testing.assert_array_equal(cut.codes, random_codes(CODEBOOKS, 40, 0).codes[: len(cut.codes)])
    assert 10 <= len(cut.codes) <= 15
    with pytest.raises(ItemError):
        fitting(CausalUnitLM(gpt2, CODEBOOKS, max_context=3), random_codes(CODEBOOKS, 40, 0))


def test_the_drawing_of_units_without_a_bos(gpt2):
    lm = CausalUnitLM(gpt2, UNITS, bos=None)
    clip = Codes(np.array([[1], [2], [3], [4]], np.int32), np.array([3, 1, 4, 2], np.int32))
    lines = draw(lm, UNITS, clip, 5, 0.5)
    assert lines[1].endswith("     v transition 0.500 s")
    assert lines[2] == "full codebook 0  o--##---#-"
    assert lines[3] == "kept codebook 0      o---#-"
    assert lines[5] == "string: 2 [3] [4] [5] (4 ids; those in brackets are scored)"
    assert lines[6] == "marks: id 2 at place 0 fed, not scored"
